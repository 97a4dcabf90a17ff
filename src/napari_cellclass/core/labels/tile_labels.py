"""Tile labels of a grid from polygons, points, masks and CSV files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.measure import points_in_poly

from napari_cellclass.core.common.errors import GridError, ParamsError
from napari_cellclass.core.labels.label_store import CONFLICT, UNLABELLED
from napari_cellclass.core.labels.points_and_boxes import CsvBoxes, CsvPoints
from napari_cellclass.core.tiles.grid import TileGrid

Conflict = tuple[int, tuple[int, int]]
"""A tile index, and the two class indices that claim the tile."""
_SAMPLES = 8  # points per side of a tile at which polygon coverage is measured


@dataclass(frozen=True, eq=False)
class TileLabels:
    """Labels that drawn shapes, points or masks give to the N tiles of a grid.

    Parameters
    ----------
    labels
        int16, shape (N,): a class index, ``UNLABELLED``, or ``CONFLICT`` where two classes claim the tile.
    coverage
        float32, shape (N,), 0..1: the largest fraction of the tile that one class covers; for points, 1 where
        there is one.
    conflicts
        (tile index, (class, class)) of each conflict, the two with the largest coverage in ascending order.
    points_outside
        Points that lie in no tile.
    """

    labels: NDArray[np.int16]
    coverage: NDArray[np.float32]
    conflicts: tuple[Conflict, ...] = ()
    points_outside: int = 0


def labels_from_polygons(
    grid: TileGrid,
    polygons: Sequence[tuple[ArrayLike, int]],
    min_coverage: float = 0.5,
    holes: Sequence[Sequence[ArrayLike]] = (),
) -> TileLabels:
    """Label tiles by the polygons that cover them.

    Parameters
    ----------
    grid
        N tiles.
    polygons
        (outline, class index): outline (n, 2) of (y, x) in px, pixel centres on integers. Those of one class
        are united; a class below 0 is ignored.
    min_coverage
        Smallest fraction of a tile within the field, above 0 up to 1, that a class must cover; measured at
        8 x 8 points. Two classes that both do are a conflict.
    holes
        For each polygon the outlines cut out of it; empty where no polygon has any.

    Raises
    ------
    ParamsError
        ``min_coverage`` is out of range.
    """
    _check_min_coverage(min_coverage)
    classes = sorted({int(index) for _, index in polygons if index >= 0})
    coverage = np.zeros((len(grid), len(classes)), np.float32)
    cut = holes or [()] * len(polygons)
    rings = [[np.asarray(ring, float) for ring in (p, *h)] for (p, _), h in zip(polygons, cut, strict=True)]
    for column, index in enumerate(classes):
        class_rings = [ring for ring, (_, i) in zip(rings, polygons, strict=True) if i == index]
        coverage[:, column] = _polygon_coverage(grid, class_rings)
    return _labels_from_coverage(coverage, np.array(classes, np.int64), min_coverage)


def labels_from_mask(grid: TileGrid, mask: Any, classes: Mapping[int, int], min_coverage: float = 0.5) -> TileLabels:
    """Label tiles by a painted mask.

    Parameters
    ----------
    grid
        N tiles.
    mask
        Integer array-like (Y, X), of the field's shape; read in bands of one row of tiles.
    classes
        Class index of each mask value; other values, such as 0, are background.
    min_coverage
        Smallest fraction of a tile's pixels within the field, above 0 up to 1, that a class must cover. Two
        classes that both do are a conflict.

    Raises
    ------
    GridError
        The mask is not of the field's shape, or does not hold integers.
    ParamsError
        ``min_coverage`` is out of range.
    """
    _check_min_coverage(min_coverage)
    if tuple(mask.shape) != tuple(grid.image_shape):
        raise GridError(f"a mask of shape {tuple(mask.shape)} does not fit a field of {tuple(grid.image_shape)} px")
    if np.dtype(mask.dtype).kind not in "iub":
        raise GridError(f"a mask of {mask.dtype} does not name classes; use a Labels layer of integers")
    wanted = np.array(sorted(set(classes.values())), np.int64)
    pixels = np.zeros((len(grid), len(wanted)), np.int64)
    boxes = _boxes_within_field(grid)
    for y0 in np.unique(boxes[:, 0]):
        rows = np.flatnonzero(boxes[:, 0] == y0)
        low, high = int(boxes[rows, 1].min()), int(boxes[rows, 3].max())
        band = np.asarray(mask[int(y0) : int(boxes[rows, 2].max()), low:high])
        for column, index in enumerate(wanted):
            hit = np.isin(band, [value for value, mask_class in classes.items() if mask_class == index])
            total = np.concatenate([[0], np.cumsum(hit.sum(axis=0))])
            pixels[rows, column] = total[boxes[rows, 3] - low] - total[boxes[rows, 1] - low]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return _labels_from_coverage(pixels / np.maximum(1, area)[:, None], wanted, min_coverage)


def labels_from_points(grid: TileGrid, points: ArrayLike, classes: ArrayLike) -> TileLabels:
    """Label the tile that contains each point; points of two classes in one tile are a conflict.

    Parameters
    ----------
    grid
        N tiles; of :func:`grid_around_points`, a point labels the tile around it.
    points
        (n, 2) of (y, x) in px, pixel centres on integers.
    classes
        int, shape (n,): the class index of each point; points of a class below 0 are ignored.
    """
    points = np.asarray(points, float).reshape(-1, 2)
    classes = np.asarray(classes, np.int64).reshape(-1)
    if _is_around_points(grid):
        corners = _tile_corners(grid.image_shape, points, grid.tile_px)
        known = {corner: i for i, corner in enumerate(map(tuple, grid.boxes[:, :2].tolist()))}
        tile_indices = [known.get(corner, -1) for corner in map(tuple, corners.tolist())]
    else:
        tile_indices = [grid.tile_at(y, x) for y, x in points.tolist()]
    claims: dict[int, set[int]] = {}
    for tile_index, index in zip(tile_indices, classes.tolist(), strict=True):
        if tile_index >= 0 and index >= 0:
            claims.setdefault(tile_index, set()).add(index)
    labels = np.full(len(grid), UNLABELLED, np.int16)
    conflicts = []
    for tile_index, claimed in sorted(claims.items()):
        first, *others = sorted(claimed)
        labels[tile_index] = CONFLICT if others else first
        if others:
            conflicts.append((tile_index, (first, others[0])))
    coverage = (labels != UNLABELLED).astype(np.float32)
    return TileLabels(labels, coverage, tuple(conflicts), tile_indices.count(-1))


def merge_tile_labels(a: TileLabels, b: TileLabels) -> TileLabels:
    """Merge two sources of labels for one grid and the same classes; where they differ, a tile is in conflict."""
    labels = np.where(a.labels == UNLABELLED, b.labels, a.labels)
    differ = (a.labels >= 0) & (b.labels >= 0) & (a.labels != b.labels)
    labels[differ | (a.labels == CONFLICT) | (b.labels == CONFLICT)] = CONFLICT
    new = [(int(p), (int(min(x, y)), int(max(x, y)))) for p, x, y in zip(
        np.flatnonzero(differ), a.labels[differ], b.labels[differ], strict=True
    )]  # fmt: skip
    known = dict([*new, *b.conflicts, *a.conflicts])
    coverage = np.maximum(a.coverage, b.coverage)
    return TileLabels(
        labels.astype(np.int16), coverage, tuple(sorted(known.items())), a.points_outside + b.points_outside
    )


def grid_around_points(image_shape: tuple[int, int], points: ArrayLike, tile_px: int | tuple[int, int]) -> TileGrid:
    """Make a grid with a tile centred on each point, shifted into the field where it would reach past its edge.

    Such tiles are part of the grid of every possible position (a step of 1 px), so their ids do not change when
    points are added or removed. Points that share a tile give one; tiles are in ascending order of (y, x).

    Parameters
    ----------
    image_shape
        (height, width) of the field in px.
    points
        (n, 2) of (y, x) in px, pixel centres on integers.
    tile_px
        Side of a tile, or (height, width), in px.

    Raises
    ------
    GridError
        There is no point, a point is outside the field, or a tile is larger than it.
    """
    tile = (int(tile_px), int(tile_px)) if isinstance(tile_px, int | np.integer) else (tile_px[0], tile_px[1])
    height, width = int(image_shape[0]), int(image_shape[1])
    points = np.asarray(points, float).reshape(-1, 2)
    if len(points) == 0:
        raise GridError("there is no point to centre a tile on; place points first")
    if min(tile) < 1 or tile[0] > height or tile[1] > width:
        raise GridError(f"a tile of {tile[1]} x {tile[0]} px does not fit a field of {width} x {height} px")
    off = ~((points >= -0.5) & (points <= np.array([height, width]) - 0.5)).all(axis=1)
    if off.any():
        y, x = points[off][0]
        raise GridError(f"the point at y={y:g}, x={x:g} is outside the field of {width} x {height} px; remove it")
    corners = np.unique(_tile_corners((height, width), points, tile), axis=0).astype(np.int32)
    boxes = np.concatenate([corners, corners + np.array(tile, np.int32)], axis=1).astype(np.int32)
    positions = (height - tile[0] + 1, width - tile[1] + 1)
    return TileGrid(boxes, corners[:, 0], corners[:, 1], tile, (1, 1), (height, width), positions, "shift")


def labels_from_csv(
    found: CsvPoints | CsvBoxes, grid: TileGrid, min_coverage: float = 0.5
) -> tuple[TileLabels, tuple[str, ...]]:
    """Label tiles by the points or boxes of a CSV file.

    Parameters
    ----------
    found
        What ``read_points_csv`` or ``read_boxes_csv`` gave.
    grid
        N tiles. Those of :func:`grid_around_points` are labelled by a box's centre, others by its coverage.
    min_coverage
        See :func:`labels_from_polygons`.

    Returns
    -------
    labels : TileLabels
        Class indices refer to ``names``.
    names : tuple of str
        The classes that were found, sorted.
    """
    names = tuple(sorted(set(found.names)))
    classes = [names.index(name) for name in found.names]
    if isinstance(found, CsvPoints):
        return labels_from_points(grid, found.points, classes), names
    if _is_around_points(grid):
        return labels_from_points(grid, found.centres(), classes), names
    return labels_from_polygons(grid, list(zip(found.outlines(), classes, strict=True)), min_coverage), names


def _check_min_coverage(min_coverage: float) -> None:
    if not 0 < min_coverage <= 1:
        raise ParamsError(f"a minimum coverage of {min_coverage} is not possible; use a fraction of a tile, 0.05 to 1")


def _labels_from_coverage(coverage: NDArray[Any], classes: NDArray[np.int64], min_coverage: float) -> TileLabels:
    """Label tiles by their coverage (N, K) by K classes; two classes or more that cover enough are a conflict."""
    n = len(coverage)
    labels = np.full(n, UNLABELLED, np.int16)
    if len(classes) == 0:
        return TileLabels(labels, np.zeros(n, np.float32))
    claims = coverage >= min_coverage
    order = np.argsort(-coverage, axis=1, kind="stable")
    labels[claims.any(axis=1)] = classes[order[claims.any(axis=1), 0]]
    conflicting = np.flatnonzero(claims.sum(axis=1) > 1)
    labels[conflicting] = CONFLICT
    pairs = np.sort(classes[order[conflicting, :2]], axis=1).tolist()
    conflicts = tuple(
        (tile_index, (first, second)) for tile_index, (first, second) in zip(conflicting.tolist(), pairs, strict=True)
    )
    return TileLabels(labels, coverage.max(axis=1).astype(np.float32), conflicts)


def _boxes_within_field(grid: TileGrid) -> NDArray[np.int64]:
    """Give the boxes, clipped to the field."""
    height, width = grid.image_shape
    return np.clip(grid.boxes, 0, [height, width, height, width]).astype(np.int64)


def _polygon_coverage(grid: TileGrid, polygons: Sequence[Sequence[NDArray[np.float64]]]) -> NDArray[np.float64]:
    """Fraction of each tile within the field, at 8 x 8 points, that lies in an outline and not in its holes."""
    boxes = _boxes_within_field(grid).astype(float)
    inside = np.zeros((len(grid), _SAMPLES**2), bool)
    offsets = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    dy, dx = (a.ravel() for a in np.meshgrid(offsets, offsets, indexing="ij"))
    for rings in polygons:
        if len(rings[0]) < 3:
            continue  # a point or a line covers nothing
        outline, *holes = (ring + 0.5 for ring in rings)  # from pixel centres to pixel edges
        low, high = outline.min(axis=0), outline.max(axis=0)
        near = np.flatnonzero((boxes[:, :2] < high).all(axis=1) & (boxes[:, 2:] > low).all(axis=1))
        for chunk in np.array_split(near, max(1, len(near) // 4096)):
            y = boxes[chunk, 0, None] + dy * (boxes[chunk, 2] - boxes[chunk, 0])[:, None]
            x = boxes[chunk, 1, None] + dx * (boxes[chunk, 3] - boxes[chunk, 1])[:, None]
            points = np.stack([y.ravel(), x.ravel()], axis=1)
            hit = points_in_poly(points, outline)
            for hole in holes:
                hit &= ~points_in_poly(points, hole)
            inside[chunk] |= hit.reshape(len(chunk), _SAMPLES**2)
    return inside.mean(axis=1)


def _is_around_points(grid: TileGrid) -> bool:
    return tuple(grid.step_px) == (1, 1) and grid.edge == "shift"


def _tile_corners(shape: tuple[int, int], points: NDArray[np.float64], tile: tuple[int, int]) -> NDArray[np.int64]:
    """Upper left corners (n, 2) of the tiles centred on points, in px, within the field."""
    size = np.array(tile)
    corners = np.floor(points + 0.5 - size / 2 + 0.5).astype(np.int64)
    return np.clip(corners, 0, np.array(shape) - size)
