"""Typical tiles of a field: those nearest to the centres of clusters in feature space."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TYPICAL = 10
"""Number of typical tiles that are proposed before predictions can tell which tile to label."""
_SAMPLED = 4_000  # tiles that the clusters are made of, so that a field of any size takes milliseconds
_ITERATIONS = 12


def typical_tiles(
    features: NDArray[np.float32], candidates: NDArray[np.int64], count: int = TYPICAL, seed: int = 0
) -> NDArray[np.int64]:
    """Choose tiles that stand for the different kinds of tiles there are.

    k-means (Lloyd, IEEE Trans. Inf. Theory 28:129, 1982) from centres that are spread out (k-means++, Arthur &
    Vassilvitskii 2007), on at most 4 000 of the candidates drawn at random.

    Parameters
    ----------
    features
        float32, shape (N, D), standardised; rows of NaN are never chosen.
    candidates
        Indices of the tiles to choose from.
    count
        At most so many tiles.
    seed
        Of the draws.

    Returns
    -------
    int64 array
        Indices of distinct tiles, that of the largest cluster first.
    """
    rng = np.random.default_rng(seed)
    candidates = np.asarray(candidates, np.int64)
    if len(candidates) > _SAMPLED:
        candidates = np.sort(rng.choice(candidates, _SAMPLED, replace=False))
    x = features[candidates]
    finite = np.isfinite(x).all(axis=1)
    candidates, x = candidates[finite], x[finite]
    if len(candidates) <= count:
        return candidates
    squares = np.einsum("ij,ij->i", x, x)
    centres = _spread_out(x, squares, count, rng)
    for _ in range(_ITERATIONS):
        nearest = _distances(x, squares, centres).argmin(axis=1)
        sizes = np.bincount(nearest, minlength=count)
        one_hot = np.zeros((count, len(x)), np.float32)
        one_hot[nearest, np.arange(len(x))] = 1
        sums = one_hot @ x
        moved = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres)
        if np.allclose(moved, centres, atol=1e-4):
            break
        centres = moved
    distances = _distances(x, squares, centres)
    sizes = np.bincount(distances.argmin(axis=1), minlength=count)
    chosen: list[int] = []
    for cluster in np.argsort(-sizes, kind="stable").tolist():
        order = np.argsort(distances[:, cluster], kind="stable")[: len(chosen) + 1]
        chosen.append(next(int(i) for i in order if int(i) not in chosen))
    return candidates[chosen]


def _distances(x: NDArray[np.float32], squares: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[Any]:
    """Return squared distances (n, K)."""
    return squares[:, None] - 2 * x @ centres.T + np.einsum("ij,ij->i", centres, centres)


def _spread_out(
    x: NDArray[np.float32], squares: NDArray[np.float32], count: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    chosen = [int(rng.integers(len(x)))]
    nearest = np.full(len(x), np.inf)
    for _ in range(count - 1):
        newest = x[chosen[-1]]
        nearest = np.minimum(nearest, np.maximum(squares - 2 * x @ newest + newest @ newest, 0))
        total = float(nearest.sum())
        share = nearest / total if total > 0 else np.full(len(x), 1 / len(x))
        chosen.append(int(rng.choice(len(x), p=share / share.sum())))
    return x[chosen].copy()
