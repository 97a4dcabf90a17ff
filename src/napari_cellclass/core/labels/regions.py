"""Regions drawn in another program: polygons with holes and points, with a class; and tile labels from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy  # its parts are imported when they are used: half a second
from numpy.typing import NDArray

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.labels.classes import palette
from napari_cellclass.core.labels.tile_labels import (
    TileLabels,
    labels_from_points,
    labels_from_polygons,
    merge_tile_labels,
)
from napari_cellclass.core.tiles.grid import TileGrid

Ring = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Region:
    """One drawn object of one class.

    Parameters
    ----------
    class_name
        ``""`` where it has none.
    colour
        ``"#RRGGBB"`` of its class, or None.
    polygons
        Each a tuple of rings, the outline and then its holes: float64 (n, 2) of (y, x) in px, pixel centres on
        integers; the first point is not repeated.
    points
        float64 (m, 2), likewise.
    kind
        What the file calls it: ``"annotation"``, ``"tile"``, ``"detection"``, ...
    name
        How to find it in the file: ``"feature 3"``, ``"feature 3, child 1"``.
    plane
        The plane that it was drawn on, ``{"T": 0, "Z": 3}``; empty for any.
    """

    class_name: str
    colour: str | None
    polygons: tuple[tuple[Ring, ...], ...]
    points: NDArray[np.float64]
    kind: str = "annotation"
    name: str = ""
    plane: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of a file; ``skipped`` describes what was not read and why."""

    regions: tuple[Region, ...]
    skipped: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The class names, sorted, without the empty one."""
        return tuple(sorted({region.class_name for region in self.regions} - {""}))

    @property
    def unclassified(self) -> int:
        """Number of regions without a class."""
        return sum(not region.class_name for region in self.regions)

    def on_plane(self, plane: Mapping[str, int]) -> Regions:
        """Keep the regions of a plane and those of any; of ``plane`` the axes count that both name."""
        kept = tuple(region for region in self.regions if on_same_plane(region.plane, plane))
        others = len(self.regions) - len(kept)
        left_out = (f"{counted(others, 'region')} of other planes",) if others else ()
        return Regions(kept, (*self.skipped, *left_out))

    def colours(self) -> dict[str, str]:
        """Colour of each class: the first that one of its regions has, else its colour of the palette."""
        defaults = dict(zip(self.names, palette(len(self.names)), strict=True))
        given = {r.class_name: r.colour for r in reversed(self.regions) if r.class_name and r.colour}
        return defaults | given


def on_same_plane(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    """Return whether two planes are the same on every axis that both name."""
    return all(other[axis] == index for axis, index in one.items() if axis in other)


def labels_from_regions(
    grid: TileGrid, regions: Regions, min_coverage: float = 0.5
) -> tuple[TileLabels, tuple[str, ...]]:
    """Label tiles by the regions that cover them and the points in them; those without a class are ignored.

    Returns
    -------
    labels : TileLabels
        Class indices refer to ``names``. Two classes that claim a tile are a conflict, also where one is drawn
        inside the other.
    names : tuple of str
        The classes that were found, sorted.

    Raises
    ------
    ParamsError
        ``min_coverage`` is out of range.
    """
    names = regions.names
    shapes: list[tuple[Ring, int]] = []
    holes: list[tuple[Ring, ...]] = []
    points, classes = [np.zeros((0, 2))], []
    for region in regions.regions:
        index = names.index(region.class_name) if region.class_name else -1
        shapes += [(rings[0], index) for rings in region.polygons]
        holes += [rings[1:] for rings in region.polygons]
        points.append(region.points)
        classes += [index] * len(region.points)
    from_shapes = labels_from_polygons(grid, shapes, min_coverage, holes)
    from_point_regions = labels_from_points(grid, np.concatenate(points), classes)
    return merge_tile_labels(from_shapes, from_point_regions), names


def rectangle_bounds(rings: Sequence[Ring]) -> NDArray[np.float64] | None:
    """Give y0, x0, y1, x1 (px, edges) of an axis-aligned rectangle without holes; None for any other polygon."""
    if len(rings) != 1 or len(rings[0]) != 4:
        return None
    low, high = rings[0].min(axis=0), rings[0].max(axis=0)
    corners = {(y, x) for y in (low[0], high[0]) for x in (low[1], high[1])}
    if len(corners) != 4 or set(map(tuple, rings[0].tolist())) != corners:
        return None
    return np.concatenate([low, high]) + 0.5


def signed_area(ring: Ring) -> float:
    """Area in px², positive where the corners run counter-clockwise with x to the right and y up."""
    y, x = ring.T - ring[0][:, None]  # near the origin, so that no digits are lost
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def bridge_holes(rings: Sequence[Ring]) -> Ring:
    """Join an outline and its holes into one line, by a bridge of zero width to each hole.

    napari has no holes; filled by the even-odd rule, as napari does, such a line leaves the holes open.
    """
    line = _oriented(rings[0], 1)
    for hole in rings[1:]:
        inner = _oriented(hole, -1)
        distance, nearest = scipy.spatial.cKDTree(line).query(inner)
        first = int(distance.argmin())
        at, loop = int(nearest[first]), np.roll(inner, -first, axis=0)
        line = np.concatenate([line[: at + 1], loop, loop[:1], line[at:]])
    return line


def split_holes(line: Ring) -> tuple[Ring, ...]:
    """Split a line into the outline and the holes that :func:`bridge_holes` merge_tile_labels."""
    stack: list[tuple[float, float]] = []
    first_index: dict[tuple[float, float], int] = {}
    holes = []
    orientation = np.sign(signed_area(line))
    for y, x in np.asarray(line, float).tolist():
        start = first_index.get((y, x))
        if start is not None:
            loop = np.array(stack[start:])
            if len(loop) < 3 or np.sign(signed_area(loop)) == -orientation:
                if len(loop) >= 3:
                    holes.append(loop)
                for corner in stack[start:]:
                    first_index.pop(corner, None)
                del stack[start:]
        first_index.setdefault((y, x), len(stack))
        stack.append((y, x))
    return (np.array(stack), *holes)


def ellipse_outline(corners: NDArray[Any], points: int = 64) -> Ring:
    """Convert the box by which napari stores an ellipse, (4, D), to an outline, (points, D)."""
    corners = np.asarray(corners, float)
    centre = corners.mean(axis=0)
    a, b = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)[:, None]
    return centre + np.cos(angle) * a + np.sin(angle) * b


def _oriented(ring: Ring, orientation: int) -> Ring:
    return ring if np.sign(signed_area(ring)) in (0, orientation) else ring[::-1]
