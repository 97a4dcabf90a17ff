"""Time the scatter plot of 100 000 tiles in a real window, and compare labelling by lasso with one key a tile.

In the window: a field of 320 x 313 tiles whose features are drawn at random, as only their number matters here. Timed
from the event until map and plot are drawn: a lasso around 1 000 points to the outline of their tiles, a selection of
1 000 tiles on the map to their points lit up, new colours, and a step of moving the plot; beside it what vispy's own
markers take for the last two.

Labelling is simulated on transfluor, tiles of 64 px, in cross-validation over wells. By lasso, the
simulated user draws around so many neighbouring points without a label, looks at eight of their tiles, and presses the
key of their class if all eight have the same; else nothing is labelled. Its labels are therefore not all right. By key,
each tile that is suggested gets its class, without mistakes. Human time is assumed, not measured: 6 s for a lasso with
the look at its tiles, also where nothing was labelled then, and 1 s for a tile with its key; the time of the program is
measured and added.

    sh scripts/xvfb.sh .venv/bin/python benchmarks/scatter.py --data ../shared/data [--seeds 20]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Where other programs keep the cores busy, the threads of small fits wait for one another; read by NumPy at its import.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from _results import markdown, write_section

_ROWS, _COLUMNS, _TILE_PX, _LASSO = 320, 313, 4, 1000
_FEATURES = 50  # of each tile in the window
_LASSO_S, _KEY_S, _LOOKED_AT = 6.0, 1.0, 8
_SIZES, _LASSOS, _LABELLING_PX = (20, 40, 80), 10, 64
_FIT_EVERY = 120  # keys after which a session by key is fitted only at every tenth, to end in time
_HELD_OUT = (("O05", "O12", "O14"), ("O07", "O16", "O18"))
ABOUT = """`sh scripts/xvfb.sh python benchmarks/scatter.py --data DATA --seeds {seeds}`. {tiles:,} tiles in one window,
software OpenGL, {cores} cores shared with other work (load {load:.0f}). Milliseconds from the event until map and plot
are drawn, n = {n}; *computed* is the time
of all threads of the process, which draw too: it does not depend on what else runs."""
LABELLING = """Labelling, simulated on transfluor: {folds} folds of held-out wells, {seeds} sessions each, {lassos}
lassos a session; means. Human time is a model: {lasso:g} s for a lasso, {key:g} s for a key; the measured time of the
program is added: {lasso_ms:.0f} ms for a lasso with its fit, {key_ms:.0f} ms for a key with its fit. *Same time* and
*same labels* are sessions by key that end after as much time, or as many labels. Accuracy is balanced, on the tiles of
the held-out wells."""


def main() -> None:
    """Print the figures, and write them to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--n", type=int, default=20, help="repetitions in the window")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = os.environ["XDG_CACHE_HOME"] = folder
        window, lasso_ms = measure(options.n)
    print(window.to_string(index=False), flush=True)
    sessions, fit_ms = label(options.data, options.seeds, lasso_ms)
    print(sessions.to_string(index=False))
    about = ABOUT.format(
        seeds=options.seeds, tiles=_ROWS * _COLUMNS, cores=os.cpu_count(), n=options.n, load=os.getloadavg()[0]
    )
    labelling = LABELLING.format(
        folds=len(_HELD_OUT), seeds=options.seeds, lassos=_LASSOS, lasso=_LASSO_S, key=_KEY_S,
        lasso_ms=lasso_ms + fit_ms, key_ms=fit_ms,
    )  # fmt: skip
    text = "\n\n".join([about, markdown(window), labelling, markdown(sessions)])
    write_section(options.out, f"Scatter plot, {_ROWS * _COLUMNS:,} tiles", text)


# -- in a window -----------------------------------------------------------------------------------


def open_plot() -> tuple[Any, Any, Any, tuple[str, str, str, str]]:
    """Open a window with the plot of all tiles; give viewer, dock and plot, and the row of how long that took."""
    import napari
    from qtpy.QtWidgets import QApplication

    from _stalls import Stalls, wait
    from napari_cellclass.runs.live.features import LiveExtractor

    def iterate(self: Any, source: Any, grid: Any, order: NDArray[np.int64], task: Any = None) -> Any:
        rng = np.random.default_rng(0)
        columns = sum(self.columns)
        for start in range(0, len(order), 4096):
            part = order[start : start + 4096]
            few = rng.normal(size=(len(part), _FEATURES)).astype(np.float32) * np.geomspace(3, 0.3, _FEATURES)
            yield part, np.pad(few, ((0, 0), (0, columns - _FEATURES))).astype(np.float32)

    LiveExtractor.iterate = iterate  # type: ignore[method-assign]
    viewer = napari.Viewer()
    viewer.window._qt_window.resize(1600, 1000)
    pixels = np.random.default_rng(0).integers(0, 255, (_ROWS * _TILE_PX, _COLUMNS * _TILE_PX)).astype(np.uint8)
    viewer.add_image(pixels, name="field")
    _, dock = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
    dock.header.tile_px.setValue(_TILE_PX)
    wait(lambda: not dock.header.opening and dock.workspace.annotation is not None)
    with Stalls(sampled=True) as stalls:
        start = time.perf_counter()
        _, plot = viewer.window.add_plugin_dock_widget("napari-cellclass", "Scatter")
        wait(lambda: plot.plotter.plot is not None and plot.plotter.plot.complete, 600)
        wait(lambda: len(plot.canvas.xy) == _ROWS * _COLUMNS)
        QApplication.processEvents()
        first = time.perf_counter() - start
    print(*stalls.what_ran(), sep="\n")
    most = f"window's thread at most {max(stalls.work):.0f} at once"
    return viewer, dock, plot, ("plot opened while features come, until all points", f"{first:.1f} s", most, "")


def measure(n: int) -> tuple[pd.DataFrame, float]:
    """Open a window, and measure all; give the table, and the time of a lasso in ms."""
    viewer, dock, plot, opened = open_plot()
    rows = [opened]
    work, canvas, tiles = dock.workspace, plot.canvas, np.arange(_ROWS * _COLUMNS)
    rng = np.random.default_rng(0)
    path = circle_of(canvas, _LASSO)
    goes = timed(lambda i: drag_release(canvas, path), n, lambda i: drag_start(canvas, path))
    chosen = len(work.selection)
    back = timed(lambda i: work.select(np.sort(rng.choice(tiles, _LASSO, replace=False))), n)
    work.select(tiles[:0])
    colours = [rng.random((len(tiles), 4)).astype(np.float32) for _ in range(2)]
    recolour = timed(lambda i: canvas.set_colours(colours[i % 2]), n)
    moved = timed(lambda i: canvas._view.camera.pan(np.array([0.1 * (-1) ** i, 0])), n)
    both = timed(lambda i: plot._recolour(), n)
    markers = plain_markers(canvas, colours, n)
    names = (f"a lasso around {chosen:,} points to the map", f"{_LASSO:,} tiles on the map to their points")
    for name, found, peer in (
        (names[0], goes, None), (names[1], back, None), ("all points in new colours", recolour, markers[0]),
        ("all points: what is known of them, and their colours", both, None), ("the plot moved", moved, markers[1]),
    ):  # fmt: skip
        wall, computed = found
        other = "" if peer is None else f"{np.median(peer[1]):.0f}"
        shown = f"{np.median(wall):.0f}, {np.percentile(wall, 95):.0f}"
        rows.append((name, shown, f"{np.median(computed):.0f}", other))
    viewer.close()
    columns = ["what", "median, 95 %, ms", "computed by all threads, ms", "the same for vispy's markers, ms"]
    return pd.DataFrame(rows, columns=columns), float(np.median(goes[0]))


def timed(
    action: Callable[[int], object], n: int, before: Callable[[int], object] | None = None
) -> tuple[list[float], list[float]]:
    """Time an action with the drawing that follows, and what the process computes for it; in ms."""
    from qtpy.QtWidgets import QApplication

    wall, computed = [], []
    for i in range(n):
        if before is not None:
            before(i)
        QApplication.processEvents()
        start, cpu = time.perf_counter(), time.process_time()
        action(i)
        QApplication.processEvents()
        wall.append(1000 * (time.perf_counter() - start))
        computed.append(1000 * (time.process_time() - cpu))
    return wall, computed


def circle_of(canvas: Any, n: int) -> NDArray[np.float64]:
    """Corners, in px of the canvas, of a circle around so many points."""
    places = canvas.screen_points(canvas.xy)
    centre = np.median(places, axis=0)
    radius = np.sqrt(np.sort(np.square(places - centre).sum(axis=1))[n])
    angles = np.linspace(0, 2 * np.pi, 40)
    return centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def drag_start(canvas: Any, path: NDArray[np.float64]) -> None:
    """Press the button and draw the line."""
    from qtpy.QtCore import QEvent, QPointF, Qt
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    QTest.mousePress(canvas.native, Qt.MouseButton.LeftButton, pos=QPointF(*path[0]).toPoint())
    for corner in path[1:]:  # sent one by one: the window would leave some out that come while it draws
        place = QPointF(*corner)
        event = QMouseEvent(
            QEvent.Type.MouseMove, place, canvas.native.mapToGlobal(place), Qt.MouseButton.NoButton,
            Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier,
        )  # fmt: skip
        canvas.native._last_time = 0  # vispy leaves out movements within 10 ms of the one before
        QApplication.sendEvent(canvas.native, event)


def drag_release(canvas: Any, path: NDArray[np.float64]) -> None:
    """Release the button."""
    from qtpy.QtCore import QPointF, Qt
    from qtpy.QtTest import QTest

    QTest.mouseRelease(canvas.native, Qt.MouseButton.LeftButton, pos=QPointF(*path[-1]).toPoint())


def plain_markers(canvas: Any, colours: list[NDArray[np.float32]], n: int) -> list[tuple[list[float], list[float]]]:
    """Time new colours and a move of the same points as markers of vispy, in the same canvas."""
    from vispy.scene.visuals import Markers

    markers = Markers(parent=canvas._view.scene)
    canvas._all.visible = False

    def colour(i: int) -> None:
        markers.set_data(pos=canvas.xy, size=5, edge_width=0, face_color=colours[i % 2])

    colour(0)
    found = [timed(colour, n), timed(lambda i: canvas._view.camera.pan(np.array([0.1 * (-1) ** i, 0])), n)]
    markers.parent = None
    canvas._all.visible = True
    return found


# -- labelling -------------------------------------------------------------------------------------


def features_of(data: Path) -> tuple[list[NDArray[np.float32]], NDArray[np.int64], NDArray[np.str_]]:
    """Compute standardised features of all tiles of transfluor; also their classes and wells."""
    from napari_cellclass.core.images.reading import list_images, read_image
    from napari_cellclass.core.models.linear_head import Standardisation
    from napari_cellclass.core.tiles.grid import TileGrid
    from napari_cellclass.engine.features.extractor import FeatureExtractor
    from napari_cellclass.engine.inference.openvino_graph import TileFormat
    from napari_cellclass.runs.features.choosing import choose_features

    paths = [path for name in ("diffuse", "puncta") for path in list_images(data / "transfluor" / name)]
    sources = [read_image(path) for path in paths]
    spec = choose_features(sources)
    grids = [TileGrid.regular(source.shape, _LABELLING_PX) for source in sources]
    tiles = np.stack(
        [source.read(*box) for source, grid in zip(sources, grids, strict=True) for box in grid.boxes.tolist()]
    )
    found = FeatureExtractor(spec, TileFormat.of(tiles))(tiles)
    counts = [len(grid) for grid in grids]
    truth = np.repeat([int(path.parent.name == "puncta") for path in paths], counts)
    wells = np.repeat([path.name[:3] for path in paths], counts)
    parts = np.split(found, [spec.columns[0]], axis=1)
    return [Standardisation.fit(part).apply(part) for part in parts], truth, wells


class Session:
    """One simulated user, who labels the tiles of some wells.

    Parameters
    ----------
    parts, truth, open_tiles
        Features and classes of all tiles, and which of them are of open fields; the others are held out.
    seed
        Of its choices.
    """

    def __init__(
        self, parts: list[NDArray[np.float32]], truth: NDArray[np.int64], open_tiles: NDArray[np.bool_], seed: int
    ) -> None:
        from napari_cellclass.core.selection.projection import Projection
        from napari_cellclass.core.selection.typical_tiles import typical_tiles

        self.parts, self.truth, self.open = parts, truth, np.flatnonzero(open_tiles)
        self.held_out = np.flatnonzero(~open_tiles)
        self.labels = np.full(len(truth), -1, np.int16)
        self.rng = np.random.default_rng(seed)
        whole = np.concatenate(parts, axis=1)
        projection = Projection.fit([whole[self.open]])
        assert projection is not None
        self.xy = projection.apply(whole)
        self.typical = typical_tiles(whole, self.open, seed=seed)
        self.prob: NDArray[np.float32] | None = None
        self.fit_ms: list[float] = []

    def lasso(self, size: int) -> None:
        """Draw around neighbouring points without a label, look at some tiles, and label all if these agree."""
        from napari_cellclass.core.selection.lasso import points_inside

        free = self.open[self.labels[self.open] < 0]
        if len(free) < size:
            return
        centre = self.xy[self.rng.choice(free)]
        scale = self.xy[self.open].std(axis=0)
        radius = np.sort(np.sqrt(np.square((self.xy[free] - centre) / scale).sum(axis=1)))[size - 1] * 1.0001
        angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        line = centre + radius * scale * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        inside = free[points_inside(self.xy[free], line)]
        seen = self.truth[self.rng.choice(inside, min(_LOOKED_AT, len(inside)), replace=False)]
        if (seen == seen[0]).all():
            self.labels[inside] = seen[0]

    def key(self) -> None:
        """Label the tile that is suggested."""
        from napari_cellclass.core.selection.suggestions import suggest_tiles

        prob = None if self.prob is None else self.prob[self.open]
        typical = np.searchsorted(self.open, self.typical)
        queue = suggest_tiles(prob, typical, self.labels[self.open])
        tile = self.open[queue[0]] if len(queue) else self.rng.choice(self.open[self.labels[self.open] < 0])
        self.labels[tile] = self.truth[tile]

    def fit(self) -> None:
        """Predict all tiles by the labels so far."""
        from napari_cellclass.core.models.linear_head import fit_head

        rows = np.flatnonzero(self.labels >= 0)
        if len(np.unique(self.labels[rows])) < 2:
            return
        start = time.perf_counter()
        fit = fit_head([part[rows] for part in self.parts], self.labels[rows], np.arange(len(rows)), 2)
        self.prob = fit.head.predict(self.parts)
        self.fit_ms.append(1000 * (time.perf_counter() - start))

    def accuracy(self) -> float:
        """Return the balanced accuracy on the held-out wells; chance before there are predictions."""
        if self.prob is None:
            return 0.5
        truth, found = self.truth[self.held_out], self.prob[self.held_out].argmax(axis=1)
        return float(np.mean([(found[truth == k] == k).mean() for k in np.unique(truth)]))

    @property
    def n_labels(self) -> int:
        """Number of labels."""
        return int((self.labels >= 0).sum())


def label(data: Path, seeds: int, lasso_ms: float) -> tuple[pd.DataFrame, float]:
    """Run all sessions; give the table, and the mean time of a fit in ms."""
    parts, truth, wells = features_of(data)
    rows, fits = [], []
    by_key: dict[tuple[int, int], list[float]] = {}
    for fold, held in enumerate(_HELD_OUT):
        for seed in range(seeds):
            session = Session(parts, truth, ~np.isin(wells, held), seed)
            accuracies = []
            for n in range(len(session.open)):
                session.key()
                if n < _FIT_EVERY or n % 10 == 9:
                    session.fit()
                accuracies.append(session.accuracy())
            by_key[fold, seed] = accuracies
            fits += session.fit_ms
    fit_ms = float(np.mean(fits))
    for size in _SIZES:
        found = []
        for fold, held in enumerate(_HELD_OUT):
            for seed in range(seeds):
                session = Session(parts, truth, ~np.isin(wells, held), seed)
                for _ in range(_LASSOS):
                    session.lasso(size)
                session.fit()
                given = np.flatnonzero(session.labels >= 0)
                seconds = _LASSOS * (_LASSO_S + (lasso_ms + fit_ms) / 1000)
                keys = by_key[fold, seed]
                same_time = keys[min(len(keys), int(seconds / (_KEY_S + fit_ms / 1000))) - 1]
                same_labels = keys[min(len(keys), max(1, len(given))) - 1]
                wrong = float((session.labels[given] != truth[given]).mean()) if len(given) else 0.0
                found.append((60 * len(given) / seconds, wrong, session.accuracy(), same_time, same_labels))
        rate, wrong, accuracy, same_time, same_labels = np.mean(found, axis=0)
        key_rate = 60 / (_KEY_S + fit_ms / 1000)
        rows.append(
            (f"{size} points", f"{rate:.0f}", f"{key_rate:.0f}", f"{rate / key_rate:.1f}", f"{wrong:.1%}",
             f"{accuracy:.3f}", f"{same_time:.3f}", f"{same_labels:.3f}")
        )  # fmt: skip
    columns = ["lasso around", "labels a minute", "by key", "ratio", "of these wrong", "accuracy", "by key, same time",
               "by key, same labels"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns), fit_ms


if __name__ == "__main__":
    main()
