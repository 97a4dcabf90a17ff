"""What the manifest offers in napari's preferences is read."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from napari.settings import get_plugin_settings
from npe2 import PluginManifest

from napari_cellclass.core.common.limits import limit, limit_variable
from napari_cellclass.core.common.task import NO_TASK
from napari_cellclass.core.labels.classes import palette
from napari_cellclass.viewer.common.preferences import cpu_threads, limit_cache
from napari_cellclass.viewer.workspace.opening import first_scheme
from napari_cellclass.widgets.classify import work


@pytest.fixture
def settings() -> Iterator[Any]:
    """The plugin's settings, as they were before at the end."""
    found = get_plugin_settings("napari-cellclass")
    before = found.computing.threads, found.computing.cache_gb, found.labelling.palette
    yield found
    found.computing.threads, found.computing.cache_gb, found.labelling.palette = before


def test_the_preferences_are_those_that_are_read() -> None:
    offered = PluginManifest.from_distribution("napari-cellclass").contributions.configurations
    assert {key: list(one.properties) for key, one in offered.items()} == {
        "computing": ["threads", "cache_gb"], "labelling": ["palette", "live"],
    }  # fmt: skip


def test_new_classes_have_the_colours_of_the_palette_that_is_preferred(settings: Any) -> None:
    assert first_scheme().colours == palette(2)
    settings.labelling.palette = "Tol bright"
    assert first_scheme().colours == ("#4477AA", "#EE6677")
    assert len(set(palette(40, "Tol bright"))) == 40


def test_features_take_the_disk_space_of_the_preferences_unless_the_environment_says_otherwise(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = limit_variable("feature_store_bytes")
    monkeypatch.setenv(variable, "123")
    limit_cache()
    assert limit("feature_store_bytes") == 123
    monkeypatch.delenv(variable)
    for gigabytes in (2, 7):
        settings.computing.cache_gb = gigabytes
        limit_cache()
        assert limit("feature_store_bytes") == gigabytes << 30


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
