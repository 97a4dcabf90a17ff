from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests._patience import WINDOW_S

from napari_cellclass.core.common.prefetch import ResumablePrefetch, prefetch, single_threaded
from napari_cellclass.core.common.task import Task


def test_items_come_in_order_and_never_more_than_allowed_are_made() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for i in range(50):
            made.append(i)
            yield i

    received = []
    with prefetch(numbers(), 2) as items:
        for item in items:
            received.append(item)
            assert len(made) - len(received) <= 3  # two wait, and one could not be put
    assert received == list(range(50))


def test_an_error_comes_after_the_items_before_it_and_no_thread_stays() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("no second")

    before, received = set(threading.enumerate()), []
    with pytest.raises(ValueError, match="no second"), prefetch(broken(), 2) as items:
        received += items
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("leave", ["break", "cancel"])
def test_leaving_early_ends_the_thread(leave: str) -> None:
    before, received = set(threading.enumerate()), []
    with prefetch(iter(int, 1), 1, Task(cancelled=lambda: leave == "cancel" and len(received) == 3)) as items:
        for item in items:
            received.append(item)
            if leave == "break" and len(received) == 3:
                break
    assert len(received) == 3
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("way", [lambda items: prefetch(items, 1), lambda items: ResumablePrefetch(items).remaining()])
def test_what_a_maker_held_is_freed_with_its_error(way: Callable[[Iterator[int]], Any]) -> None:
    class Large:
        pass

    held: list[weakref.ref[Large]] = []

    def broken() -> Iterator[int]:
        large = Large()
        held.append(weakref.ref(large))
        yield 1
        raise ValueError("no second")

    def taken() -> None:
        with pytest.raises(ValueError, match="no second"), way(broken()) as items:
            for _ in items:
                pass

    gc.disable()
    try:
        taken()
        assert held[0]() is None
    finally:
        gc.enable()


def test_a_resumable_prefetch_goes_on_where_a_block_ended_and_leaves_no_thread() -> None:
    before, makers = set(threading.enumerate()), set()

    def numbers() -> Iterator[int]:
        for i in range(9):
            makers.add(threading.current_thread().name)
            yield i

    one, received = ResumablePrefetch(numbers()), []
    for count in (1, 3, 9):
        with one.remaining() as items:
            for item in items:
                received.append(item)
                if len(received) >= count:
                    break
        assert set(threading.enumerate()) <= before
    assert received == list(range(9))
    assert any(name.startswith("prefetch") for name in makers)


def test_a_resumable_prefetch_makes_the_next_while_one_is_worked_on() -> None:
    made = threading.Event()

    def numbers() -> Iterator[int]:
        yield 0
        made.set()
        yield 1

    with ResumablePrefetch(numbers()).remaining() as items:
        assert next(items) == 0
        assert made.wait(WINDOW_S)


@pytest.mark.parametrize("few", [True, False])
def test_a_resumable_prefetch_starts_no_thread_where_none_is_wanted(few: bool) -> None:
    makers = set()

    def numbers() -> Iterator[int]:
        for i in range(3):
            makers.add(threading.current_thread())
            yield i

    with single_threaded(not few), ResumablePrefetch(numbers()).remaining(use_thread=not few) as items:
        assert list(items) == [0, 1, 2]
    assert makers == {threading.current_thread()}


def test_an_error_of_a_resumable_prefetch_comes_after_the_items_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("no second")

    one = ResumablePrefetch(broken())
    with one.remaining() as items:
        assert next(items) == 1
    with pytest.raises(ValueError, match="no second"), one.remaining() as items:
        next(items)
