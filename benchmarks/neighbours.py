"""Measure how long it takes to find the five most similar of many tiles, and in the window until they are shown.

    python benchmarks/neighbours.py                  some seconds
    python benchmarks/neighbours.py --window         also in a real window, with labels on a synthetic field

The table goes to ``RESULTS.md`` beside this file, or where ``--out`` says.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

import numpy as np
import pandas as pd

from _results import markdown, write_section
from napari_cellclass.core.stats.neighbours import NeighbourIndex

HERE = Path(__file__).parent
TILES, FEATURES, QUERIES = (2_000, 10_000, 100_000), (64, 356), 40


def measure(tiles: int, features: int) -> dict[str, str]:
    """Make the index of so many tiles, and ask for the neighbours of some of them."""
    rng = np.random.default_rng(0)
    # Correlated, as features are: fewer directions than numbers.
    values = rng.normal(size=(tiles, 40)).astype(np.float32) @ rng.normal(size=(40, features)).astype(np.float32)
    values += 0.1 * rng.normal(size=values.shape).astype(np.float32)
    start = time.perf_counter()
    index = NeighbourIndex(values)
    made = time.perf_counter() - start
    index.nearest(values[0])
    times, own, same = [], [], []
    for row in rng.integers(0, tiles, QUERIES):
        start, computed = time.perf_counter(), time.thread_time()
        found, _ = index.nearest(values[row], without=int(row))
        times.append(1000 * (time.perf_counter() - start))
        own.append(1000 * (time.thread_time() - computed))
        cosine = values @ values[row] / np.linalg.norm(values, axis=1)
        cosine[row] = -np.inf
        same.append(len(set(np.argsort(-cosine)[:5]) & set(found.tolist())) / 5)
    return {
        "tiles": f"{tiles:,}", "features": str(features), "median, ms": f"{np.median(times):.1f}",
        "processor time, ms": f"{np.median(own):.1f}",
        "95th percentile, ms": f"{np.percentile(times, 95):.1f}", "index made in, ms": f"{1000 * made:.0f}",
        "of the exact five": f"{np.mean(same):.0%}",
    }  # fmt: skip


def in_window() -> str:
    """Label tiles in a window, walk to others, and time until the pictures have changed; a sentence."""
    from napari import Viewer
    from qtpy.QtWidgets import QApplication

    from napari_cellclass.core.samples.realfield import ihc_field
    from napari_cellclass.widgets.annotate import live_similar
    from napari_cellclass.widgets.common.docks import open_cell_class

    viewer = Viewer(show=True)
    viewer.add_image(ihc_field().data, rgb=True, name="field")
    dock = open_cell_class(viewer)

    def wait(what: object, seconds: float = 120.0) -> float:
        start = time.perf_counter()
        while not what() and time.perf_counter() - start < seconds:  # type: ignore[operator]
            QApplication.processEvents()
        return 1000 * (time.perf_counter() - start)

    wait(lambda: dock.workspace.annotation is not None)
    dock.header.tile_px.setValue(32)
    wait(lambda: dock.workspace.annotation.grid.tile_px == (32, 32) and not dock.header.opening)
    page, workspace = dock.label, dock.workspace
    wait(lambda: any(features.complete for _, features in page.live.predictions.opened_fields()))
    for tile in range(40):
        workspace.label([tile], tile % 2)
    wait(lambda: len(page.similar.shown) == 5)
    shown_at: dict[int, float] = {}
    searches: list[float] = []
    show, find = page.similar._show, live_similar._find

    def noted(request: object, tiles: object) -> None:
        show(request, tiles)
        shown_at[request.tile] = time.perf_counter()  # type: ignore[attr-defined]

    def timed(request: object, task: object) -> object:
        start = time.thread_time()
        result = find(request, task)
        searches.append(1000 * (time.thread_time() - start))
        return result

    page.similar._show, live_similar._find = noted, timed
    times, computed = [], []
    for tile in range(41, 61):
        wait(lambda: False, 1.0)  # what the step before has left to do
        start, cpu = time.perf_counter(), time.process_time()
        workspace.go_to(tile)
        wait(lambda tile=tile: tile in shown_at, 20)
        times.append(1000 * (shown_at[tile] - start))
        computed.append(1000 * (time.process_time() - cpu))
    viewer.close()
    return (
        f"\nIn the window, with 40 labelled tiles of a field: {np.median(times):.0f} ms from a step to another tile "
        f"until the pictures are there (median of {len(times)}, the slowest {max(times):.0f} ms), of which 40 ms are a "
        "pause that lets several steps be one. Of processor time, search and reading of the pictures take "
        f"{np.median(searches):.1f} ms (at most {max(searches):.1f} ms), the whole step, with the map drawn anew, "
        f"{np.median(computed):.0f} ms.\n"
    )


TITLE = "The most similar of many tiles"
ABOUT = """`python benchmarks/neighbours.py --window`. Five most similar tiles by the cosine of their features, by a
product with a float32 matrix and a partial sort. Of matrices above 16 million numbers the first 128 principal
components are compared. *of the exact five*: how many of the five of a full search in all features are found. Other
programs ran meanwhile, as the load average tells; *processor time* is without them.

"""


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--window", action="store_true", help="also measure in a window")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    given = parser.parse_args()
    table = pd.DataFrame([measure(tiles, features) for features in FEATURES for tiles in TILES])
    machine = f"\n{os.cpu_count()} processors, {platform.machine()}, load average {os.getloadavg()[0]:.0f}.\n"
    text = markdown(table) + "\n" + machine + (in_window() if given.window else "")
    write_section(given.out, TITLE, ABOUT + text)
    print(text)


if __name__ == "__main__":
    main()
