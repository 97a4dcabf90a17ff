"""Class-balanced ridge regression to classes, with predictions of left-out groups in closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Ridge penalties that are tried, for features of unit variance divided by the root of their number."""

# Prior of the penalty: a normal distribution of its logarithm. Few tiles tell little of it.
_PENALTY, _PENALTY_SD = 0.1, 0.8
# Added to the mean squared error, so that its logarithm stays finite where all tiles are fitted exactly.
_LEAST_ERROR = 1e-3

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """A ridge regression to classes.

    Attributes
    ----------
    weights
        float64, shape (D, K), of the features as they were given.
    intercept
        float64, shape (K,).
    held_out
        float32, shape (n, K): score of each tile by the fit without its fold; 1 / K is subtracted from the targets.
    penalty
        The one that was chosen, of :data:`PENALTIES`.
    """

    weights: Matrix
    intercept: Matrix
    held_out: NDArray[np.float32]
    penalty: float


def fit_ridge(
    z: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], folds: NDArray[np.integer[Any]], classes: int
) -> RidgeFit:
    """Fit scores of classes, and score every tile by the fit without its fold.

    Minimises ``sum_i w_i |t_i - [z_i / sqrt(D), 1] W|^2 + penalty |W|^2``, with ``w`` the inverse of the number of
    tiles of a class, of mean 1, and one-hot targets ``t`` less 1 / K. The residuals of a fold that was left out are
    ``(I - H_ff)^-1 r_f``, with the hat matrix H of all tiles (Cook & Weisberg, Residuals and Influence in Regression,
    1982, section 3.6), so that nothing is fitted again. The penalty is the one of least squared error of left-out
    tiles, with a prior.

    Parameters
    ----------
    z
        Standardised features, shape (n, D), finite.
    labels
        Class indices, shape (n,); each of ``classes`` classes occurs.
    folds
        Shape (n,): tiles of one number are left out together.
    classes
        K.
    """
    return RidgeSystem.of(z, labels, classes).fit(folds)


@dataclass(frozen=True, eq=False)
class RidgeSystem:
    """The eigen-decomposition of one regression, from which it is fitted with any folds; see :func:`fit_ridge`.

    Attributes
    ----------
    root, targets
        Roots of the tiles' weights, shape (n,); their targets times those, shape (n, K).
    x
        Weighted design, shape (n, D + 1).
    basis, shrinkage
        Shapes (n, m) and (P, m): the hat matrix of penalty p is ``basis diag(shrinkage[p]) basis'``.
    back, solution
        Shapes (D + 1, m) and (P, m, K): the weights of penalty p are ``back solution[p]``.
    gram
        ``x' x``, shape (D + 1, D + 1), where there are more tiles than features; else None.
    """

    root: Matrix
    targets: Matrix
    x: Matrix
    basis: Matrix
    shrinkage: Matrix
    back: Matrix
    solution: Matrix
    gram: Matrix | None

    @classmethod
    def of(cls, z: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], classes: int) -> RidgeSystem:
        """Decompose the regression of labels on features; parameters as for :func:`fit_ridge`."""
        count, width = z.shape
        root, targets = _weighted_targets(labels, classes)
        x = _design(z) * root[:, None]
        penalties = np.array(PENALTIES)
        if count <= width + 1:
            values, basis = np.linalg.eigh(x @ x.T)
            values = np.maximum(values, 0.0)
            solution = (basis.T @ targets) / (values + penalties[:, None])[:, :, None]
            return cls(root, targets, x, basis, values / (values + penalties[:, None]), x.T @ basis, solution, None)
        gram = x.T @ x
        values, back = np.linalg.eigh(gram)
        basis = x @ back
        shrinkage = 1.0 / (np.maximum(values, 0.0) + penalties[:, None])
        solution = (basis.T @ targets) * shrinkage[:, :, None]
        return cls(root, targets, x, basis, shrinkage, back, solution, gram)

    def fit(self, folds: NDArray[np.integer[Any]]) -> RidgeFit:
        """Choose the penalty that suits left-out folds best; ``folds`` as for :func:`fit_ridge`."""
        residuals = self._left_out(_rows_by_fold(folds))
        count = len(self.x)
        best = _best_penalty((residuals**2).sum(axis=(1, 2)) / count, count)
        held = (self.targets - residuals[best]) / self.root[:, None]
        return _finished(self.back @ self.solution[best], held, best)

    def _left_out(self, rows: list[NDArray[np.int64]]) -> Matrix:
        """Return the residuals (P, n, K) of every tile by the fit without its fold, for every penalty."""
        count, width = len(self.x), self.x.shape[1] - 1
        fitted = self.basis @ (self.shrinkage[:, :, None] * (self.basis.T @ self.targets))
        residuals: Matrix = self.targets - fitted
        if len(rows) == count:
            leverage = self.shrinkage @ (self.basis * self.basis).T
            residuals /= np.maximum(1.0 - leverage, 1e-12)[:, :, None]
            return residuals
        cross = self.x.T @ self.targets
        for own in rows:
            if self.gram is not None and len(own) > width:
                weights = _without(self.gram, cross, self.x[own], self.targets[own])
                residuals[:, own] = self.targets[own] - self.x[own] @ weights
            else:
                hat = (self.basis[own] * self.shrinkage[:, None, :]) @ self.basis[own].T
                residuals[:, own] = np.linalg.solve(np.eye(len(own)) - hat, residuals[:, own])
        return residuals


def fit_ridge_in_batches(
    batches: Callable[[], Iterable[NDArray[np.floating[Any]]]],
    labels: NDArray[np.integer[Any]],
    folds: NDArray[np.integer[Any]],
    classes: int,
) -> RidgeFit:
    """Fit as :func:`fit_ridge` does, from batches of tiles, which are gone through twice and never kept.

    Memory grows with the square of the number of features times the number of folds, unless every tile is a fold of
    its own; the results are those of :func:`fit_ridge`.

    Parameters
    ----------
    batches
        Gives the standardised features of consecutive tiles, shape (m, D) each, anew with every call.
    labels, folds, classes
        As for :func:`fit_ridge`.
    """
    root, targets = _weighted_targets(labels, classes)
    numbers, single = np.unique(folds, return_inverse=True)[1], len(np.unique(folds)) == len(folds)
    parts: dict[int, tuple[Matrix, Matrix]] = {}
    for start, x in _weighted_batches(batches, root):
        own = slice(start, start + len(x))
        for fold in (0,) if single else np.unique(numbers[own]).tolist():
            mine = slice(None) if single else numbers[own] == fold
            rows, wanted = x[mine], targets[own][mine]
            gram, cross = parts.get(fold, (0.0, 0.0))
            parts[fold] = (gram + rows.T @ rows, cross + rows.T @ wanted)
    gram = np.sum([part[0] for part in parts.values()], axis=0)
    cross = np.sum([part[1] for part in parts.values()], axis=0)
    ridge = np.array(PENALTIES)[:, None, None] * np.eye(len(gram))
    weights = np.linalg.solve(gram + ridge, np.broadcast_to(cross, (len(ridge), *cross.shape)))
    inverse = np.linalg.inv(gram + ridge) if single else None
    others = {
        fold: np.linalg.solve(gram - part[0] + ridge, np.broadcast_to(cross - part[1], weights.shape))
        for fold, part in (() if single else parts.items())
    }
    held = np.empty((len(PENALTIES), len(labels), classes), np.float32)
    errors = np.zeros(len(PENALTIES))
    for start, x in _weighted_batches(batches, root):
        own = slice(start, start + len(x))
        residuals = np.empty((len(PENALTIES), len(x), classes))
        if inverse is not None:
            leverage = np.einsum("pnd,nd->pn", x @ inverse, x)
            residuals[:] = (targets[own] - x @ weights) / np.maximum(1.0 - leverage, 1e-12)[:, :, None]
        for fold in () if single else np.unique(numbers[own]).tolist():
            mine = numbers[own] == fold
            residuals[:, mine] = targets[own][mine] - x[mine] @ others[fold]
        errors += (residuals**2).sum(axis=(1, 2))
        held[:, own] = (targets[own] - residuals) / root[own, None]
    best = _best_penalty(errors / len(labels), len(labels))
    return _finished(weights[best], held[best], best)


def _weighted_targets(labels: NDArray[np.integer[Any]], classes: int) -> tuple[Matrix, Matrix]:
    """Return the roots of the tiles' weights (n,), and their targets (n, K) times those."""
    counts = np.bincount(labels, minlength=classes)
    weight = 1.0 / counts[labels]
    root = np.sqrt(weight / weight.mean())
    return root, root[:, None] * (np.eye(classes)[labels] - 1.0 / classes)


def _design(z: NDArray[np.floating[Any]]) -> Matrix:
    """Return features of total variance 1 with a column of ones, shape (n, D + 1)."""
    x = np.ones((len(z), z.shape[1] + 1))
    np.divide(z, np.sqrt(z.shape[1]), out=x[:, :-1])
    return x


def _weighted_batches(
    batches: Callable[[], Iterable[NDArray[np.floating[Any]]]], root: Matrix
) -> Iterable[tuple[int, Matrix]]:
    start = 0
    for z in batches():
        yield start, _design(z) * root[start : start + len(z), None]
        start += len(z)


def _rows_by_fold(folds: NDArray[np.integer[Any]]) -> list[NDArray[np.int64]]:
    order = np.argsort(folds, kind="stable")
    starts = [0, *(np.flatnonzero(np.diff(folds[order])) + 1).tolist(), len(order)]
    return [order[start:end] for start, end in pairwise(starts)]  # np.split takes ten times as long


def _without(gram: Matrix, cross: Matrix, x: Matrix, targets: Matrix) -> Matrix:
    """Return the weights (P, D + 1, K) for every penalty from normal equations less those of some tiles."""
    rest = gram - x.T @ x + np.array(PENALTIES)[:, None, None] * np.eye(len(gram))
    wanted = cross - x.T @ targets
    return np.asarray(np.linalg.solve(rest, np.broadcast_to(wanted, (len(PENALTIES), *wanted.shape))))


def _best_penalty(errors: Matrix, count: int) -> int:
    """Return the index of the most probable penalty, given the mean squared error of left-out tiles for each."""
    prior = (np.log(np.array(PENALTIES) / _PENALTY) / _PENALTY_SD) ** 2 / 2
    return int(np.argmin(count / 2 * np.log(errors + _LEAST_ERROR) + prior))


def _finished(weights: Matrix, held: NDArray[np.floating[Any]], best: int) -> RidgeFit:
    scaled = weights[:-1] / np.sqrt(len(weights) - 1)
    return RidgeFit(scaled, weights[-1], held.astype(np.float32), PENALTIES[best])
