"""Labelling that cannot go wrong: what keys, mouse and map mean, with real events in a real window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QInputDialog
from tests._window_events import canvas, press
from tests._windows import open_field

from napari_cellclass.core.samples.realfield import ihc_field
from napari_cellclass.core.samples.synthetic import checkerboard_field
from napari_cellclass.viewer.common.map_view import FieldLayer
from napari_cellclass.viewer.features.annotation_layers import MIN_TILE_SCREEN_PX
from napari_cellclass.viewer.features.current_frame import NAME

TILE = 32


@pytest.fixture(autouse=True)
def _own_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def press_focused(key: Any) -> None:
    """Press a key where the keyboard is, as a user does who does not look at it."""
    focused = QApplication.focusWidget()
    assert focused is not None, "nobody has the keyboard"
    QTest.keyClick(focused, key)


def click_tile(viewer: Any, dock: Any, tile: int) -> None:
    """Click the middle of a tile on the canvas."""
    box = dock.workspace.annotation.grid.boxes[tile]
    world = dock.workspace.layers._px_to_world(np.array([(box[:2] + box[2:]) / 2 - 0.5]))[0]
    camera, (height, width) = viewer.scene.camera, viewer.canvas.size
    y, x = (world - np.array(camera.center[-2:])) * camera.zoom + np.array([height, width]) / 2
    native, point = canvas(viewer), QPointF(QPoint(round(x), round(y)))
    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    for kind, held in ((QMouseEvent.Type.MouseButtonPress, left), (QMouseEvent.Type.MouseButtonRelease, none)):
        event = QMouseEvent(kind, point, native.mapToGlobal(point), left, held, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(native, event)
    QApplication.processEvents()


def framed(viewer: Any) -> np.ndarray:
    """The sides of the frame of the current tile, which lies over all layers."""
    overlays = viewer.scene.overlays
    return overlays[NAME].segments if NAME in overlays else np.zeros((0, 2, 2))


def is_frame_of(sides: np.ndarray, dock: Any, tile: int) -> bool:
    """Whether there is one frame, around a tile."""
    box = dock.workspace.annotation.grid.boxes[tile]
    corners = dock.workspace.layers._px_to_world(np.array([box[:2], box[2:]]) - 0.5)
    ends = sides.reshape(-1, 2)
    return len(sides) == 4 and np.allclose([ends.min(axis=0), ends.max(axis=0)], corners)


def labels(dock: Any) -> list[int]:
    return list(dock.workspace.annotation.labels)


@pytest.fixture
def field(viewer: Any, dock: Any, qtbot: Any) -> Any:
    """An open field of 8 x 10 tiles."""
    layer = viewer.add_image(checkerboard_field(TILE, 8, 10)[0], name="field")
    open_field(dock, qtbot, TILE)
    viewer.reset_view()
    viewer.window._qt_window.activateWindow()
    canvas(viewer).setFocus()
    qtbot.waitUntil(canvas(viewer).hasFocus)
    return layer


@pytest.fixture
def mapped(viewer: Any, dock: Any, qtbot: Any, ihc_model: Path) -> Any:
    """An open field of 16 x 16 tiles with the map of a model; its classes are stained and unstained."""
    layer = viewer.add_image(ihc_field().data, name="ihc", rgb=True)
    open_field(dock, qtbot, TILE)
    viewer.reset_view()
    return layer


def show_map(dock: Any, qtbot: Any, model: Path) -> None:
    dock.map.run_when_ready(model)
    qtbot.waitUntil(lambda: dock.workspace.predictions() is not None)
    qtbot.waitUntil(dock.map.run_button.isEnabled)


def name_classes(dock: Any, *names: str) -> None:
    for i, name in enumerate(names):
        dock.workspace.edit_classes(lambda annotation, i=i, name=name: annotation.change_class(i, name=name))


def test_a_key_means_the_class_of_its_chip_whatever_order_a_model_has(
    viewer: Any, dock: Any, qtbot: Any, mapped: Any, ihc_model: Path
) -> None:
    name_classes(dock, "unstained", "stained")
    show_map(dock, qtbot, ihc_model)
    assert dock.map.map.table.scheme.names == ("stained", "unstained"), "the other order"
    assert dock.header.chips.chips[0].text().startswith("1 unstained")
    for layer in (dock.map.map.layers[-1], dock.workspace.layers.map, mapped):
        viewer.layers.selection.active = layer
        dock.workspace.label(np.arange(256), -1)
        click_tile(viewer, dock, 100)
        press(viewer, Qt.Key.Key_1)
        assert dock.workspace.scheme.names[dock.workspace.annotation.labels[100]] == "unstained"
    table, scheme = dock.map.map.table, dock.workspace.scheme
    for name in table.scheme.names:
        assert table.scheme.colours[table.scheme.index(name)] == scheme.colours[scheme.index(name)]


def test_a_field_without_labels_gets_the_classes_of_the_model_that_is_chosen(
    viewer: Any, dock: Any, qtbot: Any, mapped: Any, ihc_model: Path
) -> None:
    dock.map.set_model(ihc_model)
    qtbot.waitUntil(lambda: dock.map.model is not None)
    assert dock.workspace.scheme.names == ("stained", "unstained")
    assert dock.header.chips.chips[0].text() == "1 stained · 0"
    assert not dock.map.classes.isVisible()
    assert dock.workspace.current_tile == 0


def test_what_does_not_match_by_name_is_asked_before_a_prediction_is_accepted(
    viewer: Any, dock: Any, qtbot: Any, mapped: Any, ihc_model: Path
) -> None:
    name_classes(dock, "tissue", "stained")
    dock.show_page("Classify field")
    show_map(dock, qtbot, ihc_model)
    assert list(dock.map.classes.choices) == ["unstained"]
    assert dock.map.classes.isVisible()
    click_tile(viewer, dock, 100)
    qtbot.mouseClick(dock.map.state.accept_button, Qt.MouseButton.LeftButton)
    assert (dock.workspace.annotation.labels == -1).all()
    assert "'unstained' is none of the labels'" in dock.header.message.text()
    dock.map.classes.choices["unstained"].setCurrentText("tissue")
    qtbot.mouseClick(dock.map.classes.button, Qt.MouseButton.LeftButton)
    assert not dock.map.classes.isVisible()
    qtbot.mouseClick(dock.map.state.accept_button, Qt.MouseButton.LeftButton)
    predicted = {"unstained": "tissue"}.get(name := str(dock.workspace.predictions().class_name[100]), name)
    assert dock.workspace.scheme.names[dock.workspace.annotation.labels[100]] == predicted
    assert dock.workspace.scheme.names == ("tissue", "stained")


def test_while_another_field_is_being_opened_a_key_labels_neither(viewer: Any, dock: Any, qtbot: Any) -> None:
    layer = viewer.add_image(checkerboard_field(TILE, 4, 5)[0], name="field")
    open_field(dock, qtbot, TILE)
    work, said = dock.workspace, []
    work.message.connect(lambda text, warn: said.append(text))
    for _ in work.open_in_steps(work.annotation, work.source, FieldLayer.of(layer), [layer]):
        press(viewer, Qt.Key.Key_1)
    assert (np.asarray(work.annotation.labels) == -1).all()
    assert said == ["Nothing was labelled: another field is being opened."] * len(said) != []
    press(viewer, Qt.Key.Key_1)
    assert (np.asarray(work.annotation.labels) == 0).sum() == 1


def test_after_a_class_was_renamed_keys_label_and_are_never_typed_into_a_name(
    viewer: Any, dock: Any, qtbot: Any, field: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QInputDialog, "getText", lambda *a, **k: ("spots", True))
    chip = dock.header.chips.chips[0]
    qtbot.mouseClick(chip, Qt.MouseButton.LeftButton)
    next(action for action in dock.header.chips.menu(0).actions() if action.text() == "Rename …").trigger()
    for key in (Qt.Key.Key_1, Qt.Key.Key_2, Qt.Key.Key_2, Qt.Key.Key_1):
        press_focused(key)
    assert dock.workspace.scheme.names == ("spots", "class 2")
    assert labels(dock)[:5] == [0, 1, 1, 0, -1]


def test_a_chip_and_in_brush_mode_a_key_choose_the_class_and_change_no_label(
    viewer: Any, dock: Any, qtbot: Any, field: Any
) -> None:
    press(viewer, Qt.Key.Key_1)
    before = labels(dock)
    qtbot.mouseClick(dock.header.chips.chips[1], Qt.MouseButton.LeftButton)
    assert (dock.workspace.active, labels(dock)) == (1, before)
    assert "bold" in dock.header.chips.chips[1].styleSheet()
    assert "bold" not in dock.header.chips.chips[0].styleSheet()
    qtbot.mouseClick(dock.label.brush, Qt.MouseButton.LeftButton, pos=QPoint(8, dock.label.brush.height() // 2))
    assert dock.workspace.brush
    press(viewer, Qt.Key.Key_1)
    assert (dock.workspace.active, labels(dock)) == (0, before)
    press(viewer, Qt.Key.Key_2)
    click_tile(viewer, dock, 44)
    assert labels(dock)[44] == 1
    press(viewer, Qt.Key.Key_1)
    assert labels(dock)[44] == 1, "the tile painted last keeps its class"


def test_there_is_one_frame_and_a_click_on_map_labels_or_gallery_moves_it(
    viewer: Any, dock: Any, qtbot: Any, mapped: Any, ihc_model: Path
) -> None:
    show_map(dock, qtbot, ihc_model)
    for tile, layer in ((17, dock.map.map.layers[-1]), (50, dock.workspace.layers.map), (90, mapped)):
        viewer.layers.selection.active = layer
        click_tile(viewer, dock, tile)
        assert dock.workspace.current_tile == tile
        assert is_frame_of(framed(viewer), dock, tile)
        qtbot.waitUntil(lambda tile=tile: f"(tile r{tile // 16} c{tile % 16})" in dock.label.tile.text())
    dock.show_page("Annotate tiles")
    dock.label.tabs.setCurrentWidget(dock.label.gallery)
    dock.label.gallery.sort.setCurrentText("by confidence")
    qtbot.mouseClick(dock.label.gallery.show_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.label.gallery.list.count() > 5)
    item = dock.label.gallery.list.item(3)
    rect = dock.label.gallery.list.visualItemRect(item)
    qtbot.mouseClick(dock.label.gallery.list.viewport(), Qt.MouseButton.LeftButton, pos=rect.center())
    assert dock.workspace.current_tile == dock.label.gallery.shown()[3]
    assert is_frame_of(framed(viewer), dock, dock.workspace.current_tile)
    dock.workspace.layers.map.visible = False
    assert not len(framed(viewer)), "what is not seen is not labelled, and not framed"


@pytest.mark.parametrize("how", ["deleted", "hidden"])
def test_nothing_is_labelled_unseen_and_it_is_said(viewer: Any, dock: Any, qtbot: Any, field: Any, how: str) -> None:
    press(viewer, Qt.Key.Key_1)
    layer = dock.workspace.layers.map
    if how == "deleted":
        layer.locked = False
        viewer.layers.remove(layer)
    else:
        layer.visible = False
    before = labels(dock)
    for active in list(viewer.layers):
        viewer.layers.selection.active = active
        press(viewer, Qt.Key.Key_2)
        assert labels(dock) == before
        assert "Nothing was labelled: the layer 'field labels'" in dock.header.message.text()
    if how == "deleted":
        qtbot.waitUntil(dock.header.show_labels.isVisible)
        qtbot.mouseClick(dock.header.show_labels, Qt.MouseButton.LeftButton)
        assert labels(dock) == before
        press(viewer, Qt.Key.Key_2)
        assert labels(dock).count(1) == 1


def test_start_and_walking_go_so_near_that_a_tile_can_be_judged(viewer: Any, dock: Any, qtbot: Any) -> None:
    viewer.add_image(np.random.default_rng(0).integers(0, 4096, (4096, 4096)).astype(np.uint16), name="mosaic")
    viewer.reset_view()
    open_field(dock, qtbot, TILE)
    assert viewer.scene.camera.zoom * TILE >= MIN_TILE_SCREEN_PX - 1e-6
    viewer.reset_view()
    canvas(viewer).setFocus()
    press(viewer, Qt.Key.Key_Right)
    assert viewer.scene.camera.zoom * TILE >= MIN_TILE_SCREEN_PX - 1e-6
    assert dock.workspace.current_tile == 1


def test_after_enter_a_choice_or_a_button_the_keys_label_again(viewer: Any, dock: Any, qtbot: Any, field: Any) -> None:
    line = dock.header.tile_px.lineEdit()
    line.setFocus()
    qtbot.waitUntil(line.hasFocus)
    qtbot.keyClick(dock.header.tile_px, Qt.Key.Key_Return)
    qtbot.waitUntil(canvas(viewer).hasFocus)
    press_focused(Qt.Key.Key_1)
    qtbot.mouseClick(dock.label.undo_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(canvas(viewer).hasFocus)
    press_focused(Qt.Key.Key_2)
    box = dock.label.policy
    box.setFocus()
    box.showPopup()
    qtbot.waitUntil(box.view().isVisible)
    qtbot.keyClick(box.view(), Qt.Key.Key_Down)
    qtbot.keyClick(box.view(), Qt.Key.Key_Return)
    qtbot.waitUntil(canvas(viewer).hasFocus)
    assert dock.workspace.policy == "in order"
    press_focused(Qt.Key.Key_1)
    assert sorted(set(labels(dock))) == [-1, 0, 1]
    assert sum(label >= 0 for label in labels(dock)) == 2


def test_the_gallery_takes_the_class_keys_for_its_selection(
    viewer: Any, dock: Any, qtbot: Any, mapped: Any, ihc_model: Path, screenshot: Callable
) -> None:
    show_map(dock, qtbot, ihc_model)
    dock.show_page("Annotate tiles")
    dock.label.tabs.setCurrentWidget(dock.label.gallery)
    gallery = dock.label.gallery
    gallery.sort.setCurrentText("least certain")
    qtbot.mouseClick(gallery.show_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: gallery.list.count() > 5)
    for i, modifier in ((1, Qt.KeyboardModifier.NoModifier), (3, Qt.KeyboardModifier.ControlModifier)):
        rect = gallery.list.visualItemRect(gallery.list.item(i))
        qtbot.mouseClick(gallery.list.viewport(), Qt.MouseButton.LeftButton, modifier, rect.center())
    chosen = gallery.selected()
    assert len(chosen) == 2
    qtbot.keyClick(gallery.list, Qt.Key.Key_2)
    assert np.flatnonzero(dock.workspace.annotation.labels == 1).tolist() == sorted(chosen)
    shown = gallery.shown()
    screenshot("gallery-keys")
    qtbot.mouseClick(gallery.accept_all_button, Qt.MouseButton.LeftButton)
    assert np.flatnonzero(dock.workspace.annotation.labels >= 0).tolist() == sorted(shown)


def test_undo_takes_back_labels_classes_and_accepted_maps_also_with_the_map_selected(
    viewer: Any, dock: Any, qtbot: Any, mapped: Any, ihc_model: Path
) -> None:
    canvas(viewer).setFocus()
    press(viewer, Qt.Key.Key_1)
    name_classes(dock, "cells")
    dock.workspace.edit_classes(lambda annotation: annotation.add_class("debris"))
    dock.workspace.label([5], 2)
    dock.workspace.edit_classes(lambda annotation: annotation.merge_class(2, 1))
    show_map(dock, qtbot, ihc_model)
    for name in dock.map.classes.choices:
        dock.map.classes.choices[name].setCurrentIndex(0)
    dock.map.classes._answer()
    before = (dock.workspace.scheme.names, labels(dock))
    dock.label.files.map_button.click()
    assert all(label >= 0 for label in labels(dock))
    viewer.layers.selection.active = dock.map.map.layers[-1]
    press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert (dock.workspace.scheme.names, labels(dock)) == before, "the whole map in one step"
    for names in (
        ("cells", "class 2", "stained"), ("cells", "class 2"), ("cells", "class 2", "debris"),
        ("cells", "class 2", "debris"), ("cells", "class 2"), ("class 1", "class 2"),
    ):  # fmt: skip
        press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        assert dock.workspace.scheme.names == names
    assert labels(dock)[0] == 0
    press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert all(label == -1 for label in labels(dock))


def test_a_map_that_does_not_belong_to_what_is_shown_is_marked(
    viewer: Any, dock: Any, qtbot: Any, mapped: Any, ihc_model: Path
) -> None:
    dock.show_page("Classify field")
    show_map(dock, qtbot, ihc_model)
    assert not dock.map.state.outdated.text().startswith("This map")
    open_field(dock, qtbot, 2 * TILE)
    assert dock.map.state.outdated.text() == "This map is of tiles of 32 px; the grid has tiles of 64 px."
    assert dock.map.map.layers[0].name.endswith("(outdated)")
    open_field(dock, qtbot, TILE)
    assert not dock.map.map.layers[0].name.endswith("(outdated)")
    viewer.add_image(np.random.default_rng(0).integers(0, 255, (256, 256)).astype(np.uint8), name="another")
    qtbot.waitUntil(lambda: dock.workspace.source.name == "another")
    assert dock.map.state.outdated.text() == "This map is of another field than the one that is open."


def test_a_trained_model_makes_the_map_unless_the_one_shown_is_kept(
    viewer: Any, dock: Any, qtbot: Any, mapped: Any, ihc_model: Path, int8_model: Path
) -> None:
    dock.map.model_trained(ihc_model)
    qtbot.waitUntil(lambda: dock.workspace.predictions() is not None)
    qtbot.waitUntil(dock.map.run_button.isEnabled)
    table = dock.map.map.table
    dock.show_page("Classify field")
    dock.map.keep_map.setChecked(True)
    dock.map.model_trained(int8_model)
    qtbot.waitUntil(lambda: dock.map.model is not None and dock.map.model.path == int8_model)
    assert dock.map.map.table is table
    assert "not by the model that is chosen now" in dock.map.state.outdated.text()


def test_an_image_that_cannot_be_opened_takes_the_labels_and_counts_of_the_one_before_away(
    viewer: Any, dock: Any, qtbot: Any, mapped: Any, ihc_model: Path
) -> None:
    dock.show_page("Classify field")
    show_map(dock, qtbot, ihc_model)
    assert dock.map.results.isVisible()
    viewer.add_image(np.zeros((3, 64, 64), np.uint8), name="unclear")  # channels or planes?
    qtbot.waitUntil(lambda: dock.workspace.annotation is None)
    assert not dock.map.results.isVisible()
    assert not dock.header.chips.isVisible()
    assert "channels or planes" in dock.header.message.text()
