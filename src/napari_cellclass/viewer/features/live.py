"""A map that grows while its tiles are being classified."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.map_axes import MapAxes
from napari_cellclass.viewer.common.layers import KEY, lock_layer, remove_layers
from napari_cellclass.viewer.common.map_view import FieldLayer, MapView, register_layer
from napari_cellclass.viewer.common.overlay import (
    OverlayStyle,
    class_colormap,
    describe_tile,
    displayed_class,
    grid_transform,
    show_class_in_status_bar,
)
from napari_cellclass.viewer.common.proxies import unwrap

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

# Most tiles that one call of paint() draws: more would block the window.
_MAX_TILES = 200_000


class LiveMap:
    """Passes finished tiles from the classifying thread to a pixel map in the viewer.

    It is a pixel map at any size, since only these can be painted in parts; the map of the whole table replaces
    it.

    Parameters
    ----------
    viewer
        The napari viewer.
    view
        The map in the viewer, hidden meanwhile where it is of the same image layer.
    field_layer
        The image layer's name and transform.
    """

    def __init__(self, viewer: Viewer, view: MapView, field_layer: FieldLayer) -> None:
        self._viewer, self._view, self._field_layer = viewer, view, field_layer
        self._queue: deque[tuple[NDArray[np.int64], NDArray[np.float32]]] = deque()
        self._hidden: list[Any] = []
        self._added = False
        self.layer: Labels | None = None
        self.done = 0

    def create_layer(self, grid: TileGrid, scheme: ClassScheme) -> None:
        """Create the empty layer, for tiles in the order in which they will be classified; in any thread."""
        from napari.layers import Labels

        self._grid, self._scheme, self._axes = grid, scheme, MapAxes.of(grid)
        self._prob = np.full((len(grid), len(scheme)), np.nan, np.float32)
        self._finished = np.zeros(len(grid), bool)
        self._cells = np.zeros(grid.grid_shape, np.uint8)
        grid.tile_at(0, 0)  # sorts the tiles, here rather than at the first use of the status bar
        layer = Labels(
            self._axes.expand(self._cells).copy(),
            name=f"{self._field_layer.name} running",
            opacity=0.5,
            **grid_transform(grid, self._field_layer.transform),
        )
        layer.colormap = class_colormap(scheme)
        lock_layer(layer)
        layer.metadata[KEY] = {"kind": "live", "grid": grid}
        show_class_in_status_bar(layer, self.describe)
        self.layer = layer

    def add(self, tile_indices: NDArray[np.int64], prob: NDArray[np.float32]) -> None:
        """Queue finished tiles: their indices into the grid, and probabilities (n, K); in any thread."""
        self._queue.append((tile_indices.copy(), prob.copy()))

    def paint(self) -> int:
        """Paint the tiles finished since the last call, and return their number; in the window's thread."""
        if self.layer is None or (self._added and not self.is_in_viewer()):
            return 0
        parts: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
        total = 0
        while self._queue and total < _MAX_TILES:
            parts.append(self._queue.popleft())
            total += len(parts[-1][0])
        if not parts:
            return 0
        tile_indices = np.concatenate([tile_indices for tile_indices, _ in parts])
        prob = np.concatenate([prob for _, prob in parts])
        self._prob[tile_indices], self._finished[tile_indices] = prob, True
        self.done += len(tile_indices)
        rows = np.unique(self._grid.row[tile_indices])
        self._colour(tile_indices, self._view.style)
        if not self._added:
            self._add()
        where = np.flatnonzero(np.isin(self._axes.rows, rows))
        pixels = self._cells[self._axes.rows[where]][:, self._axes.cols]
        index = np.broadcast_arrays(where[:, None], np.arange(pixels.shape[1]))
        self.layer.data_setitem(tuple(axis.ravel() for axis in index), pixels.ravel())  # uploads these rows only
        return len(tile_indices)

    def _colour(self, tile_indices: NDArray[np.int64], style: OverlayStyle) -> None:
        table = TileTable(self._grid.take(tile_indices), self._scheme, self._prob[tile_indices])
        shown = displayed_class(table, style.for_scheme(self._scheme)) + 2
        self._cells[table.grid.row, table.grid.col] = shown.astype(np.uint8)

    def _add(self) -> None:
        assert self.layer is not None
        shown = self._view.current
        if shown is not None and shown.field_layer.layer_id == self._field_layer.layer_id:
            self._hidden = [layer for layer in self._view.all_layers() if layer.visible]
            for layer in self._hidden:
                layer.visible = False
        register_layer(self.layer)
        self._viewer.add_layer(self.layer)
        self._added = True

    def is_in_viewer(self) -> bool:
        """Whether the layer is in the viewer; a user may have deleted it."""
        return any(self.layer is unwrap(layer) for layer in self._viewer.layers)

    def restyle(self) -> None:
        """Show the finished tiles in the style of the map."""
        if self.layer is not None and self._added and self.is_in_viewer():
            self._colour(np.flatnonzero(self._finished), self._view.style)
            self.layer.data = self._axes.expand(self._cells).copy()

    def describe(self, tile_index: int) -> str:
        """Describe class and confidence of a tile, or that it is not finished."""
        if not self._finished[tile_index]:
            return f"tile r{self._grid.row[tile_index]} c{self._grid.col[tile_index]}: not yet classified"
        return describe_tile(TileTable(self._grid.take([tile_index]), self._scheme, self._prob[[tile_index]]), 0)

    def counts(self, min_confidence: float) -> tuple[ClassScheme, pd.DataFrame] | None:
        """Give the classes and :meth:`TileTable.counts` of the finished tiles; None where there are none yet."""
        if self.done == 0:
            return None
        tile_indices = np.flatnonzero(self._finished)
        return self._scheme, TileTable(self._grid.take(tile_indices), self._scheme, self._prob[tile_indices]).counts(
            min_confidence
        )

    def remove(self) -> None:
        """Remove the layer, and show what was hidden for it."""
        for _ in self.remove_in_steps():
            pass

    def remove_in_steps(self) -> Iterator[None]:
        """Do as :meth:`remove`, a layer at a time."""
        if self.layer is not None and self._added and self.is_in_viewer():
            was_selected = unwrap(self._viewer.layers.selection.active) is self.layer
            remove_layers(self._viewer, [self.layer])
            yield
            if was_selected:
                self._view.select()
                yield
        hidden, self._hidden, self._added = self._hidden, [], False
        self._queue.clear()
        for layer in hidden:
            if any(layer is unwrap(other) for other in self._viewer.layers):
                layer.visible = True
                yield
        if hidden:
            self._view.refresh_view()
