"""Time the first class on the screen of a fresh napari: from the click on Run until the first painted tile.

Each measurement starts a napari of its own, opens the widget and a field, chooses a model, waits until a user could
have read its name (half a second), and clicks Run. Also told: from choosing the model until its name is there.

    sh scripts/xvfb.sh .venv/bin/python benchmarks/first_class.py [MODEL]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from _results import markdown, write_section

HERE = Path(__file__).parent
_THINKS_S = 0.5
_SIDE_TILES, _FIELD_PX = 20, 512
ABOUT = """`sh scripts/xvfb.sh python benchmarks/first_class.py`. Every measurement in a fresh napari with a field of
20 x 20 tiles of 128 px; the model is chosen, half a second later *Run* is clicked. Seconds."""


def one(model: Path) -> dict[str, float]:
    """Measure in this process."""
    import napari
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    from _stalls import wait
    from napari_cellclass.core.models.bundle import open_bundle
    from napari_cellclass.core.samples.synthetic import separable_plate

    def painted() -> bool:
        kinds = [layer.metadata.get("napari_cellclass", {}).get("kind") for layer in viewer.layers]
        return "live" in kinds or "map" in kinds

    viewer = napari.Viewer()
    tile, channels = open_bundle(model).manifest.tile_px[0], open_bundle(model).preprocess.channels
    field = next(iter(separable_plate(1))).pixels
    times = -(-_SIDE_TILES * tile // _FIELD_PX)
    pixels = np.tile(field, (times, times))[: _SIDE_TILES * tile, : _SIDE_TILES * tile]
    viewer.add_image(pixels if channels == 1 else np.stack([(pixels / 16).astype(np.uint8)] * 3, -1), name="field")
    _, dock = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
    widget = dock.show_page("Classify field")
    wait(widget.isVisible)
    start = time.perf_counter()
    widget.set_model(model)
    wait(lambda: widget.model is not None)
    chosen = time.perf_counter() - start
    end = time.perf_counter() + _THINKS_S
    wait(lambda: time.perf_counter() > end)
    start = time.perf_counter()
    QTest.mouseClick(widget.run_button, Qt.MouseButton.LeftButton)
    while not painted():
        QApplication.processEvents()
    QApplication.processEvents()  # drawn
    first = time.perf_counter() - start
    wait(lambda: not widget.job.running)
    whole = time.perf_counter() - start
    viewer.close()
    return {"model chosen": chosen, "first class": first, "whole map": whole}


def main() -> None:
    """Measure some times, print, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?", help="trained anew where none is given")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-n", type=int, default=5)
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.model)))
        return
    with tempfile.TemporaryDirectory() as folder:
        model = given.model
        if model is None:
            from event_loop import train

            model = train(Path(folder))
        words = [sys.executable, __file__, str(model), "--one"]
        runs = [subprocess.run(words, check=True, capture_output=True, text=True).stdout for _ in range(given.n)]
    frame = pd.DataFrame([json.loads(run.splitlines()[-1]) for run in runs])
    told = pd.DataFrame({"median": frame.median(), "worst": frame.max()}).round(2).reset_index(names="until")
    text = f"{ABOUT} n = {len(frame)}.\n\n{markdown(told)}"
    write_section(given.out, "The first class on the screen", text)
    print(text)


if __name__ == "__main__":
    main()
