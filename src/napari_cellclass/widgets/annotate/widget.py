"""The page *Label* of the dock *Cell Class*: the current tile, which comes next, and labels from elsewhere."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, cast, get_args

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QPushButton, QTabWidget, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.images.display import read_tile_rgb
from napari_cellclass.core.labels.history import LabelChange
from napari_cellclass.core.labels.label_store import UNLABELLED, UNSURE
from napari_cellclass.core.predictions.active_learning import Policy
from napari_cellclass.viewer.workspace.current_tile import describe_current_tile
from napari_cellclass.viewer.workspace.keys import MOUSE, list_keys
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.annotate.files import FilesPanel
from napari_cellclass.widgets.annotate.gallery import Gallery
from napari_cellclass.widgets.annotate.label_errors import LabelErrorFinder
from napari_cellclass.widgets.annotate.live_panel import LivePanel
from napari_cellclass.widgets.annotate.live_similar import LabelledSimilarTiles
from napari_cellclass.widgets.common.dock_widget import DockedWidget
from napari_cellclass.widgets.common.images import image_of
from napari_cellclass.widgets.common.key_list import KeyList
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import WrappedLabel

if TYPE_CHECKING:
    from napari.viewer import Viewer

_PREVIEW_PX = 140
# Several key presses a second share one update of preview and counts.
_PREVIEW_AFTER_MS = 30
_COUNTS_AFTER_MS = 150
_RATE_OVER_S = 60.0
_RATE_FROM = 10  # labels in that time; fewer say nothing of a minute
_BULK = 50  # changes of more tiles at once do not count as labelling speed


class LabelPage(DockedWidget):
    """Label the tiles of a field by keys, clicks and the brush; every label is on disk at once.

    Parameters
    ----------
    viewer, workspace
        The viewer, and the work in it.
    """

    display_name = "Annotate tiles"

    def __init__(self, viewer: Viewer, workspace: Workspace) -> None:
        super().__init__()
        self.viewer, self.workspace = viewer, workspace
        self._times: deque[float] = deque(maxlen=2000)
        self._build()
        workspace.field_changed.connect(self._field_changed)
        workspace.tile_changed.connect(self._tile_changed)
        workspace.selection.changed.connect(self._tile_changed)
        workspace.labels_changed.connect(self._labelled)
        workspace.classes_changed.connect(self._classes_changed)
        workspace.active_changed.connect(self._active_changed)
        workspace.policy_changed.connect(self._policy_changed)
        self.viewer.layers.events.inserted.connect(self._layers_changed)
        self.viewer.layers.events.removed.connect(self._layers_changed)
        self._field_changed()

    def _build(self) -> None:
        self.policy = QComboBox()
        self.policy.addItems(list(get_args(Policy)))
        self.policy.setToolTip(
            "which tile comes next; suggested: typical ones, then those whose prediction is least sure; label errors: "
            "labels that predictions contradict; least certain needs a map of the same tiles"
        )
        self.brush = QCheckBox("brush")
        self.brush.setToolTip("click and drag paint with the active class; a key then only chooses the class")
        self.preview = QLabel()
        self.preview.setFixedSize(_PREVIEW_PX, _PREVIEW_PX)
        self.preview.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.tile, self.status = WrappedLabel(selectable=False), WrappedLabel(selectable=False)
        self.undo_button, self.redo_button = QPushButton("Undo"), QPushButton("Redo")
        self.undo_button.setToolTip("Ctrl+Z")
        self.redo_button.setToolTip("Ctrl+Shift+Z")
        self.scatter_button = QPushButton("Scatter …")
        self.scatter_button.setToolTip("all tiles as points: draw around some, and the key of a class labels them")
        self.live = LivePanel(self.workspace)
        self.label_errors = LabelErrorFinder(self.workspace, self.live.predictions)
        self.gallery, self.files = Gallery(self.workspace, self.label_errors), FilesPanel(self.workspace)
        self.similar = LabelledSimilarTiles(self.workspace, self.live.predictions)
        self.keys = KeyList()
        page = QWidget()
        column = QVBoxLayout(page)
        column.addLayout(row_of(QLabel("next tile"), self.policy, self.brush, self.live.on))
        column.addLayout(self._beside_preview())
        column.addWidget(self.status)
        column.addLayout(row_of(self.undo_button, self.redo_button, self.scatter_button))
        column.addWidget(self.live)
        column.addWidget(self.similar)
        column.addStretch(1)
        self.tabs = QTabWidget()
        for name, widget in (("Tile", page), ("Gallery", self.gallery), ("Files and layers", self.files)):
            self.tabs.addTab(widget, name)
        self.fill(self.tabs)
        self.policy.currentTextChanged.connect(self._policy_chosen)
        self.brush.toggled.connect(self.workspace.set_brush)
        self.undo_button.clicked.connect(self.workspace.undo)
        self.redo_button.clicked.connect(self.workspace.redo)
        self._preview_timer = self._timer(_PREVIEW_AFTER_MS, self._show_preview)
        self._counts_timer = self._timer(_COUNTS_AFTER_MS, self._show_counts)

    def _beside_preview(self) -> QHBoxLayout:
        """Lay what is said of the current tile beside its picture: a laptop's screen is low."""
        row, words = QHBoxLayout(), QVBoxLayout()
        words.addWidget(self.tile)
        words.addWidget(self.keys)
        words.addStretch(1)
        row.addWidget(self.preview, alignment=Qt.AlignmentFlag.AlignTop)
        row.addLayout(words, 1)
        return row

    def _timer(self, interval_ms: int, action: Any) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(interval_ms)
        timer.timeout.connect(action)
        return timer

    def _layers_changed(self, event: Any = None) -> None:
        self.files.refresh()

    def _policy_changed(self) -> None:
        self.policy.setCurrentText(self.workspace.policy)

    def _policy_chosen(self, text: str) -> None:
        self.workspace.policy = cast("Policy", text)
        self.label_errors.follow()
        self._preview_timer.start()
        self.workspace.policy_changed.emit()

    def _field_changed(self) -> None:
        self.tabs.setEnabled(self.workspace.annotation is not None)
        self.gallery.clear()
        self._show_counts()
        self._preview_timer.start()

    def follow_map(self) -> None:
        """Describe the current tile anew: the map says something else of it."""
        self._preview_timer.start()

    def _tile_changed(self) -> None:
        self._preview_timer.start()

    def _active_changed(self) -> None:
        self.brush.setChecked(self.workspace.brush)

    def _labelled(self, change: LabelChange | None) -> None:
        if change is not None and len(change.tile_indices) < _BULK:
            self._times.extend([time.monotonic()] * len(change.tile_indices))
        self._counts_timer.start()
        self._preview_timer.start()

    def _classes_changed(self) -> None:
        annotation = self.workspace.annotation
        self.keys.show_keys(() if annotation is None else [*list_keys(annotation.scheme), *MOUSE])
        self._show_counts()

    def _show_counts(self) -> None:
        annotation = self.workspace.annotation
        if annotation is None:
            self.status.setText("")
            return
        now = time.monotonic()
        recent = [t for t in self._times if now - t < _RATE_OVER_S]
        span = max(5.0, now - recent[0]) if recent else _RATE_OVER_S
        labelled = int((annotation.labels != UNLABELLED).sum())
        conflicts = int((annotation.labels < UNSURE).sum())
        text = f"{labelled:,} of {len(annotation.grid):,} labelled"
        if len(recent) >= _RATE_FROM:
            text += f", {60 * len(recent) / span:.0f} per minute"
        self.status.setText(text + (f", {conflicts} in conflict" if conflicts else ""))

    def _show_preview(self) -> None:
        annotation, source, tile = self.workspace.annotation, self.workspace.source, self.workspace.current_tile
        if annotation is None or source is None or tile is None:
            self.preview.clear()
            self.tile.setText("")
            return
        try:
            pixels = read_tile_rgb(source, annotation.grid.boxes[tile])
        except CellClassError as error:
            self.workspace.message.emit(str(error), True)
            return
        image = image_of(pixels)
        self.preview.setPixmap(
            QPixmap.fromImage(image).scaled(_PREVIEW_PX, _PREVIEW_PX, Qt.AspectRatioMode.KeepAspectRatio)
        )
        selected = len(self.workspace.selection)
        several = f"{counted(selected, 'tile')} selected; this one: " if selected else ""
        self.tile.setText(several + describe_current_tile(self.workspace))

    def running_work(self) -> str:
        """Name the model that is being made of the labels."""
        return self.lasting_work() or ("A model of the labels" if self.live.keep.running else "")

    def lasting_work(self) -> str:
        """Name the training of a refinement."""
        return "A training to refine the live map" if self.live.refine.running else ""

    def stop_work(self, keep: bool) -> None:
        """Make no model of the labels; the labels are on disk."""
        self.live.refine.cancel()
        self.live.keep.cancel()

    def close_down(self, window_stays: bool) -> None:
        """Disconnect listeners; labels are on disk already."""
        self.stop_work(False)
        self.keys.show_keys(())
        self.live.refine.close_down()
        self.live.predictions.close()
        self.viewer.layers.events.inserted.disconnect(self._layers_changed)
        self.viewer.layers.events.removed.disconnect(self._layers_changed)
