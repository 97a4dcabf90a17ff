"""Two coordinates for every tile, so that tiles which look alike lie near each other: principal components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.task import NO_TASK, Task

FITTED_ON = 5_000
"""Tiles that principal components are computed from, drawn at random, so that a plate takes no longer than a field."""
_BLOCK = 8_192  # tiles whose coordinates are computed at once


@dataclass(frozen=True, eq=False)
class Projection:
    """The principal components with the largest variance.

    Parameters
    ----------
    mean
        float32, shape (F,): of the features.
    components
        float32, shape (F, D): the direction of each component, divided by the standard deviation of each feature.
    explained
        Fraction of the variance of the standardised features that each component has.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]
    explained: tuple[float, ...]

    @classmethod
    def fit(cls, features: Sequence[NDArray[np.float32]], dimensions: int = 2, seed: int = 0) -> Projection | None:
        """Compute the components of standardised features (Pearson, Phil. Mag. 2:559, 1901).

        By singular value decomposition of at most 5 000 tiles, drawn at random. The sign of each component is such that
        its largest weight is positive, so that the same tiles always lie in the same places.

        Parameters
        ----------
        features
            float32, shape (n, F) each: of some fields; rows that are not finite are tiles without features.
        dimensions
            D, how many components; those that there are not have weights of 0.
        seed
            Of the draw.

        Returns
        -------
        Projection or None
            None where fewer than two tiles have features.
        """
        rows = _drawn(features, seed)
        if len(rows) < 2:
            return None
        mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        varies = deviation > 1e-6 * (1 + np.abs(mean))
        factor = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
        _, singular, directions = np.linalg.svd((rows - mean) * factor, full_matrices=False)
        found = min(dimensions, len(singular))
        components = np.zeros((rows.shape[1], dimensions))
        components[:, :found] = directions[:found].T
        largest = np.abs(components).argmax(axis=0)
        components *= np.where(components[largest, np.arange(dimensions)] < 0, -1, 1)
        total = float(np.square(singular).sum())
        explained = np.zeros(dimensions)
        explained[:found] = np.square(singular[:found]) / total if total > 0 else 0
        weights = components * factor[:, None]
        return cls(mean.astype(np.float32), weights.astype(np.float32), tuple(explained.tolist()))

    def apply(self, features: NDArray[np.float32], task: Task = NO_TASK) -> NDArray[np.float32]:
        """Compute coordinates, float32 (n, D); rows of NaN are tiles without features.

        Raises
        ------
        CancelledError
            The task was cancelled.
        """
        found = np.empty((len(features), self.components.shape[1]), np.float32)
        for start in range(0, len(features), _BLOCK):
            task.check("the coordinates were no longer needed")
            block = slice(start, start + _BLOCK)
            found[block] = (features[block] - self.mean) @ self.components
        return found


def _drawn(features: Sequence[NDArray[np.float32]], seed: int) -> NDArray[np.float64]:
    """Draw tiles that have features from all fields alike; float64 (m, F)."""
    finite = [np.flatnonzero(np.isfinite(one[:, 0])) for one in features]
    starts = np.cumsum([0, *(len(rows) for rows in finite)])
    chosen = np.arange(starts[-1])
    if len(chosen) > FITTED_ON:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, FITTED_ON, replace=False))
    parts = []
    for one, rows, first, last in zip(features, finite, starts[:-1], starts[1:], strict=True):
        wanted = chosen[(chosen >= first) & (chosen < last)] - first
        parts.append(one[rows[wanted]].astype(np.float64))
    drawn = np.concatenate(parts) if parts else np.zeros((0, 1))
    return drawn[np.isfinite(drawn).all(axis=1)]
