"""The accuracy of a random sample covers that of the tiles it was drawn from."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellclass.core.selection.sample_accuracy import sample_accuracy, sample_fractions


def _balanced(truth: np.ndarray, predicted: np.ndarray, k: int) -> float:
    return float(np.mean([(predicted[truth == c] == c).mean() for c in range(k)]))


@pytest.mark.parametrize("recalls", [(0.6, 0.7), (0.95, 0.9), (0.9, 0.5, 0.8)])
def test_the_interval_covers_the_accuracy_on_the_other_tiles(recalls: tuple[float, ...]) -> None:
    rng, k, n = np.random.default_rng(1), len(recalls), 400
    covered = []
    for _ in range(300):
        truth = rng.integers(0, k, n)
        right = rng.random(n) < np.array(recalls)[truth]
        predicted = np.where(right, truth, (truth + 1) % k)
        drawn = rng.permutation(n) < 30
        found = sample_accuracy(truth[drawn], predicted[drawn], k, int((~drawn).sum()))
        if found.estimate is not None:
            value = _balanced(truth[~drawn], predicted[~drawn], k)
            covered.append(found.estimate.lo <= value <= found.estimate.hi)
    assert np.mean(covered) >= 0.93
    assert len(covered) > 250


def test_nothing_is_claimed_where_there_is_nothing_to_learn() -> None:
    rng, claims, below = np.random.default_rng(2), 0, 0
    for _ in range(200):
        truth, predicted = rng.integers(0, 2, (2, 24))
        found = sample_accuracy(truth, predicted, 2, 1000)
        if found.estimate is not None:
            claims += found.above_chance
            below += found.estimate.lo <= 0.5
    assert claims <= 2
    assert below >= 190


def test_a_class_of_too_few_drawn_tiles_is_named_and_nothing_is_shown() -> None:
    found = sample_accuracy(np.array([0, 0, 0, 2, 2, 1]), np.array([0, 0, 0, 2, 2, 1]), 3, 100)
    assert found.estimate is None
    assert found.missing == (1,)
    assert found.n == 6


def test_perfect_and_hopeless_samples_have_intervals_of_some_width() -> None:
    truth = np.repeat([0, 1], 10)
    best, worst = sample_accuracy(truth, truth, 2, 1000), sample_accuracy(truth, 1 - truth, 2, 1000)
    assert best.estimate is not None
    assert worst.estimate is not None
    assert (best.estimate.value, best.estimate.hi) == (1.0, 1.0)
    assert 0.7 < best.estimate.lo < 0.9
    assert best.above_chance
    assert (worst.estimate.value, worst.estimate.lo) == (0.0, 0.0)
    assert not worst.above_chance


def test_fewer_other_tiles_make_the_interval_wider() -> None:
    truth = np.repeat([0, 1], 10)
    predicted = np.where(np.arange(20) % 5 == 0, 1 - truth, truth)
    few, many = (sample_accuracy(truth, predicted, 2, n).estimate for n in (10, 10_000))
    assert few is not None
    assert many is not None
    assert few.hi - few.lo > many.hi - many.lo


def test_fractions_are_corrected_by_what_the_sample_got_wrong() -> None:
    truth = np.repeat([0, 1], [30, 10])
    predicted = truth.copy()
    predicted[:5] = 1  # a class is given too often
    first, second = sample_fractions(np.array([0.6, 0.4]), truth, predicted)
    assert first.value == pytest.approx(0.6 + 5 / 40)
    assert second.value == pytest.approx(0.4 - 5 / 40)
    assert first.lo < 0.725 < first.hi
    assert first.lo > 0.6 - 0.05
