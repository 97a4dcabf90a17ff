"""Reading the tiles of a field row by row, so that memory does not grow with the field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.images.content_hash import RowHash
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.tiles.grid import TileGrid

_MAX_BAND_BYTES = 64 << 20  # of rows that overlap, which are read again with every band
_BAND_BYTES = 16 << 20  # a processor's cache still holds it when the network comes to it, and memory is used again


def iterate_tile_rows(source: SourceImage, grid: TileGrid) -> Iterator[tuple[NDArray[np.int64], list[NDArray[Any]]]]:
    """Read a field by rows of tiles, each with one request to the source.

    Parameters
    ----------
    source, grid
        The field and its tiles.

    Yields
    ------
    tile_indices : ndarray of int64
        Indices of the tiles in the grid.
    tiles : list of ndarray, shape (h, w, C)
        Views of the row's pixels, in the image's dtype.

    Raises
    ------
    ImageError
        The pixels cannot be read.
    """
    rows = _rows(grid)
    for row, needed in zip(rows, _needed([row[0] for row in rows], grid), strict=True):
        source.release_rows(needed, may_return=True)
        boxes = grid.boxes[row]
        left, right = int(boxes[:, 1].min()), int(boxes[:, 3].max())
        band = source.read(int(boxes[0, 0]), left, int(boxes[0, 2]), right)
        yield row, [band[:, x0 - left : x1 - left] for x0, x1 in boxes[:, (1, 3)].tolist()]


def iterate_tile_batches(
    source: SourceImage, grid: TileGrid, at_most: int, row_hash: RowHash | None = None
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
    """Read a field by rows of tiles and give the tiles in batches, without a copy where they are evenly spaced.

    Parameters
    ----------
    source, grid
        The field and its tiles.
    at_most
        Tiles in a batch.
    row_hash
        Is given the pixels of rows over their whole width, so that the field need not be read again for its id.

    Yields
    ------
    tile_indices : int64, shape (n,)
        Indices of the tiles in the grid.
    tiles : ndarray, shape (n, h, w, C)
        Pixels in the image's dtype, not to be written to.

    Raises
    ------
    ImageError
        The pixels cannot be read.
    """
    width, row_bytes = source.shape[1], source.shape[1] * source.channels * source.dtype.itemsize
    bands = list(_bands(grid, row_bytes, source.chunk_rows))
    for rows, needed in zip(bands, _needed([rows[0][0] for rows in bands], grid), strict=True):
        source.release_rows(needed if row_hash is None else min(needed, row_hash.next_row))
        boxes = grid.boxes[np.concatenate(rows)]
        y0, left, y1, right = int(boxes[0, 0]), int(boxes[:, 1].min()), int(boxes[-1, 2]), int(boxes[:, 3].max())
        if len(rows) == 1 and (y1 - y0) * row_bytes > 2 * _BAND_BYTES:
            yield from _wide_row(source, grid, rows[0], at_most, row_hash)
            continue
        if row_hash is not None:
            left, right = 0, max(right, width)
        band = source.read(y0, left, y1, right)
        if row_hash is not None:
            source.hash_rows(row_hash, y0, band[:, :width])
        band = _by_pixel(band)
        for row in rows:
            top = int(grid.boxes[row[0], 0]) - y0
            part = band[top : top + grid.tile_px[0]]
            yield from _cut(part, row, grid, left, at_most)


def _wide_row(
    source: SourceImage, grid: TileGrid, row: NDArray[np.int64], at_most: int, row_hash: RowHash | None
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
    """Read a row of tiles in parts, so that memory does not grow with the width of a slide."""
    (height, tile_width), width = grid.tile_px, source.shape[1]
    y0, starts = int(grid.boxes[row[0], 0]), grid.boxes[row, 1]
    tile_bytes = height * tile_width * source.channels * source.dtype.itemsize
    count = max(1, _BAND_BYTES // (tile_bytes * at_most)) * at_most
    wanted = [] if row_hash is None or (np.diff(starts) <= 0).any() else row_hash.missing_rows(y0, y0 + height)
    kept = [np.empty((b - a, width, source.channels), source.dtype) for a, b in wanted]
    for first in range(0, len(row), count):
        part = row[first : first + count]
        left, right = int(grid.boxes[part, 1].min()), int(grid.boxes[part, 3].max())
        if right > width:  # what is reflected there may come from further left than the last tile begins
            left = max(0, left - tile_width)
        if wanted:  # every column has to be seen
            left = 0 if first == 0 else left
            right = max(right, width if first + count >= len(row) else int(starts[first + count]))
        band = source.read(y0, left, y0 + height, right)
        for (a, b), pixels in zip(wanted, kept, strict=True):
            pixels[:, left:right] = band[a - y0 : b - y0, : width - left]
        yield from _cut(_by_pixel(band), part, grid, left, at_most)
    for (a, _), pixels in zip(wanted, kept, strict=True):
        assert row_hash is not None
        source.hash_rows(row_hash, a, pixels)


def _cut(
    band: NDArray[Any], row: NDArray[np.int64], grid: TileGrid, left: int, at_most: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
    """Cut the tiles of a row out of its pixels, which begin at ``left``."""
    for start in range(0, len(row), at_most):
        tile_indices = row[start : start + at_most]
        yield tile_indices, _tiles_at(band, grid.boxes[tile_indices, 1] - left, grid.tile_px[1])


def _bands(grid: TileGrid, row_bytes: int, chunk_rows: int) -> Iterator[list[NDArray[np.int64]]]:
    """Return the rows of tiles that are read at once: one, then two, four ..., while they are contiguous and small.

    One is ready soon to begin with; with many, overlaps are read less often. Where rows abut, a band ends with the
    chunks of the file, so that none of these is decoded twice, and as soon as it is large enough.
    """
    band: list[NDArray[np.int64]] = []
    max_rows, y0, y1 = 1, 0, 0
    for row in _rows(grid):
        top, bottom = grid.boxes[row[0], (0, 2)].tolist()
        above = bool(band) and top < int(grid.boxes[band[-1][0], 0])  # rows may come in any order
        enough = len(band) >= max_rows
        if top == y1:
            fit = y0 % chunk_rows == 0 and chunk_rows % (bottom - top) == 0
            enough = (enough or (y1 - y0) * row_bytes >= _BAND_BYTES) and (y1 % chunk_rows == 0 or not fit)
        if band and (above or enough or top > y1 or (bottom - y0) * row_bytes > _MAX_BAND_BYTES):
            yield band
            band, max_rows = [], 2 * max_rows
        y0 = y0 if band else top
        y1 = bottom
        band.append(row)
    if band:
        yield band


def _needed(first: list[Any], grid: TileGrid) -> list[int]:
    """Return the uppermost row that is needed from each of some bands on, by the index of a tile of each."""
    tops = grid.boxes[np.array(first, np.int64), 0]
    return list(map(int, np.minimum.accumulate(tops[::-1])[::-1]))


def _rows(grid: TileGrid) -> list[NDArray[np.int64]]:
    """Return the tile indices of each row; rows in the order in which the grid names them first."""
    _, first, row = np.unique(grid.boxes[:, 0], return_index=True, return_inverse=True)
    order = np.argsort(first[row], kind="stable")
    ends = np.flatnonzero(np.diff(grid.boxes[order, 0])) + 1
    return np.split(order, ends) if len(order) else []


def _by_pixel(band: NDArray[Any]) -> NDArray[Any]:
    """Bring the channels of each pixel of (h, w, C) together; else each tile would be gathered again and again."""
    if band.strides[2] == band.itemsize:
        return band
    out = np.empty(band.shape, band.dtype)
    for channel in range(band.shape[2]):  # three times as fast as all of them at once
        out[..., channel] = band[..., channel]
    return out


def _tiles_at(band: NDArray[Any], starts: NDArray[np.int32], width: int) -> NDArray[Any]:
    steps = np.unique(np.diff(starts))
    if len(steps) > 1:
        return np.stack([band[:, x : x + width] for x in starts.tolist()])
    down, right, channel = band.strides
    step = int(steps[0]) * right if len(steps) else 0
    first = band[:, int(starts[0]) :]
    shape = (len(starts), band.shape[0], width, band.shape[2])
    return np.lib.stride_tricks.as_strided(first, shape, (step, down, right, channel), writeable=False)
