"""Time how long napari's event loop stands still while 2 000 tiles are classified.

A timer of 5 ms runs in a real window; a stall is the time between two of its ticks beyond 5 ms. Printed are
the longest stall and the 99th percentile, idle and while classifying, after one run to warm up.

    sh scripts/xvfb.sh .venv/bin/python benchmarks/event_loop.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from _stalls import Stalls, wait
from napari_cellclass.core.samples.synthetic import separable_plate, write_plate

_TILE_PX = 128
_SIDE_TILES = 45  # 45 x 45 = 2 025 tiles


def train(folder: Path) -> Path:
    """Train one epoch of the article's network in a child process: enough to time it."""
    write_plate(folder / "plate", separable_plate(0, wells_per_class=2, sites_per_well=1))
    model = folder / "model.cellclass"
    words = ["train", folder / "plate", "--out", model, "--tile-px", _TILE_PX, "--epochs", 1, "--quiet"]
    subprocess.run([sys.executable, "-m", "napari_cellclass", *map(str, words)], check=True)
    return model


def main() -> None:
    """Print the stalls."""
    import napari

    with tempfile.TemporaryDirectory() as folder:
        model = train(Path(folder))
        viewer = napari.Viewer()
        field = next(iter(separable_plate(1))).pixels
        side = _SIDE_TILES * _TILE_PX
        viewer.add_image(np.tile(field, (-(-side // 512), -(-side // 512)))[:side, :side], name="field")
        _, dock = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
        widget = dock.show_page("Classify field")
        widget.set_model(model)
        wait(lambda: widget.model is not None)
        for name in ("first run, model being opened", "second run", "third run", "fourth run"):
            with Stalls() as idle:
                start = time.perf_counter()
                wait(lambda start=start: time.perf_counter() - start > 3)
            classifying, whole = Stalls(), Stalls()
            with whole:
                with classifying:
                    widget.run()
                    wait(lambda: widget.bar.maximum() > 0 and widget.bar.value() >= widget.bar.maximum())
                wait(lambda: not widget.job.running)
            print(f"{name}\n  idle              {idle.line()}")
            print(f"  classifying       {classifying.line()}\n  and drawing       {whole.line()}")
            print(f"  {widget.message.text()}")
        print("tensorflow in this process:", "tensorflow" in sys.modules)
        viewer.close()


if __name__ == "__main__":
    main()
