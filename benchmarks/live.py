"""Time the live map in a real window: from a key to the repainted map, and features as they stream in.

A field of 100 x 100 tiles of 64 px is opened cold. Printed are the time to the first predictions after the second
class's first label, the rate of features against the bare engine on tiles in memory, and for keys with 300 labels:
from the event to the map, counts and figure repainted, and the longest gap in the window's event loop. Then 200 keys
come at 10 a second. Compute is what the window's thread and the fit took, where other processes share the cores.

    sh scripts/xvfb.sh .venv/bin/python benchmarks/live.py [--tiles 100]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from qtpy.QtCore import QEventLoop, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from _results import markdown, write_section
from _stalls import Stalls, wait
from napari_cellclass.core.samples.synthetic import checkerboard_field
from napari_cellclass.engine.features.extractor import FeatureExtractor
from napari_cellclass.engine.inference.openvino_graph import TileFormat

_TILE_PX, _LABELS, _KEYS, _FAST, _REST_S = 64, 300, 60, 200, 5
_KEYS_OF = (Qt.Key.Key_1, Qt.Key.Key_2)
ABOUT = """`sh scripts/xvfb.sh python benchmarks/live.py --tiles {side}`: {tiles:,} tiles of 64 px, one channel."""


def main() -> None:
    """Print the times, and write them to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=100, help="tiles along each side of the field")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = os.environ["XDG_CACHE_HOME"] = folder
        rows = measure(options.tiles)
    about = ABOUT.format(side=options.tiles, tiles=options.tiles**2)
    write_section(options.out, f"Live map, {options.tiles**2:,} tiles", f"{about}\n\n{markdown(rows)}")
    print(rows.to_string(index=False))


def measure(side: int) -> pd.DataFrame:
    """Open a window, and measure all."""
    import napari

    viewer = napari.Viewer()
    viewer.add_image(checkerboard_field(_TILE_PX, side, side)[0], name="field")
    rows_of, columns_of = np.mgrid[0:side, 0:side]
    truth = ((rows_of + columns_of) % 2).ravel()
    _, dock = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
    dock.header.tile_px.setValue(_TILE_PX)
    work, live = dock.workspace, dock.label.live.predictions
    wait(
        lambda: not dock.header.opening and work.annotation is not None and work.annotation.grid.tile_px[0] == _TILE_PX
    )
    start = time.perf_counter()
    work.label(np.flatnonzero(truth == 0)[:1], 0)
    work.label(np.flatnonzero(truth == 1)[:1], 1)
    wait(lambda: live.current is not None and live.current.fit is not None)
    found = [
        ("first predictions after the second class's first label, opened cold", f"{time.perf_counter() - start:.2f} s")
    ]
    field = live.session.fields[work.field_key]
    wait(lambda: field.complete, 600)
    rate = len(field.grid) / (time.perf_counter() - start)
    found.append(("features of all tiles", f"{len(field.grid) / rate:.1f} s, {rate:,.0f} tiles/s"))
    found.append(("ratio to the bare engine on tiles in memory", f"{rate / bare_rate(live, work):.2f}"))
    work.policy = "in order"
    for tile in range(_LABELS):
        work.label([tile], int(truth[tile]))
    wait(lambda: sum(live.current.n_labels) >= _LABELS)
    work.go_to_next()
    end = time.perf_counter() + _REST_S
    wait(lambda: time.perf_counter() >= end)
    ms, cpu, fits, longest = keys(viewer, dock, truth)
    found += [
        ("a key to map, counts and figure: median, 95 %", f"{np.median(ms):.0f}, {np.percentile(ms, 95):.0f} ms"),
        (
            "of it computed in the window's thread, in the fit (medians)",
            f"{np.median(cpu):.0f}, {np.median(fits):.0f} ms",
        ),
        ("longest gap in the event loop", f"{longest:.0f} ms"),
    ]
    found += fast_keys(viewer, dock, truth)
    live.set_enabled(False)
    found.append(
        ("a key without live predictions, until it is painted: median", f"{plain_keys(viewer, dock, truth):.0f} ms")
    )
    viewer.close()
    return pd.DataFrame(found, columns=["what", "value"])


def bare_rate(live: Any, work: Any) -> float:
    """Return tiles a second of the compiled features alone, on tiles in memory."""
    boxes = work.annotation.grid.boxes[:512].tolist()
    tiles: NDArray[Any] = np.stack([work.source.read(*box) for box in boxes])
    compute = FeatureExtractor(live.extractor.spec, TileFormat.of(tiles))
    compute(tiles[:64])
    start = time.perf_counter()
    compute(tiles)
    return len(tiles) / (time.perf_counter() - start)


def press(viewer: Any, work: Any, truth: NDArray[np.int64]) -> None:
    """Press the key of the current tile's class."""
    QTest.keyClick(viewer.window._qt_viewer.canvas.native, _KEYS_OF[truth[work.current_tile]])


def follow(live: Any, n_labels: int) -> None:
    """Let the event loop run, idle as in a real session, until n labels are predicted from."""
    loop = QEventLoop()
    check = lambda _: loop.quit() if sum(live.current.n_labels) == n_labels else None  # noqa: E731
    live.predicted.connect(check)
    if sum(live.current.n_labels) != n_labels:
        loop.exec()
    live.predicted.disconnect(check)


def keys(viewer: Any, dock: Any, truth: NDArray[np.int64]) -> tuple[list[float], list[float], list[float], float]:
    """Press keys one by one, each after the map of the one before; times in ms, and the longest gap."""
    live, ms, cpu, fits = dock.label.live.predictions, [], [], []
    predict = live.session.predict

    def timed(*args: Any, **more: Any) -> Any:
        start = time.thread_time()
        result = predict(*args, **more)
        fits.append(1000 * (time.thread_time() - start))
        return result

    live.session.predict = timed
    with Stalls() as stalls:
        for _ in range(_KEYS):
            n = sum(live.current.n_labels) + 1
            start, computed = time.perf_counter(), time.thread_time()
            press(viewer, dock.workspace, truth)
            follow(live, n)
            QApplication.processEvents()
            ms.append(1000 * (time.perf_counter() - start))
            cpu.append(1000 * (time.thread_time() - computed))
    live.session.predict = predict
    return ms, cpu, fits, stalls.longest


def plain_keys(viewer: Any, dock: Any, truth: NDArray[np.int64]) -> float:
    """Press keys that change labels alone; the median time in ms until the label is painted."""
    ms = []
    for _ in range(_KEYS):
        start = time.perf_counter()
        press(viewer, dock.workspace, truth)
        QApplication.processEvents()
        ms.append(1000 * (time.perf_counter() - start))
    return float(np.median(ms))


def fast_keys(viewer: Any, dock: Any, truth: NDArray[np.int64]) -> list[tuple[str, str]]:
    """Press keys at 10 a second; none may be lost, and the map has caught up soon after the last."""
    live, work = dock.label.live.predictions, dock.workspace
    before = int((np.asarray(work.annotation.labels) >= 0).sum())
    with Stalls() as stalls:
        for _ in range(_FAST):
            end = time.perf_counter() + 0.1
            press(viewer, work, truth)
            wait(lambda end=end: time.perf_counter() >= end)
        last = time.perf_counter()
        wait(lambda: sum(live.current.n_labels) == before + _FAST)
        late = 1000 * (time.perf_counter() - last)
    lost = before + _FAST - int((np.asarray(work.annotation.labels) >= 0).sum())
    return [
        (f"{_FAST} keys at 10 a second: lost; map of all after the last", f"{lost}; {late:.0f} ms"),
        ("longest gap meanwhile", f"{stalls.longest:.0f} ms"),
    ]


if __name__ == "__main__":
    main()
