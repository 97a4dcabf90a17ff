"""Tiles of a test set in the viewer: a contact sheet, and the field of one tile with its box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.evaluation.example_tiles import PanelTile
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.viewer.common.layers import KEY, lock_layer, remove_layers
from napari_cellclass.viewer.common.map_view import FieldLayer
from napari_cellclass.viewer.common.proxies import unwrap
from napari_cellclass.viewer.features.background_layers import add_field_layers

if TYPE_CHECKING:
    from napari.layers import Image, Layer
    from napari.viewer import Viewer

_COLUMNS, _GAP_PX = 10, 4
_SIDES_IN_VIEW = 6  # width of the view in tile sides, when the field of a tile is opened
# Okabe & Ito's green and vermilion, as in the panel.
_CORRECT, _INCORRECT = "#009E73", "#D55E00"


class EvaluatedLayers:
    """The layers of a test set; new ones replace those of before.

    Parameters
    ----------
    viewer
        The napari viewer.
    opened
        Called with the index of a tile that was double-clicked.
    """

    def __init__(self, viewer: Viewer, opened: Callable[[int], Any]) -> None:
        self._viewer = viewer
        self._opened = opened
        self._sheet: Image | None = None
        self._field: list[Layer] = []
        self._box: Layer | None = None
        self._shown: tuple[Path, FieldLayer] | None = None

    def show_sheet(self, tiles: Sequence[PanelTile], name: str) -> None:
        """Show tiles in rows of ten, the first at the origin; a double-click opens one."""
        from napari.layers import Image

        self._remove(*([self._sheet] if self._sheet is not None else []))
        pixels, cell = sheet_pixels(tiles)
        self._sheet = Image(pixels, name=name, rgb=True, interpolation2d="nearest")
        tile_indices = [tile.tile_index for tile in tiles]
        self._sheet.metadata[KEY] = {
            "kind": "evaluated-tiles",
            "places": tile_indices,
            "cell": cell,
            "columns": _COLUMNS,
        }
        self._sheet.mouse_double_click_callbacks.append(self._double_clicked)
        self._viewer.add_layer(self._sheet)
        self._show_only_sheet(self._sheet)
        self._viewer.reset_view()

    def _double_clicked(self, layer: Any, event: Any) -> None:
        entry = layer.metadata[KEY]
        row, column = (int(np.floor((v + 0.5) / side)) for v, side in zip(
            layer.world_to_data(event.position)[-2:], entry["cell"], strict=True
        ))  # fmt: skip
        position = row * entry["columns"] + column
        if row >= 0 and 0 <= column < entry["columns"] and position < len(entry["places"]):
            event.handled = True
            self._opened(entry["places"][position])

    def show_tile(
        self, source: SourceImage, pixels: NDArray[Any], step: int, box: tuple[int, int, int, int], tile: PanelTile
    ) -> None:
        """Show every ``step``-th pixel of a tile's field, with the tile's box, and move the camera there."""
        from napari.layers import Shapes

        if self._shown is None or self._shown[0] != source.path or not all(map(self._is_in_viewer, self._field)):
            self._remove(*self._field)
            self._field, field_layer = add_field_layers(self._viewer, source, pixels, step)
            for layer in self._field:
                layer.metadata[KEY] = {"kind": "evaluated-field", "path": str(source.path)}
            self._shown = (Path(source.path or source.name), field_layer)
        self._remove(*([self._box] if self._box is not None else []))
        y0, x0, y1, x1 = (v - 0.5 for v in box)  # pixel centres lie on integers
        text = f"{tile.class_name} {tile.confidence:.0%}, true: {tile.true_class}"
        self._box = Shapes(
            [[[y0, x0], [y0, x1], [y1, x1], [y1, x0]]],
            name=f"{source.name}: {text}",
            face_color="transparent",
            edge_color=_CORRECT if tile.correct else _INCORRECT,
            edge_width=max(1.0, (y1 - y0) / 24),
        )
        self._box.metadata[KEY] = {"kind": "evaluated-tile", "place": tile.tile_index, "box": box}
        self._viewer.add_layer(self._box)
        lock_layer(self._box)
        self._viewer.layers.selection.active = self._field[-1]
        if self._sheet is not None and self._is_in_viewer(self._sheet):
            self._sheet.visible = False
        for layer in [*self._field, self._box]:
            layer.visible = True
        camera = self._viewer.scene.camera
        camera.center = (*camera.center[:-2], (y0 + y1) / 2, (x0 + x1) / 2)
        camera.zoom = min(self._viewer.canvas.size) / (_SIDES_IN_VIEW * max(y1 - y0, x1 - x0))

    def _show_only_sheet(self, sheet: Layer) -> None:
        """Hide the field that was opened for a tile, which the sheet overlaps."""
        for layer in [*self._field, *([self._box] if self._box is not None else [])]:
            layer.visible = False
        self._viewer.layers.selection.active = sheet

    def _is_in_viewer(self, layer: Layer) -> bool:
        return any(unwrap(one) is unwrap(layer) for one in self._viewer.layers)

    def _remove(self, *layers: Layer) -> None:
        remove_layers(self._viewer, layers)


def sheet_pixels(tiles: Sequence[PanelTile]) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Lay tiles out in rows of ten, with gaps of 4 px.

    Returns
    -------
    pixels : ndarray of uint8, shape (Y, X, 3)
    cell : tuple of int
        Height and width of a tile with its gap, in px.
    """
    height, width = np.max([tile.pixels.shape[:2] for tile in tiles], axis=0).tolist()
    cell = height + _GAP_PX, width + _GAP_PX
    columns = min(_COLUMNS, len(tiles))
    pixels = np.zeros((-(-len(tiles) // columns) * cell[0], columns * cell[1], 3), np.uint8)
    for position, tile in enumerate(tiles):
        y, x = position // columns * cell[0], position % columns * cell[1]
        pixels[y : y + tile.pixels.shape[0], x : x + tile.pixels.shape[1]] = tile.pixels
    return pixels, cell
