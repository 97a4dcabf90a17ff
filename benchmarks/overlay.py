"""Time the map of a field in a real window, from 10 000 to 1 000 000 tiles, beside plain napari operations.

Every time ends when the event loop has drawn what it had to draw. The tables are synthetic; software OpenGL.

    sh scripts/xvfb.sh .venv/bin/python benchmarks/overlay.py
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Labels, Shapes
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtWidgets import QApplication

from _results import markdown, write_section
from _stalls import wait
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.common.map_view import FieldLayer, build_map, warm_up
from napari_cellclass.viewer.common.overlay import MAX_SHAPES
from napari_cellclass.viewer.features.live import LiveMap

HERE = Path(__file__).parent
_TILE_PX = 4
ABOUT = """`sh scripts/xvfb.sh python benchmarks/overlay.py`. Median of n, from the call until the window is
drawn, software OpenGL, {cores} cores. *plain napari* is the operation of napari that comes nearest, in the same window:
{plain}."""
Row = tuple[str, str, np.ndarray, str, np.ndarray | None]


def timed(action: Callable[[int], object], n: int, undo: Callable[[], object] | None = None) -> np.ndarray:
    """Time an action and the drawing that follows, in ms; ``undo`` is not timed."""
    times = []
    for i in range(n):
        start = time.perf_counter()
        action(i)
        QApplication.processEvents()
        times.append(1000 * (time.perf_counter() - start))
        if undo is not None:
            undo()
            QApplication.processEvents()
    return np.array(times)


def synthetic(side: int, seed: int = 0) -> TileTable:
    """Make a table of ``side`` squared tiles."""
    grid = TileGrid.regular((side * _TILE_PX, side * _TILE_PX), _TILE_PX)
    prob = np.random.default_rng(seed).random((len(grid), 3), np.float32)
    return TileTable(grid, ClassScheme(("a", "b", "c")), prob / prob.sum(axis=1, keepdims=True))


class Bench:
    """One size of map in one viewer."""

    def __init__(self, viewer: Any, widget: Any, side: int, n: int) -> None:
        self.viewer, self.widget, self.side, self.n = viewer, widget, side, n
        pixels = np.zeros((side * _TILE_PX, side * _TILE_PX), np.uint8)
        pixels[0, 0] = side % 251
        self.image = viewer.add_image(pixels, name=f"field {side}")
        self.source, self.field_layer = SourceImage(pixels[..., None]), FieldLayer.of(self.image)
        self.source.identify()
        viewer.reset_view()
        QApplication.processEvents()
        self.name = f"{side * side:,} tiles"

    def show(self, table: TileTable) -> None:
        """Do what follows the last result of a run."""
        shown = self.widget.map.current if self.widget.map.is_in_viewer() else None
        self.widget.map.show(build_map(table, self.source, self.field_layer, self.widget.map.style, shown))
        self.widget._source = self.source
        self.widget.results.show_map(self.source)

    def clear(self) -> None:
        """Take all but the image away."""
        for layer in [layer for layer in self.viewer.layers if layer is not self.image]:
            self.viewer.layers.remove(layer)

    def rows(self) -> list[Row]:
        """Measure."""
        tables = [synthetic(self.side, seed) for seed in range(self.n)]
        shapes = self.side**2 <= MAX_SHAPES
        plain = timed(lambda i: self.viewer.add_layer(self.plain(tables[i], shapes)), self.n, self.clear)
        first = timed(lambda i: self.show(synthetic(self.side, i)), self.n, self.clear)
        found: list[Row] = [(self.name, "table to map on screen", first, "add a layer of the same tiles", plain)]
        layer = self.plain(tables[0], shapes)
        self.viewer.add_layer(layer)
        values = (
            [np.asarray(layer.data).copy() for _ in range(2)]
            if not shapes
            else [np.random.default_rng(0).random((self.side**2, 4))] * 2
        )
        name = "face_color" if shapes else "data"
        setting = timed(lambda i: setattr(layer, name, values[i % 2]), self.n)
        bare = self.moves()
        self.clear()
        self.show(tables[0])
        QApplication.processEvents()
        slider = self.widget.results.threshold
        moved = timed(lambda i: slider.setValue(30 + 5 * i), self.n)
        slider.setValue(0)
        found.append((self.name, "threshold moved, counts told", moved, f"set {name}", setting))
        found += [(self.name, what, ours, f"{what}, plain layer", bare[what]) for what, ours in self.moves().items()]
        found += [self.settling(), self.hovering(tables[0]), self.relabelling()]
        if not shapes:
            found.append(self.painting(tables[0], setting))
        self.clear()
        self.viewer.layers.remove(self.image)
        return found

    def plain(self, table: TileTable, shapes: bool) -> Any:
        """Make the layer that a script would make of a table."""
        colours = {None: "black", 0: "black", 1: "red", 2: "green", 3: "blue"}
        if not shapes:
            data = (table.class_index + 1).reshape(table.grid.grid_shape).astype(np.uint8)
            return Labels(data, scale=(_TILE_PX, _TILE_PX), colormap=DirectLabelColormap(color_dict=colours))
        face = np.array([[1, 0, 0, 0.4], [0, 1, 0, 0.4], [0, 0, 1, 0.4]])[table.class_index]
        return Shapes(list(table.grid.rects()), shape_type="rectangle", face_color=face, edge_width=0.5)

    def moves(self) -> dict[str, np.ndarray]:
        """Pan, and zoom, as a wheel or a drag does step by step."""
        camera = self.viewer.scene.camera
        middle = self.side * _TILE_PX / 2
        pan = timed(lambda i: setattr(camera, "center", (0, middle + i, middle + i)), 4 * self.n)
        zoom = timed(lambda i: setattr(camera, "zoom", camera.zoom * (1.05 if i % 4 < 2 else 1 / 1.05)), 4 * self.n)
        return {"a step of panning": pan, "a step of zooming": zoom}

    def settling(self) -> Row:
        """Text and outlines, when the view has come to rest with legible tiles."""
        camera = self.viewer.scene.camera
        before = camera.zoom
        camera.zoom = 20

        def settle(i: int) -> None:
            camera.center = (0, 100 + 40 * i, 100)
            self.widget.map.refresh_view()

        times = timed(settle, self.n)
        camera.zoom = before
        return self.name, "view at rest: text and outlines", times, "", None

    def hovering(self, table: TileTable) -> Row:
        """Ask the status bar under a moved mouse."""
        layer = self.widget.map.layers[-1]
        return self.name, "class under the mouse", timed(
            lambda i: layer.get_status((10 + i, 20), world=True), 4 * self.n
        ), "", None  # fmt: skip

    def relabelling(self) -> Row:
        """Press a class's key on a clicked tile, from the event to the label drawn; it is on disk then."""
        work = self.widget.workspace
        wait(lambda: work.annotation is not None)
        work.watch_map(self.widget.map.layers)
        keys = work.keys()

        def label(i: int) -> None:
            work.go_to(10 + i, follow=False)
            keys[str(1 + i % 2)]()

        label(0)
        QApplication.processEvents()
        return self.name, "a tile clicked and relabelled", timed(label, 4 * self.n), "", None

    def painting(self, table: TileTable, setting: np.ndarray) -> Row:
        """Paint what is finished in a quarter of a second at 10 000 tiles/s while the rest is classified."""
        live = LiveMap(self.viewer, self.widget.map, self.field_layer)
        live.create_layer(table.grid, table.scheme)

        def paint(i: int) -> None:
            places = np.arange(2500 * i, 2500 * (i + 1))
            live.add(places, table.prob[places])
            live.paint()

        paint(4 * self.n)
        QApplication.processEvents()
        times = timed(paint, 4 * self.n)
        live.remove()
        return self.name, "2 500 finished tiles painted", times, "set data", setting


def main() -> None:
    """Measure, print, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("-n", type=int, default=5)
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder
        import napari

        viewer = napari.Viewer()
        _, dock = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
        widget = dock.show_page("Classify field")
        warm_up()
        rows = [row for side in given.sides for row in Bench(viewer, widget, side, given.n).rows()]
        empty = timed(lambda i: setattr(viewer.scene.camera, "center", (0, i, i)), 20)
        viewer.close()
    frame = pd.DataFrame(
        [
            {
                "map": name, "what": what, "ms": f"{np.median(ours):.0f}", "worst": f"{ours.max():.0f}", "n": len(ours),
                "plain napari": "" if theirs is None else f"{np.median(theirs):.0f} ({label})",
                "ratio": "" if theirs is None else f"{np.median(ours) / np.median(theirs):.2f}",
            }
            for name, what, ours, label, theirs in rows
        ]
    )  # fmt: skip
    plain = f"a frame of an empty window takes {np.median(empty):.0f} ms"
    write_section(
        given.out,
        "The map of a field",
        f"{ABOUT.format(cores=len(os.sched_getaffinity(0)), plain=plain)}\n\n{markdown(frame)}",
    )
    print(markdown(frame), plain, sep="\n")


if __name__ == "__main__":
    main()
