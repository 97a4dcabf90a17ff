"""From a new image to a map of a model of one's own, in one dock; and what is left where napari is killed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import Qt
from tests._killed import SIDE, START, TILE, kill_child, labels_of, write_field

from napari_cellclass.core.interchange.tile_tables import read_table_csv
from napari_cellclass.core.labels.label_store import UNLABELLED
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.workspace.project import Project
from napari_cellclass.widgets.workspace.widget import CellClassWidget


@pytest.mark.usefixtures("forked_children")
@pytest.mark.training
def test_eight_actions_lead_from_a_new_image_to_a_trained_map(
    viewer: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, screenshot: Callable
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    truth = write_field(tmp_path / "field.tif")
    actions: list[str] = []

    def act(what: str, action: Callable[[], object]) -> None:
        actions.append(what)
        action()

    act("open the image", lambda: viewer.open(str(tmp_path / "field.tif"), plugin="napari"))
    act(
        "open the dock",
        lambda: viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class"),
    )
    (dock,) = viewer.window._qt_window.findChildren(CellClassWidget)
    qtbot.waitUntil(lambda: dock.workspace.annotation is not None and not dock.header.opening)
    act("choose the tile size", lambda: dock.header.tile_px.setValue(TILE))
    qtbot.waitUntil(lambda: not dock.header.opening)
    native = viewer.window._qt_viewer.canvas.native
    act("click the canvas", native.setFocus)
    for tile in range(6 * SIDE):  # the labels
        assert dock.workspace.current_tile == tile
        qtbot.keyClick(native, (Qt.Key.Key_1, Qt.Key.Key_2)[truth[tile]])
    act("the page Train", lambda: dock.pages.setCurrentWidget(dock.train))
    dock.train.form.fields["epochs"].tick.setChecked(False)  # the test has less patience than a user
    dock.train.form.fields["epochs"].field.value = 2
    act("press Train", lambda: qtbot.mouseClick(dock.train.train_button, Qt.MouseButton.LeftButton))
    qtbot.waitUntil(lambda: dock.workspace.predictions() is not None)
    qtbot.waitUntil(dock.map.run_button.isEnabled)
    assert len(actions) <= 8, actions
    assert len(viewer.window._wrapped_dock_widgets) == 1
    assert len(dock.workspace.predictions()) == SIDE * SIDE
    assert not dock.map.state.outdated.text().startswith("This map")
    assert "trained on tiles of this field" in dock.map.state.outdated.text()
    screenshot("first-map")


LABEL = START + "label(90, [Qt.Key.Key_1])"

WORK = (
    START
    + """
label(60, [Qt.Key.Key_1, Qt.Key.Key_2])
dock.pages.setCurrentWidget(dock.train)
dock.train.form.fields["network"].value = "compact"
dock.train.form.fields["epochs"].value = 2
click(dock.train.train_button)
wait(lambda: maps() == 1)
if sys.argv[2] == "map":
    dock.header.overlap.setValue(0.9)
    click(dock.map.run_button)
    wait(lambda: dock.map.bar.value() > 0)
else:
    dock.train.form.fields["epochs"].value = 500
    click(dock.train.train_button)
    wait(lambda: dock.train.progress.has_epochs and dock.train.training)
print("working", flush=True)
wait(lambda: False)
"""
)


@pytest.mark.gui
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("kill_after", [1, 37])
def test_a_project_whose_napari_was_killed_opens_with_all_but_the_label_in_flight(
    tmp_path: Path, kill_after: int
) -> None:
    kill_child(LABEL, str(kill_after), tmp_path)
    with Project.open(tmp_path / "study.cellproject") as project:
        assert project.fields[0].path == tmp_path / "field.tif"
        labels = labels_of(project)
    assert kill_after <= (labels != UNLABELLED).sum() <= kill_after + 1


@pytest.mark.gui
@pytest.mark.training
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("work", ["map", "training"])
def test_a_project_whose_napari_was_killed_at_work_has_its_labels_and_what_was_finished(
    tmp_path: Path, work: str
) -> None:
    kill_child(WORK, "working", tmp_path, work)
    with Project.open(tmp_path / "study.cellproject") as project:
        assert (labels_of(project) != UNLABELLED).sum() == 60
        (version,) = project.models
        assert open_bundle(version.path).model_id == version.model_id
        (record,) = project.maps
        assert record.model_id == version.model_id
        shape = project.open_field(record.field).shape
        assert len(read_table_csv(record.path, shape)) == SIDE * SIDE
