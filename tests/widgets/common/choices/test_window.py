"""What forms share, in a real window: groups chosen from a list, channels shown or asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget
from tests._window_events import click
from tests._windows import open_field

from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.common.layers import image_from_layers
from napari_cellclass.widgets.common.choices.channel_line import ChannelLine
from napari_cellclass.widgets.common.choices.data_choice import DataChoice
from napari_cellclass.widgets.common.choices.group_choice import GroupChoice
from napari_cellclass.widgets.common.choices.layer_choice import ImageChoice

WELLS = "3 wells: O05, O07, O12; 2 sites each"


def dock(viewer: Any, qtbot: Any, *widgets: QWidget) -> QWidget:
    """Dock widgets below one another."""
    page = QWidget()
    column = QVBoxLayout(page)
    for widget in widgets:
        column.addWidget(widget)
    viewer.window.add_dock_widget(page, name=f"page {len(viewer.window._wrapped_dock_widgets)}")
    qtbot.waitUntil(page.isVisible)
    return page


def pick(qtbot: Any, combo: QComboBox, text: str) -> None:
    """Choose an entry of a combo box with the keyboard."""
    qtbot.keyClick(combo, Qt.Key.Key_Home)
    for _ in range(combo.findText(text)):
        qtbot.keyClick(combo, Qt.Key.Key_Down)
    assert combo.currentText() == text


def test_a_grouping_that_is_too_long_for_its_line_ends_with_an_ellipsis_and_is_whole_in_the_tip(
    viewer: Any, qtbot: Any
) -> None:
    groups = GroupChoice()
    page = dock(viewer, qtbot, groups)
    groups.offer_names([f"O{well:02d}f0{site}.tif" for well in (5, 7, 12) for site in range(2)])
    groups.value = groups.combo.itemData(groups.combo.findText(WELLS))
    groups.combo.setFixedWidth(400)
    qtbot.waitUntil(lambda: groups.combo.shown_text() == WELLS)
    groups.combo.setFixedWidth(140)
    qtbot.waitUntil(lambda: groups.combo.shown_text() != WELLS)
    shown = groups.combo.shown_text()
    assert shown.endswith("…")
    assert WELLS.startswith(shown[:-1].rstrip())
    assert groups.combo.fontMetrics().horizontalAdvance(shown) < 140
    assert WELLS in groups.combo.toolTip()
    page.grab()  # it can be drawn


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "puncta/O05f00",
        "puncta/O05f01",
        "puncta/O07f00",
        "puncta/O07f01",
        "diffuse/O12f00",
        "diffuse/O12f01",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.fixture
def data(viewer: Any, qtbot: Any) -> DataChoice:
    choice = DataChoice(viewer)
    dock(viewer, qtbot, choice)
    return choice


def groups_of(data: DataChoice) -> GroupChoice:
    groups: GroupChoice = data.grouping.fields["group_by"]
    return groups


def test_groups_are_chosen_from_sentences_and_a_regular_expression_comes_last(
    data: DataChoice, qtbot: Any, folder: Path
) -> None:
    groups = groups_of(data)
    data.folder.line_edit.native.setText(str(folder))
    qtbot.waitUntil(lambda: groups.combo.findText(WELLS) == 0)
    entries = [groups.combo.itemText(i) for i in range(groups.combo.count())]
    assert entries == [WELLS, "each image by itself", "regular expression …"]
    assert data.values()["group_by"] is None
    pick(qtbot, groups.combo, WELLS)
    assert data.values()["group_by"] == r"^([A-P]\d+)"
    assert not groups.native.isVisible()
    assert WELLS in groups.combo.toolTip()
    pick(qtbot, groups.combo, "regular expression …")
    qtbot.waitUntil(groups.native.isVisible)
    qtbot.keyClicks(groups.native, "f(..)")
    assert data.values()["group_by"] == "f(..)"
    pick(qtbot, groups.combo, "each image by itself")
    assert data.values()["group_by"] is None
    assert not groups.native.isVisible()


def test_what_was_chosen_stays_chosen_when_other_images_are_chosen(
    data: DataChoice, qtbot: Any, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    groups = groups_of(data)
    data.folder.line_edit.native.setText(str(folder))
    qtbot.waitUntil(lambda: groups.combo.count() == 3)
    pick(qtbot, groups.combo, WELLS)
    empty = tmp_path_factory.mktemp("empty")
    data.folder.line_edit.native.setText(str(empty))
    qtbot.waitUntil(lambda: groups.combo.count() == 2)
    assert groups.value is None
    data.folder.line_edit.native.setText(str(folder))
    qtbot.waitUntil(lambda: groups.combo.count() == 3)
    assert groups.combo.currentText() == WELLS
    groups.value = "(f)"
    data.folder.line_edit.native.setText(str(empty))
    qtbot.waitUntil(lambda: groups.combo.count() == 2)
    assert groups.value == "(f)"


@pytest.mark.parametrize("pattern", [None, "", r"^([A-P]\d+)", "(f0)"])
def test_a_pattern_of_saved_settings_is_shown_in_the_list_or_in_the_field(
    data: DataChoice, qtbot: Any, folder: Path, pattern: str | None
) -> None:
    groups = groups_of(data)
    data.choose_folder(folder, 8, pattern)
    qtbot.waitUntil(lambda: groups.combo.findText(WELLS) == 0)
    assert data.values()["group_by"] == (pattern or None)
    assert groups.native.isVisible() == (pattern == "(f0)")


def test_annotated_layers_are_grouped_by_the_names_of_their_images(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    grid = TileGrid.regular((8, 8), 4)
    for name in ("O05f00", "O05f01", "O07f00", "O07f01"):
        image = ImageKey(f"id of {name}", name)
        layer = viewer.add_shapes(name=name)
        layer.metadata["napari_cellclass"] = {
            "kind": "annotation",
            "annotation": Annotation(image, grid, ClassScheme(("a", "b")), Journal(tmp_path)),
        }
    data = DataChoice(viewer)
    dock(viewer, qtbot, data)
    assert groups_of(data).combo.itemText(0) == "2 wells: O05, O07; 2 sites each"


@pytest.fixture
def line(viewer: Any, qtbot: Any) -> ChannelLine:
    images = ImageChoice(viewer)
    viewer.layers.events.inserted.connect(images.refresh)
    line = ChannelLine(images)
    dock(viewer, qtbot, images, line)
    yield line
    viewer.layers.events.inserted.disconnect(images.refresh)


def test_channels_are_shown_by_name(viewer: Any, line: ChannelLine) -> None:
    viewer.add_image(np.zeros((20, 30), np.uint8), name="one")
    assert line.text.text() == "1 channel"
    viewer.add_image(np.zeros((2, 20, 30), np.uint8), name="two", axis_labels=("c", "y", "x"))
    assert line.text.text() == "2 channels"
    assert not any(button.isVisible() for button in line.buttons)


@pytest.mark.parametrize(("number", "channels"), [(0, 2), (1, 1)])
def test_an_unclear_axis_is_asked_once_with_a_button_for_each_answer(
    viewer: Any, qtbot: Any, line: ChannelLine, number: int, channels: int
) -> None:
    other = ChannelLine(line._images)
    dock(viewer, qtbot, other)
    layer = viewer.add_image(np.zeros((2, 20, 30), np.uint8), name="cells")
    assert line.text.text() == "The axis of length 2 of cells: channels or planes?"
    assert [button.text() for button in line.buttons] == ["channels", "planes"]
    with qtbot.waitSignal(line.answered):
        click(qtbot, line.buttons[number])
    for one in (line, other):
        assert one.text.text() == ("2 channels" if channels == 2 else "1 channel")
        assert not any(button.isVisible() for button in one.buttons)
    assert image_from_layers([layer]).channels == channels


def test_a_wrong_answer_can_be_changed(viewer: Any, qtbot: Any, line: ChannelLine) -> None:
    layer = viewer.add_image(np.zeros((2, 20, 30), np.uint8), name="cells", metadata={"mine": 1})
    assert not line.again.isVisible()
    click(qtbot, line.buttons[0])
    click(qtbot, line.again)
    assert line.question is not None
    assert not line.again.isVisible()
    assert layer.metadata == {"mine": 1}
    click(qtbot, line.buttons[1])
    assert line.text.text() == "1 channel"


def test_the_layers_of_all_channels_are_ticked_together(viewer: Any, line: ChannelLine) -> None:
    viewer.add_image(np.zeros((20, 30), np.uint8), name="before")
    layers = viewer.add_image(np.zeros((2, 20, 30), np.uint8), channel_axis=0, name=["cells GFP", "cells DNA"])
    assert line._images.chosen() == layers
    assert line.text.text() == "channels: GFP, DNA (of one image: their names differ by channel alone)"
    other = viewer.add_image(np.zeros((20, 30), np.uint8), name="after")
    assert line._images.chosen() == [other]


def test_a_model_of_other_channels_is_told_in_one_line(viewer: Any, line: ChannelLine) -> None:
    viewer.add_image(np.zeros((2, 20, 30), np.uint8), axis_labels=("c", "y", "x"))
    line.expect(1)
    assert line.text.text() == "2 channels; the model takes 1 channel"
    line.expect(2)
    assert line.text.text() == "2 channels"


def test_two_ticked_fields_are_asked_about(viewer: Any, qtbot: Any, line: ChannelLine) -> None:
    for name in ("O05f00", "O05f01"):
        viewer.add_image(np.zeros((20, 30), np.uint8), name=name)
    line._images.item(0).setCheckState(Qt.CheckState.Checked)
    assert line.text.text() == "O05f00 and O05f01: channels of one image or 2 fields?"
    click(qtbot, line.buttons[0])
    assert line.text.text() == "channels: O05f00, O05f01 (of one image: they lie on each other)"


def test_the_dock_asks_about_an_unclear_axis_and_opens_the_field_once_it_is_answered(
    viewer: Any, dock: Any, qtbot: Any
) -> None:
    viewer.add_image(np.zeros((3, 40, 40), np.uint8), name="cells")
    line = dock.header.channels
    qtbot.waitUntil(line.isVisible)
    assert line.text.text() == "The axis of length 3 of cells: channels or planes?"
    qtbot.waitUntil(lambda: not dock.header.opening)
    assert dock.workspace.annotation is None
    click(qtbot, line.buttons[0])
    assert line.text.text() == "3 channels"
    open_field(dock, qtbot)
    assert dock.workspace.source.channels == 3
