"""The dock Cell Class and projects in it, driven by real keys and mouse events in a real window."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import QApplication, QDockWidget, QInputDialog
from tests._patience import WINDOW_S
from tests._window_events import canvas, drop, press
from tests._windows import open_field

from napari_cellclass.core.samples.synthetic import checkerboard_field
from napari_cellclass.core.workspace.project import Project
from napari_cellclass.widgets.workspace import header
from napari_cellclass.widgets.workspace.widget import CellClassWidget, _importing

TILE = 16


@pytest.fixture(autouse=True)
def _own_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def write_fields(folder: Path) -> list[Path]:
    """Two fields of 12 x 15 tiles."""
    folder.mkdir()
    paths = []
    for number in range(2):
        pixels = checkerboard_field(TILE, 12, 15)[0].copy()
        pixels[0, 0] += number
        paths.append(folder / f"field{number}.tif")
        tifffile.imwrite(paths[-1], pixels)
    return paths


def open_in_project(viewer: Any, dock: Any, qtbot: Any, path: Path) -> None:
    """Open an image as a user does; it becomes the field that is shown."""
    for layer in list(viewer.layers):
        viewer.layers.remove(layer)
    viewer.open(str(path), plugin="napari")
    open_field(dock, qtbot, TILE)
    canvas(viewer).setFocus()


@pytest.mark.parametrize("name", ["Classify field", "Annotate tiles", "Train"])
def test_three_entries_of_the_menus_open_one_dock_on_their_page(viewer: Any, qtbot: Any, name: str) -> None:
    _, opener = viewer.window.add_plugin_dock_widget("napari-cellclass", name)
    window = viewer.window._qt_window
    qtbot.waitUntil(lambda: len(viewer.window._wrapped_dock_widgets) == 1)
    (dock,) = window.findChildren(CellClassWidget)
    assert dock.pages.currentWidget().display_name == name
    assert dock.pages.currentWidget() is opener.page
    assert opener.stop_work == opener.page.stop_work, "a script has the page"
    for other in ("Train", "Classify field"):
        viewer.window.add_plugin_dock_widget("napari-cellclass", other)
        qtbot.waitUntil(lambda: len(viewer.window._wrapped_dock_widgets) == 1)
        assert window.findChildren(CellClassWidget) == [dock]
        assert dock.pages.currentWidget().display_name == other


def test_the_dock_is_filled_while_the_window_goes_on_and_at_once_where_a_page_is_asked_for(
    viewer: Any, qtbot: Any
) -> None:
    viewer.add_image(checkerboard_field(TILE, 12, 15)[0], name="field")
    with _importing:
        _, opener = viewer.window.add_plugin_dock_widget("napari-cellclass", "Train")
        (dock,) = viewer.window._qt_window.findChildren(CellClassWidget)
        QApplication.processEvents()
        assert not dock.filled
    qtbot.waitUntil(lambda: dock.filled)
    assert dock.pages.currentWidget() is dock.train is opener.page
    assert [dock.pages.tabText(i) for i in range(4)] == ["Label", "Train", "Map", "Check"]
    qtbot.waitUntil(lambda: dock.workspace.annotation is not None)
    viewer.window.remove_dock_widget("all")
    _, again = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
    assert again.map.run_button is not None
    assert again.filled


def test_a_dock_that_is_closed_before_it_is_filled_stays_empty(viewer: Any, qtbot: Any) -> None:
    with _importing:
        _, dock = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
        viewer.window.remove_dock_widget("all")
    assert dock.closed_down
    assert QThreadPool.globalInstance().waitForDone(1000 * WINDOW_S)
    QApplication.processEvents()
    assert not dock.filled
    assert dock.running_work() == dock.lasting_work() == ""


def test_grid_lines_are_taken_back_where_another_size_is_chosen_before_the_labels_are_there(
    viewer: Any, dock: Any, qtbot: Any
) -> None:
    viewer.add_image(checkerboard_field(TILE, 12, 15)[0], name="field")
    qtbot.waitUntil(lambda: "field grid" in viewer.layers)
    assert dock.workspace.annotation is None, "the labels come in a later step"
    dock.header.tile_px.setValue(TILE)
    assert list(viewer.layers) == [viewer.layers["field"]]
    open_field(dock, qtbot, TILE)
    assert [layer.name for layer in viewer.layers] == ["field", "field grid", "field labels"]
    assert viewer.layers["field labels"].visible


def test_other_docks_are_tabs_beside_it_of_at_least_400_px(viewer: Any, dock: Any, qtbot: Any) -> None:
    window = viewer.window._qt_window
    window.resize(1280, 720)
    for name in ("Evaluate", "Classify plate", "Blinded reading"):
        viewer.window.add_plugin_dock_widget("napari-cellclass", name)
    own = [one for one in window.findChildren(QDockWidget) if "napari-cellclass" in one.windowTitle()]
    assert len(own) == 4
    qtbot.waitUntil(lambda: len(window.tabifiedDockWidgets(dock.parent())) == 3)
    for one in own:
        one.raise_()
        QApplication.processEvents()
        assert one.width() >= 400
        assert one.height() >= 400


def test_a_project_is_back_as_it_was_left(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, screenshot: Callable
) -> None:
    first, second = write_fields(tmp_path / "images")
    open_in_project(viewer, dock, qtbot, first)
    press(viewer, Qt.Key.Key_1)  # before there is a project
    dock.header.project.create(tmp_path / "images" / "study.cellproject")
    qtbot.waitUntil(lambda: dock.workspace.session.shown is not None)
    qtbot.waitUntil(lambda: not dock.header.opening)
    for key in (Qt.Key.Key_2, Qt.Key.Key_2):
        press(viewer, key)
    open_in_project(viewer, dock, qtbot, second)
    press(viewer, Qt.Key.Key_2)
    monkeypatch.setattr(QInputDialog, "getText", lambda *a, **k: ("cells", True))
    dock.header.chips.rename(0)
    dock.header.project.close_project()

    # another day
    viewer.window.remove_dock_widget("all")
    viewer.layers.clear()
    drop(viewer, tmp_path / "images" / "study.cellproject")
    (again,) = viewer.window._qt_window.findChildren(CellClassWidget)
    qtbot.waitUntil(lambda: again.workspace.annotation is not None and not again.header.opening)
    assert again.workspace.scheme.names == ("cells", "class 2")
    assert again.workspace.annotation.labels[:4].tolist() == [0, 1, 1, -1]
    assert again.header.tile_px.value() == TILE
    assert [again.header.project.fields.itemText(i) for i in range(2)] == [
        "1 field0.tif (3 labelled)", "2 field1.tif (1 labelled)",
    ]  # fmt: skip
    screenshot("project")
    canvas(viewer).setFocus()
    press(viewer, Qt.Key.Key_PageDown)
    qtbot.waitUntil(lambda: again.workspace.session.shown == again.workspace.session.project.fields[1].key)
    qtbot.waitUntil(lambda: not again.header.opening)
    assert again.workspace.annotation.labels[:2].tolist() == [1, -1]
    press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert again.workspace.scheme.names == ("class 1", "class 2"), "the rename was the last step"
    press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert again.workspace.annotation.labels[0] == -1


def test_a_size_that_is_chosen_while_a_field_is_being_opened_is_kept(
    viewer: Any, dock: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, go_on = threading.Event(), threading.Event()
    read = header.open_field

    def slow(**kwargs: Any) -> Any:
        reading.set()
        assert go_on.wait(WINDOW_S)
        return read(**kwargs)

    monkeypatch.setattr(header, "open_field", slow)
    viewer.add_image(checkerboard_field(TILE, 12, 15)[0], name="field")
    qtbot.waitUntil(reading.is_set)
    dock.header.tile_px.setValue(TILE)
    go_on.set()
    assert QThreadPool.globalInstance().waitForDone(
        1000 * WINDOW_S
    )  # its result is there before the window looks at the new size
    qtbot.waitUntil(lambda: dock.workspace.annotation is not None and not dock.header.opening)
    assert dock.workspace.annotation.grid.tile_px == (TILE, TILE)
    assert dock.header.tile_px.value() == TILE


def test_a_project_opened_twice_is_said_and_can_be_read(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qtpy.QtWidgets import QMessageBox

    from napari_cellclass.core.labels.classes import ClassScheme

    asked: list[str] = []
    monkeypatch.setattr(QMessageBox, "question", lambda *a, **k: asked.append(a[2]) or QMessageBox.StandardButton.Yes)
    with Project.create(tmp_path / "p.cellproject", ClassScheme(("a", "b")), TILE):
        dock.open_project(tmp_path / "p.cellproject")
        qtbot.waitUntil(lambda: dock.workspace.session.project is not None)
    assert "is open in another program" in asked[0]
    assert dock.header.project.button.text() == "Project: p (read only)"


def test_the_grid_follows_the_tile_size_and_labels_of_another_size_come_back(
    viewer: Any, dock: Any, qtbot: Any
) -> None:
    viewer.add_image(checkerboard_field(TILE, 12, 15)[0], name="field")
    open_field(dock, qtbot)
    assert any("grid" in layer.name for layer in viewer.layers), "it is shown before anything is pressed"
    proposed = dock.workspace.annotation.grid.tile_px[0]
    assert f"{proposed} px tiles" in dock.header.note.text()
    open_field(dock, qtbot, TILE)
    canvas(viewer).setFocus()
    for _ in range(3):
        press(viewer, Qt.Key.Key_1)
    open_field(dock, qtbot, 2 * TILE)
    assert (dock.workspace.annotation.labels == -1).all()
    assert "3 labels of 16 px tiles are hidden; that tile size shows them." in dock.header.note.text()
    open_field(dock, qtbot, TILE)
    assert np.flatnonzero(dock.workspace.annotation.labels == 0).tolist() == [0, 1, 2]
