"""Linear algebra on small matrices by one thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import OpenBLASController, ThreadpoolController


class _ThreadLimit:
    """The number of BLAS threads of the process: one for as long as anybody needs that, then what it was.

    It is counted here: of the limits of threadpoolctl that overlap in several threads, the last to end would leave one
    thread for good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._limiter: Any = None

    def take(self) -> None:
        with self._lock:
            if not self._holders:
                self._limiter = _controller().limit(limits=1, user_api="blas")
                OpenBLASController.clear_controlling_thread()  # another thread may give back
            self._holders += 1

    def give_back(self) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._limiter.restore_original_limits()
                OpenBLASController.clear_controlling_thread()


_limit = _ThreadLimit()


@cache
def _controller() -> ThreadpoolController:
    import scipy.linalg.lapack  # noqa: F401 - its library has to be loaded to be found

    return ThreadpoolController()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Let BLAS and LAPACK use one thread of this process within a block.

    The threads of OpenBLAS wait for one another in loops: where other programs or a window's drawing have the cores,
    a decomposition of 300 x 300 numbers takes ten times the processor time that it takes one thread, which on idle
    cores is as fast. Blocks may be nested, and overlap in several threads.
    """
    _limit.take()
    try:
        yield
    finally:
        _limit.give_back()
