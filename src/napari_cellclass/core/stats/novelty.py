"""How far tiles are from those that a model was trained on, and how rare such a distance is among known tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NOVELTY_RATE = 0.05
"""The error rate where none is chosen."""
NOVELTY_RATES = (0.01, 0.05, 0.1, 0.2)
"""Error rates that are offered: the fraction of known tiles that is called unlike training."""

_COMPONENTS = 64
_SHRINKAGE = 0.5
_BACKGROUND_WEIGHT = 0.75
_CLEAR_FACTOR, _CLEAR_CHANCE = 2.0, 1e-3


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """Features as fewer numbers, in which directions in which tiles of a class differ anyway count less.

    Attributes
    ----------
    mean, matrix
        float32, shapes (F,) and (F, D): ``(features - mean) @ matrix``.
    """

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]

    def apply(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return the coordinates (n, D), float32, of features (n, F); rows of NaN stay."""
        return np.asarray((features - self.mean) @ self.matrix, np.float32)


def principal_components(features: NDArray[np.floating[Any]], most: int = _COMPONENTS) -> FeatureSpace:
    """Find the directions in which features vary most.

    Parameters
    ----------
    features
        Shape (n, F), finite, n > 0.
    most
        At most so many directions; fewer than n.
    """
    x = np.asarray(features, np.float64)
    mean = x.mean(axis=0)
    centred = x - mean
    count = max(1, min(most, len(x) - 1, x.shape[1]))
    if x.shape[1] <= len(x):
        vectors = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :count]
    else:  # by the n x n matrix of scalar products, which is the smaller one
        values, own = np.linalg.eigh(centred @ centred.T)
        vectors = centred.T @ own[:, ::-1][:, :count]
        vectors /= np.sqrt(np.maximum(values[::-1][:count], 1e-12 * max(values[-1], 1e-300)))
    return FeatureSpace(mean.astype(np.float32), vectors.astype(np.float32))


def within_class_whitening(points: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """Return the matrix (D, D) that makes the covariance within classes the identity.

    The covariance is shrunk towards a multiple of the identity (Ledoit & Wolf, J. Multivariate Anal. 88:365, 2004),
    as few tiles do not determine it.

    Parameters
    ----------
    points, labels
        Shapes (n, D) and (n,).
    """
    centred = np.asarray(points, np.float64).copy()
    for label in np.unique(labels):
        own = labels == label
        centred[own] -= centred[own].mean(axis=0)
    covariance = centred.T @ centred / len(centred)
    scale = max(float(np.trace(covariance)) / len(covariance), 1e-12)
    values, vectors = np.linalg.eigh((1 - _SHRINKAGE) * covariance + _SHRINKAGE * scale * np.eye(len(covariance)))
    return np.asarray(vectors / np.sqrt(values), np.float32)


@dataclass(frozen=True, eq=False)
class ClassDistances:
    """How far points are from the nearest class, against how far they are from all classes together.

    ``min_k |y - m_k|² - w (y - m)' (1 + B)^-1 (y - m)`` in the space where the covariance within classes is the
    identity: m_k are the means of the classes, m is that of all tiles, B the covariance between classes, and w 0.75.
    With w = 0 it is the Mahalanobis distance (Lee et al., NeurIPS 2018), with w = 1 the relative one (Ren et al.,
    arXiv:2106.09022, 2021), which sees a new class between the known ones better, and misses tiles far from all.

    Attributes
    ----------
    means, mean, background
        float64, shapes (K, D), (D,) and (D, D): the means of the classes that occur, that of all points, and the
        inverse of 1 + B.
    """

    means: NDArray[np.float64]
    mean: NDArray[np.float64]
    background: NDArray[np.float64]

    @classmethod
    def of(cls, points: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> ClassDistances:
        """Measure the classes of points (n, D), labels (n,)."""
        means = np.stack([points[labels == label].mean(axis=0, dtype=np.float64) for label in np.unique(labels)])
        weights = np.unique(labels, return_counts=True)[1] / len(labels)
        mean = weights @ means
        between = (means - mean).T * weights @ (means - mean)
        return cls(means, mean, np.linalg.inv(np.eye(points.shape[1]) + between))

    def apply(self, points: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return the distances of points (n, D): float32, shape (n,), possibly below 0; NaN for a point of NaN."""
        y = np.asarray(points, np.float64)
        nearest = np.stack([np.square(y - mean).sum(axis=1) for mean in self.means]).min(axis=0)
        centred = y - self.mean
        background = np.einsum("ij,ij->i", centred @ self.background, centred)
        return (nearest - _BACKGROUND_WEIGHT * background).astype(np.float32)


def conformal_p_values(scores: NDArray[np.floating[Any]], distances: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return how large the fraction of known tiles is that are as far away or farther: conformal p-values.

    ``(1 + number of scores >= distance) / (1 + number of scores)`` (Vovk, Gammerman & Shafer, Algorithmic Learning in a
    Random World, 2005). A tile that is exchangeable with the known ones has a p-value of at most e with a probability
    of at most e.

    Parameters
    ----------
    scores
        Ascending, shape (n,): distances of known tiles, each from those of other groups.
    distances
        Shape (m,): of new tiles.

    Returns
    -------
    ndarray of float32, shape (m,)
        Above 0, at most 1; NaN where a distance is.
    """
    at_least = len(scores) - np.searchsorted(scores, distances, side="left")
    p = (1.0 + at_least) / (1.0 + len(scores))
    return np.where(np.isnan(distances), np.nan, p).astype(np.float32)


def clearly_above(count: int, total: int, rate: float) -> bool:
    """Whether far more of some tiles were flagged than an error rate explains.

    More than twice the rate, and so many that chance gives as many with a probability below 0.001 (binomial
    distribution).
    """
    from scipy.stats import binom

    if total == 0 or count <= _CLEAR_FACTOR * rate * total:
        return False
    return bool(binom.sf(count - 1, total, rate) < _CLEAR_CHANCE)


def fit_space(features: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> FeatureSpace:
    """Find the space in which distances between tiles are measured, from labelled tiles.

    The principal components of their features, whitened by the covariance within classes.

    Parameters
    ----------
    features, labels
        Shapes (n, F) and (n,), finite, n > 0.
    """
    components = principal_components(features)
    return _whitened(components, components.apply(features), labels)


def _whitened(components: FeatureSpace, points: NDArray[np.float32], labels: NDArray[np.integer[Any]]) -> FeatureSpace:
    return FeatureSpace(components.mean, components.matrix @ within_class_whitening(points, labels))


def held_out_distances(
    features: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], folds: NDArray[np.integer[Any]]
) -> NDArray[np.float32]:
    """Return how far each tile is from those of other folds, in the space that is fitted without its fold.

    Only the principal components, which no label has a part in, are those of all tiles. The result does not depend on
    the order of the tiles.

    Parameters
    ----------
    features, labels, folds
        Shapes (n, F), (n,) and (n,): what is left out together, such as the tiles of a well, has one number.

    Returns
    -------
    ndarray of float32, shape (n,)
        NaN for all where there is one fold only.
    """
    components = principal_components(features)
    points = components.apply(features)
    result = np.full(len(points), np.nan, np.float32)
    for number in np.unique(folds):
        own = folds == number
        if own.all():
            break
        whitening = within_class_whitening(points[~own], labels[~own])
        result[own] = ClassDistances.of(points[~own] @ whitening, labels[~own]).apply(points[own] @ whitening)
    return result
