"""What help says of pages and fields is there, and leads somewhere."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.widgets.common.test_docks import widget_classes

from napari_cellclass.cli.main import VERBS
from napari_cellclass.core.params.base import Params, flag_of
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.widgets.common.help.chapters import CHAPTERS, DOCUMENTATION
from napari_cellclass.widgets.common.help.whats_this import describe_parameter
from napari_cellclass.widgets.workspace.check_page import CheckPage

ROOT = Path(__file__).parents[4]


def navigation(entry: Any) -> dict[str, str]:
    """Give the titles of the pages of a part of the site's navigation, by path."""
    if isinstance(entry, list):
        return {path: title for one in entry for path, title in navigation(one).items()}
    found = {}
    for title, inner in entry.items():
        found |= {inner: title} if isinstance(inner, str) else navigation(inner)
    return found


def test_the_address_of_the_documentation_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["urls"]["Documentation"] == DOCUMENTATION


def test_every_page_and_dock_has_a_chapter_of_the_site_under_its_title() -> None:
    assert set(CHAPTERS) >= {*widget_classes(), CheckPage.display_name} - {"Cell Class"}
    pages = navigation(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    for chapter in CHAPTERS.values():
        assert pages[f"{chapter.page}.md"] == chapter.title
        assert chapter.url == f"{DOCUMENTATION}{chapter.page}/"


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_whats_this_of_every_parameter_says_what_it_is_and_its_flag(verb: str) -> None:
    params: type[Params] = VERBS[verb][0]
    for name, field in params.model_fields.items():
        text = describe_parameter(params, name, name)
        assert (field.description or "")[1:5] in text
        assert params.verb == "" or f"{params.verb} {flag_of(params, name)}." in text


def test_whats_this_tells_choices_bounds_and_default() -> None:
    assert "One of: auto," in describe_parameter(TrainParams, "network", "network")
    assert "At least " in describe_parameter(TrainParams, "batch_size", "batch size")
    assert f"Unless changed: {TrainParams.model_fields['seed'].default}." in describe_parameter(
        TrainParams, "seed", "seed"
    )
