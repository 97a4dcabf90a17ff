"""Tiles side by side: check a class, find mistakes, label many at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_cellclass.core.common.task import Task
from napari_cellclass.core.images.display import read_tile_rgb
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.viewer.workspace.keys import labels_by_key
from napari_cellclass.viewer.workspace.label_import import accept_predictions
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.annotate.label_errors import LabelErrorFinder, LabelErrorPanel
from napari_cellclass.widgets.annotate.tile_icons import tile_icon
from napari_cellclass.widgets.common.jobs import Job, start_job
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import WrappedLabel

_SELECTED = "selected"
_SORTS = ("by class", "by confidence", "least certain", "label errors", _SELECTED)
_PAGE = 120
_EMPTY = "Choose an order, and press Show: tiles appear as pictures, and a key labels those that are selected."
_NO_LABELS = "No tile is labelled yet: press the key of a class over a tile of the image."
_ICON_PX = 84
_INDEX_ROLE = Qt.ItemDataRole.UserRole


def _crops(source: SourceImage, boxes: NDArray[Any], task: Task) -> list[NDArray[np.uint8]]:
    """Read a page of crops in a thread."""
    crops = []
    for box in boxes:
        task.check("another page was asked for")
        crops.append(read_tile_rgb(source, box))
    return crops


class Gallery(QWidget):
    """A page of tiles, sorted; several can be selected and labelled together.

    Parameters
    ----------
    workspace
        Holds the annotation, the field and its predictions.
    finder
        Finds labels that are probably wrong.
    """

    def __init__(self, workspace: Workspace, finder: LabelErrorFinder) -> None:
        super().__init__()
        self._workspace, self._finder = workspace, finder
        self._waits = False
        self._suggested: dict[int, int] = {}  # of the label errors that are shown, the class by tile
        self._job: Job | None = None
        self._requests = 0
        self.sort = QComboBox()
        self.sort.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.sort.addItems(_SORTS)
        self.show_button = QPushButton("Show")
        self.list = QListWidget()
        self.list.setViewMode(QListWidget.ViewMode.IconMode)
        self.list.setResizeMode(QListWidget.ResizeMode.Adjust)
        self.list.setMovement(QListWidget.Movement.Static)
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.list.setIconSize(QSize(_ICON_PX, _ICON_PX))
        self.list.setMinimumHeight(260)
        self.status = WrappedLabel(_EMPTY, selectable=False)
        self.accept_button = QPushButton("Accept selected predictions")
        self.accept_button.setToolTip("give every selected tile the class that the map predicts")
        self.accept_all_button = QPushButton("Accept all shown")
        self.accept_all_button.setToolTip("give every tile shown here the class that the map predicts")
        self.errors = LabelErrorPanel(workspace, finder)
        self.errors.setVisible(False)
        self.sort.setToolTip(
            "label errors: labels that predictions without their region contradict, beside similar labelled tiles"
        )
        column = QVBoxLayout(self)
        column.addLayout(row_of(self.sort, self.show_button))
        column.addWidget(self.list, 1)
        column.addWidget(self.status)
        column.addWidget(self.errors)
        column.addLayout(row_of(self.accept_button, self.accept_all_button))
        self.show_button.clicked.connect(self.show_page)
        self.accept_button.clicked.connect(lambda: self._accept(self.selected()))
        self.accept_all_button.clicked.connect(lambda: self._accept(self.shown()))
        self.list.currentItemChanged.connect(lambda item, _: self._go_to(item))
        self.errors.settled.connect(self._settled)
        self.sort.currentTextChanged.connect(self._order_chosen)
        finder.changed.connect(self._errors_found)
        self.list.installEventFilter(self)
        workspace.labels_changed.connect(self._labels_changed)
        workspace.selection.changed.connect(self._selection_changed)

    def clear(self) -> None:
        """Show nothing: another field was opened."""
        self._requests += 1
        self.list.clear()
        self._show_errors({})
        self.status.setText(_EMPTY)

    def order(self) -> NDArray[np.int64]:
        """Give the indices of the tiles in the chosen order."""
        annotation = self._workspace.annotation
        assert annotation is not None
        labels = np.asarray(annotation.labels)
        table, ids = self._workspace.predictions(), annotation.grid.tile_id
        sort: Any = self.sort.currentText()
        if sort == "by class":
            labelled = np.flatnonzero(labels != -1)
            return labelled[np.argsort(labels[labelled], kind="stable")]
        if sort == _SELECTED:
            return self._workspace.selection.tiles
        if sort == "label errors":
            return self._workspace.rank_tiles(sort)
        if table is None:
            return np.zeros(0, np.int64)
        if sort == "by confidence":
            confidence = dict(zip(table.grid.tile_id.tolist(), table.confidence.tolist(), strict=True))
            known = np.array([i for i, t in enumerate(ids.tolist()) if t in confidence], np.int64)
            return known[np.argsort([-confidence[int(ids[i])] for i in known], kind="stable")]
        return self._workspace.rank_tiles(sort)

    def show_page(self) -> None:
        """Read and show the first page of the chosen order."""
        annotation, source = self._workspace.annotation, self._workspace.source
        if annotation is None or source is None:
            return
        self._waits = self.sort.currentText() == "label errors" and self._finder.looking
        if self._waits:
            self.status.setText("Labels are being compared with predictions that have not seen them …")
            return
        tile_indices = self.order()
        shown = tile_indices[:_PAGE]
        self._show_errors(self._label_errors())
        note = self._note()
        if len(tile_indices) == 0:
            self.list.clear()
            none = _NO_LABELS if self.sort.currentText() == "by class" else "There are no such tiles."
            self.status.setText(note or none)
            return
        self.status.setText(f"The first {len(shown)} of {len(tile_indices):,} tiles. {note}".strip())
        if self._job is not None:
            self._job.cancel()
        self._requests += 1
        number = self._requests
        self._job = start_job(_crops, owner=self, source=source, boxes=annotation.grid.boxes[shown])
        self._job.returned.connect(lambda crops: self._fill(shown, crops) if number == self._requests else None)
        self._job.failed.connect(lambda error: self.status.setText(str(error)))

    def _order_chosen(self, order: str) -> None:
        self._finder.in_gallery = order == "label errors"
        self._finder.follow()

    def _errors_found(self) -> None:
        """Show label errors that were being looked for when the page was asked for."""
        if self._waits and self.sort.currentText() == "label errors":
            self.show_page()

    def _label_errors(self) -> dict[int, int]:
        """Give the suggested class of each label error, by tile; empty in other orders, and where there are none."""
        found = self._finder.found() if self.sort.currentText() == "label errors" else None
        return {} if found is None else dict(zip(found.tiles.tolist(), found.suggested.tolist(), strict=True))

    def _note(self) -> str:
        """Say what an order lacks; empty where it lacks nothing."""
        sort, has_map = self.sort.currentText(), self._workspace.predictions() is not None
        if sort == "label errors" and self._finder.found() is None:
            why = f"Labels cannot be compared with predictions that have not seen them: {self._finder.why_none()}."
            return f"{why} These contradict the map, whose model may have." if has_map else why
        needs_map = sort not in ("by class", "label errors", _SELECTED)
        return "Classify this field with the same tile size first." if needs_map and not has_map else ""

    def _show_errors(self, suggested: dict[int, int]) -> None:
        self._suggested = suggested
        self.errors.setVisible(bool(suggested))
        self.accept_button.setVisible(not suggested)
        self.accept_all_button.setVisible(not suggested)
        self.errors.show_tile(None)

    def _settled(self, tile: int) -> None:
        """Take a tile off the page, and go to the next."""
        for i in range(self.list.count()):
            if self.list.item(i).data(_INDEX_ROLE) == tile:
                self.list.takeItem(i)
                break
        if self.list.count():
            self.list.setCurrentItem(self.list.item(min(i, self.list.count() - 1)))
        else:
            self.errors.show_tile(None)
            self.status.setText("All labels on this page are settled. Press Show for more.")

    def _fill(self, tile_indices: NDArray[np.int64], crops: list[NDArray[np.uint8]]) -> None:
        self.list.clear()
        for tile_index, pixels in zip(tile_indices.tolist(), crops, strict=True):
            item = QListWidgetItem(self._icon(tile_index, pixels), self._caption(tile_index))
            item.setData(_INDEX_ROLE, tile_index)
            self.list.addItem(item)
        if self._suggested and self.list.count():
            self.list.setCurrentItem(self.list.item(0))

    def _icon(self, tile_index: int, pixels: NDArray[np.uint8]) -> QIcon:
        annotation = self._workspace.annotation
        assert annotation is not None
        label = int(annotation.labels[tile_index])
        return tile_icon(pixels, _ICON_PX, annotation.scheme.colours[label] if label >= 0 else None)

    def _caption(self, tile_index: int) -> str:
        annotation, table = self._workspace.annotation, self._workspace.predictions()
        assert annotation is not None
        label = int(annotation.labels[tile_index])
        label_name = annotation.scheme.names[label] if label >= 0 else {-2: "unsure", -3: "conflict"}.get(label, "")
        if tile_index in self._suggested:
            predicted = f"{annotation.scheme.names[self._suggested[tile_index]]}?"
        else:
            predicted = _prediction_text(table, int(annotation.grid.tile_id[tile_index]))
        return "\n".join(text for text in (label_name, predicted) if text)

    def selected(self) -> NDArray[np.int64]:
        """Give the indices of the selected tiles."""
        return np.array([item.data(_INDEX_ROLE) for item in self.list.selectedItems()], np.int64)

    def shown(self) -> NDArray[np.int64]:
        """Give the indices of all tiles on the page."""
        return np.array([self.list.item(i).data(_INDEX_ROLE) for i in range(self.list.count())], np.int64)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Let the key of a class label the selected tiles, and undo and redo work as on the canvas."""
        if event is None or event.type() != QEvent.Type.KeyPress or watched is not self.list:
            return False
        key: Any = event
        annotation = self._workspace.annotation
        known = {} if annotation is None or key.modifiers() else labels_by_key(annotation.scheme)
        label = known.get(key.text().lower())
        tile_indices = self.selected()
        if label is None:
            return False
        if len(tile_indices) == 0:
            self.status.setText("Select tiles first; Ctrl and Shift select several.")
            return True
        self._workspace.set_active(label)
        if self._workspace.label(tile_indices, label) and self._suggested:
            for tile in tile_indices.tolist():
                self._settled(tile)
        return True

    def _accept(self, tile_indices: NDArray[np.int64]) -> None:
        """Label tiles with the predicted class."""
        if self._workspace.predictions() is None:
            self.status.setText("There is no map of these tiles, so no predictions to accept.")
        elif len(tile_indices) == 0:
            self.status.setText("Select tiles first; Ctrl and Shift select several.")
        else:
            accept_predictions(self._workspace, tile_indices)

    def _labels_changed(self, change: object) -> None:
        if self.isVisible():
            self._update_captions()

    def _selection_changed(self) -> None:
        """Show the tiles that are selected together on the map or in the plot."""
        if len(self._workspace.selection.tiles):
            self.sort.setCurrentText(_SELECTED)
            if self.isVisible():
                self.show_page()

    def showEvent(self, event: Any) -> None:
        """Show what was selected meanwhile."""
        super().showEvent(event)
        if self.sort.currentText() == _SELECTED and len(self._workspace.selection.tiles):
            self.show_page()

    def _update_captions(self) -> None:
        for i in range(self.list.count()):
            item = self.list.item(i)
            item.setText(self._caption(item.data(_INDEX_ROLE)))

    def _go_to(self, item: QListWidgetItem | None) -> None:
        if item is not None:
            tile = int(item.data(_INDEX_ROLE))
            self._workspace.go_to(tile)
            if self._suggested:
                self.errors.show_tile(tile, self._suggested.get(tile, -1))


def _prediction_text(table: TileTable | None, tile_id: int) -> str:
    if table is None:
        return ""
    rows = np.flatnonzero(table.grid.tile_id == tile_id)
    if len(rows) == 0 or table.class_index[rows[0]] < 0:
        return ""
    return f"{table.class_name[rows[0]]}? {table.confidence[rows[0]]:.0%}"
