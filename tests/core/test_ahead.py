from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from napari_cellclass.core.ahead import ahead


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
    with ahead(iter(int, 1), 1, lambda: leave == "cancel" and len(taken) == 3) as items:
        for item in items:
            taken.append(item)
            if leave == "break" and len(taken) == 3:
                break
    assert len(taken) == 3
    assert threading.active_count() == before
