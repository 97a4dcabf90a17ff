"""The outline of the tiles that are selected, over all layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.common.grid_lines import is_sparse

if TYPE_CHECKING:
    from napari.viewer import Viewer

NAME = "cellclass_selected_tiles"
"""Of the outline among the overlays of a viewer."""
SELECTED_COLOUR = "#39FF14"
"""Neither a class has it by default, nor do stains; it is always drawn on black, to be seen on bright images."""
_STROKES = (("black", 4), (SELECTED_COLOUR, 2))


class SelectedTiles:
    """Draws around tiles.

    Parameters
    ----------
    viewer
        The viewer.
    grid
        The tiles.
    to_world
        Converts points, shape (n, 2), from px of the field to the world.
    """

    def __init__(self, viewer: Viewer, grid: TileGrid, to_world: Callable[[NDArray[Any]], NDArray[np.float64]]) -> None:
        self._viewer, self._grid, self._to_world = viewer, grid, to_world
        self.shown: NDArray[np.int64] = np.zeros(0, np.int64)

    def show(self, tile_indices: NDArray[np.int64]) -> None:
        """Outline these tiles and no others."""
        if not len(tile_indices) and not len(self.shown):
            return
        from napari_cellclass.viewer.common.line_overlay import draw_over_layers

        self.shown = np.asarray(tile_indices, np.int64)
        ends = outline(self._grid, self.shown)
        draw_over_layers(self._viewer, NAME, self._to_world(ends.reshape(-1, 2)).reshape(-1, 2, 2), _STROKES)

    def remove(self) -> None:
        """Leave nothing in the viewer."""
        from napari_cellclass.viewer.common.line_overlay import remove_lines

        self.shown = np.zeros(0, np.int64)
        remove_lines(self._viewer, NAME)


def outline(grid: TileGrid, tile_indices: NDArray[np.int64]) -> NDArray[np.float32]:
    """Give the lines between tiles of a set and all others, in px of the field.

    Parameters
    ----------
    grid
        The tiles.
    tile_indices
        The set.

    Returns
    -------
    float32 array, shape (n, 2, 2)
        Both ends of every line as (y, x), pixel centres on integers. Tiles that overlap are drawn as far as their
        steps go; those that are centred on points have four lines each.
    """
    step, centre = np.array(grid.step_px), (np.array(grid.tile_px) - 1) / 2
    rows, cols = grid.row[tile_indices].astype(np.int64), grid.col[tile_indices].astype(np.int64)
    if is_sparse(grid) or not len(rows):
        corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1], [-1, -1]]) * np.array(grid.tile_px) / 2
        around = (np.stack([rows, cols], axis=1) * step + centre)[:, None] + corners
        return np.stack([around[:, :-1], around[:, 1:]], axis=2).reshape(-1, 2, 2).astype(np.float32)
    low = np.array([rows.min(), cols.min()])
    inside = np.zeros((int(np.ptp(rows)) + 3, int(np.ptp(cols)) + 3), bool)
    inside[rows - low[0] + 1, cols - low[1] + 1] = True
    found = []
    for axis in (0, 1):  # lines below a cell, then lines to its right
        along = np.eye(2)[1 - axis]
        starts = np.argwhere(np.diff(inside, axis=axis)) + low - 1 + np.eye(2)[axis] / 2 - along / 2
        found.append(np.stack([starts, starts + along], axis=1))
    return (np.concatenate(found) * step + centre).astype(np.float32)
