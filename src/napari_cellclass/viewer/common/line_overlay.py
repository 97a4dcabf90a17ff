"""Lines on a layer or over all layers, of the same width on the screen at any zoom.

A line of a Shapes layer has a width in px of the field, and is not drawn at all where that is less than a pixel of
the screen. napari draws its own boxes around layers as this is drawn: as lines of OpenGL, on top of the layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari._vispy.overlays.base import LayerOverlayMixin, ViewerOverlayMixin, VispySceneOverlay
from napari._vispy.utils.visual import overlay_to_visual
from napari.components.overlays import SceneOverlay
from napari.layers import Layer
from numpy.typing import NDArray
from vispy.scene.visuals import Compound, Line

if TYPE_CHECKING:
    from napari.viewer import Viewer

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


class SceneLines(SceneOverlay):
    """Straight lines over all layers, in the coordinates of the world.

    Parameters
    ----------
    segments
        Float32, shape (n, 2, 2): both ends of every line, as (y, x).
    strokes
        RGBA in 0..1, and width on the screen in px, of lines over each other, the lowest and widest first.
    version
        Counts the changes of the lines: napari cannot compare arrays.
    """

    segments: Any
    strokes: tuple[tuple[tuple[float, float, float, float], int], ...]
    version: int = 0


class _VispySceneLines(ViewerOverlayMixin, VispySceneOverlay):
    """The lines over all layers on the canvas."""

    def __init__(self, **kwargs: Any) -> None:
        strokes = kwargs["overlay"].strokes
        self._lines = [
            Line(pos=np.zeros((2, 2)), color=colour, width=width, connect="segments", method="gl", antialias=False)
            for colour, width in strokes
        ]
        super().__init__(node=Compound(self._lines), **kwargs)
        self.overlay.events.version.connect(self._on_visible_change)
        self.viewer.dims.events.ndisplay.connect(self._on_visible_change)
        self.reset()

    def _on_visible_change(self) -> None:
        some = len(self.overlay.segments) > 0
        self.node.visible = some and self._should_be_visible() and self.viewer.dims.ndisplay == 2
        if self.node.visible:
            ends = self.overlay.segments[..., ::-1].reshape(-1, 2)  # x before y
            for line in self._lines:
                line.set_data(pos=ends)

    def close(self) -> None:
        self.viewer.dims.events.ndisplay.disconnect(self._on_visible_change)
        super().close()


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
    overlay_to_visual.setdefault(LineOverlay, _VispyLines)
    ends = np.ascontiguousarray(segments, np.float32)
    layer._overlays[_NAME] = LineOverlay(segments=ends, colour=_rgba(colour), visible=True)


def draw_over_layers(
    viewer: Viewer, name: str, segments: NDArray[Any], strokes: Sequence[tuple[str, int]], above: int = 0
) -> None:
    """Draw lines over all layers; they take the place of those of this name.

    Parameters
    ----------
    viewer
        The viewer.
    name
        Of these lines among the overlays of the viewer.
    segments
        Shape (n, 2, 2): both ends of every line as (y, x) in the world; none for no lines.
    strokes
        Colour, a name or ``"#RRGGBB"``, and width on the screen in px of lines over each other, the widest first:
        a bright one on a dark one is seen on any image. Of lines that are there already they are kept.
    above
        Of two sets of lines, that of the higher number is drawn over the other.
    """
    overlay_to_visual.setdefault(SceneLines, _VispySceneLines)
    ends, known = np.ascontiguousarray(segments, np.float32), viewer.scene.overlays
    if name in known:
        known[name].segments = ends
        known[name].version += 1
    elif len(ends):
        own = SceneLines(segments=ends, strokes=tuple((_rgba(colour), px) for colour, px in strokes), visible=True)
        own.order += above
        known[name] = own


def remove_lines(viewer: Viewer, name: str) -> None:
    """Draw no lines of a name any more over the layers."""
    if name in viewer.scene.overlays:
        del viewer.scene.overlays[name]


def _rgba(colour: str) -> tuple[float, float, float, float]:
    from napari.utils.colormaps.standardize_color import transform_color

    red, green, blue, alpha = map(float, transform_color(colour)[0])
    return red, green, blue, alpha


def lines_of(layer: Layer) -> NDArray[np.float32] | None:
    """Give the lines that are drawn on a layer, float32 (n, 2, 2), or None."""
    overlay = layer._overlays.get(_NAME)
    return None if overlay is None else np.asarray(overlay.segments)
