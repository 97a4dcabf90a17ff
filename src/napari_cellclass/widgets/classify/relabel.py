"""From a map to labels: the prediction of a clicked tile, and the class that a user gives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.annotation import Annotation, restore_annotation
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.common.map_view import MapView
from napari_cellclass.viewer.common.overlay import describe_tile
from napari_cellclass.widgets.common.docks import ANNOTATE, LabelSession, bring_forward
from napari_cellclass.widgets.common.jobs import start_job
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import WrappedLabel

if TYPE_CHECKING:
    from napari.viewer import Viewer


class RelabelPanel(QWidget):
    """Accepts or corrects a map's predictions, which become labels of *Annotate tiles*.

    Parameters
    ----------
    viewer, map_view
        The viewer, and the map in it.
    show_message
        Shows a text to the user; its second argument says whether it is a warning.
    """

    def __init__(self, viewer: Viewer, map_view: MapView, show_message: Callable[[str, bool], None]) -> None:
        super().__init__()
        self._viewer, self._map, self._show_message = viewer, map_view, show_message
        self._source: SourceImage | None = None
        self._waiting: list[tuple[int, str]] | None = None
        self.tile = WrappedLabel(selectable=False)
        self.choice = QComboBox()
        self.choice.setToolTip("the map's class, to accept it, or another one, to correct it; or press the class's key")
        self.button = QPushButton("Label")
        self.button.setToolTip("make it a label of this tile in Annotate tiles, to be trained on")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.tile)
        column.addLayout(row_of(QLabel("label it as"), self.choice, self.button))
        self.button.clicked.connect(lambda: self._label(self._map.picker.tile_index, self.choice.currentIndex()))
        map_view.picker.on_picked = lambda _: self.show_tile()
        map_view.picker.on_key = self._label
        map_view.picker.on_message = lambda text: show_message(text, False)

    def show_map(self, source: SourceImage) -> None:
        """Follow a map that has just been put into the viewer."""
        self._source = source
        table = self._map.table
        assert table is not None
        self.choice.clear()
        for name, key in zip(table.scheme.names, table.scheme.keys, strict=True):
            self.choice.addItem(f"{name} ({key.strip()})" if key.strip() else name)
        self.show_tile()

    def show_tile(self) -> None:
        """Describe the tile that was clicked."""
        tile_index, table = self._map.picker.tile_index, self._map.table
        chosen = tile_index is not None and table is not None
        self.choice.setEnabled(chosen)
        self.button.setEnabled(chosen)
        if not chosen:
            self.tile.setText("Click a tile of the map to accept or correct it.")
            return
        assert table is not None
        assert tile_index is not None
        label = self._label_of(tile_index)
        self.tile.setText(describe_tile(table, tile_index) + (f"; labelled {label}" if label else ""))
        self.choice.setCurrentIndex(max(0, int(table.class_index[tile_index])))

    def _annotation(self, session: LabelSession | None) -> Annotation | None:
        """Give the open annotation, where it has the map's tiles."""
        table, source = self._map.table, self._source
        annotation = None if session is None else session.annotation
        if annotation is None or table is None or source is None or annotation.image.image_id != source.image_id:
            return None
        return annotation if _layout(annotation.grid) == _layout(table.grid) else None

    def _find_session(self) -> LabelSession | None:
        annotate = ANNOTATE.find(self)
        return None if annotate is None else annotate.session

    def _label_of(self, tile_index: int) -> str:
        annotation, table = self._annotation(self._find_session()), self._map.table
        if annotation is None or table is None:
            return ""
        label = int(annotation.labels[_tile_index_in(annotation.grid, table.grid, tile_index)])
        return annotation.scheme.names[label] if label >= 0 else ""

    def _label(self, tile_index: int | None, label: int) -> None:
        """Give a tile of the map one of the map's classes, in the annotation of the same tiles."""
        table, source = self._map.table, self._source
        if tile_index is None or table is None or source is None or label < 0:
            return
        if self._waiting is not None:
            self._waiting.append((tile_index, table.scheme.names[label]))
            return
        session = ANNOTATE.open(self, self._viewer).session
        bring_forward(self)
        if self._annotation(session) is not None:
            self._write(session, tile_index, table.scheme.names[label])
            return
        self._waiting = [(tile_index, table.scheme.names[label])]
        self._show_message("Looking for earlier labels of this image …", False)
        job = start_job(restore_annotation, owner=self, source=source, grid=table.grid, journal=session.journal)
        job.returned.connect(lambda found: self._opened(session, found, source, table.grid))
        job.failed.connect(self._failed)

    def _failed(self, error: CellClassError) -> None:
        self._waiting = None
        self._show_message(str(error), True)

    def _opened(
        self, session: LabelSession, found: tuple[ImageKey, Annotation | None], source: SourceImage, grid: TileGrid
    ) -> None:
        image, earlier = found
        waiting, self._waiting = self._waiting or [], None
        shown = self._map.current
        if shown is None or not self._map.is_in_viewer():
            return
        active = self._viewer.layers.selection.active
        annotation = earlier or Annotation(image, grid, shown.table.scheme, session.journal)
        session.open(annotation, source, shown.field_layer)
        self._viewer.layers.selection.active = active  # the next click is meant for the map
        if self._annotation(session) is None:
            return
        for tile_index, name in waiting:
            self._write(session, tile_index, name)

    def _write(self, session: LabelSession, tile_index: int, name: str) -> None:
        table, annotation = self._map.table, session.annotation
        assert table is not None
        assert annotation is not None
        index_there = _tile_index_in(annotation.grid, table.grid, tile_index)
        if index_there < 0:
            self._show_message("This tile is not among those that are being labelled.", True)
        elif session.label_as(index_there, name, table.scheme.colours[table.scheme.index(name)]):
            correct = table.class_index[tile_index] >= 0 and table.scheme.names[table.class_index[tile_index]] == name
            self._show_message(f"{'Accepted' if correct else 'Corrected'}: the tile is labelled {name}.", False)
            self.show_tile()


def _layout(grid: TileGrid) -> tuple[object, ...]:
    return grid.tile_px, grid.step_px, grid.grid_shape, grid.image_shape


def _tile_index_in(other: TileGrid, grid: TileGrid, tile_index: int) -> int:
    y0, x0, y1, x1 = (int(v) for v in grid.boxes[tile_index])
    return other.tile_at((y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2)
