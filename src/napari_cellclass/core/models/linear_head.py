"""A linear classifier on several sets of features, that is fitted at once and knows how it does on left-out groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import scipy  # its parts are imported when they are used: half a second
from numpy.typing import NDArray

from napari_cellclass.core.stats.ridge import RidgeFit, RidgeSystem, fit_ridge_in_batches

MAX_FEATURE = 8.0
"""Standardised features are clipped to plus or minus this, for tiles unlike all others."""

MIN_PROBABILITY = 1e-6
"""Probabilities are clipped here, so that a probability of 0 does not rule a class out."""

HeldOutBy = Literal["group", "tile"]

# A feature whose sd is smaller, as a fraction of its mean or by itself, counts as constant: it varies by rounding.
_MIN_SD, _LEAST_SD = 1e-3, 1e-6
# Factors of the scores, and powers of the mean probabilities, that are tried; priors of both: a normal distribution of
# the logarithm.
_SHARPNESS, _SHARPNESS_PRIOR = np.geomspace(1.0, 60.0, 60), (8.0, 0.7)
_POWER, _POWER_PRIOR = np.geomspace(0.3, 4.0, 40), (1.0, 0.5)
# More tiles than this are fitted in batches of so many, with at most so many folds of groups.
_MANY, _FOLDS = 8192, 64
_BLOCK = 1 << 16  # numbers


@dataclass(frozen=True, eq=False)
class Standardisation:
    """Mean and scale of a set of features.

    Attributes
    ----------
    mean, scale
        float32, shape (D,); the scale is infinite for a feature that does not vary, which becomes 0.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def fit(cls, features: NDArray[np.floating[Any]]) -> Standardisation:
        """Measure features (n, D), labelled or not; rows with NaN do not count.

        Raises
        ------
        ValueError
            No row is finite.
        """
        finite = np.isfinite(features).all(axis=1)
        if not finite.any():
            raise ValueError("no row of the features is finite")
        if not finite.all():
            features = features[finite]
        mean = features.mean(axis=0, dtype=np.float64)
        sd = features.std(axis=0, dtype=np.float64)
        varies = sd > np.maximum(_LEAST_SD, _MIN_SD * np.abs(mean))
        return cls(mean.astype(np.float32), np.where(varies, sd, np.inf).astype(np.float32))

    def apply(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return ``(features - mean) / scale`` clipped to plus or minus 8: float32, shape (n, D); NaN stays NaN."""
        z = np.subtract(features, self.mean, dtype=np.float32)
        z *= self.factor
        return np.clip(z, -MAX_FEATURE, MAX_FEATURE, out=z)

    @property
    def factor(self) -> NDArray[np.float32]:
        """``1 / scale``, shape (D,); 0 for a feature that does not vary."""
        return np.float32(1.0) / self.scale


@dataclass(frozen=True, eq=False)
class LinearHead:
    """A linear classifier on several sets of standardised features: the mean of its sets' probabilities.

    ``softmax(power log(mean_i softmax(z_i weights_i + intercepts_i)))``

    Attributes
    ----------
    weights, intercepts
        By feature set: float32, shapes (D_i, K) and (K,), with the sharpness of that set's probabilities in them.
    temperature
        1 / ``power``.
    known
        bool, shape (K,): the classes that had a labelled tile; the others get a probability of 0.
    """

    weights: tuple[NDArray[np.float32], ...]
    intercepts: tuple[NDArray[np.float32], ...]
    temperature: float
    known: NDArray[np.bool_]

    def predict(self, parts: Sequence[NDArray[np.floating[Any]]]) -> NDArray[np.float32]:
        """Return probabilities (n, K), float32, for standardised features (n, D_i) of each set."""
        scores = (
            part @ weights + intercept
            for part, weights, intercept in zip(parts, self.weights, self.intercepts, strict=True)
        )
        mean = sum(scipy.special.softmax(each[:, self.known], axis=1) for each in scores) / len(self.weights)
        prob = np.zeros((len(mean), len(self.known)), np.float32)
        prob[:, self.known] = _sharpened(mean, 1 / self.temperature)
        return prob


@dataclass(frozen=True, eq=False)
class HeadFit:
    """A fitted classifier, and what it says of labelled tiles that it was not fitted to.

    Attributes
    ----------
    head
        Fitted to all labelled tiles.
    held_out
        float32, shape (n, K): probabilities of each labelled tile by the fit without its group, or without it alone.
    held_out_parts
        The same by each feature set alone.
    held_out_by
        ``"group"``; ``"tile"`` where a class has tiles of one group only, so that figures are those of neighbours.
    penalties
        Ridge penalty of each feature set.
    """

    head: LinearHead
    held_out: NDArray[np.float32]
    held_out_parts: tuple[NDArray[np.float32], ...]
    held_out_by: HeldOutBy
    penalties: tuple[float, ...]


def fit_head(
    parts: Sequence[NDArray[np.floating[Any]]],
    labels: NDArray[np.integer[Any]],
    groups: NDArray[Any] | Sequence[Any],
    n_classes: int,
) -> HeadFit:
    """Fit a ridge regression to each set of features, and average their calibrated probabilities.

    Penalties and the sharpness of probabilities are those that suit left-out groups best. Below 8 192 tiles each group
    is left out by itself; see :func:`fit_head_in_batches` for more.

    Parameters
    ----------
    parts
        By feature set: standardised features of the labelled tiles, shape (n, D_i), finite.
    labels
        Class indices, shape (n,), n > 0; a class may have no tile.
    groups
        What group each tile belongs to, shape (n,): its field, well or patient.
    n_classes
        K.
    """
    return fit_heads(parts, labels, [groups], n_classes)[0]


def fit_heads(
    parts: Sequence[NDArray[np.floating[Any]]],
    labels: NDArray[np.integer[Any]],
    groupings: Sequence[NDArray[Any] | Sequence[Any]],
    n_classes: int,
) -> list[HeadFit]:
    """Fit as :func:`fit_head` does, once for each of several groupings of the same tiles, which share what takes long.

    Parameters
    ----------
    parts, labels, n_classes
        As for :func:`fit_head`.
    groupings
        What is left out together, shape (n,) each.
    """
    labels = np.asarray(labels)
    if len(labels) <= _MANY:
        known, dense = _dense_labels(labels, n_classes)
        systems = [RidgeSystem.of(part, dense, int(known.sum())) for part in parts]
        found = []
        for groups in groupings:
            folds, by = _folds(dense, np.asarray(groups))
            found.append(_head_fit([system.fit(folds) for system in systems], dense, known, by))
        return found

    def rows() -> Iterable[Sequence[NDArray[np.floating[Any]]]]:
        for start in range(0, len(labels), _MANY):
            yield [part[start : start + _MANY] for part in parts]

    return [fit_head_in_batches(rows, labels, groups, n_classes) for groups in groupings]


def fit_head_in_batches(
    batches: Callable[[], Iterable[Sequence[NDArray[np.floating[Any]]]]],
    labels: NDArray[np.integer[Any]],
    groups: NDArray[Any] | Sequence[Any],
    n_classes: int,
) -> HeadFit:
    """Fit as :func:`fit_head` does, but from batches of tiles, of which one at a time is in memory.

    The features of all tiles are gone through twice for each feature set. More than 64 groups are left out in 64 sets
    of groups instead of one by one.

    Parameters
    ----------
    batches
        Gives the standardised features of consecutive tiles, by feature set, anew with every call.
    labels, groups, n_classes
        As for :func:`fit_head`, of all tiles.

    Raises
    ------
    ValueError
        There is no batch.
    """
    labels = np.asarray(labels)
    known, dense = _dense_labels(labels, n_classes)
    folds, by = _folds(dense, np.asarray(groups))
    if by == "group":
        folds = _at_most(folds, dense, _FOLDS)
    sets = next((len(parts) for parts in batches()), 0)
    if not sets:
        raise ValueError("there is no batch of features")
    fits = [
        fit_ridge_in_batches(partial(_one_set, batches, number), dense, folds, int(known.sum()))
        for number in range(sets)
    ]
    return _head_fit(fits, dense, known, by)


def folds_of_groups(tiles: int, groups: int) -> int:
    """Return in how many sets :func:`fit_head` leaves out the groups of so many tiles: each by itself, or fewer."""
    return groups if tiles <= _MANY else min(groups, _FOLDS)


def held_out_folds(
    labels: NDArray[np.integer[Any]], groups: NDArray[Any] | Sequence[Any], most: int
) -> tuple[NDArray[np.int64], HeldOutBy]:
    """Return which fold each tile is left out with, and by what: its group or, where a class has one only, itself.

    Parameters
    ----------
    labels, groups
        Of the tiles, shape (n,).
    most
        So many folds at most; the groups of a class are spread evenly over them.
    """
    dense = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    folds, by = _folds(dense, np.asarray(groups))
    return (_at_most(folds, dense, most) if by == "group" else folds % most), by


def _one_set(
    batches: Callable[[], Iterable[Sequence[NDArray[np.floating[Any]]]]], number: int
) -> Iterable[NDArray[np.floating[Any]]]:
    return (parts[number] for parts in batches())


def _dense_labels(labels: NDArray[np.integer[Any]], n_classes: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which classes occur, shape (K,), and the labels counted among those."""
    known = np.bincount(labels, minlength=n_classes) > 0
    return known, (np.cumsum(known) - 1)[labels]


def _folds(labels: NDArray[np.int64], groups: NDArray[Any]) -> tuple[NDArray[np.int64], HeldOutBy]:
    """Return a number for each tile's group, if each class has several groups, and otherwise for each tile."""
    numbers = np.unique(groups, return_inverse=True)[1]
    pairs = np.unique(np.stack([labels, numbers]), axis=1)
    if np.bincount(pairs[0]).min() < 2:
        return np.arange(len(labels)), "tile"
    return numbers, "group"


def _at_most(folds: NDArray[np.int64], labels: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Merge folds to ``most`` of them, with those of a class spread evenly, the class of fewest folds first."""
    count = int(folds.max()) + 1
    if count in (len(folds), *range(most + 1)):
        return folds
    pairs = np.unique(np.stack([labels, folds]), axis=1)
    rank = np.argsort(np.argsort(np.bincount(pairs[0]), kind="stable"), kind="stable")
    rarest = np.full(count, len(rank))
    np.minimum.at(rarest, pairs[1], rank[pairs[0]])
    place = np.empty(count, np.int64)
    place[np.argsort(rarest, kind="stable")] = np.arange(count) % most
    return place[folds]


def _head_fit(fits: Sequence[RidgeFit], labels: NDArray[np.int64], known: NDArray[np.bool_], by: HeldOutBy) -> HeadFit:
    """Find the sharpness of each set's probabilities and that of their mean, and spread them over all classes."""
    weights, intercepts, each = [], [], []
    for fit in fits:
        factor = _most_probable(fit.held_out, labels, _SHARPNESS, _SHARPNESS_PRIOR)
        weights.append(_spread(fit.weights * factor, known))
        intercepts.append(_spread(fit.intercept * factor, known))
        each.append(scipy.special.softmax(fit.held_out.astype(np.float64) * factor, axis=1))
    mean = np.mean(each, axis=0)
    power = _most_probable(_logarithms(mean), labels, _POWER, _POWER_PRIOR)
    head = LinearHead(tuple(weights), tuple(intercepts), 1 / power, known)
    held = _spread(_sharpened(mean, power), known)
    return HeadFit(head, held, tuple(_spread(part, known) for part in each), by, tuple(fit.penalty for fit in fits))


def _spread(values: NDArray[np.floating[Any]], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return float32 values for all classes along the last axis, 0 for those that do not occur."""
    result = np.zeros((*values.shape[:-1], len(known)), np.float32)
    result[..., known] = values
    return result


def _most_probable(
    scores: NDArray[np.floating[Any]],
    labels: NDArray[np.int64],
    factors: NDArray[np.float64],
    prior: tuple[float, float],
) -> float:
    """Return the factor of scores (n, K) under which the labels are most probable, with a log-normal prior."""
    # Relative to the true class, whose probability is then 1 / sum exp, and in blocks that stay in a core's cache.
    relative = scores - scores[np.arange(len(labels)), labels][:, None]
    losses = np.zeros(len(factors))
    rows = max(1, _BLOCK // (len(factors) * scores.shape[1]))
    for start in range(0, len(labels), rows):
        block = relative[start : start + rows] * factors[:, None, None]
        top = block.max(axis=2, keepdims=True)
        losses += (np.log(np.exp(block - top).sum(axis=2)) + top[:, :, 0]).sum(axis=1)
    distance = np.log(factors / prior[0]) / prior[1]
    return float(factors[int(np.argmin(losses + distance**2 / 2))])


def _sharpened(prob: NDArray[np.floating[Any]], power: float) -> NDArray[np.float32]:
    return scipy.special.softmax(_logarithms(prob) * power, axis=1).astype(np.float32)


def _logarithms(prob: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    return np.asarray(np.log(np.maximum(prob, MIN_PROBABILITY)))
