"""The event loop's longest stalls while a network is trained from the widget: ``training_stalls.py``.

A 5 ms timer runs in the window's thread; what it comes late is a stall. The goal is that none is above 100 ms.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
from qtpy.QtCore import QEventLoop, QTimer

from napari_cellclass.core.synthetic import separable_plate, write_plate

_TICK_MS = 5
_EPOCHS = 12
_TILE_PX = 64


class Stalls:
    """Measures by how much a 5 ms timer comes late."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self._last = 0.0
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps.append(max(0.0, 1000 * (now - self._last) - _TICK_MS))
        self._last = now

    def __enter__(self) -> Self:
        self.gaps, self._last = [0.0], time.perf_counter()
        self._timer.start(_TICK_MS)
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.stop()

    def line(self) -> str:
        """Say the longest ones."""
        worst = ", ".join(f"{gap:.0f}" for gap in sorted(self.gaps, reverse=True)[:5])
        return (
            f"longest {max(self.gaps):6.1f} ms (five worst: {worst}), 99 % under {np.percentile(self.gaps, 99):5.1f} ms"
        )


def wait(condition: Any, seconds: float = 600.0) -> None:
    """Let the event loop run until a condition holds."""
    loop, poll = QEventLoop(), QTimer()
    end = time.perf_counter() + seconds
    poll.timeout.connect(lambda: loop.quit() if condition() or time.perf_counter() > end else None)
    poll.start(20)
    loop.exec()
    if not condition():
        raise SystemExit("the benchmark did not come to its end in time")


def main() -> None:
    """Print the stalls of an idle window, of the preview, and of a training."""
    import napari

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_plate(folder / "plate", separable_plate(0, wells_per_class=3, sites_per_well=1))
        viewer = napari.Viewer()
        viewer.add_image(next(iter(separable_plate(1))).pixels, name="field")
        _, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", "Train")
        widget.data.folder.value = folder / "plate"
        widget.data.cutting.fields["tile_px"].value = _TILE_PX
        widget.form.fields["epochs"].value = _EPOCHS
        widget.out.value = folder / "model.cellclass"
        with Stalls() as idle:
            start = time.perf_counter()
            wait(lambda: time.perf_counter() - start > 3)
        print("idle      ", idle.line())
        for name in ("preview", "preview, again"):
            with Stalls() as looking:
                widget.preview()
                wait(lambda: widget.train_button.isEnabled() and not widget.tiles.pixmap().isNull())
            print(f"{name:<15}", looking.line())
        with Stalls() as training:
            widget.train()
            wait(lambda: widget.train_button.isEnabled() and not widget.training)
        print(f"{len(widget.progress.history)} epochs      ", training.line())
        print(widget.progress.message.text())
        print("tensorflow in this process:", "tensorflow" in sys.modules)
        viewer.close()


if __name__ == "__main__":
    main()
