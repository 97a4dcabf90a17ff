"""The most similar of many tiles, by the cosine of their features."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_NUMBERS = 16_000_000
"""A matrix of more would take longer than a frame of the screen to go through once."""
_SAMPLE, _COMPONENTS = 1000, 128


class NeighbourIndex:
    """Finds the most similar of n tiles by one product with a matrix of float32.

    Of very many tiles with many features only the principal components are compared.

    Parameters
    ----------
    features
        Shape (n, D), standardised, so that the mean tile is 0. Rows with NaN are never found.
    """

    def __init__(self, features: NDArray[np.floating[Any]]) -> None:
        self._axes = self._principal_axes(features)
        vectors = self._reduced(np.asarray(features, np.float32))
        norm = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        self._missing = ~np.isfinite(norm)
        norm[self._missing] = 1.0
        vectors = vectors / np.maximum(norm, 1e-12)[:, None]
        vectors[self._missing] = 0.0
        self._vectors = np.ascontiguousarray(vectors, np.float32)

    @staticmethod
    def _principal_axes(features: NDArray[np.floating[Any]]) -> NDArray[np.float32] | None:
        if features.size <= _MOST_NUMBERS or features.shape[1] <= _COMPONENTS:
            return None
        rows = features[:: max(1, len(features) // _SAMPLE)]
        rows = np.asarray(rows[np.isfinite(rows).all(axis=1)], np.float64)
        if len(rows) <= _COMPONENTS:
            return None
        values, own = np.linalg.eigh(rows @ rows.T)
        kept = slice(-min(_COMPONENTS, len(rows)), None)
        return np.asarray(rows.T @ own[:, kept] / np.sqrt(np.maximum(values[kept], 1e-12)), np.float32)

    def _reduced(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return features if self._axes is None else features @ self._axes

    def __len__(self) -> int:
        return len(self._vectors)

    def nearest(
        self, feature: NDArray[np.floating[Any]], count: int = 5, without: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find the most similar tiles.

        Parameters
        ----------
        feature
            Of a tile, shape (D,).
        count
            How many at most.
        without
            A tile that is not to be found: the one itself.

        Returns
        -------
        indices, similarities
            The most similar first; the similarity is the cosine, -1 to 1. None where the tile has no features.
        """
        query = self._reduced(np.asarray(feature, np.float32))
        norm = float(np.sqrt(query @ query))
        found = self._vectors @ (query / max(norm, 1e-12))
        found[self._missing] = -np.inf
        if without is not None:
            found[without] = -np.inf
        count = min(count, int(np.isfinite(found).sum())) if np.isfinite(norm) else 0
        if count == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        best = np.argpartition(found, len(found) - count)[len(found) - count :]
        best = best[np.argsort(-found[best], kind="stable")]
        return best.astype(np.int64), np.clip(found[best], -1, 1).astype(np.float32)
