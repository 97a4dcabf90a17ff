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

from napari_cellclass.core.labels.label_store import UNLABELLED
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


CHILD = """
import sys, napari
from pathlib import Path
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
folder = Path(sys.argv[1])
viewer = napari.Viewer()
viewer.open(str(folder / "field.tif"), plugin="napari")
_, dock = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
dock.header.tile_px.setValue(32)
while dock.workspace.annotation is None or dock.header.opening:
    QApplication.processEvents()
dock.header.project.create(folder / "study.cellproject")
while dock.workspace.session.shown is None or dock.header.opening:
    QApplication.processEvents()
native = viewer.window._qt_viewer.canvas.native
for i in range(90):
    QTest.keyClick(native, Qt.Key.Key_1)
    QApplication.processEvents()
    print(i + 1, flush=True)
"""


@pytest.mark.gui
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("kill_after", [1, 37])
def test_a_project_whose_napari_was_killed_opens_with_all_but_the_label_in_flight(
    tmp_path: Path, kill_after: int
) -> None:
    write_field(tmp_path / "field.tif")
    environment = os.environ | {"XDG_DATA_HOME": str(tmp_path / "data")}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == str(kill_after):
            os.kill(child.pid, signal.SIGKILL)
            break
    child.wait(PROCESS_S)
    with Project.open(tmp_path / "study.cellproject") as project:
        (field,) = project.fields
        assert field.path == tmp_path / "field.tif"
        grid = project.grid.lay(project.open_field(field.key).shape)
        labels = np.asarray(project.labels.annotation(field.image, grid).labels)
    assert kill_after <= (labels != UNLABELLED).sum() <= kill_after + 1
