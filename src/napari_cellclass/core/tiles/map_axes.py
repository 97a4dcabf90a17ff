"""A grid of tiles as the pixels of a small image: which tile each pixel shows, and where it lies on the field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.tiles.grid import EdgeRule, TileGrid, tile_starts

_PIXELS_PER_STEP = 8


@dataclass(frozen=True, eq=False)
class MapAxes:
    """How a pixel map shows a grid: the tile to which each row and column of pixels belongs.

    One pixel is one tile. Only where the edge rule ``shift`` has moved the last row or column off the
    regular step, an axis has eight pixels per step, each belonging to the tile whose centre is nearest.

    Parameters
    ----------
    rows, cols
        Row and column of the grid for each row and column of pixels.
    scale, offset
        (y, x): pixel i lies at ``i * scale + offset`` px of the field.
    """

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    scale: tuple[float, float]
    offset: tuple[float, float]

    @classmethod
    def of(cls, grid: TileGrid) -> MapAxes:
        """Make the axes for a grid."""
        sides = zip(grid.image_shape, grid.tile_px, grid.step_px, grid.grid_shape, strict=True)
        (rows, sy, oy), (cols, sx, ox) = (cls._axis(*side, grid.edge) for side in sides)
        return cls(rows, cols, (sy, sx), (oy, ox))

    @staticmethod
    def _axis(length: int, tile: int, step: int, n: int, edge: EdgeRule) -> tuple[NDArray[np.int64], float, float]:
        first = (tile - 1) / 2  # centre of the first tile, pixel centres on integers
        last = length - tile if edge == "shift" else (n - 1) * step
        if n < 2 or last == (n - 1) * step:
            return np.arange(n), float(step), first
        scale = step / _PIXELS_PER_STEP
        offset = first - (_PIXELS_PER_STEP - 1) / 2 * scale
        centres = np.append(np.arange(n - 1) * step, last) + first
        pixels = offset + scale * np.arange(int(np.ceil((last + step) / scale)))
        middles = (centres[1:] + centres[:-1]) / 2
        return np.searchsorted(middles, pixels), scale, offset

    def expand(self, cells: NDArray[Any]) -> NDArray[Any]:
        """Expand one value per tile to one per pixel."""
        plain = len(self.rows) == cells.shape[0] and len(self.cols) == cells.shape[1]
        return cells if plain else cells[np.ix_(self.rows, self.cols)]


def field_pixels(grid: TileGrid, cells: NDArray[Any], every: int = 1) -> NDArray[Any]:
    """Give every pixel of a field the value of the tile it lies in; 0 where it lies in none.

    Parameters
    ----------
    grid
        The tiles. Where they overlap, a pixel belongs to the tile whose centre is nearest; off a grid to the last.
    cells
        Shape (rows, columns) of the grid: one value per tile, 0 where a region has left it out.
    every
        Takes one of so many rows and columns of pixels, those in the middle.

    Returns
    -------
    ndarray, shape (height, width) of the field, or what is left of it
        Of the dtype of ``cells``.
    """
    height, width = (np.minimum(np.arange(0, n, every) + every // 2, n - 1) for n in grid.image_shape)
    if off_grid(grid, cells.shape):
        pixels = np.zeros(grid.image_shape, cells.dtype)
        for i, (y0, x0, y1, x1) in enumerate(grid.boxes.clip(0).tolist()):
            pixels[y0:y1, x0:x1] = cells[grid.row[i], grid.col[i]]
        return pixels[np.ix_(height, width)]
    found = np.zeros((len(height), len(width)), cells.dtype)
    (y, rows), (x, cols) = (_tiles_along(grid, axis, at, cells.shape) for axis, at in ((0, height), (1, width)))
    found[np.ix_(y, x)] = cells[np.ix_(rows, cols)]
    return found


def off_grid(grid: TileGrid, shape: tuple[int, ...]) -> bool:
    """Whether tiles do not lie where their rows and columns say, as tiles around points."""
    for axis, place in enumerate((grid.row, grid.col)):
        starts = _starts(grid, axis, shape)
        if len(starts) < shape[axis] or (starts[place] != grid.boxes[:, axis]).any():
            return True
    return False


def _starts(grid: TileGrid, axis: int, shape: tuple[int, ...]) -> NDArray[np.int32]:
    return tile_starts(grid.image_shape[axis], grid.tile_px[axis], grid.step_px[axis], grid.edge)[: shape[axis]]


def _tiles_along(
    grid: TileGrid, axis: int, at: NDArray[np.int64], shape: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which of some pixels along an axis lie in tiles, and the row or column of the nearest of these tiles."""
    starts, tile = _starts(grid, axis, shape).astype(float), grid.tile_px[axis]
    nearest = np.searchsorted((starts[1:] + starts[:-1] + tile - 1) / 2, at)
    if not len(starts):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    within = (at >= starts[nearest]) & (at < starts[nearest] + tile)
    return np.flatnonzero(within), nearest[within]
