from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from napari_cellclass.core.common.prefetch import OneAhead, ahead, taking_turns
from napari_cellclass.core.common.task import Task


def test_items_come_in_order_and_never_more_than_allowed_are_made() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for i in range(50):
            made.append(i)
            yield i

    taken = []
    with ahead(numbers(), 2) as items:
        for item in items:
            taken.append(item)
            assert len(made) - len(taken) <= 3  # two wait, and one could not be put
    assert taken == list(range(50))


def test_an_error_comes_after_the_items_before_it_and_no_thread_stays() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("no second")

    before, taken = threading.active_count(), []
    with pytest.raises(ValueError, match="no second"), ahead(broken(), 2) as items:
        taken += items
    assert threading.active_count() == before


@pytest.mark.parametrize("leave", ["break", "cancel"])
def test_leaving_early_ends_the_thread(leave: str) -> None:
    before, taken = threading.active_count(), []
    with ahead(iter(int, 1), 1, Task(cancelled=lambda: leave == "cancel" and len(taken) == 3)) as items:
        for item in items:
            taken.append(item)
            if leave == "break" and len(taken) == 3:
                break
    assert len(taken) == 3
    assert threading.active_count() == before


@pytest.mark.parametrize("way", [lambda items: ahead(items, 1), lambda items: OneAhead(items).taken()])
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


def test_one_ahead_is_taken_up_where_a_block_ended_and_leaves_no_thread() -> None:
    before, makers = threading.active_count(), set()

    def numbers() -> Iterator[int]:
        for i in range(9):
            makers.add(threading.current_thread().name)
            yield i

    one, taken = OneAhead(numbers()), []
    for count in (1, 3, 9):
        with one.taken() as items:
            for item in items:
                taken.append(item)
                if len(taken) >= count:
                    break
        assert threading.active_count() == before
    assert taken == list(range(9))
    assert any(name.startswith("ahead") for name in makers)


def test_one_ahead_makes_the_next_while_one_is_worked_on() -> None:
    made = threading.Event()

    def numbers() -> Iterator[int]:
        yield 0
        made.set()
        yield 1

    with OneAhead(numbers()).taken() as items:
        assert next(items) == 0
        assert made.wait(10)


@pytest.mark.parametrize("few", [True, False])
def test_one_ahead_starts_no_thread_for_few_items_or_where_turns_are_taken(few: bool) -> None:
    makers = set()

    def numbers() -> Iterator[int]:
        for i in range(3):
            makers.add(threading.current_thread())
            yield i

    with taking_turns(not few), OneAhead(numbers()).taken(few) as items:
        assert list(items) == [0, 1, 2]
    assert makers == {threading.current_thread()}


def test_an_error_of_one_ahead_comes_after_the_items_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("no second")

    one = OneAhead(broken())
    with one.taken() as items:
        assert next(items) == 1
    with pytest.raises(ValueError, match="no second"), one.taken() as items:
        next(items)
