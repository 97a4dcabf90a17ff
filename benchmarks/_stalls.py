"""How late a timer of 5 ms comes in a window's event loop."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from qtpy.QtCore import QEventLoop, Qt, QTimer

_TICK_MS = 5


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


def wait(condition: Any, seconds: float = 300.0) -> None:
    """Let the event loop run, undisturbed by this function, until a condition holds."""
    loop, poll = QEventLoop(), QTimer()
    end = time.perf_counter() + seconds
    poll.timeout.connect(lambda: loop.quit() if condition() or time.perf_counter() > end else None)
    poll.start(20)
    loop.exec()
    if not condition():
        raise SystemExit("the benchmark did not come to its end in time")
