"""Tile labels from a user's Shapes, Points and Labels layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.names import clean_name
from napari_cellclass.core.images.source import as_numpy
from napari_cellclass.core.labels.tile_labels import (
    TileLabels,
    labels_from_mask,
    labels_from_points,
    labels_from_polygons,
)
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.common.layer_planes import PlanePosition, is_on_plane, plane_of_labels
from napari_cellclass.viewer.common.layers import is_user_layer, matrix_of, outlines_in_world, transform_of
from napari_cellclass.viewer.common.map_view import FieldLayer
from napari_cellclass.viewer.common.proxies import unwrap

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

# Names of a feature that holds the class, as this program and others write it.
_CLASS_COLUMNS = ("class_name", "class", "label", "classification", "name")


def layers_with_labels(viewer: Viewer) -> list[Layer]:
    """Shapes, Points and Labels layers that a user made."""
    kinds = ("Shapes", "Points", "Labels")
    return [unwrap(layer) for layer in viewer.layers if type(unwrap(layer)).__name__ in kinds and is_user_layer(layer)]


def labels_from_layer(
    layer: Layer,
    grid: TileGrid,
    field_layer: FieldLayer,
    min_coverage: float = 0.5,
    position: PlanePosition | None = None,
) -> tuple[TileLabels, tuple[str, ...]]:
    """Label the tiles of a grid by a layer.

    Parameters
    ----------
    layer
        Shapes (closed ones; a tile must be covered), Points (the tile that contains the point) or Labels (the
        majority of a tile's pixels). The class is a feature named class_name, class, label, classification or
        name; without one, the layer's name.
    grid, field_layer
        The tiles, and the image layer of their field.
    min_coverage
        Smallest fraction of a tile that must be covered, in 0..1.
    position
        The plane of the field, see :func:`~napari_cellclass.viewer.common.layer_planes.plane_position`: what is drawn
        on other planes labels nothing.

    Returns
    -------
    labels : TileLabels
        Class indices refer to ``names``.
    names : tuple of str
        The classes that were found, sorted.

    Raises
    ------
    DatasetError
        The layer is empty, or a Labels layer that does not match the image.
    """
    to_px = np.asarray(np.linalg.inv(matrix_of(field_layer.transform)), np.float64)
    kind = type(layer).__name__
    if kind == "Labels":
        return _labels_from_mask_layer(layer, grid, field_layer, min_coverage, position or {})
    if len(layer.data) == 0:
        raise DatasetError(f"the layer {layer.name!r} is empty; draw in it first")
    if kind == "Points":
        points, classes, names = points_of_layer(layer, field_layer, position)
        return labels_from_points(grid, points, classes), names
    here = _on_plane(layer, position)
    classes, names = _classes(layer, here)
    outlines = [(_transform_points(to_px, world), int(classes[i])) for i, world in outlines_in_world(layer) if here[i]]
    return labels_from_polygons(grid, outlines, min_coverage), names


def points_of_layer(
    layer: Layer, field_layer: FieldLayer, position: PlanePosition | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64], tuple[str, ...]]:
    """Read the points of a layer on a plane as (y, x) in px of the image, their classes, and the classes' names."""
    here = _on_plane(layer, position)
    classes, names = _classes(layer, here)
    world = np.array([np.asarray(layer.data_to_world(point))[-2:] for point in layer.data]).reshape(-1, 2)
    to_px = np.asarray(np.linalg.inv(matrix_of(field_layer.transform)), np.float64)
    return _transform_points(to_px, world)[here], classes[here], names


def _on_plane(layer: Layer, position: PlanePosition | None) -> NDArray[np.bool_]:
    """Tell which shapes or points lie on a plane.

    Raises
    ------
    DatasetError
        None does.
    """
    here = np.array([is_on_plane(layer, data, position or {}) for data in layer.data], bool)
    if not here.any():
        raise DatasetError(
            f"the layer {layer.name!r} has nothing on the plane that is shown; draw there, or move the sliders"
        )
    return here


def _transform_points(matrix: NDArray[np.float64], points: NDArray[Any]) -> NDArray[np.float64]:
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def _classes(layer: Layer, here: NDArray[np.bool_]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Read the class index of each shape or point, -1 without a class; names are of those that are ``here``."""
    column = next((name for name in _CLASS_COLUMNS if name in layer.features), None)
    values = [layer.name] * len(here) if column is None else [clean_name(v) for v in layer.features[column]]
    names = tuple(sorted({value for value, yes in zip(values, here, strict=True) if value and yes}))
    if not names:
        raise DatasetError(f"the layer {layer.name!r} has no class in its feature {column!r}; fill it in first")
    class_indices = {name: i for i, name in enumerate(names)}
    return np.array([class_indices.get(value, -1) for value in values], np.int64), names


def _labels_from_mask_layer(
    layer: Layer, grid: TileGrid, field_layer: FieldLayer, min_coverage: float, position: PlanePosition
) -> tuple[TileLabels, tuple[str, ...]]:
    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    same = np.allclose(matrix_of(transform_of(layer)), matrix_of(field_layer.transform))
    if tuple(data.shape[-2:]) != tuple(grid.image_shape) or not same:
        raise DatasetError(f"the Labels layer {layer.name!r} does not match the image; create it from the image layer")
    mask = as_numpy(plane_of_labels(layer, data, position))
    values = [int(v) for v in np.unique(mask) if v]
    if not values:
        where = " on the plane that is shown" if data.ndim > 2 else ""
        raise DatasetError(f"the layer {layer.name!r} is empty{where}; paint in it first")
    names = tuple(f"{layer.name} {value}" for value in values)
    return labels_from_mask(grid, mask, {value: i for i, value in enumerate(values)}, min_coverage), names
