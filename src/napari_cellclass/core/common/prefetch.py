"""Prefetching: the next items are made in a thread while the caller works on one."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Generic, TypeVar

from napari_cellclass.core.common.task import NO_TASK, Task

Item = TypeVar("Item")
_POLL_S = 0.1
_SINGLE_THREADED: ContextVar[bool] = ContextVar("single_threaded", default=False)


@dataclass(frozen=True)
class _Error:
    error: BaseException


class _End:
    pass


@contextlib.contextmanager
def prefetch(items: Iterable[Item], count: int, task: Task = NO_TASK) -> Iterator[Iterator[Item]]:
    """Yield items that are made in a thread, up to ``count`` of them before they are needed.

    Parameters
    ----------
    items
        Iterated by the thread alone, in order. An error is raised where its item would have come.
    count
        How many items may wait.
    task
        Checked ten times a second and for each item; when it was cancelled, the items end.

    Yields
    ------
    iterator
        The items; the thread ends with the block.
    """
    ready: queue.Queue[Item | _Error | _End] = queue.Queue(count)
    stop = threading.Event()

    def put(item: Item | _Error | _End) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                return ready.put(item, timeout=_POLL_S)

    def produce() -> None:
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
            put(_End())
        except BaseException as error:  # noqa: BLE001 - raised again in the consumer
            put(_Error(error))

    def consume() -> Iterator[Item]:
        while not task.cancelled():
            try:
                item = ready.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if isinstance(item, _End):
                return
            if isinstance(item, _Error):
                try:
                    raise item.error
                finally:
                    del item  # the error's traceback refers to this frame: a cycle that would keep its frames alive
            yield item

    producer = threading.Thread(target=produce, name="prefetch", daemon=True)
    producer.start()
    try:
        yield consume()
    finally:
        stop.set()
        producer.join()


@contextlib.contextmanager
def single_threaded(on: bool = True) -> Iterator[None]:
    """Let the calling thread read and compute one after the other within the block, without helper threads.

    For a process that has one core to itself, where threads would only wait for each other.
    """
    before = _SINGLE_THREADED.set(on)
    try:
        yield
    finally:
        _SINGLE_THREADED.reset(before)


def is_single_threaded() -> bool:
    """Return whether the caller is within :func:`single_threaded`."""
    return _SINGLE_THREADED.get()


class ResumablePrefetch(Generic[Item]):
    """Items of which the next one is made in a thread while the caller works on one, block by block.

    Unlike with :func:`prefetch`, the item that waits when a block ends is the first of the next block.

    Parameters
    ----------
    items
        Iterated by one thread at a time, in order. An error is raised where its item would have come.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self._waiting: Future[Item | _End] | None = None

    @contextlib.contextmanager
    def remaining(self, use_thread: bool = True) -> Iterator[Iterator[Item]]:
        """Yield an iterator over the items not given yet; its thread, if any, ends with the block."""
        if not use_thread or is_single_threaded():
            yield self._sequential()
        else:
            with ThreadPoolExecutor(1, "prefetch") as pool:
                yield self._prefetched(pool)

    def _make(self) -> Item | _End:
        return next(self._items, _End())

    def _first(self) -> Item | _End:
        waiting, self._waiting = self._waiting, None
        try:
            return self._make() if waiting is None else waiting.result()
        finally:
            del waiting  # an error's traceback refers to this frame: a cycle that would keep its frames alive

    def _sequential(self) -> Iterator[Item]:
        while not isinstance(item := self._first(), _End):
            yield item

    def _prefetched(self, pool: ThreadPoolExecutor) -> Iterator[Item]:
        while not isinstance(item := self._first(), _End):
            self._waiting = pool.submit(self._make)
            yield item
