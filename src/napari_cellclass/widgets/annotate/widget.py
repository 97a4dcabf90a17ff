"""The widget *Annotate tiles*: one key labels a tile and goes to the next."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QComboBox, QLabel, QMessageBox, QPushButton, QTabWidget, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.images.display import crop_pixels
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.annotation import Annotation, restore_annotation
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.history import LabelChange
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.labels.label_store import UNLABELLED, UNSURE
from napari_cellclass.core.labels.session_store import user_journal
from napari_cellclass.core.params.shared import TileParams
from napari_cellclass.core.predictions.active_learning import Policy, ranked
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.common.keys import list_keys
from napari_cellclass.viewer.common.layers import image_from_layers
from napari_cellclass.viewer.common.session import FieldLayer, map_of_field
from napari_cellclass.viewer.features.annotation_layers import AnnotationLayers
from napari_cellclass.widgets.annotate.class_editor import ClassEditor
from napari_cellclass.widgets.annotate.files import FilesPanel
from napari_cellclass.widgets.annotate.gallery import Gallery
from napari_cellclass.widgets.common.dock_widget import DockedWidget
from napari_cellclass.widgets.common.forms import form
from napari_cellclass.widgets.common.jobs import Job, start_job
from napari_cellclass.widgets.common.layer_choice import ImageChoice
from napari_cellclass.widgets.common.layer_removal import look_after_removals
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import Sentence

if TYPE_CHECKING:
    from napari.viewer import Viewer

_PREVIEW_PX = 220
# Many keys a second share one update of what is beside the canvas.
_PREVIEW_AFTER_MS = 30
_COUNTS_AFTER_MS = 150
_RATE_OVER_S = 60.0
_PLACEHOLDERS = ("class 1", "class 2")
_BULK = 50  # changes of more tiles at once do not count as labelling speed
_STRIDES = {"Left": (0, -1), "Right": (0, 1), "Up": (-1, 0), "Down": (1, 0)}


class AnnotateWidget(DockedWidget):
    """Label the tiles of a field by keys, clicks and drags; every label is on disk at once.

    Parameters
    ----------
    napari_viewer
        The viewer; napari finds the parameter by this name.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        look_after_removals(self, napari_viewer)
        self.journal = user_journal()
        self.annotation: Annotation | None = None
        self.layers: AnnotationLayers | None = None
        self.source: SourceImage | None = None
        self._others: list[AnnotationLayers] = []
        self._job: Job | None = None
        self._active: int | None = None  # the class that click and drag paint with: that of the last key
        self._selected: NDArray[np.int64] | None = None
        self._times: deque[float] = deque(maxlen=2000)
        self._build()
        self.viewer.layers.events.inserted.connect(self._layers_changed)
        self.viewer.layers.events.removed.connect(self._layers_changed)
        self._say("Open an image, choose a tile size, and press Start.")

    def _build(self) -> None:
        self.images = ImageChoice(self.viewer)
        self.tiles = form(TileParams, ["tile_px", "overlap"])
        self.tiles["tile_px"].value = 128
        self.start_button = QPushButton("Start")
        self.message = Sentence(selectable=False)  # a click must not take the keys away
        self.classes = ClassEditor(self.classes_changed, self._say)
        self.policy = QComboBox()
        self.policy.addItems(list(get_args(Policy)))
        self.policy.setToolTip("which tile comes next; the last two need a map of the same tiles")
        self.preview = QLabel()
        self.preview.setFixedSize(_PREVIEW_PX, _PREVIEW_PX)
        self.preview.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.status = QLabel()
        self.undo_button, self.redo_button = QPushButton("Undo"), QPushButton("Redo")
        self.gallery = Gallery(self)
        self.files = FilesPanel(self)
        self._lay_out()
        self.start_button.clicked.connect(self.start)
        self.undo_button.clicked.connect(self.undo)
        self.redo_button.clicked.connect(self.redo)
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
        whole.addWidget(self.tabs, 1)
        self.fill(inner)

    def _layers_changed(self, event: Any = None) -> None:
        self.images.refresh()
        self.files.refresh()

    # -- start and restore -----------------------------------------------------------------------

    def start(self) -> None:
        """Lay the grid over the chosen image; labels of an earlier time are looked for in a thread, and offered."""
        if self._job is not None and self._job.running:
            return
        try:
            layers = self.images.chosen()
            source = image_from_layers(layers, self.viewer.dims.point)
            grid = TileParams.checked(**{field.name: field.value for field in self.tiles}).grid(source)
        except CellClassError as error:
            self._say(str(error), True)
            return
        over = FieldLayer.of(layers[0])
        self.start_button.setEnabled(False)
        self._say("Looking for earlier labels of this image …")
        self._job = job = start_job(restore_annotation, owner=self, source=source, grid=grid, journal=self.journal)
        job.returned.connect(lambda found: self._looked(job, found, source, grid, over))
        job.failed.connect(lambda error: self._say(str(error), True))
        job.finished.connect(lambda: self.start_button.setEnabled(True))

    def _looked(
        self, job: Job, found: tuple[ImageKey, Annotation | None], source: SourceImage, grid: TileGrid, over: FieldLayer
    ) -> None:
        if job is not self._job:
            return  # the widget was closed meanwhile
        image, annotation = found
        if annotation is not None:
            n = int((annotation.labels != UNLABELLED).sum())
            question = f"There are {n} labels of this image and this grid from an earlier time. Go on with them?"
            if QMessageBox.question(self, "Labels found", question) != QMessageBox.StandardButton.Yes:
                annotation = None
        self.open(annotation or Annotation(image, grid, ClassScheme(_PLACEHOLDERS), self.journal), source, over)

    def open(self, annotation: Annotation, source: SourceImage, over: FieldLayer) -> None:
        """Show an annotation in the viewer and bind its keys."""
        if self.layers is not None:
            self.layers.retire()
            self._others.append(self.layers)
        for other in [o for o in self._others if o.annotation.image.image_id == annotation.image.image_id]:
            other.remove()
            self._others.remove(other)
        self.annotation, self.source = annotation, source
        self.layers = AnnotationLayers(self.viewer, annotation, source, over)
        self.layers.on_paint = self._paint
        self.layers.on_selected = self._select
        self.layers.on_moved = self._preview_timer.start
        self.tabs.setEnabled(True)
        self.classes_changed()
        self.layers.go_to(self._first(), follow=False)
        self._say("Press a class's key: it labels the tile in the blue frame and goes to the next.")

    # -- labelling -------------------------------------------------------------------------------

    def label(self, label: int) -> None:
        """Label the current tile and go to the next."""
        if self.layers is not None and self.label_places(np.array([self.layers.current]), label):
            self._next()

    def label_places(self, places: NDArray[np.int64], label: int) -> bool:
        """Label tiles; False, with the reason shown, when that could not be written to disk."""
        assert self.annotation is not None
        return self.apply(lambda annotation: annotation.label(places, label))

    def apply(self, action: Any) -> bool:
        """LabelChange the annotation and show what changed."""
        if self.annotation is None or self.layers is None:
            return False
        try:
            change: LabelChange | None = action(self.annotation)
        except CellClassError as error:
            self._say(str(error), True)
            return False
        if change is not None:
            self.layers.repaint(change)
            if len(change.tile_indices) < _BULK:
                self._times.extend([time.monotonic()] * len(change.tile_indices))
        self._counts_timer.start()
        return True

    def undo(self) -> None:
        """Take the last change back."""
        self.apply(lambda annotation: annotation.undo())
        self._refresh_classes()

    def redo(self) -> None:
        """Make the change that was taken back again."""
        self.apply(lambda annotation: annotation.redo())
        self._refresh_classes()

    def _refresh_classes(self) -> None:
        # Undo may bring a class back, and with it colours and keys.
        if self.annotation is not None and self.annotation.scheme != self._bound_scheme:
            self.classes_changed()

    def _paint(self, places: NDArray[np.int64]) -> None:
        self._selected = None
        if self._active is None:
            self._say("Press a class's key first; click and drag then paint with that class.")
        else:
            self.label_places(places, self._active)

    def _select(self, places: NDArray[np.int64]) -> None:
        self._selected = places if len(places) else None
        if len(places):
            self._say(f"{len(places):,} tiles are selected: press a class's key to label them all.")

    def _choose(self, label: int) -> None:
        self._active = label
        if self._selected is None:
            self.label(label)
            return
        if self.label_places(self._selected, label):
            self._say(f"{len(self._selected):,} tiles were labelled.")
        self._selected = None
        if self.layers is not None:
            self.layers.go_to(self.layers.current, follow=False)

    def accept_predictions(self, places: NDArray[np.int64] | None) -> None:
        """Take the classes of the map as labels: of some tiles, or of all that have no label yet."""
        table, annotation = self.prediction(), self.annotation
        if table is None or annotation is None or self.layers is None:
            self._say("There is no map of these tiles; classify this field with the same tile size first.", True)
            return
        for name, colour in zip(table.scheme.names, table.scheme.colours, strict=True):
            if name not in annotation.scheme.names:
                annotation.add_class(name, colour)
        ours = np.array([annotation.scheme.index(name) for name in table.scheme.names])
        place_of = {int(tile): i for i, tile in enumerate(annotation.grid.tile_id)}
        wanted = set(np.flatnonzero(annotation.labels == UNLABELLED) if places is None else places)
        rows = [i for i, tile in enumerate(table.grid.tile_id) if place_of.get(int(tile), -1) in wanted]
        rows = [i for i in rows if table.class_index[i] >= 0]
        chosen = np.array([place_of[int(table.grid.tile_id[i])] for i in rows], np.int64)
        self.apply(lambda a: a.label(chosen, ours[table.class_index[rows]].astype(np.int16)))
        self.drop_placeholders()
        self.classes_changed()
        self._say(f"{len(rows):,} tiles have taken the map's class.")

    def drop_placeholders(self) -> None:
        """Remove the classes that a new annotation begins with, once it has two real ones beside them."""
        assert self.annotation is not None
        for name in _PLACEHOLDERS:
            names = self.annotation.scheme.names
            unused = name in names and not (self.annotation.labels == names.index(name)).any()
            if unused and len([n for n in names if n not in _PLACEHOLDERS]) >= 2:
                place = names.index(name)
                self.apply(lambda a, place=place: a.remove_class(place))
        keys = [key.strip() for key in self.annotation.scheme.keys]
        for i, key in enumerate(keys):
            if key.isdigit() and str(i + 1) not in keys:
                self.apply(lambda a, i=i: a.change_class(i, key=str(i + 1)))

    def prediction(self) -> TileTable | None:
        """Give the map of this field that is in the viewer, when it has the same tiles."""
        if self.source is None or self.annotation is None:
            return None
        return map_of_field(self.viewer, self.source, self.annotation.grid)

    def _queue(self) -> NDArray[np.int64]:
        assert self.annotation is not None
        a = self.annotation
        policy: Any = self.policy.currentText()
        return ranked(policy, np.asarray(a.labels), a.grid.tile_id, self.prediction(), a.scheme.names)

    def _first(self) -> int:
        return int(next(iter(self._queue()), 0))

    def _next(self) -> None:
        assert self.layers is not None
        queue = self._queue()
        in_order = self.policy.currentText() == "in order"
        wanted = queue > self.layers.current if in_order else queue != self.layers.current
        queue = queue if in_order and not wanted.any() else queue[wanted]  # in order it begins again at its end
        if len(queue):
            self.layers.go_to(int(queue[0]))
        elif self.prediction() is None and self.policy.currentText() in ("least certain", "suspected mistakes"):
            self._say(
                f"No map of these tiles is there, so nothing is {self.policy.currentText()}; classify the field first."
            )
        else:
            self._say("No tile is left in this queue.")

    # -- keys and what is shown --------------------------------------------------------------------

    def classes_changed(self) -> None:
        """Let layers, keys and counts follow the classes."""
        assert self.annotation is not None
        assert self.layers is not None
        scheme = self._bound_scheme = self.annotation.scheme
        if self._active is not None and self._active >= len(scheme):
            self._active = None
        keys: dict[str, Any] = {
            key.strip().lower(): lambda i=i: self._choose(i) for i, key in enumerate(scheme.keys) if key.strip()
        }
        keys |= {"0": lambda: self._choose(UNLABELLED), "u": lambda: self._choose(UNSURE)}
        keys |= {"Control-Z": self.undo, "Control-Shift-Z": self.redo}
        for name, (rows, cols) in _STRIDES.items():
            keys[name] = lambda rows=rows, cols=cols: self._walk(rows, cols)
            keys[f"Shift-{name}"] = lambda rows=rows, cols=cols: self._walk(10 * rows, 10 * cols)
        self.layers.bind(keys, lambda key: self._say(f"The key {key!r} belongs to no class."))
        self.layers.recolour()
        self.layers.repaint()
        self._show_key_map()
        self.classes.show_annotation(self.annotation)
        self._show_counts()

    def _walk(self, rows: int, columns: int) -> None:
        assert self.layers is not None
        self._selected = None
        self.layers.go_to(self.layers.neighbour(rows, columns))

    def _show_key_map(self) -> None:
        assert self.annotation is not None
        scheme = self.annotation.scheme
        keys = [f"{key.strip()} {name}" for key, name in zip(scheme.keys, scheme.names, strict=True) if key.strip()]
        lines = [*keys, "0 clear", "u unsure", "arrows walk", "drag paints", "Shift+drag selects", "Ctrl+Z undo"]
        list_keys(self.viewer, lines)

    def _show_counts(self) -> None:
        if self.annotation is None:
            return
        self.classes.show_counts()
        now = time.monotonic()
        recent = [t for t in self._times if now - t < _RATE_OVER_S]
        span = max(5.0, now - recent[0]) if recent else _RATE_OVER_S
        labelled = int((self.annotation.labels != UNLABELLED).sum())
        conflicts = int((self.annotation.labels < UNSURE).sum())
        text = f"{labelled:,} of {len(self.annotation.grid):,} labelled, {60 * len(recent) / span:.0f} per minute"
        self.status.setText(text + (f", {conflicts} in conflict" if conflicts else ""))

    def _show_preview(self) -> None:
        if self.layers is None or self.annotation is None or self.source is None:
            return
        try:
            pixels = crop_pixels(self.source, self.annotation.grid.boxes[self.layers.current])
        except CellClassError as error:
            self._say(str(error), True)
            return
        height, width = pixels.shape[:2]
        image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        self.preview.setPixmap(
            QPixmap.fromImage(image).scaled(_PREVIEW_PX, _PREVIEW_PX, Qt.AspectRatioMode.KeepAspectRatio)
        )

    def _say(self, text: str, bad: bool = False) -> None:
        self.message.setText(text)
        self.message.setStyleSheet("color: #E8743B;" if bad else "")

    def leave(self, window_stays: bool) -> None:
        """Take keys and listeners away; labels are on disk already, and their layers stay."""
        self._job = None
        self.viewer.layers.events.inserted.disconnect(self._layers_changed)
        self.viewer.layers.events.removed.disconnect(self._layers_changed)
        if window_stays and self.layers is not None and self.layers.present():
            self.layers.retire()
            self.viewer.canvas.overlays.text.visible = False
