"""A field of a plate in the viewer, with the map of its saved table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.viewer.common.layers import KEY, remove_layers, transform_of
from napari_cellclass.viewer.common.map_view import BuiltMap, FieldLayer, MapView
from napari_cellclass.viewer.features.background_layers import add_field_layers

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer


def field_layer_of_file(source: SourceImage) -> FieldLayer:
    """Give name and transform of an image of a file, as :func:`add_field_layers` shows it."""
    from napari.layers import Image

    return FieldLayer(source.name, transform_of(Image(np.zeros((2, 2), np.uint8))))


class PlateLayers:
    """The field that was opened last, and its map; the one before is removed.

    Parameters
    ----------
    viewer
        The napari viewer.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self.map = MapView(viewer)
        self._field: list[Layer] = []

    def show(self, source: SourceImage, pixels: NDArray[Any], step: int, new: BuiltMap) -> None:
        """Show every ``step``-th pixel of a field, and its map."""
        for _ in self.show_in_steps(source, pixels, step, new):
            pass

    def show_in_steps(self, source: SourceImage, pixels: NDArray[Any], step: int, new: BuiltMap) -> Iterator[None]:
        """Show a field as :meth:`show` does, in steps that each take napari some ten ms."""
        self.map.remove()
        remove_layers(self._viewer, self._field)
        yield
        self._field, _ = add_field_layers(self._viewer, source, pixels, step)
        for layer in self._field:
            layer.metadata[KEY] = {"kind": "plate-field", "path": str(source.path)}
        yield
        yield from self.map.show_in_steps(new)
        self._viewer.reset_view()
        self.map.refresh_view()
