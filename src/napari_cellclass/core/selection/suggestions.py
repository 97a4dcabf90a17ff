"""Which tile to label next, from features and predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_RANKED = 500
"""At most so many tiles are ranked: a person labels one at a time, and predictions change meanwhile."""


def rank_by_margin(
    prob: NDArray[np.float32], candidates: NDArray[np.int64], most: int = MOST_RANKED
) -> NDArray[np.int64]:
    """Rank tiles by the margin between their most and second most probable class, the smallest first.

    Margin sampling (Scheffer, Decomain & Wrobel 2001). Tiles without prediction (NaN) are left out.

    Parameters
    ----------
    prob
        Shape (N, K): probabilities, K of at least 2.
    candidates
        Indices of the tiles to choose from.
    most
        At most so many indices are returned.
    """
    top = np.partition(prob[candidates], -2, axis=1)[:, -2:]
    margin = top[:, 1] - top[:, 0]
    known = np.flatnonzero(np.isfinite(margin))
    if len(known) > most:
        known = known[np.argpartition(margin[known], most - 1)[:most]]
    return candidates[known[np.argsort(margin[known], kind="stable")]]


def suggest_tiles(
    prob: NDArray[np.float32] | None, typical: NDArray[np.int64], labels: NDArray[np.int16]
) -> NDArray[np.int64]:
    """Rank the tiles to label next: first the typical ones, then those that predictions are least sure of.

    Parameters
    ----------
    prob
        Shape (N, K), or None where there are no predictions yet.
    typical
        Of :func:`~napari_cellclass.core.selection.typical_tiles.typical_tiles`, at the start of the work.
    labels
        int16, shape (N,): -1 where a tile has no label.
    """
    first = typical[labels[typical] == -1]
    candidates = np.flatnonzero(labels == -1)
    if prob is None or prob.shape[1] < 2:
        return first
    rest = rank_by_margin(prob, candidates)
    return np.concatenate([first, rest[~np.isin(rest, first)]])
