"""The widget *Annotate tiles*: one key labels a tile and moves to the next."""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QComboBox, QLabel, QMessageBox, QPushButton, QTabWidget, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.images.display import read_tile_rgb
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.annotation import Annotation, restore_annotation
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.history import LabelChange
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.labels.label_store import UNLABELLED, UNSURE
from napari_cellclass.core.params.shared import TileParams
from napari_cellclass.core.predictions.active_learning import Policy
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.common.layers import image_from_layers
from napari_cellclass.viewer.common.map_view import FieldLayer
from napari_cellclass.widgets.annotate.class_editor import ClassEditor
from napari_cellclass.widgets.annotate.files import FilesPanel
from napari_cellclass.widgets.annotate.gallery import Gallery
from napari_cellclass.widgets.annotate.session import PLACEHOLDERS, AnnotateSession
from napari_cellclass.widgets.common.choices.channel_line import ChannelLine
from napari_cellclass.widgets.common.dock_widget import DockedWidget
from napari_cellclass.widgets.common.forms import form
from napari_cellclass.widgets.common.jobs import Job, start_job
from napari_cellclass.widgets.common.key_list import KeyList, help_text
from napari_cellclass.widgets.common.layer_choice import ImageChoice
from napari_cellclass.widgets.common.layer_removal import fix_layer_removal
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import WrappedLabel

if TYPE_CHECKING:
    from napari.viewer import Viewer

_PREVIEW_PX = 220
# Several key presses a second share one update of preview and counts.
_PREVIEW_AFTER_MS = 30
_COUNTS_AFTER_MS = 150
_RATE_OVER_S = 60.0
_BULK = 50  # changes of more tiles at once do not count as labelling speed
_STRIDES = {"Left": (0, -1), "Right": (0, 1), "Up": (-1, 0), "Down": (1, 0)}


class AnnotateWidget(DockedWidget):
    """Label the tiles of a field by keys, clicks and drags; every label is on disk at once.

    Parameters
    ----------
    napari_viewer
        The viewer; napari finds the parameter by this name.
    """

    display_name = "Annotate tiles"
    session: AnnotateSession

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        fix_layer_removal(self, napari_viewer)
        self.session = AnnotateSession(napari_viewer)
        self._job: Job | None = None
        self._active: int | None = None  # the class that click and drag paint with: that of the last key
        self._selected: NDArray[np.int64] | None = None
        self._times: deque[float] = deque(maxlen=2000)
        self._build()
        self.session.opened.connect(self._opened)
        self.session.changed.connect(self._labelled)
        self.session.classes_changed.connect(self._classes_changed)
        self.session.message.connect(self._show_message)
        self.viewer.layers.events.inserted.connect(self._layers_changed)
        self.viewer.layers.events.removed.connect(self._layers_changed)
        self._show_message("Open an image, choose a tile size, and press Start.")

    def _build(self) -> None:
        self.images = ImageChoice(self.viewer)
        self.channels = ChannelLine(self.images)
        self.tiles = form(TileParams, ["tile_px", "overlap"])
        self.tiles["tile_px"].value = 128
        self.start_button = QPushButton("Start")
        self.message = WrappedLabel(selectable=False)  # a click must not move the keyboard focus
        self.keys = KeyList()
        self.classes = ClassEditor(self.session)
        self.policy = QComboBox()
        self.policy.addItems(list(get_args(Policy)))
        self.policy.setToolTip("which tile comes next; the last two need a map of the same tiles")
        self.preview = QLabel()
        self.preview.setFixedSize(_PREVIEW_PX, _PREVIEW_PX)
        self.preview.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.status = QLabel()
        self.undo_button, self.redo_button = QPushButton("Undo"), QPushButton("Redo")
        self.gallery = Gallery(self.session)
        self.files = FilesPanel(self.session)
        self._lay_out()
        self.start_button.clicked.connect(self.start)
        self.undo_button.clicked.connect(self.session.undo)
        self.redo_button.clicked.connect(self.session.redo)
        self._preview_timer = QTimer(self)
        self._preview_timer.setSingleShot(True)
        self._preview_timer.setInterval(_PREVIEW_AFTER_MS)
        self._preview_timer.timeout.connect(self._show_preview)

        self._counts_timer = QTimer(self)
        self._counts_timer.setSingleShot(True)
        self._counts_timer.setInterval(_COUNTS_AFTER_MS)
        self._counts_timer.timeout.connect(self._show_counts)

    def _lay_out(self) -> None:
        top = QVBoxLayout()
        for label, field in (("image", self.images), *((f.label, f.native) for f in self.tiles)):
            text = QLabel(label)
            text.setMinimumWidth(56)
            top.addLayout(row_of(text, field))
        top.insertWidget(1, self.channels)
        page = QWidget()
        column = QVBoxLayout(page)
        column.addWidget(self.classes)
        column.addLayout(row_of(QLabel("next tile"), self.policy))
        column.addLayout(row_of(self.undo_button, self.redo_button))
        column.addWidget(self.status)
        column.addWidget(self.preview, alignment=Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(1)
        self.tabs = QTabWidget()
        for name, widget in (("Label", page), ("Gallery", self.gallery), ("Files and layers", self.files)):
            self.tabs.addTab(widget, name)
        self.tabs.setEnabled(False)
        inner = QWidget()
        whole = QVBoxLayout(inner)
        whole.addLayout(top)
        whole.addWidget(self.start_button)
        whole.addWidget(self.message)
        whole.addWidget(self.keys)
        whole.addWidget(self.tabs, 1)
        self.fill(inner)

    def _layers_changed(self, event: Any = None) -> None:
        self.images.refresh()
        self.files.refresh()

    # -- start and restore -----------------------------------------------------------------------

    def start(self) -> None:
        """Lay the grid over the chosen image; earlier labels are read in a thread, and offered."""
        if self._job is not None and self._job.running:
            return
        try:
            layers = self.images.chosen()
            source = image_from_layers(layers, self.viewer.dims.point)
            grid = TileParams.checked(**{field.name: field.value for field in self.tiles}).grid(source)
        except CellClassError as error:
            self._show_message(str(error), True)
            return
        field_layer = FieldLayer.of(layers[0])
        self.start_button.setEnabled(False)
        self._show_message("Looking for earlier labels of this image …")
        self._job = job = start_job(
            restore_annotation, owner=self, source=source, grid=grid, journal=self.session.journal
        )
        job.returned.connect(lambda found: self._earlier_found(job, found, source, grid, field_layer))
        job.failed.connect(lambda error: self._show_message(str(error), True))
        job.finished.connect(lambda: self.start_button.setEnabled(True))

    def _earlier_found(
        self,
        job: Job,
        found: tuple[ImageKey, Annotation | None],
        source: SourceImage,
        grid: TileGrid,
        field_layer: FieldLayer,
    ) -> None:
        if job is not self._job:
            return  # the widget has been closed since
        image, annotation = found
        if annotation is not None:
            n = int((annotation.labels != UNLABELLED).sum())
            question = f"There are {n} earlier labels of this image and this grid. Continue with them?"
            if QMessageBox.question(self, "Labels found", question) != QMessageBox.StandardButton.Yes:
                annotation = None
        annotation = annotation or Annotation(image, grid, ClassScheme(PLACEHOLDERS), self.session.journal)
        self.session.open(annotation, source, field_layer)

    def _opened(self) -> None:
        layers = self.session.layers
        assert layers is not None
        layers.on_paint = self._paint
        layers.on_selected = self._select
        layers.on_moved = self._preview_timer.start
        self.tabs.setEnabled(True)
        layers.go_to(int(next(iter(self._queue()), 0)), follow=False)
        self._show_message("Press a class's key: it labels the tile in the blue frame and moves to the next.")

    # -- labelling -------------------------------------------------------------------------------

    def _label_current(self, label: int) -> None:
        """Label the current tile and move to the next."""
        layers = self.session.layers
        if layers is not None and self.session.label([layers.current], label):
            self._next()

    def _labelled(self, change: LabelChange | None) -> None:
        if change is not None and len(change.tile_indices) < _BULK:
            self._times.extend([time.monotonic()] * len(change.tile_indices))
        self._counts_timer.start()

    def _paint(self, tile_indices: NDArray[np.int64]) -> None:
        self._selected = None
        if self._active is None:
            self._show_message("Press a class's key first; click and drag then paint with that class.")
        else:
            self.session.label(tile_indices, self._active)

    def _select(self, tile_indices: NDArray[np.int64]) -> None:
        self._selected = tile_indices if len(tile_indices) else None
        if len(tile_indices):
            self._show_message(f"{len(tile_indices):,} tiles are selected: press a class's key to label them all.")

    def _press_class_key(self, label: int) -> None:
        self._active = label
        if self._selected is None:
            self._label_current(label)
            return
        if self.session.label(self._selected, label):
            self._show_message(f"{len(self._selected):,} tiles were labelled.")
        self._selected = None
        layers = self.session.layers
        if layers is not None:
            layers.go_to(layers.current, follow=False)

    def _queue(self) -> NDArray[np.int64]:
        policy: Any = self.policy.currentText()
        return self.session.rank_tiles(policy)

    def _next(self) -> None:
        layers = self.session.layers
        assert layers is not None
        queue = self._queue()
        policy = self.policy.currentText()
        in_order = policy == "in order"
        wanted = queue > layers.current if in_order else queue != layers.current
        queue = queue if in_order and not wanted.any() else queue[wanted]  # in order, start again after the last
        if len(queue):
            layers.go_to(int(queue[0]))
        elif self.session.predictions() is None and policy in ("least certain", "suspected mistakes"):
            self._show_message(f"No map of these tiles is there, so nothing is {policy}; classify the field first.")
        else:
            self._show_message("No tile is left in this queue.")

    # -- keys and what is shown --------------------------------------------------------------------

    def _classes_changed(self) -> None:
        """Let layers, keys and counts follow the classes."""
        annotation, layers = self.session.annotation, self.session.layers
        assert annotation is not None
        assert layers is not None
        scheme = annotation.scheme
        if self._active is not None and self._active >= len(scheme):
            self._active = None
        keys: dict[str, Any] = {
            key.strip().lower(): partial(self._press_class_key, i) for i, key in enumerate(scheme.keys) if key.strip()
        }
        keys |= {"0": partial(self._press_class_key, UNLABELLED), "u": partial(self._press_class_key, UNSURE)}
        keys |= {"Control-Z": self.session.undo, "Control-Shift-Z": self.session.redo}
        for name, (rows, cols) in _STRIDES.items():
            keys[name] = partial(self._walk, rows, cols)
            keys[f"Shift-{name}"] = partial(self._walk, 10 * rows, 10 * cols)
        layers.bind(keys, lambda key: self._show_message(f"The key {key!r} belongs to no class."))
        layers.recolour()
        layers.repaint()
        self._show_key_map(scheme)
        self._show_counts()

    def _walk(self, rows: int, columns: int) -> None:
        layers = self.session.layers
        assert layers is not None
        self._selected = None
        layers.go_to(layers.neighbour(rows, columns))

    def _show_key_map(self, scheme: ClassScheme) -> None:
        classes = [(key.strip(), name) for key, name in zip(scheme.keys, scheme.names, strict=True) if key.strip()]
        keys = [*classes, ("0", "clear"), ("u", "unsure"), ("Ctrl+Z", "undo")]
        mouse = [("arrows", "walk"), ("drag", "paints"), ("Shift+drag", "selects")]
        self.keys.show_keys([*keys, *mouse])
        if self.session.layers is not None:
            self.session.layers.advertise(help_text(keys))

    def _show_counts(self) -> None:
        annotation = self.session.annotation
        if annotation is None:
            return
        self.classes.show_counts()
        now = time.monotonic()
        recent = [t for t in self._times if now - t < _RATE_OVER_S]
        span = max(5.0, now - recent[0]) if recent else _RATE_OVER_S
        labelled = int((annotation.labels != UNLABELLED).sum())
        conflicts = int((annotation.labels < UNSURE).sum())
        text = f"{labelled:,} of {len(annotation.grid):,} labelled, {60 * len(recent) / span:.0f} per minute"
        self.status.setText(text + (f", {conflicts} in conflict" if conflicts else ""))

    def _show_preview(self) -> None:
        layers, source = self.session.layers, self.session.source
        if layers is None or source is None:
            return
        try:
            pixels = read_tile_rgb(source, layers.annotation.grid.boxes[layers.current])
        except CellClassError as error:
            self._show_message(str(error), True)
            return
        height, width = pixels.shape[:2]
        image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        self.preview.setPixmap(
            QPixmap.fromImage(image).scaled(_PREVIEW_PX, _PREVIEW_PX, Qt.AspectRatioMode.KeepAspectRatio)
        )

    def _show_message(self, text: str, warn: bool = False) -> None:
        self.message.show_text(text, warn)

    def close_down(self, window_stays: bool) -> None:
        """Disconnect keys and listeners; labels are on disk already, and their layers stay."""
        self._job = None
        self.keys.show_keys(())
        self.viewer.layers.events.inserted.disconnect(self._layers_changed)
        self.viewer.layers.events.removed.disconnect(self._layers_changed)
        if window_stays:
            self.session.close()
