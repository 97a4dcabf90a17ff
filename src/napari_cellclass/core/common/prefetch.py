"""Making the next items in a thread while one is worked on."""

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
_LOOK_S = 0.1
_TURNS: ContextVar[bool] = ContextVar("taking_turns", default=False)


@dataclass(frozen=True)
class _Error:
    error: BaseException


class _End:
    pass


@contextlib.contextmanager
def ahead(items: Iterable[Item], count: int, task: Task = NO_TASK) -> Iterator[Iterator[Item]]:
    """Take items in a thread that ends with the block, so many ahead of those that are asked for.

    Parameters
    ----------
    items
        Are made by the thread alone, in their order. An error is raised where its item would have come.
    count
        How many may wait.
    task
        Checked ten times a second and for each item; when it was cancelled, no more is given.
    """
    ready: queue.Queue[Item | _Error | _End] = queue.Queue(count)
    stop = threading.Event()

    def put(item: Item | _Error | _End) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                return ready.put(item, timeout=_LOOK_S)

    def make() -> None:
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
            put(_End())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            put(_Error(error))

    def given() -> Iterator[Item]:
        while not task.cancelled():
            try:
                item = ready.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
            if isinstance(item, _End):
                return
            if isinstance(item, _Error):
                try:
                    raise item.error
                finally:
                    del item  # the error's traceback leads here: a circle, and what its frames hold would stay
            yield item

    maker = threading.Thread(target=make, name="ahead", daemon=True)
    maker.start()
    try:
        yield given()
    finally:
        stop.set()
        maker.join()


@contextlib.contextmanager
def taking_turns(on: bool = True) -> Iterator[None]:
    """Let what the thread that enters this block calls read and work by turns, without threads to help it.

    For a process that has one core to itself, where threads would only wait for each other.
    """
    before = _TURNS.set(on)
    try:
        yield
    finally:
        _TURNS.reset(before)


def turns_are_taken() -> bool:
    """Say whether the caller is within such a block."""
    return _TURNS.get()


class OneAhead(Generic[Item]):
    """Items whose next one is made in a thread while one is worked on, for as long as a block lasts.

    Other than with :func:`ahead`, the item that waits when a block ends is the first of the next block.

    Parameters
    ----------
    items
        Are made by one thread at a time, in their order. An error is raised where its item would have come.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self._waiting: Future[Item | _End] | None = None

    @contextlib.contextmanager
    def taken(self, few: bool = False) -> Iterator[Iterator[Item]]:
        """Give the items that have not been given yet; no thread is left after the block, or started for ``few``."""
        if few or turns_are_taken():
            yield self._in_turn()
        else:
            with ThreadPoolExecutor(1, "ahead") as pool:
                yield self._from(pool)

    def _make(self) -> Item | _End:
        return next(self._items, _End())

    def _first(self) -> Item | _End:
        waiting, self._waiting = self._waiting, None
        try:
            return self._make() if waiting is None else waiting.result()
        finally:
            del waiting  # an error's traceback leads here: a circle, and what its frames hold would stay

    def _in_turn(self) -> Iterator[Item]:
        while not isinstance(item := self._first(), _End):
            yield item

    def _from(self, pool: ThreadPoolExecutor) -> Iterator[Item]:
        while not isinstance(item := self._first(), _End):
            self._waiting = pool.submit(self._make)
            yield item
