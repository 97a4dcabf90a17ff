"""Labels that are probably wrong are shown in the Gallery and settled there: real clicks in a real window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from tests._windows import open_field

from napari_cellclass.core.samples.synthetic import checkerboard_field

TILE, ROWS, COLUMNS = 32, 8, 10
WRONG = np.array([13, 34, 57])

pytestmark = pytest.mark.usefixtures("live")


@pytest.fixture(autouse=True)
def _own_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def wait_for_rest(dock: Any, qtbot: Any) -> None:
    """Wait until the errors are known of predictions from all features: those of a part of them may be others."""
    finder, live, key = dock.label.label_errors, dock.label.live.predictions, dock.workspace.field_key

    def at_rest() -> bool:
        features = None if live.session is None else live.session.fields.get(key)
        waits = live._timer.isActive() or live._fit_job or live._typical_job or finder._job
        return features is not None and features.complete and not waits and finder.found() is not None

    qtbot.waitUntil(at_rest)


def show(dock: Any, qtbot: Any) -> list[int]:
    qtbot.mouseClick(dock.label.gallery.show_button, Qt.MouseButton.LeftButton)
    gallery = dock.label.gallery
    qtbot.waitUntil(lambda: not gallery._waits and (gallery.list.count() > 0 or "no such" in gallery.status.text()))
    return gallery.shown().tolist()


def test_wrong_labels_are_shown_beside_similar_tiles_and_settled_by_a_click_or_a_key(
    viewer: Any, dock: Any, qtbot: Any, screenshot: Callable
) -> None:
    viewer.add_image(checkerboard_field(TILE, ROWS, COLUMNS)[0], name="field")
    open_field(dock, qtbot, TILE)
    rows, columns = np.mgrid[0:ROWS, 0:COLUMNS]
    truth = ((rows + columns) % 2).ravel()
    gallery, workspace = dock.label.gallery, dock.workspace
    dock.label.tabs.setCurrentWidget(gallery)
    gallery.sort.setCurrentText("label errors")
    qtbot.mouseClick(gallery.show_button, Qt.MouseButton.LeftButton)
    assert "that takes 8 labels of each class" in gallery.status.text(), "it says why there are none"
    given = truth.copy()
    given[WRONG] = 1 - given[WRONG]
    workspace.label(np.arange(70), given[:70])
    finder = dock.label.label_errors
    wait_for_rest(dock, qtbot)
    assert sorted(finder.found().tiles.tolist()) == WRONG.tolist()
    assert sorted(show(dock, qtbot)) == WRONG.tolist()
    panel = gallery.errors
    qtbot.waitUntil(lambda: panel.neighbours.count() == 5)
    first = int(gallery.shown()[0])
    assert workspace.current_tile == first
    screenshot("label-errors")
    names = workspace.scheme.names
    assert {panel.neighbours.item(i).text() for i in range(5)} == {names[truth[first]]}
    qtbot.mouseClick(panel.correct_button, Qt.MouseButton.LeftButton)
    assert workspace.annotation.labels[first] == truth[first]
    second, third = gallery.shown().tolist()
    qtbot.mouseClick(panel.accept_button, Qt.MouseButton.LeftButton)
    assert gallery.shown().tolist() == [third]
    assert workspace.annotation.labels[second] == given[second], "the label stays"
    gallery.list.setFocus()
    gallery.list.item(0).setSelected(True)
    qtbot.keyClick(gallery.list, (Qt.Key.Key_1, Qt.Key.Key_2)[truth[third]])
    assert workspace.annotation.labels[third] == truth[third]
    assert "settled" in gallery.status.text()
    wait_for_rest(dock, qtbot)
    assert show(dock, qtbot) == [], "neither what was corrected nor what was found right is shown again"
    dock.label.live.on.click()
    gallery.clear()
    qtbot.mouseClick(gallery.show_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "live predictions are off" in gallery.status.text())
