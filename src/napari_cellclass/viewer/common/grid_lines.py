"""Thin lines between the tiles of a field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.common.layers import lock_layer

if TYPE_CHECKING:
    from napari.layers import Vectors

_OPACITY = 0.4


def is_sparse(grid: TileGrid) -> bool:
    """Whether the tiles are centred on points: such a grid has a step of 1 px."""
    return grid.step_px == (1, 1) and min(grid.tile_px) > 1


def grid_lines(grid: TileGrid, name: str, transform: Mapping[str, Any], colour: str = "white") -> Vectors:
    """Make a layer with the edges of all tiles, as lines of 1 px of the screen at any zoom.

    Parameters
    ----------
    grid
        The tiles; those centred on points get a rectangle each.
    name, transform
        Of the layer, see :func:`~napari_cellclass.viewer.common.layers.transform_of`.
    colour
        Black on a bright field, see :func:`~napari_cellclass.viewer.common.visible_tiles.text_colour`.
    """
    from napari.layers import Vectors

    from napari_cellclass.viewer.common.line_overlay import draw_lines

    # Of the kinds of layers the one that napari adds fastest; its own lines would have a width in px of the field.
    # One of them has to be there, invisible: napari cannot change a layer without any to three dimensions.
    edges = tile_edges(grid)
    vector = np.array([[[-0.5, -0.5], [1.0, 1.0]]])
    layer = Vectors(vector, edge_color="transparent", opacity=_OPACITY, name=name, **transform)
    draw_lines(layer, edges, colour)
    lock_layer(layer)
    return layer


def tile_edges(grid: TileGrid) -> NDArray[np.float32]:
    """Give the edges of all tiles, each once.

    Returns
    -------
    float32 array, shape (n, 2, 2)
        Both ends as (y, x) in px, pixel centres on integers. Those of a grid run from its edge to its edge, tiles
        that are centred on points have four each.
    """
    boxes = grid.boxes - 0.5
    if is_sparse(grid):
        top, left, bottom, right = boxes.T
        corners = np.stack([top, left, top, right, bottom, right, bottom, left, top, left], axis=1).reshape(-1, 5, 2)
        return np.stack([corners[:, :-1], corners[:, 1:]], axis=2).reshape(-1, 2, 2).astype(np.float32)
    if not len(boxes):
        return np.zeros((0, 2, 2), np.float32)
    top, left, bottom, right = boxes[:, 0].min(), boxes[:, 1].min(), boxes[:, 2].max(), boxes[:, 3].max()
    ys, xs = np.unique(boxes[:, [0, 2]]), np.unique(boxes[:, [1, 3]])
    rows = [[[y, left], [y, right]] for y in ys]
    return np.array(rows + [[[top, x], [bottom, x]] for x in xs], np.float32)
