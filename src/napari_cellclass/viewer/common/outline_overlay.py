"""Outlines of tiles on a layer, a few pixels of the screen wide at any zoom, that are seen on dark and bright fields.

A line of the tile's colour lies between a black and a white one, of which either stands out. Lines are those of
OpenGL, one pixel wide each, for the tiles in view alone: a Shapes layer would need 100 ms for a few hundred tiles.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from napari._vispy.overlays.base import LayerOverlayMixin, VispySceneOverlay
from napari._vispy.utils.visual import overlay_to_visual
from napari.components.overlays import SceneOverlay
from napari.layers import Layer
from numpy.typing import NDArray
from vispy.scene.visuals import Line

_NAME = "tile_outlines"
MOST_OUTLINES = 1500
"""At most so many tiles are outlined; more in view are too small to tell one line from another."""
_MIN_SCREEN_PX = 10
# Lines from the edge of a tile inwards, each a pixel: None is the tile's own colour.
_LINES: tuple[tuple[float, float, float, float] | None, ...] = (
    (0.0, 0.0, 0.0, 1.0), None, None, (1.0, 1.0, 1.0, 1.0),
)  # fmt: skip
_FEW_LINES: tuple[tuple[float, float, float, float] | None, ...] = (None,)
_WIDE_SCREEN_PX = 20  # tiles of this size and more get all lines
_MARGIN = 0.5  # of the view, on all sides: so far it can be moved before lines are made anew


@dataclass(frozen=True, eq=False)
class Outlines:
    """Tiles to outline.

    Parameters
    ----------
    boxes
        Float, shape (n, 4): top, left, bottom, right in the layer's coordinates.
    colours
        Float, shape (n, 4): RGBA in 0..1.
    """

    boxes: NDArray[Any] = field(default_factory=lambda: np.zeros((0, 4)))
    colours: NDArray[Any] = field(default_factory=lambda: np.zeros((0, 4)))

    def between(self, low: NDArray[Any], high: NDArray[Any]) -> Outlines:
        """Return those that touch a rectangle, none where there are too many."""
        inside = ((self.boxes[:, 2:] >= low) & (self.boxes[:, :2] <= high)).all(axis=1)
        if np.count_nonzero(inside) > MOST_OUTLINES:
            return Outlines()
        return Outlines(self.boxes[inside], self.colours[inside])

    def segments(self, screen_px: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return lines for tiles of which a pixel of the screen measures so much, (height, width).

        Returns
        -------
        ends
            Float32, shape (n x lines x 4, 2, 2): both ends of every line as (y, x).
        colours
            Float32, shape (n x lines x 4, 2, 4).
        """
        if not len(self.boxes):
            return np.zeros((0, 2, 2), np.float32), np.zeros((0, 2, 4), np.float32)
        side = float(((self.boxes[:, 2:] - self.boxes[:, :2]) / screen_px).min())
        lines = _LINES if side >= _WIDE_SCREEN_PX else _FEW_LINES if side >= _MIN_SCREEN_PX else ()
        ends = np.zeros((len(lines), len(self.boxes), 4, 2, 2), np.float32)
        colours = np.zeros((len(lines), len(self.boxes), 4, 2, 4), np.float32)
        for i, colour in enumerate(lines):
            inset = (i + 1) * screen_px
            top, left = (self.boxes[:, :2] + inset).T
            bottom, right = (self.boxes[:, 2:] - inset).T
            corners = np.stack([top, left, top, right, bottom, right, bottom, left], axis=1).reshape(-1, 4, 2)
            ends[i] = np.stack([corners, np.roll(corners, -1, axis=1)], axis=2)
            colours[i] = (self.colours if colour is None else np.array(colour))[..., None, None, :]
        return ends.reshape(-1, 2, 2), colours.reshape(-1, 2, 4)


class OutlineOverlay(SceneOverlay):
    """Outlines in a layer's coordinates."""

    outlines: Any


class _VispyOutlines(LayerOverlayMixin, VispySceneOverlay):
    """The lines of the tiles in view, on the canvas."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(node=Line(connect="segments", method="gl", width=1, antialias=False), **kwargs)
        self._covered: tuple[Any, ...] = ()
        self.layer.events.set_data.connect(self._on_visible_change)
        self.layer.events.opacity.connect(self._on_visible_change)
        self.overlay.events.outlines.connect(self._draw)
        camera = self.viewer.scene.camera.events
        self._events = (camera.center, camera.zoom, self.viewer.canvas.events.size)
        for event in self._events:
            event.connect(self._follow_view)
        self.reset()

    def close(self) -> None:
        for event in self._events:
            event.disconnect(self._follow_view)
        super().close()

    def _on_visible_change(self) -> None:
        self._draw()

    def _follow_view(self, event: Any = None) -> None:
        """Draw anew where the view has left the part that was drawn, or was zoomed."""
        low, high, screen_px = self._view()
        if self._covered:
            before_low, before_high, before_px = self._covered
            inside = (low >= before_low).all() and (high <= before_high).all()
            if inside and np.allclose(screen_px, before_px, rtol=1e-3):
                return
        self._draw()

    def _view(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return both corners of the view, and the size of a pixel of the screen, in the layer's coordinates (y, x)."""
        viewer, camera = self.viewer, self.viewer.scene.camera
        middle = np.array(viewer.dims.point, float)
        shown = list(viewer.dims.displayed)[-2:]
        half = np.array(viewer.canvas.size, float) / 2 / camera.zoom
        corners = []
        for sign in (-1, 1):
            point = middle.copy()
            point[shown] = np.array(camera.center[-2:], float) + sign * half
            corners.append(np.asarray(self.layer.world_to_data(point), float)[-2:])
        low, high = np.minimum(*corners), np.maximum(*corners)
        order = np.argsort(np.argsort(shown)) if len(shown) == 2 else np.arange(2)
        screen = np.array(viewer.canvas.size, float)[order] * getattr(self.node.canvas, "pixel_scale", 1)
        return low, high, (high - low) / np.maximum(screen, 1)

    def _draw(self, event: Any = None) -> None:
        displayed = tuple(self.layer._slice_input.displayed)
        shown = self._should_be_visible() and self.layer.opacity > 0 and len(displayed) == 2
        ends = np.zeros((0, 2, 2), np.float32)
        self._covered = ()
        if shown:
            low, high, screen_px = self._view()
            margin = _MARGIN * (high - low)
            self._covered = low - margin, high + margin, screen_px
            ends, colours = self.overlay.outlines.between(low - margin, high + margin).segments(screen_px)
        self.node.visible = bool(len(ends))
        if len(ends):
            self.node.set_data(pos=ends[..., list(displayed[::-1])].reshape(-1, 2), color=colours.reshape(-1, 4))


def outline_tiles(layer: Layer, outlines: Outlines) -> None:
    """Outline tiles on a layer with two dimensions, in place of those that were outlined before."""
    overlay_to_visual.setdefault(OutlineOverlay, _VispyOutlines)
    if _NAME in layer._overlays:
        layer._overlays[_NAME].outlines = outlines
    else:
        layer._overlays[_NAME] = OutlineOverlay(outlines=outlines, visible=True)


def outlines_of(layer: Layer) -> Outlines | None:
    """Give the tiles that are outlined on a layer, or None."""
    overlay = layer._overlays.get(_NAME)
    return None if overlay is None else overlay.outlines
