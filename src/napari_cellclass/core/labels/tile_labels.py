"""Labels for a grid from polygons, points, masks and CSV files."""

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
_SAMPLES = 8


@dataclass(frozen=True, eq=False)
class TileLabels:
    """What other layers say of the N tiles of a grid.

    Parameters
    ----------
    labels
        int16, shape (N,): a class, ``UNLABELLED``, or ``CONFLICT`` where two classes claim the tile.
    cover
        float32, shape (N,), 0..1: the largest part of the tile that one class covers; of points, 1 where
        there is one.
    conflicts
        (place, (class, class)) of each conflict, the two with the best claims in ascending order.
    missed
        Points that no tile holds.
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
        (outline, class): outline (n, 2) of (y, x) in px, pixel centres on integers. Those of one class are
        united; a class below 0 is left out.
    min_coverage
        Smallest part of a tile within the field, above 0 up to 1, that a class must cover; measured at
        8 x 8 points. Two classes that both do are a conflict.
    holes
        For each polygon the outlines cut out of it; empty where no polygon has any.

    Raises
    ------
    ParamsError
        ``min_coverage`` is out of range.
    """
    _check_cover(min_coverage)
    classes = sorted({int(index) for _, index in polygons if index >= 0})
    cover = np.zeros((len(grid), len(classes)), np.float32)
    cut = holes or [()] * len(polygons)
    rings = [[np.asarray(ring, float) for ring in (p, *h)] for (p, _), h in zip(polygons, cut, strict=True)]
    for column, index in enumerate(classes):
        mine = [ring for ring, (_, i) in zip(rings, polygons, strict=True) if i == index]
        cover[:, column] = _polygon_cover(grid, mine)
    return _settle(cover, np.array(classes, np.int64), min_coverage)


def labels_from_mask(grid: TileGrid, mask: Any, classes: Mapping[int, int], min_coverage: float = 0.5) -> TileLabels:
    """Label tiles by a painted mask.

    Parameters
    ----------
    grid
        N tiles.
    mask
        Integer array-like (Y, X), of the field's shape; read in bands of one row of tiles.
    classes
        Class of each mask value; other values, such as 0, are nothing.
    min_coverage
        Smallest part of a tile's pixels within the field, above 0 up to 1, that a class must cover. Two
        classes that both do are a conflict.

    Raises
    ------
    GridError
        The mask is not of the field's shape, or does not hold integers.
    ParamsError
        ``min_coverage`` is out of range.
    """
    _check_cover(min_coverage)
    if tuple(mask.shape) != tuple(grid.image_shape):
        raise GridError(f"a mask of shape {tuple(mask.shape)} does not fit a field of {tuple(grid.image_shape)} px")
    if np.dtype(mask.dtype).kind not in "iub":
        raise GridError(f"a mask of {mask.dtype} does not name classes; use a Labels layer of integers")
    wanted = np.array(sorted(set(classes.values())), np.int64)
    pixels = np.zeros((len(grid), len(wanted)), np.int64)
    boxes = _inside(grid)
    for y0 in np.unique(boxes[:, 0]):
        mine = np.flatnonzero(boxes[:, 0] == y0)
        low, high = int(boxes[mine, 1].min()), int(boxes[mine, 3].max())
        band = np.asarray(mask[int(y0) : int(boxes[mine, 2].max()), low:high])
        for column, index in enumerate(wanted):
            hit = np.isin(band, [value for value, place in classes.items() if place == index])
            total = np.concatenate([[0], np.cumsum(hit.sum(axis=0))])
            pixels[mine, column] = total[boxes[mine, 3] - low] - total[boxes[mine, 1] - low]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return _settle(pixels / np.maximum(1, area)[:, None], wanted, min_coverage)


def labels_from_points(grid: TileGrid, points: ArrayLike, classes: ArrayLike) -> TileLabels:
    """Label the tile that holds each point; two points of different class in it are a conflict.

    Parameters
    ----------
    grid
        N tiles; of :func:`grid_around_points`, a point labels the tile around it.
    points
        (n, 2) of (y, x) in px, pixel centres on integers.
    classes
        int, shape (n,): the class of each point; one below 0 is left out.
    """
    points = np.asarray(points, float).reshape(-1, 2)
    classes = np.asarray(classes, np.int64).reshape(-1)
    if _is_around_points(grid):
        corners = _corners(grid.image_shape, points, grid.tile_px)
        known = {corner: place for place, corner in enumerate(map(tuple, grid.boxes[:, :2].tolist()))}
        places = [known.get(corner, -1) for corner in map(tuple, corners.tolist())]
    else:
        places = [grid.tile_at(y, x) for y, x in points.tolist()]
    claims: dict[int, set[int]] = {}
    for place, index in zip(places, classes.tolist(), strict=True):
        if place >= 0 and index >= 0:
            claims.setdefault(place, set()).add(index)
    labels = np.full(len(grid), UNLABELLED, np.int16)
    conflicts = []
    for place, claimed in sorted(claims.items()):
        first, *others = sorted(claimed)
        labels[place] = CONFLICT if others else first
        if others:
            conflicts.append((place, (first, others[0])))
    cover = (labels != UNLABELLED).astype(np.float32)
    return TileLabels(labels, cover, tuple(conflicts), places.count(-1))


def merge_tile_labels(a: TileLabels, b: TileLabels) -> TileLabels:
    """Join two sources of labels for one grid and the same classes; where they differ, a tile is in conflict."""
    labels = np.where(a.labels == UNLABELLED, b.labels, a.labels)
    differ = (a.labels >= 0) & (b.labels >= 0) & (a.labels != b.labels)
    labels[differ | (a.labels == CONFLICT) | (b.labels == CONFLICT)] = CONFLICT
    new = [(int(p), (int(min(x, y)), int(max(x, y)))) for p, x, y in zip(
        np.flatnonzero(differ), a.labels[differ], b.labels[differ], strict=True
    )]  # fmt: skip
    known = dict([*new, *b.conflicts, *a.conflicts])
    cover = np.maximum(a.coverage, b.coverage)
    return TileLabels(labels.astype(np.int16), cover, tuple(sorted(known.items())), a.points_outside + b.points_outside)


def grid_around_points(image_shape: tuple[int, int], points: ArrayLike, tile_px: int | tuple[int, int]) -> TileGrid:
    """Lay a tile around each point, moved back into the field where it would reach past.

    Such tiles are those of a grid of every possible place (a step of 1 px), so their ids do not change when
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
        raise GridError("there is no point to lay a tile around; place points first")
    if min(tile) < 1 or tile[0] > height or tile[1] > width:
        raise GridError(f"a tile of {tile[1]} x {tile[0]} px does not fit a field of {width} x {height} px")
    off = ~((points >= -0.5) & (points <= np.array([height, width]) - 0.5)).all(axis=1)
    if off.any():
        y, x = points[off][0]
        raise GridError(f"the point at y={y:g}, x={x:g} is outside the field of {width} x {height} px; remove it")
    corners = np.unique(_corners((height, width), points, tile), axis=0).astype(np.int32)
    boxes = np.concatenate([corners, corners + np.array(tile, np.int32)], axis=1).astype(np.int32)
    places = (height - tile[0] + 1, width - tile[1] + 1)
    return TileGrid(boxes, corners[:, 0], corners[:, 1], tile, (1, 1), (height, width), places, "shift")


def labels_from_csv(
    found: CsvPoints | CsvBoxes, grid: TileGrid, min_coverage: float = 0.5
) -> tuple[TileLabels, tuple[str, ...]]:
    """Label tiles by the points or boxes of a CSV file.

    Parameters
    ----------
    found
        What :func:`read_points_csv` or :func:`read_boxes_csv` gave.
    grid
        N tiles. Those of :func:`grid_around_points` are labelled by a box's centre, others by its cover.
    min_coverage
        See :func:`labels_from_polygons`.

    Returns
    -------
    labels : TileLabels
        Classes are places in ``names``.
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


def _check_cover(min_coverage: float) -> None:
    if not 0 < min_coverage <= 1:
        raise ParamsError(f"a smallest cover of {min_coverage} is not possible; use a part of a tile, 0.05 to 1")


def _settle(cover: NDArray[Any], classes: NDArray[np.int64], min_coverage: float) -> TileLabels:
    """Label tiles by the cover (N, K) of K classes; two claims or more are a conflict."""
    n = len(cover)
    labels = np.full(n, UNLABELLED, np.int16)
    if len(classes) == 0:
        return TileLabels(labels, np.zeros(n, np.float32))
    claims = cover >= min_coverage
    order = np.argsort(-cover, axis=1, kind="stable")
    labels[claims.any(axis=1)] = classes[order[claims.any(axis=1), 0]]
    torn = np.flatnonzero(claims.sum(axis=1) > 1)
    labels[torn] = CONFLICT
    pairs = np.sort(classes[order[torn, :2]], axis=1).tolist()
    conflicts = tuple((place, (first, second)) for place, (first, second) in zip(torn.tolist(), pairs, strict=True))
    return TileLabels(labels, cover.max(axis=1).astype(np.float32), conflicts)


def _inside(grid: TileGrid) -> NDArray[np.int64]:
    """Give the boxes, cut off at the field."""
    height, width = grid.image_shape
    return np.clip(grid.boxes, 0, [height, width, height, width]).astype(np.int64)


def _polygon_cover(grid: TileGrid, polygons: Sequence[Sequence[NDArray[np.float64]]]) -> NDArray[np.float64]:
    """Part of each tile within the field, at 8 x 8 points, that lies in any of the outlines and not in its holes."""
    boxes = _inside(grid).astype(float)
    inside = np.zeros((len(grid), _SAMPLES**2), bool)
    offsets = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    dy, dx = (a.ravel() for a in np.meshgrid(offsets, offsets, indexing="ij"))
    for rings in polygons:
        if len(rings[0]) < 3:
            continue  # a point or a line covers nothing
        outline, *holes = (ring + 0.5 for ring in rings)  # from pixel centres to pixel edges
        low, high = outline.min(axis=0), outline.max(axis=0)
        near = np.flatnonzero((boxes[:, :2] < high).all(axis=1) & (boxes[:, 2:] > low).all(axis=1))
        for part in np.array_split(near, max(1, len(near) // 4096)):
            y = boxes[part, 0, None] + dy * (boxes[part, 2] - boxes[part, 0])[:, None]
            x = boxes[part, 1, None] + dx * (boxes[part, 3] - boxes[part, 1])[:, None]
            points = np.stack([y.ravel(), x.ravel()], axis=1)
            hit = points_in_poly(points, outline)
            for hole in holes:
                hit &= ~points_in_poly(points, hole)
            inside[part] |= hit.reshape(len(part), _SAMPLES**2)
    return inside.mean(axis=1)


def _is_around_points(grid: TileGrid) -> bool:
    return tuple(grid.step_px) == (1, 1) and grid.edge == "shift"


def _corners(shape: tuple[int, int], points: NDArray[np.float64], tile: tuple[int, int]) -> NDArray[np.int64]:
    """Upper left corners (n, 2) of the tiles around points, in px, within the field."""
    size = np.array(tile)
    corners = np.floor(points + 0.5 - size / 2 + 0.5).astype(np.int64)
    return np.clip(corners, 0, np.array(shape) - size)
