"""Making the next items in a thread while one is worked on."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from napari_cellclass.core.contracts import CancelCheck, never_cancelled

Item = TypeVar("Item")
_LOOK_S = 0.1


@dataclass(frozen=True)
class _Error:
    error: BaseException


class _End:
    pass


@contextlib.contextmanager
def ahead(items: Iterable[Item], count: int, cancelled: CancelCheck = never_cancelled) -> Iterator[Iterator[Item]]:
    """Take items in a thread that ends with the block, so many ahead of those that are asked for.

    Parameters
    ----------
    items
        Are made by the thread alone, in their order. An error is raised where its item would have come.
    count
        How many may wait.
    cancelled
        Asked ten times a second and for each item; when it says so, no more is given.
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
        while not cancelled():
            try:
                item = ready.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
            if isinstance(item, _End):
                return
            if isinstance(item, _Error):
                raise item.error
            yield item

    maker = threading.Thread(target=make, name="ahead", daemon=True)
    maker.start()
    try:
        yield given()
    finally:
        stop.set()
        maker.join()
