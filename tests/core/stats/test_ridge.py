from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_cellclass.core.stats.ridge import fit_ridge, fit_ridge_in_batches


def problem(seed: int, tiles: int, width: int, classes: int, folds: int) -> tuple[NDArray, NDArray, NDArray]:
    """Return features, labels and folds; each class has one tile or more, and the folds are of any size."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, max(0, tiles - classes))])
    z = rng.normal(0, 1, (len(labels), width)).astype(np.float32)
    z[:, : min(width, classes)] += np.eye(classes, dtype=np.float32)[labels][:, :width]
    return z, labels, rng.integers(0, folds, len(labels)) if folds else np.arange(len(labels))


def refit(
    z: NDArray, labels: NDArray, classes: int, penalty: float, rows: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Solve the ridge regression to some tiles by least squares; the classes' weights are those of all tiles."""
    weight = 1 / np.bincount(labels, minlength=classes)[labels]
    root = np.sqrt(weight / weight.mean())[rows, None]
    x = np.concatenate([z[rows] / np.sqrt(z.shape[1]), np.ones((len(rows), 1))], axis=1) * root
    targets = (np.eye(classes)[labels[rows]] - 1 / classes) * root
    stacked = np.concatenate([x, np.sqrt(penalty) * np.eye(x.shape[1])])
    solution = np.linalg.lstsq(stacked, np.concatenate([targets, np.zeros((x.shape[1], classes))]), rcond=None)[0]
    return solution[:-1] / np.sqrt(z.shape[1]), solution[-1]


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    tiles=st.integers(2, 60),
    width=st.integers(1, 40),
    classes=st.integers(2, 6),
    folds=st.integers(0, 6),
)
def test_left_out_scores_are_those_of_a_fit_without_the_fold(
    seed: int, tiles: int, width: int, classes: int, folds: int
) -> None:
    z, labels, fold = problem(seed, tiles, width, classes, folds)
    fit = fit_ridge(z, labels, fold, classes)
    weights, intercept = refit(z, labels, classes, fit.penalty, np.arange(len(labels)))
    np.testing.assert_allclose(fit.weights, weights, atol=1e-6)
    np.testing.assert_allclose(fit.intercept, intercept, atol=1e-6)
    for number in np.unique(fold):
        own = fold == number
        weights, intercept = refit(z, labels, classes, fit.penalty, np.flatnonzero(~own))
        np.testing.assert_allclose(fit.held_out[own], z[own] @ weights + intercept, atol=1e-5)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    tiles=st.integers(2, 60),
    width=st.integers(1, 40),
    folds=st.integers(0, 6),
    size=st.integers(1, 70),
)
def test_batches_of_any_size_give_the_same_fit(seed: int, tiles: int, width: int, folds: int, size: int) -> None:
    z, labels, fold = problem(seed, tiles, width, 3, folds)
    whole = fit_ridge(z, labels, fold, 3)
    batched = fit_ridge_in_batches(lambda: (z[i : i + size] for i in range(0, len(z), size)), labels, fold, 3)
    assert batched.penalty == whole.penalty
    np.testing.assert_allclose(batched.held_out, whole.held_out, atol=1e-5)
    np.testing.assert_allclose(batched.weights, whole.weights, atol=1e-6)


@pytest.mark.parametrize("tiles", [20, 200])  # fewer and more than features
def test_copies_of_a_tile_are_no_evidence_where_they_are_left_out_together(tiles: int) -> None:
    z, _, _ = problem(0, tiles, 50, 2, 0)
    z, labels = np.repeat(z, 4, axis=0), np.repeat(np.random.default_rng(1).integers(0, 2, tiles), 4)
    together = fit_ridge(z, labels, np.repeat(np.arange(tiles), 4), 2).held_out.argmax(axis=1) == labels
    alone = fit_ridge(z, labels, np.arange(4 * tiles), 2).held_out.argmax(axis=1) == labels
    assert together.mean() < alone.mean() - 0.1
