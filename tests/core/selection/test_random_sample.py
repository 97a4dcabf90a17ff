"""Tiles that were drawn at random are told from those that were labelled for another reason."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.core.selection.random_sample import RandomDraws, Step, sampling_order


def random_draws(order: np.ndarray, steps: list[Step]) -> list[int]:
    return RandomDraws(order).follow(steps)


def _step(tile: int, label: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return np.array([tile]), np.array([label], np.int16)


@given(st.text(max_size=30), st.integers(1, 200))
def test_the_order_is_a_permutation_that_stays(field: str, n: int) -> None:
    order = sampling_order(field, n)
    assert sorted(order.tolist()) == list(range(n))
    assert (order == sampling_order(field, n)).all()


def test_only_tiles_labelled_in_random_order_are_draws() -> None:
    order = np.array([4, 2, 0, 1, 3])
    steps = [_step(2), _step(4), _step(3), _step(0, 1), _step(1)]
    assert random_draws(order, steps) == [4, 0, 1], "2 was labelled before it was drawn, 3 when it was not its turn"


def test_a_draw_that_is_taken_back_is_none_and_can_be_drawn_again() -> None:
    order = np.array([1, 0, 2])
    assert random_draws(order, [_step(1), _step(1, -1)]) == []
    assert random_draws(order, [_step(1), _step(1, -1), _step(1, 2), _step(0)]) == [1, 0]
    several = (np.array([1, 0]), np.array([0, 0], np.int16))
    assert random_draws(order, [several, _step(2)]) == [2], "tiles of a selection were not drawn"


def test_a_draw_that_cannot_be_decided_is_no_gap() -> None:
    assert random_draws(np.array([1, 0, 2]), [_step(1, -2), _step(0)]) == [1, 0]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 1)), max_size=12), st.data())
def test_a_history_that_grows_or_is_taken_back_gives_the_draws_of_the_whole(
    given_labels: list[tuple[int, int]], data: st.DataObject
) -> None:
    order = np.array([3, 1, 5, 0, 4, 2])
    steps = [_step(*one) for one in given_labels]
    draws = RandomDraws(order)
    for _ in range(3):
        some = steps[: data.draw(st.integers(0, len(steps)))]
        assert draws.follow(some) == random_draws(order, some)
