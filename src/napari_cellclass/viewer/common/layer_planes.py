"""Which plane of a stack a drawn shape, point or painted label belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.viewer.common.layer_axes import read_layer_axes

if TYPE_CHECKING:
    from napari.layers import Image, Layer

PlanePosition = Mapping[int, float]
"""World coordinate of a plane on each axis of planes, counted from the last: ``{-3: 12.0}``."""


def plane_position(image: Image, point: Sequence[float]) -> PlanePosition:
    """Tell where the plane that is shown of an image lies.

    Parameters
    ----------
    image
        An image layer; its axis of channels, if it has one, is no axis of planes.
    point
        World coordinates of the viewer's sliders (``viewer.dims.point``).
    """
    letters = read_layer_axes(image).letters
    inner = 3 if image.rgb else 2
    first = inner + len(letters) - (1 if image.rgb else 0)
    position = {}
    for axis, letter in enumerate(letters):
        from_last = axis - first
        if letter != "C" and -from_last <= len(point):
            position[from_last] = float(point[from_last])
    return position


def is_on_plane(layer: Layer, data: Any, position: PlanePosition) -> bool:
    """Return whether corners or points (n, D) in data coordinates of a layer lie on a plane.

    Axes that the layer or the image does not have do not count: what is drawn in two dimensions is on every plane.
    """
    corners = np.atleast_2d(np.asarray(data, float))
    at = _in_data(layer, position)
    return all(bool((np.round(corners[:, axis]) == index).all()) for axis, index in at.items())


def plane_of_labels(layer: Layer, data: Any, position: PlanePosition) -> Any:
    """Take a plane of a Labels layer's array; lazy arrays stay lazy. Axes that the image has not are taken at 0."""
    at = _in_data(layer, position)
    index = (at.get(axis - data.ndim, 0) for axis in range(data.ndim - 2))
    return data[tuple(int(np.clip(i, 0, n - 1)) for i, n in zip(index, data.shape[:-2], strict=True))]


def _in_data(layer: Layer, position: PlanePosition) -> dict[int, int]:
    """Return the index of a plane on the axes of a layer, counted from the last."""
    world: NDArray[np.float64] = np.zeros(layer.ndim)
    axes = [axis for axis in position if -axis <= layer.ndim]
    for axis in axes:
        world[axis] = position[axis]
    data = np.asarray(layer.world_to_data(world), float)
    return {axis: round(float(data[axis])) for axis in axes}
