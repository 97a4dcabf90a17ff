"""Selecting a tile of a map by a click and labelling it by a key, on shapes and pixel maps alike."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.viewer.common.key_bindings import advertise_keys, bind_keys
from napari_cellclass.viewer.common.layers import KEY
from napari_cellclass.viewer.common.overlay import field_point

if TYPE_CHECKING:
    from napari.layers import Layer

_CLICK_TOLERANCE_PX = 4.0  # smaller movements during a click are not a drag


class TilePicker:
    """The clicked tile of a map, which is framed, and the keys that label it.

    Parameters
    ----------
    table
        Returns the current table of the map.
    """

    def __init__(self, table: Callable[[], TileTable | None]) -> None:
        self._table = table
        self._frame: Any = None
        self.tile_index: int | None = None
        self.on_picked: Callable[[int], None] = lambda tile_index: None
        self.on_key: Callable[[int, int], None] = lambda tile_index, label: None
        self.on_message: Callable[[str], None] = lambda text: None

    def attach(self, layers: list[Layer], frame: Layer) -> None:
        """Connect to new layers of a map; the frame is drawn by a layer with coordinates in px of the field."""
        self.tile_index = None
        # napari's own selection box, as for the current tile of an annotation.
        self._frame = frame._overlays["selection_box"]
        table = self._table()
        assert table is not None
        keys = {
            key.strip().lower(): lambda i=i: self._press(i) for i, key in enumerate(table.scheme.keys) if key.strip()
        }
        for layer in layers:
            layer.mouse_drag_callbacks.append(self._click)
        bind_keys(layers, keys, lambda key: self.on_message(f"The key {key!r} belongs to no class of this map."))
        named = zip(table.scheme.keys, table.scheme.names, strict=True)
        classes = ", ".join(f"{key.strip()} {name}" for key, name in named if key.strip())
        advertise_keys(layers, f"click a tile to choose it{'; then ' if classes else ''}{classes}")

    def _click(self, layer: Any, event: Any) -> Generator[None]:
        if event.button != 1:
            return
        start, moved = np.asarray(event.pos, float), False
        yield
        while event.type == "mouse_move":
            moved = moved or float(np.abs(np.asarray(event.pos, float) - start).max()) > _CLICK_TOLERANCE_PX
            yield
        table: TileTable | None = self._table()
        if not moved and table is not None:
            grid = layer.metadata[KEY]["table"].grid
            y, x = field_point(layer, grid, event.position)
            self.pick(table.grid.tile_at(y, x))

    def pick(self, tile_index: int) -> None:
        """Frame a tile; -1 removes the frame."""
        table = self._table()
        if table is None or self._frame is None:
            return
        self.tile_index = tile_index if tile_index >= 0 else None
        if self.tile_index is not None:
            box = table.grid.boxes[tile_index] - 0.5
            self._frame.bounds = ((float(box[0]), float(box[1])), (float(box[2]), float(box[3])))
        self._frame.visible = self.tile_index is not None
        self.on_picked(tile_index)

    def _press(self, label: int) -> None:
        if self.tile_index is None:
            self.on_message("Click a tile of the map first; the key of a class then labels it.")
        else:
            self.on_key(self.tile_index, label)
