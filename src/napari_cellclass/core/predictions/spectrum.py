"""Tiles from one class to the other: a few that stand for all, in the order of a probability."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.predictions.table import TileTable


def spectrum_rows(probability: NDArray[np.floating[Any]], count: int) -> NDArray[np.int64]:
    """Choose tiles at even steps of the rank of a probability, from the lowest to the highest.

    Parameters
    ----------
    probability
        Shape (n,): of one class; tiles with NaN are left out.
    count
        How many, at most.

    Returns
    -------
    int64 array
        Rows, the least probable first; the first and the last of all are among them.
    """
    order = np.argsort(probability, kind="stable")
    order = order[np.isfinite(probability[order])]
    if len(order) == 0:
        return np.zeros(0, np.int64)
    steps = np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(np.int64))
    return np.asarray(order[steps], np.int64)


def spectrum_table(table: TileTable, rows: NDArray[np.int64], class_index: int) -> pd.DataFrame:
    """Make the table of a spectrum: number, tile_id, y0, x0, y1, x1, the class and its probability."""
    chosen = table.take(rows)
    frame = pd.DataFrame({"number": np.arange(1, len(rows) + 1), "tile_id": chosen.grid.tile_id})
    for i, name in enumerate(("y0", "x0", "y1", "x1")):
        frame[name] = chosen.grid.boxes[:, i]
    frame["class_name"] = table.scheme.names[class_index]
    frame["probability"] = chosen.prob[:, class_index]
    return frame
