"""The tour of the dock: once to each user, step by step with what is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from qtpy.QtWidgets import QApplication
from tests._windows import open_field

from napari_cellclass.core.samples.synthetic import checkerboard_field
from napari_cellclass.viewer.common import tour_state
from napari_cellclass.widgets.workspace.tour import STEPS

TILE = 32


@pytest.fixture
def tour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ask for the tour, as of a user who has not seen it; the file that remembers it."""
    monkeypatch.delenv(tour_state.TOUR_VARIABLE)
    monkeypatch.setattr(tour_state, "_file", lambda: tmp_path / "data" / "tour.json")
    return tmp_path / "data" / "tour.json"


def open_dock(viewer: Any) -> Any:
    _, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
    QApplication.processEvents()
    return widget


def test_without_being_asked_tests_and_scripts_see_no_tour(dock: Any) -> None:
    assert not dock.tour.isVisible()


def test_the_tour_appears_until_it_is_closed_and_then_only_when_it_is_asked_for(
    tour: Path, viewer: Any, qtbot: Any
) -> None:
    first = open_dock(viewer)
    assert first.tour.isVisible()
    assert first.tour.text.text() == STEPS[0]
    viewer.window.remove_dock_widget("all")
    again = open_dock(viewer)
    assert again.tour.isVisible(), "closing the dock does not end it"
    again.tour.close_button.click()
    assert not again.tour.isVisible()
    assert tour.is_file()
    viewer.window.remove_dock_widget("all")
    third = open_dock(viewer)
    assert not third.tour.isVisible()
    third.help.click()
    third.help.popup.tour_button.click()
    assert third.tour.isVisible()
    assert not third.help.popup.isVisible()


def test_the_tour_goes_on_with_what_is_done_and_ends_for_good_after_its_last_step(
    tour: Path, viewer: Any, qtbot: Any
) -> None:
    dock = open_dock(viewer)
    viewer.add_image(checkerboard_field(TILE, 8, 10)[0], name="field")
    qtbot.waitUntil(lambda: dock.tour.step == 1)
    open_field(dock, qtbot, TILE)
    qtbot.waitUntil(lambda: dock.tour.step == 2)
    dock.workspace.label([0], 0)
    assert dock.tour.step == 3
    dock.tour.next_button.click()
    assert dock.tour.text.text() == STEPS[4]
    assert dock.tour.next_button.text() == "Done"
    assert not tour.exists()
    dock.tour.next_button.click()
    assert not dock.tour.isVisible()
    assert not tour_state.is_tour_wanted()


def test_a_folder_that_cannot_be_written_ends_the_tour_for_this_session(
    tour: Path, tmp_path: Path, viewer: Any, qtbot: Any
) -> None:
    (tmp_path / "data").write_text("a file in the place of the folder")
    dock = open_dock(viewer)
    dock.tour.close_button.click()
    assert not dock.tour.isVisible()
