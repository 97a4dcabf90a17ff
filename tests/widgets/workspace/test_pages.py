"""Header, Check page and command palette of the dock, in a real window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from tests._window_events import click
from tests._windows import open_field

from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.samples.realfield import ihc_field
from napari_cellclass.core.samples.synthetic import checkerboard_field
from napari_cellclass.core.workspace.project import Project
from napari_cellclass.core.workspace.recent import Recent

TILE = 32


@pytest.fixture(autouse=True)
def _own_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def wells(tmp_path: Path) -> list[Path]:
    """Write two sites of each of two wells."""
    folder = tmp_path / "plate"
    folder.mkdir()
    paths = [folder / f"B{well:02}_s{site}.tif" for well in (2, 3) for site in (1, 2)]
    for number, path in enumerate(paths):
        pixels = checkerboard_field(TILE, 3, 4)[0].copy()
        pixels[0, 0] += number
        tifffile.imwrite(path, pixels)
    return paths


def commands() -> dict[str, str]:
    """The ids of our entries of the command palette, by their titles."""
    from napari._app_model import get_app_model

    app = get_app_model()
    found = [item.command for item in app.menus.get_menu(app.menus.COMMAND_PALETTE_ID) if hasattr(item, "command")]
    return {one.title.removeprefix("Cell Class: "): one.id for one in found if one.title.startswith("Cell Class: ")}


def execute(title: str) -> None:
    from napari._app_model import get_app_model

    get_app_model().commands.execute_command(commands()[title]).result()


def test_groups_are_proposed_from_the_names_of_open_images_and_given_to_training(
    viewer: Any, dock: Any, qtbot: Any, wells: list[Path]
) -> None:
    assert not dock.header.groups.isVisible()
    for path in wells:
        viewer.open(str(path), plugin="napari")
    groups = dock.header.groups
    assert groups.isVisible()
    assert groups.choice.combo.currentText().startswith("2 wells: B02, B03; 2 ")
    assert groups.choice.combo.itemText(groups.choice.combo.count() - 1) == "regular expression …"
    for number in range(2):
        dock.header.images.choose([viewer.layers[f"B0{number + 2}_s1"]])
        open_field(dock, qtbot, TILE)
    viewer.open(str(wells[0].with_name("B02_s2.tif")), plugin="napari")
    own = groups.choice.combo.findText("each image by itself")
    groups.choice.combo.setCurrentIndex(own)
    assert dock.train.data.grouping.values() == {"group_by": None}


def test_a_projects_groups_are_its_rule(viewer: Any, dock: Any, qtbot: Any, wells: list[Path]) -> None:
    with Project.create(wells[0].with_name("p.cellproject"), ClassScheme(("a", "b")), TILE):
        pass
    dock.open_project(wells[0].with_name("p.cellproject"))
    qtbot.waitUntil(lambda: dock.workspace.session.project is not None)
    for path in wells:
        for layer in list(viewer.layers):
            viewer.layers.remove(layer)
        viewer.open(str(path), plugin="napari")
        open_field(dock, qtbot, TILE)
    project = dock.workspace.session.project
    assert [project.group_of(field) for field in project.fields] == ["B02", "B02", "B03", "B03"]
    choice = dock.header.groups.choice
    choice.combo.setCurrentIndex(choice.combo.findText("each image by itself"))
    assert project.rules.group_by is None
    assert dock.train.data.values() == {"data": project.path}


@pytest.mark.usefixtures("live")
def test_live_predictions_hold_out_what_the_project_groups_now_also_fields_opened_before_it(
    viewer: Any, dock: Any, qtbot: Any, wells: list[Path]
) -> None:
    def groups() -> list[str]:
        return sorted(features.group for _, features in dock.label.live.predictions.opened_fields())

    viewer.open(str(wells[0]), plugin="napari")
    open_field(dock, qtbot, TILE)
    assert groups() == [dock.workspace.source.image_id], "nothing else is known of it"
    with Project.create(wells[0].with_name("p.cellproject"), ClassScheme(("a", "b")), TILE):
        pass
    dock.open_project(wells[0].with_name("p.cellproject"))
    qtbot.waitUntil(lambda: dock.workspace.session.shown is not None and not dock.header.opening)
    for path in wells[1:]:
        for layer in list(viewer.layers):
            viewer.layers.remove(layer)
        viewer.open(str(path), plugin="napari")
        open_field(dock, qtbot, TILE)
    assert groups() == ["B02", "B02", "B03", "B03"], "those of earlier fields, too"
    assert sorted(one.group for one, _ in dock.label.live.predictions.opened_fields()) == groups()
    choice = dock.header.groups.choice
    choice.combo.setCurrentIndex(choice.combo.findText("each image by itself"))
    assert groups() == [path.name for path in wells]


def test_check_counts_labels_by_class_and_field_and_tells_what_is_hidden(
    viewer: Any, dock: Any, qtbot: Any, screenshot: Callable
) -> None:
    viewer.add_image(checkerboard_field(TILE, 8, 10)[0], name="field")
    open_field(dock, qtbot, TILE)
    dock.workspace.label([0, 1, 2], 0)
    dock.workspace.label([5, 6], 1)
    dock.workspace.label([7], -2)
    check = dock.show_page("Check")
    qtbot.waitUntil(lambda: check.table.rowCount() == 1)

    def row(number: int) -> dict[str, str]:
        headers = [check.table.horizontalHeaderItem(i).text() for i in range(check.table.columnCount())]
        return {name: check.table.item(number, i).text() for i, name in enumerate(headers)}

    assert row(0) == {
        "field": "field", "class 1": "3", "class 2": "2", "unsure": "1", "not labelled": "74",
        "hidden by tile size": "-",
    }  # fmt: skip
    assert check.labels.text() == "5 tiles of 1 field are labelled."
    assert check.score.text().startswith("There is no model yet")
    screenshot("check")


def check_results(dock: Any, check: Any, qtbot: Any, score: dict[str, Any]) -> None:
    """The window has the model's figure, and a picture of each tile whose label and map differ, which leads there."""
    qtbot.waitUntil(dock.map.run_button.isEnabled)
    dock.show_page("Classify field")
    click(qtbot, dock.map.run_button)
    qtbot.waitUntil(lambda: dock.workspace.predictions() is not None)
    table = dock.workspace.predictions()
    names = dock.workspace.annotation.scheme.names
    predicted = [names.index(name) for name in table.class_name[:4]]
    dock.workspace.label([0, 1], predicted[0])
    for tile in (2, 3):
        dock.workspace.label([tile], 1 - predicted[tile])
    agree = [tile for tile in (0, 1) if predicted[tile] != predicted[0]]
    dock.show_page("Check")
    click(qtbot, check.open_button)
    results = check.results
    assert f"{score['value']:.2f} (95 % CI" in check.window_of_results.headline.text()
    assert not check.window_of_results.summary.isVisible(), "it belongs into a dock"
    qtbot.waitUntil(lambda: len(results.sheet.captions()) == 2 + len(agree))
    assert {f"label: {names[1 - predicted[tile]]}" for tile in (2, 3)} <= {
        caption.partition("\n")[0] for caption in results.sheet.captions()
    }
    item = results.sheet.list.item(0)
    place = results.sheet.list.visualItemRect(item).center()
    viewport = results.sheet.list.viewport()
    qtbot.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=place)
    qtbot.mouseDClick(viewport, Qt.MouseButton.LeftButton, pos=place)
    assert dock.workspace.current_tile in (1, 2, 3)
    assert dock.workspace.current_tile == item.data(Qt.ItemDataRole.UserRole)


def test_check_says_how_good_the_model_is_with_interval_and_n_and_what_it_was_trained_on(
    viewer: Any, dock: Any, qtbot: Any, ihc_model: Path
) -> None:
    viewer.add_image(ihc_field().data, name="ihc", rgb=True)
    open_field(dock, qtbot, TILE)
    dock.map.set_model(ihc_model)
    qtbot.waitUntil(lambda: dock.map.model is not None)
    check = dock.show_page("Check")
    score = dock.map.model.evaluation()["validation"]["balanced_accuracy"]
    assert f"balanced accuracy {score['value']:.2f}" in check.score.text()
    assert "held-out tiles of" in check.score.text()
    assert "interval" in check.score.text()
    assert check.trained.isVisible()
    check_results(dock, check, qtbot, score)
    dock.show_page("Check")
    assert Recent().models == [ihc_model]
    dock.header.project.fill_menu()
    menus = {action.text(): action.menu() for action in dock.header.project.button.menu().actions() if action.menu()}
    assert [action.text() for action in menus["Recent models"].actions()] == [str(ihc_model)]
    check.buttons["Evaluate"].click()
    (evaluate,) = [one for one in QApplication.allWidgets() if getattr(one, "display_name", "") == "Evaluate"]
    qtbot.waitUntil(lambda: not evaluate.panel.running)


def test_the_command_palette_has_every_action_with_its_key_as_long_as_the_dock_is_open(
    viewer: Any, dock: Any, qtbot: Any
) -> None:
    viewer.add_image(checkerboard_field(TILE, 8, 10)[0], name="field")
    open_field(dock, qtbot, TILE)
    dock.workspace.edit_classes(lambda annotation: annotation.change_class(1, name="spots", key="s"))
    assert {"label the tile class 1 (1)", "label the tile spots (s)", "undo (Ctrl+Z)", "train", "run the map"} <= set(
        commands()
    )
    execute("label the tile spots (s)")
    assert dock.workspace.annotation.labels[0] == 1
    execute("previous tile, to the left (Left)")
    assert dock.workspace.current_tile == 0
    execute("undo (Ctrl+Z)")
    assert (np.asarray(dock.workspace.annotation.labels) == -1).all()
    viewer.window.remove_dock_widget("all")
    assert commands() == {}
    dock.workspace.classes_changed.emit()  # as from a field whose opening ends only now
    assert commands() == {}


def test_a_window_that_is_closed_with_the_dock_open_leaves_nothing_in_the_command_palette(
    own_viewer: Any, qtbot: Any
) -> None:
    before = commands()
    _, dock = own_viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
    qtbot.waitUntil(lambda: dock.filled)
    assert set(commands()) > set(before)
    own_viewer.close()
    qtbot.waitUntil(lambda: commands() == before)
