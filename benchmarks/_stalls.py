"""How late a timer of 5 ms comes in a window's event loop, and what ran meanwhile."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from types import FrameType
from typing import Any

import numpy as np
from qtpy.QtCore import QEventLoop, Qt, QTimer

_TICK_MS = 5
_SAMPLE_S = 0.01
_LATE_S = 0.04  # from here on the stack is looked at
_SHOWN, _DEPTH = 4, 14


class Stalls:
    """Records the gaps between the ticks of a timer.

    Parameters
    ----------
    sampled
        Whether a thread notes what the main thread is doing while a tick is late.
    """

    def __init__(self, sampled: bool = False) -> None:
        self.gaps: list[float] = []
        self.work: list[float] = []
        self._last = self._worked = 0.0
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._tick)
        self._stacks: dict[int, Counter[tuple[str, ...]]] = {}
        self._sampler = threading.Thread(target=self._sample, daemon=True) if sampled else None
        self._ended = threading.Event()
        self._main = threading.get_ident()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps.append(max(0.0, 1000 * (now - self._last) - _TICK_MS))
        worked = time.thread_time()
        self.work.append(1000 * (worked - self._worked))
        self._last, self._worked = now, worked

    def _sample(self) -> None:
        while not self._ended.wait(_SAMPLE_S):
            if time.perf_counter() - self._last > _LATE_S:
                interval = sys.getswitchinterval()
                sys.setswitchinterval(10)  # a stack that goes on while it is read crashes Python 3.11
                stack = described(sys._current_frames().get(self._main))
                sys.setswitchinterval(interval)
                self._stacks.setdefault(len(self.gaps), Counter())[stack] += 1

    def __enter__(self) -> Stalls:
        self._last, self._worked = time.perf_counter(), time.thread_time()
        self._timer.start()
        if self._sampler is not None:
            self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._tick()
        self._timer.stop()
        self._ended.set()
        if self._sampler is not None:
            self._sampler.join()

    @property
    def longest(self) -> float:
        """The longest gap in ms."""
        return max(self.gaps)

    def line(self) -> str:
        """Say longest and 99th percentile, and the most that the window's thread computed between two ticks.

        The latter does not depend on what else runs on the machine.
        """
        return (
            f"longest {self.longest:6.1f} ms, 99 % under {np.percentile(self.gaps, 99):6.1f} ms, n = {len(self.gaps)}; "
            f"most work at once {max(self.work):6.1f} ms"
        )

    def what_ran(self, above_ms: float = 50.0, stalls: int = 3) -> list[str]:
        """Say what ran where the window's thread worked most: a line each, and the stacks that were seen most often."""
        lines = []
        for i in sorted(range(len(self.work)), key=lambda i: -self.work[i])[:stalls]:
            if self.work[i] < above_ms:
                break
            lines.append(f"{self.gaps[i]:6.0f} ms, of these {self.work[i]:.0f} ms of work")
            lines += [
                f"   {n:3d} x {' < '.join(stack)}" for stack, n in self._stacks.get(i, Counter()).most_common(_SHOWN)
            ]
        return lines


def described(frame: FrameType | None) -> tuple[str, ...]:
    """Name the functions of a stack, innermost first: the first three, then those of napari and of the plugin."""
    names: list[tuple[str, str]] = []
    while frame is not None:
        module = str(frame.f_globals.get("__name__", "?"))
        package, last = module.partition(".")[0], module.rpartition(".")[2]
        names.append((package, f"{last}.{frame.f_code.co_name}:{frame.f_lineno}"))
        frame = frame.f_back
    shown = [name for i, (package, name) in enumerate(names) if i < 3 or package in ("napari_cellclass", "napari")]
    return tuple(shown[:_DEPTH])


def wait(condition: Any, seconds: float = 300.0) -> None:
    """Let the event loop run, undisturbed by this function, until a condition holds."""
    loop, poll = QEventLoop(), QTimer()
    end = time.perf_counter() + seconds
    poll.timeout.connect(lambda: loop.quit() if condition() or time.perf_counter() > end else None)
    poll.start(20)
    loop.exec()
    if not condition():
        raise SystemExit("the benchmark did not come to its end in time")
