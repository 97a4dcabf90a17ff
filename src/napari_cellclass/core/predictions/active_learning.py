"""Which tile to label next."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.predictions.table import TileTable

Policy = Literal["in order", "at random", "least certain", "suspected mistakes"]


def rank_tiles(
    policy: Policy,
    labels: NDArray[np.int16],
    tile_id: NDArray[np.int64],
    table: TileTable | None = None,
    names: tuple[str, ...] = (),
    seed: int = 0,
) -> NDArray[np.int64]:
    """Rank the tiles that are worth looking at.

    Parameters
    ----------
    policy
        ``"in order"``, ``"at random"`` (the unlabelled), ``"least certain"`` (the unlabelled, lowest
        confidence of the model first), ``"suspected mistakes"`` (labelled tiles that the model gives another
        class, its surest first).
    labels, tile_id
        int16 and int64, shape (N,): labels, below 0 without class, and numbers of the grid's tiles.
    table
        What the model said of the same grid; needed for the last two.
    names
        Class names of ``labels``.
    seed
        Of the random order, so that it can be repeated.

    Returns
    -------
    int64 array
        Places, the first to be looked at first.
    """
    free = np.flatnonzero(labels == -1)
    if policy == "in order":
        return free
    if policy == "at random":
        return np.random.default_rng(seed).permutation(free)
    if table is None:
        return np.zeros(0, np.int64)
    confidence, said = np.full(len(labels), np.nan), np.full(len(labels), -1)
    known = np.flatnonzero(np.isin(tile_id, table.grid.tile_id))
    place_in_table = {int(t): i for i, t in enumerate(table.grid.tile_id)}
    rows = np.array([place_in_table[int(tile_id[i])] for i in known], np.int64)
    ours = np.array([names.index(name) if name in names else -1 for name in table.scheme.names] + [-1])
    confidence[known], said[known] = table.confidence[rows], ours[table.class_index[rows]]
    if policy == "least certain":
        chosen = free[np.isfinite(confidence[free])]
        return chosen[np.argsort(confidence[chosen], kind="stable")]
    wrong = np.flatnonzero((labels >= 0) & (said >= 0) & (said != labels))
    return wrong[np.argsort(-confidence[wrong], kind="stable")]
