"""A napari in a process of its own that is killed at work, with a project of one field."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import tifffile
from tests._patience import PROCESS_S

from napari_cellclass.core.workspace.project import Project

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


def kill_child(script: str, line: str, folder: Path, *words: str) -> None:
    """Run a script in a process of its own, and kill that once it has printed a line."""
    write_field(folder / "field.tif")
    environment = os.environ | {"XDG_DATA_HOME": str(folder / "data"), "XDG_CACHE_HOME": str(folder / "cache")}
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(folder), *words], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert child.stdout is not None
    seen = []
    for printed in child.stdout:
        seen.append(printed.strip())
        if seen[-1] == line:
            others = psutil.Process(child.pid).children(recursive=True)
            os.kill(child.pid, signal.SIGKILL)
            break
    child.wait(PROCESS_S)
    assert seen[-1:] == [line], "the script ended before"
    assert not psutil.wait_procs(others, PROCESS_S)[1], "what it had started goes on without it"


def labels_of(project: Project) -> np.ndarray:
    """Give the labels of the one field of a project."""
    (field,) = project.fields
    grid = project.grid.lay(project.open_field(field.key).shape)
    return np.asarray(project.labels.annotation(field.image, grid).labels)
