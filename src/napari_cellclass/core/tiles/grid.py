"""Tile grids: the boxes of a field's tiles, and which tile contains a point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.measure import points_in_poly

from napari_cellclass.core.common.errors import GridError
from napari_cellclass.core.common.limits import limit

EdgeRule = Literal["drop", "pad", "shift"]


def tile_starts(length: int, tile: int, step: int, edge: EdgeRule) -> NDArray[np.int32]:
    """Place tiles along one axis; the edge rule is applied here and nowhere else.

    Parameters
    ----------
    length, tile, step
        Length of the axis, of a tile, and from one tile's start to the next, in px.
    edge
        What becomes of the remaining strip: ``"drop"`` it, ``"pad"`` with a tile that reaches
        past the end, or ``"shift"`` the last tile back so that it ends at the end.

    Returns
    -------
    ndarray of int32, shape (n,)
        Starts of the tiles in px. Empty when the axis is shorter than a tile, save for ``"pad"``.
    """
    if length < tile:
        return np.zeros(1 if edge == "pad" and length > 0 else 0, np.int32)
    starts = np.arange(0, length - tile + 1, step, dtype=np.int32)
    if starts[-1] + tile < length and edge != "drop":
        last = starts[-1] + step if edge == "pad" else length - tile
        starts = np.append(starts, np.int32(last))
    return starts


@dataclass(frozen=True, eq=False)
class TileGrid:
    """Tiles over a field, in px of the field at full resolution, order always (y, x).

    Parameters
    ----------
    boxes
        int32, shape (N, 4): half-open ``[y0, y1) x [x0, x1)`` as y0, x0, y1, x1. With the edge rule
        ``pad`` a box may reach past the field.
    row, col
        int32, shape (N,): row and column of each tile in the grid.
    tile_px, step_px
        (height, width) of a tile, and from one tile's start to the next, in px.
    image_shape
        (height, width) of the field in px.
    grid_shape
        (rows, columns) of the whole grid, before a region left tiles out.
    edge
        The edge rule that was used.
    """

    boxes: NDArray[np.int32]
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    tile_px: tuple[int, int]
    step_px: tuple[int, int]
    image_shape: tuple[int, int]
    grid_shape: tuple[int, int]
    edge: EdgeRule = "drop"

    @classmethod
    def regular(
        cls,
        image_shape: tuple[int, int],
        tile_px: int | tuple[int, int],
        overlap: float = 0.0,
        edge: EdgeRule = "drop",
    ) -> TileGrid:
        """Lay a regular grid over a field.

        Parameters
        ----------
        image_shape
            (height, width) of the field in px.
        tile_px
            Side of a square tile, or (height, width), in px.
        overlap
            Fraction of a tile that its neighbour shares, from 0 up to, not including, 1.
        edge
            The edge rule, see :func:`tile_starts`.

        Raises
        ------
        GridError
            A size, overlap or rule out of range; a tile larger than the field; more tiles than the limit ``tiles``.
        """
        tile = (int(tile_px), int(tile_px)) if isinstance(tile_px, int | np.integer) else (tile_px[0], tile_px[1])
        height, width = int(image_shape[0]), int(image_shape[1])
        if min(tile) < 1:
            raise GridError(f"a tile of {tile[1]} x {tile[0]} px is not possible; use at least 1 px")
        if not 0 <= overlap < 1:
            raise GridError(f"an overlap of {overlap} is not possible; use a fraction of a tile, 0 to 0.95")
        if edge not in get_args(EdgeRule):
            raise GridError(f"unknown edge rule {edge!r}; use one of {', '.join(get_args(EdgeRule))}")
        if edge != "pad" and (tile[0] > height or tile[1] > width):
            raise GridError(
                f"a tile of {tile[1]} x {tile[0]} px is larger than the field of {width} x {height} px; "
                "use a smaller tile, or the edge rule 'pad'"
            )
        step = (max(1, round(tile[0] * (1 - overlap))), max(1, round(tile[1] * (1 - overlap))))
        if (height // step[0] + 1) * (width // step[1] + 1) > (max_tiles := limit("tiles")):
            raise GridError(
                f"tiles of {tile[1]} x {tile[0]} px every {step[1]} x {step[0]} px would be more than "
                f"{max_tiles:,} on this field; use larger tiles or less overlap"
            )
        rows, cols = (tile_starts(n, t, s, edge) for n, t, s in zip((height, width), tile, step, strict=True))
        return cls._from_starts(rows, cols, tile, step, (height, width), edge)

    @classmethod
    def from_tile_count(cls, image_shape: tuple[int, int], n: int) -> TileGrid:
        """Cut a field into about ``n`` equal tiles, as the package image_slicer does.

        The field is cut into ``ceil(sqrt(n))`` columns and as many rows as are needed, so ``n`` is
        rounded up to rows x columns, and tiles are as oblong as the field. A remainder of less than a
        tile's row or column of pixels is dropped.

        Raises
        ------
        GridError
            ``n`` is below 1, or larger than the field has pixels in a row or column.
        """
        if n < 1:
            raise GridError(f"cannot cut a field into {n} tiles; use 1 or more")
        height, width = int(image_shape[0]), int(image_shape[1])
        columns = math.ceil(math.sqrt(n))
        rows = math.ceil(n / columns)
        tile = (height // rows, width // columns)
        if min(tile) < 1:
            raise GridError(f"a field of {width} x {height} px cannot be cut into {n} tiles; use fewer")
        y = np.arange(rows, dtype=np.int32) * tile[0]
        x = np.arange(columns, dtype=np.int32) * tile[1]
        return cls._from_starts(y, x, tile, tile, (height, width), "drop")

    @classmethod
    def _from_starts(
        cls,
        rows: NDArray[np.int32],
        cols: NDArray[np.int32],
        tile: tuple[int, int],
        step: tuple[int, int],
        shape: tuple[int, int],
        edge: EdgeRule,
    ) -> TileGrid:
        row, col = (a.ravel().astype(np.int32) for a in np.mgrid[0 : len(rows), 0 : len(cols)])
        y0, x0 = rows[row], cols[col]
        boxes = np.stack([y0, x0, y0 + tile[0], x0 + tile[1]], axis=1).astype(np.int32)
        return cls(boxes, row, col, tile, step, shape, (len(rows), len(cols)), edge)

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def tile_id(self) -> NDArray[np.int64]:
        """int64, shape (N,): ids that stay the same when a region leaves tiles out."""
        return self.row.astype(np.int64) * self.grid_shape[1] + self.col

    def take(self, index: ArrayLike) -> TileGrid:
        """Keep the tiles of ``index`` (tile indices or a boolean mask), in that order."""
        index = np.asarray(index)
        return TileGrid(
            self.boxes[index], self.row[index], self.col[index],
            self.tile_px, self.step_px, self.image_shape, self.grid_shape, self.edge,
        )  # fmt: skip

    def within(self, polygons: Sequence[ArrayLike], cover: float = 0.5) -> TileGrid:
        """Keep the tiles that a region covers.

        Parameters
        ----------
        polygons
            Outlines as (n, 2) arrays of (y, x) in px, where pixel centres lie on integers (napari's
            convention). A tile counts when their union covers enough of it.
        cover
            Smallest fraction of a tile, in 0..1, that the region must cover; measured at 8 x 8 points.

        Raises
        ------
        GridError
            No tile lies in the region.
        """
        n = 8
        inside = np.zeros((len(self), n * n), bool)
        offsets = (np.arange(n) + 0.5) / n
        dy, dx = (a.ravel() for a in np.meshgrid(offsets * self.tile_px[0], offsets * self.tile_px[1], indexing="ij"))
        for polygon in polygons:
            outline = np.asarray(polygon, float) + 0.5  # from pixel centres to pixel edges
            low, high = outline.min(0), outline.max(0)
            near = np.flatnonzero(
                (self.boxes[:, 0] < high[0]) & (self.boxes[:, 2] > low[0])
                & (self.boxes[:, 1] < high[1]) & (self.boxes[:, 3] > low[1])
            )  # fmt: skip
            for chunk in np.array_split(near, max(1, len(near) // 4096)):
                y = self.boxes[chunk, 0, None] + dy
                x = self.boxes[chunk, 1, None] + dx
                hit = points_in_poly(np.stack([y.ravel(), x.ravel()], axis=1), outline)
                inside[chunk] |= hit.reshape(len(chunk), n * n)
        keep = inside.mean(axis=1) >= cover
        if not keep.any():
            raise GridError(
                f"no tile lies at least {cover:.0%} inside the region; draw a larger region or use smaller tiles"
            )
        return self.take(keep)

    def rects(self) -> NDArray[np.float32]:
        """Corners for drawing: float32, shape (N, 4, 2), (y, x) with pixel centres on integers.

        Half a pixel is subtracted here and nowhere else: a box ``[0, 8)`` covers pixel centres
        0 to 7 and is drawn from -0.5 to 7.5.
        """
        y0, x0, y1, x1 = (self.boxes[:, i].astype(np.float32) - 0.5 for i in range(4))
        return np.stack([np.stack(corner, axis=1) for corner in ((y0, x0), (y0, x1), (y1, x1), (y1, x0))], axis=1)

    def rows_ordered_from(self, y: float) -> TileGrid:
        """Return the same tiles in another order: the row nearest to ``y`` (px) first, then its neighbours."""
        starts, row = np.unique(self.boxes[:, 0], return_inverse=True)
        distance = np.abs(starts + self.tile_px[0] / 2 - 0.5 - y)
        rank = np.empty(len(starts), np.int64)
        rank[np.argsort(distance, kind="stable")] = np.arange(len(starts))
        return self.take(np.argsort(rank[row], kind="stable"))

    @cached_property
    def _lookup(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Starts of rows and columns in px; the tiles' keys, row * columns + column, sorted; their tile indices."""
        rows, row = np.unique(self.boxes[:, 0], return_inverse=True)
        cols, col = np.unique(self.boxes[:, 1], return_inverse=True)
        keys = row.astype(np.int64) * len(cols) + col
        order = np.argsort(keys, kind="stable")
        return rows.astype(np.int64), cols.astype(np.int64), keys[order], order

    def tile_at(self, y: float, x: float) -> int:
        """Return the index of the tile under a point, by arithmetic, or -1.

        Where tiles overlap it is the one whose centre is nearest.

        Parameters
        ----------
        y, x
            The point in px, pixel centres on integers.
        """
        if len(self) == 0:
            return -1
        rows, cols, keys, tile_indices = self._lookup
        y, x = y + 0.5, x + 0.5
        r = np.arange(np.searchsorted(rows, y - self.tile_px[0], "right"), np.searchsorted(rows, y, "right"))
        c = np.arange(np.searchsorted(cols, x - self.tile_px[1], "right"), np.searchsorted(cols, x, "right"))
        wanted = (r[:, None] * len(cols) + c).ravel()
        at = np.searchsorted(keys, wanted)
        there = at < len(keys)
        there[there] = keys[at[there]] == wanted[there]
        found = tile_indices[at[there]]
        if len(found) == 0:
            return -1
        boxes = self.boxes[found]
        away = np.hypot(boxes[:, 0] + self.tile_px[0] / 2 - y, boxes[:, 1] + self.tile_px[1] / 2 - x)
        return int(found[np.lexsort((found, away))[0]])

    def tiles_between(self, low: ArrayLike, high: ArrayLike, at_most: int | None = None) -> NDArray[np.int64]:
        """Return the indices of the tiles whose centre lies in a rectangle, without visiting the others.

        Parameters
        ----------
        low, high
            Corners (y, x) in px, pixel centres on integers.
        at_most
            Where there would be more, none is returned.
        """
        rows, cols, keys, tile_indices = self._lookup
        half = np.array(self.tile_px) / 2 - 0.5
        (y0, x0), (y1, x1) = np.asarray(low, float) - half, np.asarray(high, float) - half
        r = np.arange(np.searchsorted(rows, y0, "left"), np.searchsorted(rows, y1, "right")) * len(cols)
        first = np.searchsorted(keys, r + np.searchsorted(cols, x0, "left"))
        end = np.searchsorted(keys, r + np.searchsorted(cols, x1, "right"))
        n = int((end - first).sum())
        if n == 0 or (at_most is not None and n > at_most):
            return np.zeros(0, np.int64)
        return tile_indices[np.concatenate([np.arange(a, b) for a, b in zip(first, end, strict=True)])]

    def exclusive_area(self) -> NDArray[np.float64]:
        """Area in px² that is nearer to each tile than to its neighbours: float64, shape (N,).

        Overlaps are halved between neighbours and what lies past the field is left out, so that areas
        add up to the area covered by the grid's tiles, counted once. Computed once; not to be written to.
        """
        return self._exclusive_area

    @cached_property
    def _exclusive_area(self) -> NDArray[np.float64]:
        sides = []
        for axis in (0, 1):
            starts, inverse = np.unique(self.boxes[:, axis], return_inverse=True)
            ends = np.minimum(starts + self.tile_px[axis], self.image_shape[axis]).astype(float)
            middle = (starts[1:] + ends[:-1]) / 2
            low = np.concatenate([starts[:1].astype(float), np.maximum(starts[1:], middle)])
            high = np.concatenate([np.minimum(ends[:-1], middle), ends[-1:]])
            sides.append((high - low)[inverse])
        return sides[0] * sides[1] if len(self) else np.zeros(0)
