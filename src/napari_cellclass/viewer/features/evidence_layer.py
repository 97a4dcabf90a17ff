"""A layer over a field that shows where in its tiles the evidence for their classes lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.viewer.common.layers import KEY, lock_layer, matrix_of, remove_layers
from napari_cellclass.viewer.common.map_view import FieldLayer
from napari_cellclass.viewer.common.proxies import unwrap

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

KIND = "evidence"
"""In the metadata of the layer."""


def joined_maps(
    boxes: Sequence[tuple[int, int, int, int]], values: Sequence[NDArray[np.float32]]
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Join the maps of tiles to one image of the rectangle around them; the highest value where tiles overlap.

    Parameters
    ----------
    boxes
        y0, x0, y1, x1 of each tile in px of the field.
    values
        float32, shape (h, w): the map of each.

    Returns
    -------
    pixels : ndarray of float32, shape (Y, X)
        0 where there is no tile.
    corner : tuple of int
        (y, x) of the first pixel in the field.
    """
    corners = np.array(boxes)
    top, left = corners[:, :2].min(axis=0).tolist()
    bottom, right = corners[:, 2:].max(axis=0).tolist()
    pixels = np.zeros((bottom - top, right - left), np.float32)
    for (y0, x0, y1, x1), one in zip(boxes, values, strict=True):
        part = pixels[y0 - top : y1 - top, x0 - left : x1 - left]
        np.maximum(part, one[: y1 - y0, : x1 - x0], out=part)
    return pixels, (top, left)


class EvidenceLayer:
    """The one layer of that kind in a viewer, which a new one replaces.

    Parameters
    ----------
    viewer
        The napari viewer.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self.layer: Image | None = None

    def show(
        self, pixels: NDArray[np.float32], corner: tuple[int, int], field_layer: FieldLayer, colormap: str
    ) -> None:
        """Show maps that were joined by :func:`joined_maps` over their field, added to the colours below."""
        from napari.layers import Image

        self.remove()
        shift = np.array([[1, 0, corner[0]], [0, 1, corner[1]], [0, 0, 1]], float)
        highest = float(pixels.max())
        layer = Image(
            pixels,
            name=f"{field_layer.name} where in the tile",
            colormap=colormap,
            blending="additive",
            contrast_limits=(0.0, highest if highest > 0 else 1.0),
            affine=matrix_of(field_layer.transform) @ shift,
            units=field_layer.transform["units"],
        )
        layer.metadata[KEY] = {"kind": KIND, "field_layer": field_layer.layer_id}
        self.layer = layer
        active = self._viewer.layers.selection.active
        self._viewer.add_layer(layer)
        lock_layer(layer)
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active  # keys go on labelling

    def remove(self) -> None:
        """Remove the layer, where it is in the viewer."""
        if self.layer is not None:
            remove_layers(self._viewer, [self.layer])
            self.layer = None

    def is_in_viewer(self) -> bool:
        """Whether the layer is in the viewer."""
        return any(unwrap(layer) is self.layer for layer in self._viewer.layers)


def corners_of_view(viewer: Viewer, field_layer: FieldLayer) -> NDArray[np.float64]:
    """Give the corners of the view, (2, 2): upper-left and lower-right as (y, x) in px of a field."""
    camera = viewer.scene.camera
    half = np.array(viewer.canvas.size, float) / 2 / camera.zoom
    centre = np.array(camera.center[-2:], float)
    inverse: Any = np.linalg.inv(matrix_of(field_layer.transform))
    signs = ((-1, -1), (-1, 1), (1, 1), (1, -1))
    corners = np.array([(inverse @ np.append(centre + half * sign, 1.0))[:2] for sign in signs])
    return np.stack([corners.min(axis=0), corners.max(axis=0)])
