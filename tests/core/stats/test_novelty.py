"""Distances from known tiles, and what fraction of known tiles is as far away."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellclass.core.stats.novelty import (
    ClassDistances,
    clearly_above,
    conformal_p_values,
    fit_space,
    held_out_distances,
)

NUMBERS = st.lists(st.floats(0, 100, width=32), min_size=1, max_size=40)


def _known(seed: int, groups: int = 6, each: int = 12, columns: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, classes and groups of known tiles of two classes, each group with a shift of its own."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), each)
    label = np.arange(len(group)) % 2
    shift = rng.normal(size=(groups, columns)) * 0.5
    centres = 4 * np.eye(2, columns)
    return centres[label] + shift[group] + rng.normal(size=(len(group), columns)), label, group


@given(NUMBERS, NUMBERS)
def test_p_values_lie_in_0_to_1_and_fall_with_distance(scores: list[float], distances: list[float]) -> None:
    ordered = np.sort(np.array(distances, np.float32))
    p = conformal_p_values(np.sort(np.array(scores, np.float32)), ordered)
    assert ((p > 0) & (p <= 1)).all()
    assert (np.diff(p) <= 0).all()
    assert p.min() >= np.float32(1 / (1 + len(scores)))


@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.1, 0.2, 0.5]))
def test_at_most_the_error_rate_of_exchangeable_tiles_has_a_p_value_so_low(seed: int, rate: float) -> None:
    # Of n + 1 exchangeable distances each is as likely the new one: over all of them the bound is exact.
    values = np.random.default_rng(seed).gamma(2.0, size=20).round(1).astype(np.float32)
    p = [conformal_p_values(np.sort(np.delete(values, i)), values[i : i + 1])[0] for i in range(len(values))]
    assert np.mean(np.array(p) <= rate + 1e-6) <= rate + 1e-9


def test_p_values_of_known_tiles_are_spread_evenly() -> None:
    rng = np.random.default_rng(1)
    p = conformal_p_values(np.sort(rng.gamma(2.0, size=999)), rng.gamma(2.0, size=4000))
    assert np.histogram(p, 5, (0, 1))[0] / 4000 == pytest.approx(0.2, abs=0.04)


def test_a_tile_without_features_has_no_p_value() -> None:
    features = np.array([[0.0, 1.0], [np.nan, 1.0]], np.float32)
    distances = ClassDistances.of(np.eye(2, dtype=np.float32), np.array([0, 1])).apply(features)
    assert np.isnan(distances).tolist() == [False, True]
    assert np.isnan(conformal_p_values(np.array([1.0]), distances)).tolist() == [False, True]


@settings(max_examples=10)
@given(st.integers(0, 50))
def test_the_order_of_the_tiles_does_not_matter(seed: int) -> None:
    features, label, group = _known(seed)
    order = np.random.default_rng(seed).permutation(len(label))
    there = held_out_distances(features, label, group)
    np.testing.assert_allclose(held_out_distances(features[order], label[order], group[order]), there[order], rtol=1e-3)
    space, again = fit_space(features, label), fit_space(features[order], label[order])
    points = features[:5] + 1
    distances = ClassDistances.of(space.apply(features), label).apply(space.apply(points))
    shuffled = ClassDistances.of(again.apply(features[order]), label[order]).apply(again.apply(points))
    np.testing.assert_allclose(shuffled, distances, rtol=1e-3)


def test_a_class_left_out_is_farther_away_than_known_groups() -> None:
    features, label, group = _known(0)
    train = group < 4
    scores = np.sort(held_out_distances(features[train], label[train], group[train]))
    space = fit_space(features[train], label[train])
    classes = ClassDistances.of(space.apply(features[train]), label[train])
    new = features[~train] + 9 * np.eye(1, features.shape[1], 5)
    known_p = conformal_p_values(scores, classes.apply(space.apply(features[~train])))
    new_p = conformal_p_values(scores, classes.apply(space.apply(new)))
    assert (new_p <= 0.05).mean() > 0.9
    assert (known_p <= 0.05).mean() < 0.3


@given(st.integers(0, 99))
def test_a_tile_is_the_farther_the_farther_it_is_from_all_classes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, label = rng.normal(size=(30, 4)) * 3, np.arange(30) % 3
    direction = rng.normal(size=4)
    far = points.mean(axis=0) + np.outer([100, 1000, 10_000], direction / np.linalg.norm(direction))
    distances = ClassDistances.of(points, label).apply(far)
    assert distances[0] > 0
    assert (np.diff(distances) > 0).all()


def test_one_group_alone_has_no_others_to_be_compared_with() -> None:
    features, label, _ = _known(0)
    assert np.isnan(held_out_distances(features, label, np.zeros(len(label)))).all()


@given(st.integers(1, 500), st.sampled_from([0.01, 0.05, 0.2]))
def test_the_expected_number_is_no_alarm_and_all_tiles_are(total: int, rate: float) -> None:
    assert not clearly_above(round(rate * total), total, rate)
    assert clearly_above(total, total, rate) == (rate**total < 1e-3 and total > 2 * rate * total)
    assert not clearly_above(0, 0, rate)
