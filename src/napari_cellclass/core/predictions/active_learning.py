"""Active learning: which tile to label next."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.predictions.table import TileTable

Policy = Literal["suggested", "in order", "at random", "least certain", "label errors"]


def rank_tiles(
    policy: Policy,
    labels: NDArray[np.int16],
    tile_id: NDArray[np.int64],
    table: TileTable | None = None,
    names: tuple[str, ...] = (),
    order: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Rank the tiles that are worth labelling or checking.

    Parameters
    ----------
    policy
        ``"in order"``, ``"at random"`` (the unlabelled), ``"least certain"`` (the unlabelled, lowest
        confidence first), ``"label errors"`` (labelled tiles that the model predicts to be of another class, the
        highest confidence first; the model may have seen these labels, so features are better, see
        :func:`napari_cellclass.core.selection.label_errors.rank_label_errors`). ``"suggested"`` is as
        ``"in order"`` here, for want of features; see
        :func:`napari_cellclass.core.selection.suggestions.suggest_tiles`.
    labels, tile_id
        int16 and int64, shape (N,): labels, below 0 without class, and ids of the grid's tiles.
    table
        Predictions for the same grid; needed for the last two.
    names
        Class names of ``labels``.
    order
        The tiles of the grid in random order, see
        :func:`napari_cellclass.core.selection.random_sample.sampling_order`; needed for ``"at random"``.

    Returns
    -------
    int64 array
        Tile indices, the first to be checked first.
    """
    unlabelled = np.flatnonzero(labels == -1)
    if policy in ("in order", "suggested"):
        return unlabelled
    if policy == "at random":
        assert order is not None
        return order[labels[order] == -1]
    if table is None:
        return np.zeros(0, np.int64)
    confidence, predicted = np.full(len(labels), np.nan), np.full(len(labels), -1)
    in_table = np.flatnonzero(np.isin(tile_id, table.grid.tile_id))
    row_of_tile = {int(t): i for i, t in enumerate(table.grid.tile_id)}
    rows = np.array([row_of_tile[int(tile_id[i])] for i in in_table], np.int64)
    label_of_class = np.array([names.index(name) if name in names else -1 for name in table.scheme.names] + [-1])
    confidence[in_table], predicted[in_table] = table.confidence[rows], label_of_class[table.class_index[rows]]
    if policy == "least certain":
        chosen = unlabelled[np.isfinite(confidence[unlabelled])]
        return chosen[np.argsort(confidence[chosen], kind="stable")]
    mistakes = np.flatnonzero((labels >= 0) & (predicted >= 0) & (predicted != labels))
    return mistakes[np.argsort(-confidence[mistakes], kind="stable")]
