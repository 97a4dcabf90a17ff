"""The mouse on the layers of a workspace: a click chooses a tile, the brush paints, Shift and a drag select."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_cellclass.viewer.features.annotation_layers import AnnotationLayers

_CLICK_TOLERANCE_PX = 4.0  # smaller movements during a click are not a drag

Point = tuple[float, float]


class PointerActions(Protocol):
    """What the mouse does to a workspace."""

    layers: AnnotationLayers | None
    brush: bool

    def go_to(self, tile_index: int, follow: bool = True) -> None:
        """Make a tile the current one."""

    def paint(self, tile_indices: NDArray[np.int64]) -> None:
        """Label tiles with the active class."""

    def select(self, tile_indices: NDArray[np.int64]) -> None:
        """Choose the tiles that the next key labels."""


class Pointer:
    """Mouse callbacks of all layers of one workspace, so that a click means the same on each.

    Parameters
    ----------
    actions
        The workspace.
    """

    def __init__(self, actions: PointerActions) -> None:
        self._actions = actions
        self._attached: list[Any] = []
        self.selecting_layer: Any = None  # on which every drag selects, without Shift

    def attach(self, layers: Iterable[Any]) -> None:
        """Listen to the mouse on layers, once each."""
        for layer in layers:
            if self._drag not in layer.mouse_drag_callbacks:
                layer.mouse_drag_callbacks.append(self._drag)
                self._attached.append(layer)

    def detach(self) -> None:
        """Listen to no layer any more."""
        for layer in self._attached:
            if self._drag in layer.mouse_drag_callbacks:
                layer.mouse_drag_callbacks.remove(self._drag)
        self._attached = []

    def _drag(self, layer: Any, event: Any) -> Generator[None]:
        """Follow one press of the button, from press to release."""
        layers = self._actions.layers
        if event.button != 1 or layers is None:
            return
        selecting = "Shift" in event.modifiers or layer is self.selecting_layer
        painting = self._actions.brush
        panned = layer.mouse_pan
        layer.mouse_pan = panned and not (selecting or painting)
        try:
            if painting and not selecting:
                yield from self._paint(layers, event)
            else:
                yield from self._choose(layers, event, selecting)
        finally:
            layer.mouse_pan = panned

    def _choose(self, layers: AnnotationLayers, event: Any, selecting: bool) -> Generator[None]:
        start, pressed, moved = layers.field_point(event.position), np.asarray(event.pos, float), False
        yield
        while event.type == "mouse_move":
            moved = moved or float(np.abs(np.asarray(event.pos, float) - pressed).max()) > _CLICK_TOLERANCE_PX
            yield
        moved = moved or float(np.abs(np.asarray(event.pos, float) - pressed).max()) > _CLICK_TOLERANCE_PX
        tile_index = layers.annotation.grid.tile_at(*start)
        if selecting:
            end = layers.field_point(event.position)
            box = moved or tile_index < 0
            self._actions.select(layers.tiles_in_box(start, end) if box else np.array([tile_index], np.int64))
            return
        if not moved and tile_index >= 0:
            self._actions.go_to(tile_index, follow=False)

    def _paint(self, layers: AnnotationLayers, event: Any) -> Generator[None]:
        last = self._paint_to(layers, layers.field_point(event.position), layers.field_point(event.position))
        yield
        while event.type == "mouse_move":
            last = self._paint_to(layers, last, layers.field_point(event.position))
            yield
        end = layers.field_point(event.position)
        if end != last:  # a busy window gets the release event, but not all movements before
            self._paint_to(layers, last, end)

    def _paint_to(self, layers: AnnotationLayers, start: Point, end: Point) -> Point:
        """Paint the tiles between two points, so that a fast drag leaves no gap."""
        grid = layers.annotation.grid
        length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
        steps = 1 + int(length / (min(grid.step_px) / 2))
        tile_indices = dict.fromkeys(grid.tile_at(y, x) for y, x in np.linspace(start, end, steps + 1))
        tile_indices.pop(-1, None)
        if tile_indices:
            self._actions.go_to(list(tile_indices)[-1], follow=False)
            self._actions.paint(np.array(list(tile_indices), np.int64))
        return end
