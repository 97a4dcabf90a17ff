"""Thin lines between the tiles of a field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.common.layers import lock_layer

if TYPE_CHECKING:
    from napari.layers import Shapes

_MAX_LINES = 2000  # napari takes seconds for more


def is_sparse(grid: TileGrid) -> bool:
    """Whether the tiles are centred on points: such a grid has a step of 1 px."""
    return grid.step_px == (1, 1) and min(grid.tile_px) > 1


def grid_lines(grid: TileGrid, name: str, transform: Mapping[str, Any], colour: str = "white") -> Shapes | None:
    """Make a layer with the edges of all tiles; None where there would be too many.

    Parameters
    ----------
    grid
        The tiles; those centred on points get a rectangle each.
    name, transform
        Of the layer, see :func:`~napari_cellclass.viewer.common.layers.transform_of`.
    colour
        Black on a bright field, see :func:`~napari_cellclass.viewer.common.visible_tiles.text_colour`.
    """
    from napari.layers import Shapes

    sparse = is_sparse(grid)
    outlines = list(grid.rects()) if sparse else _lines(grid)
    if not 0 < len(outlines) <= _MAX_LINES:
        return None
    layer = Shapes(
        outlines, shape_type="rectangle" if sparse else "line", edge_color=colour, face_color="transparent",
        edge_width=max(0.1, 0.01 * min(grid.tile_px)), opacity=0.3, name=name, **transform,
    )  # fmt: skip
    lock_layer(layer)
    return layer


def _lines(grid: TileGrid) -> list[NDArray[np.float64]]:
    boxes = grid.boxes - 0.5
    top, left, bottom, right = boxes[:, 0].min(), boxes[:, 1].min(), boxes[:, 2].max(), boxes[:, 3].max()
    ys, xs = np.unique(boxes[:, [0, 2]]), np.unique(boxes[:, [1, 3]])
    rows = [np.array([[y, left], [y, right]]) for y in ys]
    return rows + [np.array([[top, x], [bottom, x]]) for x in xs]
