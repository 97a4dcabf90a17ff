from __future__ import annotations

import threading
from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from napari_cellclass.core.common.blas import single_threaded_blas


def threads() -> list[int]:
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]


def test_blas_has_one_thread_within_and_as_many_as_before_after_it() -> None:
    with single_threaded_blas():  # loads all there is
        pass
    before = threads()
    assert before
    with single_threaded_blas():
        with single_threaded_blas():
            assert set(threads()) == {1}
        assert set(threads()) == {1}, "the inner one has given back what the outer one needs"
        np.linalg.eigh(np.eye(3))
    assert threads() == before


def test_an_error_within_gives_the_threads_back() -> None:
    before = threads()
    with pytest.raises(ValueError, match="within"), single_threaded_blas():
        raise ValueError("within")
    assert threads() == before


@given(st.permutations([0, 0, 1, 1, 2, 2]))
def test_in_whatever_order_threads_begin_and_end_all_is_as_before(order: list[int]) -> None:
    before = threads()
    turns = [[threading.Event(), threading.Event()] for _ in range(3)]
    done = [[threading.Event(), threading.Event()] for _ in range(3)]

    def work(number: int) -> None:
        with ExitStack() as stack:
            turns[number][0].wait(10)
            stack.enter_context(single_threaded_blas())
            done[number][0].set()
            turns[number][1].wait(10)
        done[number][1].set()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    began: set[int] = set()
    open_blocks = 0
    for number in order:
        step = int(number in began)
        began.add(number)
        turns[number][step].set()
        assert done[number][step].wait(10)
        open_blocks += 1 - 2 * step
        assert set(threads()) == ({1} if open_blocks else set(before))
    for worker in workers:
        worker.join()
    assert threads() == before
