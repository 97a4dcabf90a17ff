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
from typing import Any

import numpy as np
from qtpy.QtCore import QEventLoop, Qt, QTimer

from napari_cellclass.core.synthetic import separable_plate, write_plate

_TICK_MS = 5
_TILE_PX = 128
_SIDE_TILES = 45  # 45 x 45 = 2 025 tiles


class Stalls:
    """Records the gaps between the ticks of a timer."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self._last = 0.0
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._tick)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps.append(max(0.0, 1000 * (now - self._last) - _TICK_MS))
        self._last = now

    def __enter__(self) -> Stalls:
        self._last = time.perf_counter()
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.stop()

    def line(self) -> str:
        """Say longest and 99th percentile."""
        return (
            f"longest {max(self.gaps):6.1f} ms, 99 % under {np.percentile(self.gaps, 99):6.1f} ms, n = {len(self.gaps)}"
        )


def train(folder: Path) -> Path:
    """Train one epoch of the article's network in a child process: enough to time it."""
    write_plate(folder / "plate", separable_plate(0, wells_per_class=2, sites_per_well=1))
    model = folder / "model.cellclass"
    words = ["train", folder / "plate", "--out", model, "--tile-px", _TILE_PX, "--epochs", 1, "--quiet"]
    subprocess.run([sys.executable, "-m", "napari_cellclass", *map(str, words)], check=True)
    return model


def wait(condition: Any, seconds: float = 300.0) -> None:
    """Let the event loop run, undisturbed by this function, until a condition holds."""
    loop, poll = QEventLoop(), QTimer()
    end = time.perf_counter() + seconds
    poll.timeout.connect(lambda: loop.quit() if condition() or time.perf_counter() > end else None)
    poll.start(20)
    loop.exec()
    if not condition():
        raise SystemExit("the benchmark did not come to its end in time")


def main() -> None:
    """Print the stalls."""
    import napari

    with tempfile.TemporaryDirectory() as folder:
        model = train(Path(folder))
        viewer = napari.Viewer()
        field = next(iter(separable_plate(1))).pixels
        side = _SIDE_TILES * _TILE_PX
        viewer.add_image(np.tile(field, (-(-side // 512), -(-side // 512)))[:side, :side], name="field")
        _, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", "Classify field")
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
