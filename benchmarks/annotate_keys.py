"""Time how long a key takes to paint its label on a grid of 10 000 tiles.

Printed are the median and 99th percentile of a key press, from the event to the canvas drawn, beside the
plain way of showing a label in napari: giving all rectangles of a Shapes layer their face colours. Then how many
mouse-move events a second painting by drag keeps up with.

    sh scripts/xvfb.sh .venv/bin/python benchmarks/annotate_keys.py
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from napari.layers import Shapes
from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from _stalls import wait
from napari_cellclass.core.samples.synthetic import checkerboard_field

_SIDE, _TILE_PX, _PRESSES, _MOVES = 100, 16, 300, 300


def timed(action: Callable[[int], object], n: int) -> np.ndarray:
    """Time an action and the drawing that follows, in ms."""
    times = []
    for i in range(n):
        start = time.perf_counter()
        action(i)
        QApplication.processEvents()
        times.append(1000 * (time.perf_counter() - start))
    return np.array(times)


def line(name: str, ms: np.ndarray) -> str:
    """Say median and 99th percentile."""
    return f"{name:34s} median {np.median(ms):7.1f} ms, 99 % under {np.percentile(ms, 99):7.1f} ms, n = {len(ms)}"


def move(native: Any, x: float, y: float, kind: Any) -> None:
    """Send a mouse event with the left button held."""
    point = QPointF(x, y)
    button = Qt.MouseButton.NoButton if kind == QMouseEvent.Type.MouseMove else Qt.MouseButton.LeftButton
    held = Qt.MouseButton.NoButton if kind == QMouseEvent.Type.MouseButtonRelease else Qt.MouseButton.LeftButton
    none = Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(native, QMouseEvent(kind, point, native.mapToGlobal(point), button, held, none))


def main() -> None:
    """Print the times."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder
        import napari

        viewer = napari.Viewer()
        viewer.add_image(checkerboard_field(_TILE_PX, _SIDE, _SIDE)[0], name="field")
        _, dock = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
        dock.header.tile_px.setValue(_TILE_PX)
        work = dock.workspace
        wait(lambda: not dock.header.opening and work.annotation is not None)
        native = viewer.window._qt_viewer.canvas.native
        keys = (Qt.Key.Key_1, Qt.Key.Key_2)
        timed(lambda i: QTest.keyClick(native, keys[i % 2]), 20)
        ours = timed(lambda i: QTest.keyClick(native, keys[i % 2]), _PRESSES)
        assert (work.annotation.labels >= 0).sum() == _PRESSES + 20
        work.set_brush(True)
        width, height = native.width(), native.height()
        move(native, 20, height / 2, QMouseEvent.Type.MouseButtonPress)
        drag = timed(
            lambda i: move(native, 20 + (width - 40) * i / _MOVES, height / 2, QMouseEvent.Type.MouseMove), _MOVES
        )
        move(native, width - 20, height / 2, QMouseEvent.Type.MouseButtonRelease)
        work.layers.remove()
        plain = Shapes(list(work.annotation.grid.rects()), shape_type="rectangle", edge_width=0)
        viewer.add_layer(plain)
        QApplication.processEvents()
        colours = np.random.default_rng(0).random((_SIDE * _SIDE, 4)).astype(np.float32)

        def recolour(i: int) -> None:
            colours[i] = 1.0
            plain.face_color = colours

        theirs = timed(recolour, 10)
        print(line("a key press, 10 000 tiles", ours))
        print(line("all face colours of a Shapes layer", theirs))
        print(f"ratio of medians: {np.median(theirs) / np.median(ours):.0f}")
        print(line("a mouse move while painting", drag))
        print(f"painting keeps up with {1000 / np.mean(drag):.0f} mouse moves a second")
        viewer.close()


if __name__ == "__main__":
    main()
