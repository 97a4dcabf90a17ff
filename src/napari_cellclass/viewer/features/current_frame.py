"""The frame of the current tile, over all layers: a map, whose tiles have edges of their own, would hide it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.viewer.features.selected_tiles import SELECTED_COLOUR

if TYPE_CHECKING:
    from napari.viewer import Viewer

NAME = "cellclass_current_tile"
"""Of the frame among the overlays of a viewer."""
_STROKES = (("white", 7), ("black", 5), (SELECTED_COLOUR, 2))
_NO_LINES = np.zeros((0, 2, 2))


class CurrentFrame:
    """Frames a box.

    Parameters
    ----------
    viewer
        The viewer.
    to_world
        Converts points, shape (n, 2), from px of the field to the world.
    """

    def __init__(self, viewer: Viewer, to_world: Callable[[NDArray[Any]], NDArray[np.float64]]) -> None:
        self._viewer, self._to_world = viewer, to_world
        self._sides: NDArray[Any] = _NO_LINES
        self.visible = True

    def show(self, top: float, left: float, bottom: float, right: float) -> None:
        """Frame what is between these edges, in px of the field with pixel centres on integers."""
        corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left], [top, left]])
        world = self._to_world(corners)
        self._sides = np.stack([world[:-1], world[1:]], axis=1)
        self._draw()

    def set_visible(self, visible: bool) -> None:
        """Show the frame, or hide it while the labels, which it belongs to, are hidden."""
        if visible != self.visible:
            self.visible = visible
            self._draw()

    def _draw(self) -> None:
        from napari_cellclass.viewer.common.line_overlay import draw_over_layers

        draw_over_layers(self._viewer, NAME, self._sides if self.visible else _NO_LINES, _STROKES, above=1)

    def remove(self) -> None:
        """Leave nothing in the viewer."""
        from napari_cellclass.viewer.common.line_overlay import remove_lines

        self.visible = False
        remove_lines(self._viewer, NAME)
