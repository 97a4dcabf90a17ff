"""Reading the tiles of a field row by row, so that never more than a row is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.grid import TileGrid
from napari_cellclass.core.image import SourceImage


def rows_of_tiles(
    source: SourceImage, grid: TileGrid, at_most: int | None = None
) -> Iterator[tuple[NDArray[np.int64], list[NDArray[Any]]]]:
    """Read a field by rows of tiles, each with one request to the source.

    Parameters
    ----------
    source, grid
        The field and its tiles.
    at_most
        Longer rows are read in parts of so many tiles.

    Yields
    ------
    places : ndarray of int64
        Places of the tiles in the grid.
    tiles : list of ndarray, shape (h, w, C)
        Views of the row's pixels, in the image's dtype.

    Raises
    ------
    ImageError
        The pixels cannot be read.
    """
    for y0 in np.unique(grid.boxes[:, 0]):
        row = np.flatnonzero(grid.boxes[:, 0] == y0)
        step = at_most or len(row)
        for start in range(0, len(row), step):
            places = row[start : start + step]
            boxes = grid.boxes[places]
            left, right = int(boxes[:, 1].min()), int(boxes[:, 3].max())
            band = source.read(int(y0), left, int(boxes[0, 2]), right)
            yield places, [band[:, x0 - left : x1 - left] for x0, x1 in boxes[:, (1, 3)].tolist()]
