"""Lines on a layer that are one pixel of the screen wide at any zoom.

A line of a Shapes layer has a width in px of the field, and is not drawn at all where that is less than a pixel of
the screen. napari draws its own boxes around layers as this is drawn: as lines of OpenGL, on top of the layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from napari._vispy.overlays.base import LayerOverlayMixin, VispySceneOverlay
from napari._vispy.utils.visual import overlay_to_visual
from napari.components.overlays import SceneOverlay
from napari.layers import Layer
from numpy.typing import NDArray
from vispy.scene.visuals import Line

_NAME = "grid_lines"


class LineOverlay(SceneOverlay):
    """Straight lines in a layer's coordinates.

    Parameters
    ----------
    segments
        Float32, shape (n, 2, 2): both ends of every line, as (y, x).
    colour
        RGBA in 0..1.
    """

    segments: Any
    colour: tuple[float, float, float, float]


class _VispyLines(LayerOverlayMixin, VispySceneOverlay):
    """The lines on the canvas."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(node=Line(connect="segments", method="gl", width=1, antialias=False), **kwargs)
        self.layer.events.set_data.connect(self._on_visible_change)
        self.layer.events.opacity.connect(self._on_opacity_change)
        self._drawn: tuple[int, ...] = ()
        self.reset()

    def _on_visible_change(self) -> None:
        displayed = tuple(self.layer._slice_input.displayed)
        some = len(self.overlay.segments) > 0
        self.node.visible = some and self._should_be_visible() and len(displayed) == 2
        if self.node.visible and displayed != self._drawn:
            self._drawn = displayed
            ends = self.overlay.segments[..., list(displayed[::-1])]  # x before y
            self.node.set_data(pos=ends.reshape(-1, 2), color=self.overlay.colour)

    def _on_opacity_change(self) -> None:
        self.node.opacity = self.layer.opacity


def draw_lines(layer: Layer, segments: NDArray[Any], colour: str) -> None:
    """Draw lines on a layer, 1 px wide on the screen, in the layer's opacity.

    Parameters
    ----------
    layer
        A layer with two dimensions.
    segments
        Shape (n, 2, 2): both ends of every line as (y, x) in the layer's coordinates.
    colour
        A name or ``"#RRGGBB"``.
    """
    from napari.utils.colormaps.standardize_color import transform_color

    red, green, blue, alpha = map(float, transform_color(colour)[0])
    overlay_to_visual.setdefault(LineOverlay, _VispyLines)
    ends = np.ascontiguousarray(segments, np.float32)
    layer._overlays[_NAME] = LineOverlay(segments=ends, colour=(red, green, blue, alpha), visible=True)


def lines_of(layer: Layer) -> NDArray[np.float32] | None:
    """Give the lines that are drawn on a layer, float32 (n, 2, 2), or None."""
    overlay = layer._overlays.get(_NAME)
    return None if overlay is None else np.asarray(overlay.segments)
