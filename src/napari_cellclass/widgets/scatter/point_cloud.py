"""Many points as one visual of vispy: positions and colours are uploaded each by itself.

vispy's own ``Markers`` upload everything anew for another colour, and compute the outline of fifteen symbols for every
pixel; where OpenGL is computed by the CPU, 100 000 of them take ten times as long to draw.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from vispy.gloo import VertexBuffer
from vispy.scene.visuals import create_visual_node
from vispy.visuals import Visual

_VERTEX = """
attribute vec2 a_place;
attribute vec4 a_colour;
uniform float u_size;
varying vec4 v_colour;
void main() {
    gl_Position = $transform(vec4(a_place, 0.0, 1.0));
    gl_PointSize = u_size;
    v_colour = a_colour;
}
"""
_FRAGMENT = """
varying vec4 v_colour;
void main() {
    vec2 from_centre = gl_PointCoord - vec2(0.5, 0.5);
    if (dot(from_centre, from_centre) > 0.25) { discard; }
    gl_FragColor = v_colour;
}
"""


class _PointsVisual(Visual):
    """Discs of one size, in px of the screen."""

    def __init__(self) -> None:
        super().__init__(vcode=_VERTEX, fcode=_FRAGMENT)
        self._places, self._colours = VertexBuffer(), VertexBuffer()
        self._draw_mode = "points"
        self.set_gl_state("translucent", depth_test=False, cull_face=False)
        self.shared_program["u_size"] = 1.0
        self._n = 0
        self.freeze()

    def set_points(self, xy: NDArray[np.float32], rgba: NDArray[np.float32], size_px: float) -> None:
        """Draw points, float32 (n, 2), in colours, float32 (n, 4)."""
        self._n = len(xy)
        if not self._n:
            self.update()
            return
        self._places.set_data(np.ascontiguousarray(xy, np.float32))
        self._colours.set_data(np.ascontiguousarray(rgba, np.float32))
        self.shared_program["a_place"], self.shared_program["a_colour"] = self._places, self._colours
        self.shared_program["u_size"] = size_px * self.transforms.pixel_scale
        self.update()

    def set_colours(self, rgba: NDArray[np.float32]) -> None:
        """Draw the same points in other colours."""
        if self._n:
            self._colours.set_data(np.ascontiguousarray(rgba, np.float32))
            self.update()

    def _prepare_draw(self, view: Any) -> bool:
        return self._n > 0

    def _prepare_transforms(self, view: Any) -> None:
        view.view_program.vert["transform"] = view.transforms.get_transform()

    def _compute_bounds(self, axis: int, view: Any) -> tuple[float, float] | None:
        return None


PointCloud = create_visual_node(_PointsVisual)
