"""From a new image to a map of a model of one's own, in one dock; and what is left where napari is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from tests._patience import PROCESS_S

from napari_cellclass.core.interchange.tile_tables import read_table_csv
from napari_cellclass.core.labels.label_store import UNLABELLED
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.workspace.project import Project
from napari_cellclass.widgets.workspace.widget import CellClassWidget

TILE, SIDE = 32, 10


def write_field(path: Path) -> np.ndarray:
    """Write a field whose odd rows of tiles have spots; give the class of each tile."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(SIDE) % 2, SIDE)
    pixels = rng.normal(600, 60, (SIDE * TILE, SIDE * TILE))
    for row in range(1, SIDE, 2):
        y, x = rng.integers(row * TILE + 2, (row + 1) * TILE - 2, 300), rng.integers(2, SIDE * TILE - 2, 300)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                pixels[y + dy, x + dx] += 1500
    tifffile.imwrite(path, pixels.clip(0, 4095).astype(np.uint16))
    return truth


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


START = """
import sys, napari
from pathlib import Path
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
folder = Path(sys.argv[1])
def wait(condition):
    while not condition():
        QApplication.processEvents()
viewer = napari.Viewer()
viewer.open(str(folder / "field.tif"), plugin="napari")
_, dock = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
dock.header.tile_px.setValue(32)
wait(lambda: dock.workspace.annotation is not None and not dock.header.opening)
dock.header.project.create(folder / "study.cellproject")
wait(lambda: dock.workspace.session.shown is not None and not dock.header.opening)
native = viewer.window._qt_viewer.canvas.native
def label(n, keys):
    for i in range(n):
        QTest.keyClick(native, keys[i // 10 % len(keys)])
        QApplication.processEvents()
        print(i + 1, flush=True)
def click(button):
    wait(button.isEnabled)
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
maps = lambda: len(dock.workspace.session.project.maps)
"""

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


def kill_child(script: str, line: str, folder: Path, *words: str) -> None:
    """Run a script in a process of its own, and kill that once it has printed a line."""
    write_field(folder / "field.tif")
    environment = os.environ | {"XDG_DATA_HOME": str(folder / "data")}
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(folder), *words], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert child.stdout is not None
    seen = []
    for printed in child.stdout:
        seen.append(printed.strip())
        if seen[-1] == line:
            os.kill(child.pid, signal.SIGKILL)
            break
    child.wait(PROCESS_S)
    assert seen[-1:] == [line], "the script ended before"


def labels_of(project: Project) -> np.ndarray:
    """Give the labels of the one field of a project."""
    (field,) = project.fields
    grid = project.grid.lay(project.open_field(field.key).shape)
    return np.asarray(project.labels.annotation(field.image, grid).labels)


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
