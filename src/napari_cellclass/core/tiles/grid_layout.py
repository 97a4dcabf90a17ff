"""The text id of a grid, and its description as JSON from which it can be rebuilt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import GridError
from napari_cellclass.core.common.limits import limit
from napari_cellclass.core.tiles.grid import EdgeRule, TileGrid, tile_starts

_LONGEST_PX = 10_000_000


def grid_key(grid: TileGrid) -> str:
    """Return a grid's stable text id: equal when equal tile ids are equal boxes of equal fields.

    A region of interest does not change it.

    Raises
    ------
    GridError
        The boxes do not follow from the layout.
    """
    _check(grid)
    sizes = (grid.image_shape, grid.tile_px, grid.step_px, grid.grid_shape)
    field, tile, step, shape = (f"{height}x{width}" for height, width in sizes)
    return f"field {field} tile {tile} step {step} {grid.edge} of {shape}"


def grid_layout(grid: TileGrid) -> dict[str, Any]:
    """Return a grid as JSON: sizes in px as [y, x], and ``tiles``, which ids it has: None for all, else ranges.

    Ranges are a flat list start, end, start, end …, half-open and ascending.

    Raises
    ------
    GridError
        See :func:`grid_key`.
    """
    _check(grid)
    sizes = {name: [int(v) for v in getattr(grid, name)] for name in ("tile_px", "step_px", "image_shape")}
    rows, columns = int(grid.grid_shape[0]), int(grid.grid_shape[1])
    tiles = None if len(grid) == rows * columns else id_ranges(np.sort(grid.tile_id))
    return sizes | {"grid_shape": [rows, columns], "edge": grid.edge, "tiles": tiles}


def grid_from_layout(layout: Mapping[str, Any]) -> TileGrid:
    """Rebuild the grid that :func:`grid_layout` described, its tiles in ascending order of their ids.

    Raises
    ------
    GridError
        The description is damaged.
    """
    try:
        tile, step, field, shape = (_pair(layout[name]) for name in ("tile_px", "step_px", "image_shape", "grid_shape"))
        edge: EdgeRule = layout["edge"]
        if edge not in ("drop", "pad", "shift"):
            raise ValueError(f"unknown edge rule {edge!r}")
        rows, cols = (tile_starts(n, t, s, edge) for n, t, s in zip(field, tile, step, strict=True))
        if shape[0] > len(rows) or shape[1] > len(cols):
            raise ValueError(f"{shape} tiles do not fit the field")
        ids = _ids(layout["tiles"], shape[0] * shape[1])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise GridError(f"the description of a grid is damaged ({type(error).__name__}: {error})") from error
    row, col = (a.astype(np.int32) for a in np.divmod(ids, max(1, shape[1])))
    y0, x0 = rows[row], cols[col]
    boxes = np.stack([y0, x0, y0 + tile[0], x0 + tile[1]], axis=1).astype(np.int32)
    return TileGrid(boxes, row, col, tile, step, field, shape, edge)


def grid_from_boxes(
    boxes: NDArray[np.int32],
    row: NDArray[np.int64] | None = None,
    col: NDArray[np.int64] | None = None,
    tile_id: NDArray[np.int64] | None = None,
    image_shape: tuple[int, int] | None = None,
) -> TileGrid:
    """Infer the grid from tile boxes, as read from files that hold nothing else.

    Parameters
    ----------
    boxes
        int32, shape (N, 4), N at least 1: y0, x0, y1, x1 in px.
    row, col, tile_id
        (N,) each, where the file has them; else inferred from the boxes.
    image_shape
        (height, width) of the field; as far as the boxes reach when not given.

    Returns
    -------
    TileGrid
        With exactly these boxes in this order. Of tiles that follow no grid, rows and columns are ranks, and
        :func:`grid_key` refuses it.
    """
    sizes, counts = np.unique(boxes[:, 2:] - boxes[:, :2], axis=0, return_counts=True)
    height, width = (int(v) for v in sizes[counts.argmax()])
    reach = int(boxes[:, 2].max()), int(boxes[:, 3].max())
    shape = image_shape or reach
    rows, row_step = _axis(boxes[:, 0], row, height)
    cols, col_step = _axis(boxes[:, 1], col, width)
    off = (rows * row_step != boxes[:, 0]).any() or (cols * col_step != boxes[:, 1]).any()
    edge: EdgeRule = "shift" if off else "pad" if reach[0] > shape[0] or reach[1] > shape[1] else "drop"
    across = int(cols.max()) + 1
    if tile_id is not None and (rows > 0).any():
        columns = np.unique((tile_id - cols)[rows > 0] / rows[rows > 0])
        across = (
            int(columns[0]) if len(columns) == 1 and columns[0] >= across and columns[0] == int(columns[0]) else across
        )
    return TileGrid(
        boxes, rows.astype(np.int32), cols.astype(np.int32), (height, width), (row_step, col_step), shape,
        (int(rows.max()) + 1, across), edge,
    )  # fmt: skip


def _axis(starts: NDArray[np.int32], known: NDArray[np.int64] | None, tile: int) -> tuple[NDArray[np.int64], int]:
    """Return the tiles' rows (or columns) along an axis, and the step from one to the next in px."""
    values, rank = np.unique(starts.astype(np.int64), return_inverse=True)
    if known is not None:
        even = (known > 0) & (starts % np.maximum(known, 1) == 0) & (starts >= known)
        steps, counts = np.unique(starts[even] // known[even], return_counts=True)
        return known.astype(np.int64), int(steps[counts.argmax()]) if len(steps) else tile
    step = int(np.diff(values).min()) if len(values) > 1 else tile
    # Rows may be missing, so the gap can be several steps; and the last tile may be moved back.
    for candidate in dict.fromkeys((tile, step) if step >= tile else (step, tile)):
        if (values[:-1] % candidate == 0).all():
            return -(-values // candidate)[rank], candidate
    return rank.astype(np.int64), step


def _check(grid: TileGrid) -> None:
    for axis, position in enumerate((grid.row, grid.col)):
        starts = tile_starts(grid.image_shape[axis], grid.tile_px[axis], grid.step_px[axis], grid.edge)
        fits = grid.grid_shape[axis] <= len(starts) and (
            len(position) == 0 or int(position.max()) < grid.grid_shape[axis]
        )
        if not fits or (starts[position] != grid.boxes[:, axis]).any():
            raise GridError("tiles that lie off their grid cannot keep labels; lay a grid, or tiles around points")
    if len(np.unique(grid.tile_id)) != len(grid):
        raise GridError("a tile is in the grid twice, so its label would be ambiguous; lay the grid again")


def _pair(value: Sequence[int]) -> tuple[int, int]:
    first, second = (int(v) for v in value)
    if not (1 <= first <= _LONGEST_PX and 1 <= second <= _LONGEST_PX):
        raise ValueError(f"{value} is not a size")
    return first, second


def id_ranges(ids: NDArray[np.int64]) -> list[int]:
    """Return ascending tile ids as the ranges of a grid's description: a flat list start, end, start, end …."""
    breaks = np.flatnonzero(np.diff(ids) != 1)
    starts = ids[np.concatenate([[0], breaks + 1]).astype(int)] if len(ids) else ids
    ends = ids[np.concatenate([breaks, [len(ids) - 1]]).astype(int)] + 1 if len(ids) else ids
    return [int(v) for v in np.stack([starts, ends], axis=1).ravel()]


def _ids(ranges: Sequence[int] | None, n: int) -> NDArray[np.int64]:
    bounds = np.array([0, n] if ranges is None else ranges, np.int64).reshape(-1, 2)
    flat = bounds.ravel()
    if (flat < 0).any() or (flat > n).any() or (np.diff(flat) < 0).any():
        raise ValueError("its tiles are out of order or outside it")
    if int((bounds[:, 1] - bounds[:, 0]).sum()) > (max_tiles := limit("tiles")):
        raise ValueError(f"it has more than {max_tiles:,} tiles")
    return np.concatenate([np.zeros(0, np.int64), *(np.arange(start, end) for start, end in bounds.tolist())])
