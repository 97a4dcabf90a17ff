"""A classifier wins a comparison only where it is better on most groups, and hardly ever by chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellclass.core.stats.paired_accuracy import compare_balanced


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), n=st.integers(12, 200), groups=st.integers(3, 9))
def test_the_difference_is_that_of_the_balanced_accuracies_and_turns_with_them(seed: int, n: int, groups: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.resize([0, 0, 1], n)
    one, other = rng.random((2, n)) < [[0.9], [0.7]]
    found = compare_balanced(truth, one, other, np.arange(n) % groups)
    back = compare_balanced(truth, other, one, np.arange(n) % groups)
    assert found is not None
    assert back is not None
    assert found.one == pytest.approx(np.mean([one[truth == k].mean() for k in (0, 1)]))
    assert found.difference.value == pytest.approx(found.one - found.other)
    assert back.difference.value == pytest.approx(-found.difference.value)
    assert back.p == pytest.approx(found.p)
    assert not (found.one_wins and back.one_wins)


def test_what_is_better_everywhere_wins_and_what_is_equal_does_not() -> None:
    truth, groups = np.resize([0, 1], 240), np.arange(240) // 40
    better = np.ones(240, bool)
    worse = np.random.default_rng(1).random(240) < 0.85
    found = compare_balanced(truth, better, worse, groups)
    assert found is not None
    assert found.one_wins
    equal = compare_balanced(truth, worse, worse, groups)
    assert equal is not None
    assert not equal.one_wins


def test_two_classifiers_that_are_equally_good_seldom_win() -> None:
    rng, wins = np.random.default_rng(0), 0
    for _ in range(200):
        truth, groups = rng.integers(0, 2, 60), np.arange(60) % 6
        one, other = rng.random((2, 60)) < 0.8
        found = compare_balanced(truth, one, other, groups)
        wins += found is not None and found.one_wins
    assert wins <= 10


@pytest.mark.parametrize(("truth", "groups"), [([0, 1] * 8, [0, 1] * 8), ([0] * 15 + [1], [0, 1, 2, 3] * 4)])
def test_too_few_groups_or_tiles_of_a_class_are_not_compared(truth: list[int], groups: list[int]) -> None:
    right = np.ones(16, bool)
    assert compare_balanced(np.array(truth), right, right, np.array(groups)) is None
