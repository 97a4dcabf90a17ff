"""A preview over a field of the tiles that slicing would keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.map_axes import MapAxes
from napari_cellclass.viewer.common.grid_lines import grid_lines
from napari_cellclass.viewer.common.layers import KEY, lock_layer, transform_of
from napari_cellclass.viewer.common.map_view import FieldLayer
from napari_cellclass.viewer.common.overlay import grid_transform
from napari_cellclass.viewer.common.proxies import unwrap

if TYPE_CHECKING:
    from napari.layers import Labels, Layer
    from napari.viewer import Viewer

_DROPPED, _KEPT = 1, 2
# Dropped tiles are darkened; kept ones get the bluish green of Okabe and Ito.
_COLOURS: dict[int | None, Any] = {_DROPPED: (0.0, 0.0, 0.0, 1.0), _KEPT: (0.0, 0.62, 0.45, 0.3)}


def add_field_layers(
    viewer: Viewer, source: SourceImage, pixels: NDArray[Any], step: int
) -> tuple[list[Layer], FieldLayer]:
    """Add every ``step``-th pixel of an image of a file: (y, x), (y, x, 3) where it is RGB, else (C, y, x).

    Returns
    -------
    layers : list of Layer
        What was added, a layer per channel.
    field_layer : FieldLayer
        Name and transform of the image at full resolution.
    """
    from napari.layers import Image

    channel_axis = 0 if pixels.ndim == 3 and not source.rgb else None
    added = viewer.add_image(
        pixels, name=source.name, channel_axis=channel_axis, rgb=source.rgb or None, scale=(step, step)
    )
    layers = added if isinstance(added, list) else [added]
    return layers, FieldLayer(source.name, transform_of(Image(np.zeros((2, 2), np.uint8))))


class BackgroundLayers:
    """A map with one pixel per tile: kept tiles tinted green, dropped ones darkened.

    Parameters
    ----------
    viewer
        The napari viewer.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._map: Labels | None = None
        self._layers: list[Layer] = []

    def show(self, grid: TileGrid, kept: NDArray[np.bool_], field_layer: FieldLayer) -> None:
        """Show which tiles of a grid are kept, bool (N,); replaces an earlier preview."""
        from napari.layers import Labels
        from napari.utils.colormaps import DirectLabelColormap

        self.remove()
        clear = (0.0, 0.0, 0.0, 0.0)
        self._map = Labels(
            _pixels(grid, kept),
            name=f"{field_layer.name} tiles kept",
            opacity=0.7,
            **grid_transform(grid, field_layer.transform),
        )
        self._map.colormap = DirectLabelColormap(color_dict={None: clear, 0: clear, **_COLOURS})
        lock_layer(self._map)
        lines = grid_lines(grid, f"{field_layer.name} grid", field_layer.transform)
        self._layers = [lines, self._map]
        for layer in self._layers:
            layer.metadata[KEY] = {"kind": "background", "grid": grid}
            self._viewer.add_layer(layer)

    def update(self, grid: TileGrid, kept: NDArray[np.bool_]) -> None:
        """Show another selection of the same tiles."""
        if self._map is not None:
            self._map.data = _pixels(grid, kept)

    def is_in_viewer(self) -> bool:
        """Whether the preview is still in the viewer."""
        return self._map is not None and any(unwrap(layer) is self._map for layer in self._viewer.layers)

    def remove(self) -> None:
        """Remove the preview."""
        for layer in self._layers:
            if any(unwrap(one) is layer for one in self._viewer.layers):
                self._viewer.layers.remove(layer)
        self._map, self._layers = None, []


def _pixels(grid: TileGrid, kept: NDArray[np.bool_]) -> NDArray[np.uint8]:
    pixels = np.zeros(grid.grid_shape, np.uint8)
    pixels[grid.row, grid.col] = np.where(kept, _KEPT, _DROPPED)
    return MapAxes.of(grid).expand(pixels)
