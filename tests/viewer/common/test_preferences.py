"""What the manifest offers in napari's preferences is read."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from napari.settings import get_plugin_settings
from npe2 import PluginManifest

from napari_cellclass.core.common.task import NO_TASK
from napari_cellclass.viewer.common.preferences import cpu_threads
from napari_cellclass.widgets.classify import work


@pytest.fixture
def settings() -> Iterator[Any]:
    """The plugin's settings, as they were before at the end."""
    found = get_plugin_settings("napari-cellclass")
    before = found.computing.threads
    yield found
    found.computing.threads = before


def test_the_preferences_are_those_that_are_read() -> None:
    offered = PluginManifest.from_distribution("napari-cellclass").contributions.configurations
    assert {key: list(one.properties) for key, one in offered.items()} == {"computing": ["threads"]}


def test_a_field_is_classified_with_the_threads_of_the_preferences(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[Any] = []
    engines: Any = SimpleNamespace(prepare=lambda key, model: prepared.append(key))
    monkeypatch.setattr(work, "choose_precision", lambda model, precision, engine: ("f32", ""))
    for threads, expected in ((0, None), (1, 1), (3, 3)):
        settings.computing.threads = threads
        assert cpu_threads() == expected
        model: Any = SimpleNamespace(model_id="m")
        work.prepare(model, "auto", "f32", engines, NO_TASK)
        assert prepared[-1].threads == expected


def test_fewer_threads_than_none_are_refused(settings: Any) -> None:
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        settings.computing.threads = -1
