"""Wrong labels come first in the list, whatever the order of tiles and classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.core.selection.label_errors import (
    class_thresholds,
    confident_classes,
    nearest_rows,
    normalised_margin,
    rank_label_errors,
)

PROB = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8], [0.1, 0.9], [0.6, 0.4]])
LABELS = np.array([0, 0, 0, 1, 1, 1])


def test_thresholds_and_confident_joint_are_those_of_confident_learning() -> None:
    # By hand: the means of p_0 over labels 0, and of p_1 over labels 1.
    assert class_thresholds(LABELS, PROB) == pytest.approx([2 / 3, 0.7])
    # Only the last is of no class with confidence: 0.6 and 0.4 are both below.
    assert confident_classes(LABELS, PROB).tolist() == [0, 0, 1, 1, 1, -1]
    found = rank_label_errors(LABELS, PROB, PROB)
    assert found.likely.tolist() == [False, False, True, False, False, False]
    assert found.order[:2].tolist() == [2, 5], "margins are -0.4 and -0.2, all others are positive"
    assert found.suggested.tolist() == [1, 1, 1, 0, 0, 0]


def test_a_class_without_a_label_is_never_suggested_with_confidence() -> None:
    prob = np.array([[0.1, 0.2, 0.7], [0.2, 0.6, 0.2]])
    assert confident_classes(np.array([0, 1]), prob).tolist() == [0, 1], "each is at its class's threshold"
    assert np.isinf(class_thresholds(np.array([0, 1]), prob)[2])


@st.composite
def _cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    k, n = draw(st.integers(2, 5)), draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    labels = rng.integers(0, k, n)
    return labels, rng.dirichlet(np.ones(k), n), rng.dirichlet(np.ones(k), n)


@given(_cases())
def test_the_rank_follows_the_tiles_and_the_classes_when_they_are_renumbered(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    labels, one, two = case
    found = rank_label_errors(labels, one, two)
    assert sorted(found.order.tolist()) == list(range(len(labels)))
    assert (np.diff(found.quality[found.order]) >= 0).all()
    assert ((found.quality >= 0) & (found.quality <= 1)).all()
    assert (found.suggested != labels).all()
    tiles = np.random.default_rng(1).permutation(len(labels))
    assert rank_label_errors(labels[tiles], one[tiles], two[tiles]).quality == pytest.approx(found.quality[tiles])
    classes = np.random.default_rng(2).permutation(one.shape[1])
    renamed = rank_label_errors(np.argsort(classes)[labels], one[:, classes], two[:, classes])
    assert renamed.quality == pytest.approx(found.quality)
    assert (renamed.likely == found.likely).all()
    assert (classes[renamed.suggested] == found.suggested).all()


@given(_cases())
def test_the_margin_is_negative_exactly_where_another_class_is_more_probable(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    labels, prob, _ = case
    assert ((normalised_margin(labels, prob) < 0) == (prob.argmax(axis=1) != labels)).all()


def test_the_nearest_rows_are_those_of_a_brute_force_search_and_never_the_row_itself() -> None:
    features = np.random.default_rng(0).normal(size=(1500, 7))
    near = nearest_rows(features, np.arange(1500), 5)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    for row in (0, 700, 1499):
        others = sorted((i for i in range(1500) if i != row), key=lambda i: -float(unit[i] @ unit[row]))
        assert near[row].tolist() == others[:5]
    assert nearest_rows(features[:3], np.array([1]), 5).shape == (1, 2), "there are no more"
    assert nearest_rows(features[:1], np.array([0]), 5).shape == (1, 0)
