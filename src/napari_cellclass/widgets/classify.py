"""The widget *Classify field*: image, model, Run, and the map with its legend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import FileEdit
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QDialog,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_cellclass.core.bundle import ModelBundle
from napari_cellclass.core.contracts import CellClassError, Progress
from napari_cellclass.core.image import SourceImage
from napari_cellclass.core.params import ClassifyParams
from napari_cellclass.runs.field import FieldResult
from napari_cellclass.runs.models import NeedsAnswersError
from napari_cellclass.viewer.layers import image_from_layers, region_polygons
from napari_cellclass.viewer.overlay import OverlayStyle
from napari_cellclass.viewer.session import FieldLayer, MapView, NewMap
from napari_cellclass.widgets import _classify_run as work
from napari_cellclass.widgets._class_list import ClassList
from napari_cellclass.widgets._forms import form
from napari_cellclass.widgets._jobs import Job, start_job
from napari_cellclass.widgets._keras_dialog import KerasDialog
from napari_cellclass.widgets._layer_choice import ImageChoice, RegionChoice

if TYPE_CHECKING:
    from napari.viewer import Viewer

_VIEW_SETTLES_MS = 120
_EXPORTS = {"CSV": "*.csv", "GeoJSON": "*.geojson", "PNG": "*.png"}


class ClassifyWidget(QWidget):
    """Classify the tiles of a field and show classes and confidences as a layer.

    Parameters
    ----------
    napari_viewer
        The viewer; napari finds the parameter by this name.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.map = MapView(napari_viewer)
        self.model: ModelBundle | None = None
        self.job: Job | None = None
        self._source: SourceImage | None = None
        self._requests = 0
        self._run_when_ready = False
        self._keeper = work.EngineKeeper()
        self._build()
        self._connect()
        self._busy(False)
        self._say("Open an image, choose a model, and press Run.")

    def _build(self) -> None:
        self.images = ImageChoice(self.viewer)
        self.model_path = FileEdit(
            filter="Models (*.cellclass *.keras)",
            tooltip="a .cellclass or .keras file; may also be dropped onto the window",
        )
        self.model_text = QLabel("no model chosen")
        self.region = RegionChoice(self.viewer)
        self.tiles = form(ClassifyParams, ["overlap", "edge", "engine"])
        self.run_button, self.cancel_button = QPushButton("Run"), QPushButton("Cancel")
        self.bar = QProgressBar()
        self.message = QLabel()
        self.classes = ClassList()
        self.threshold = QSlider(Qt.Orientation.Horizontal)
        self.threshold.setRange(0, 100)
        self.threshold.setToolTip("tiles of lower confidence become grey")
        self.threshold_text = QLabel("0 %")
        self.exports = {name: QPushButton(name) for name in _EXPORTS}
        for label in (self.model_text, self.message):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        top = QFormLayout()
        top.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        top.addRow("image", self.images)
        top.addRow("model", self.model_path.native)
        top.addRow("", self.model_text)
        top.addRow("region", self.region)
        for field in self.tiles:
            top.addRow(field.label, field.native)
        self.results = QWidget()
        below = QVBoxLayout(self.results)
        below.setContentsMargins(0, 0, 0, 0)
        below.addWidget(self.classes)
        below.addLayout(_row(QLabel("confidence at least"), self.threshold, self.threshold_text))
        below.addLayout(_row(QLabel("export"), *self.exports.values()))
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.addLayout(top)
        column.addLayout(_row(self.run_button, self.cancel_button))
        column.addWidget(self.bar)
        column.addWidget(self.message)
        column.addWidget(self.results)
        column.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inner)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(scroll)
        self.results.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.model_text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.setMinimumWidth(360)
        self.results.setVisible(False)

    def _connect(self) -> None:
        events = self.viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(self._layers_changed)
        self.model_path.changed.connect(lambda _: self._load_model())
        self.run_button.clicked.connect(self.run)
        self.cancel_button.clicked.connect(self.cancel)
        self.classes.visibility_changed.connect(lambda _: self._restyle())
        self.threshold.valueChanged.connect(lambda _: self._threshold_moved())
        for name, button in self.exports.items():
            button.clicked.connect(lambda _=False, name=name: self._ask_and_export(name))
        self._view_timer = QTimer(self)
        self._view_timer.setSingleShot(True)
        self._view_timer.setInterval(_VIEW_SETTLES_MS)
        self._view_timer.timeout.connect(self.map.refresh_text)
        self.viewer.scene.camera.events.connect(self._view_moved)

    def _disconnect(self) -> None:
        events = self.viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.disconnect(self._layers_changed)
        self.viewer.scene.camera.events.disconnect(self._view_moved)

    def _layers_changed(self, event: Any = None) -> None:
        self.images.refresh()
        self.region.refresh()

    def _view_moved(self, event: Any = None) -> None:
        self._view_timer.start()

    # -- model ---------------------------------------------------------------------------------

    def set_model(self, path: Path | str) -> None:
        """Choose a model, as if its path had been typed."""
        self.model_path.value = Path(path)

    def _load_model(self, classes: tuple[str, ...] | None = None, rescale: float | None = None) -> None:
        self.model = None
        path = Path(self.model_path.value)
        if path.is_dir() or not path.name:
            self.model_text.setText("no model chosen")
            return
        self._requests += 1
        number = self._requests
        self.model_text.setText("opening …")
        job = start_job(work.load, path=path, classes=classes, rescale=rescale)
        job.returned.connect(lambda model: self._model_ready(model) if number == self._requests else None)
        job.failed.connect(lambda error: self._model_failed(error, path) if number == self._requests else None)

    def _model_ready(self, model: ModelBundle) -> None:
        self.model = model
        m = model.manifest
        self.model_text.setText(
            f"{m.network}: {', '.join(model.scheme.names)}; tiles of {m.tile_px[1]} x {m.tile_px[0]} px, "
            f"{model.preprocess.channels} channel(s)"
        )
        self.tiles["overlap"].value = m.overlap
        self.tiles["edge"].value = m.edge
        self._busy(self.job is not None and self.job.running)
        if self._run_when_ready:
            self._run_when_ready = False
            self.run()

    def _model_failed(self, error: CellClassError, path: Path) -> None:
        if isinstance(error, NeedsAnswersError):
            dialog = KerasDialog(error.info, path.name, self)
            if dialog.exec() == QDialog.DialogCode.Accepted:
                self._load_model(*dialog.answers())
                return
            self.model_text.setText("no model chosen: its classes are not named")
        else:
            self.model_text.setText(str(error))
        self._busy(self.job is not None and self.job.running)

    # -- run -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Classify the chosen field; the window stays free meanwhile."""
        if self.job is not None and self.job.running:
            return
        try:
            request = self._request()
        except CellClassError as error:
            self._say(str(error), bad=True)
            return
        self._source = request.source
        self._busy(True)
        self.job = start_job(work.run, request=request, keeper=self._keeper)
        self.job.progressed.connect(self._progressed)
        self.job.returned.connect(self._finished)
        self.job.failed.connect(lambda error: self._say(str(error), bad=True))
        self.job.cancelled.connect(lambda: self._say("Cancelled before the first tile was finished."))
        self.job.finished.connect(lambda: self._busy(False))

    def run_when_ready(self, path: Path) -> None:
        """Choose a model, and run once as soon as it is open."""
        self._run_when_ready = True
        self.set_model(path)

    def _request(self) -> work.ClassifyRequest:
        if self.model is None:
            raise CellClassError(f"no model to run: {self.model_text.text()}")
        layers = self.images.chosen()
        source = image_from_layers(layers, self.viewer.dims.point)
        region = self.region.chosen()
        return work.ClassifyRequest(
            source,
            self.model,
            tuple(region_polygons(region, layers[0])) if region is not None else (),
            FieldLayer.of(layers[0]),
            self.map.style,
            self.map.shown if self.map.present() else None,
            self.tiles["overlap"].value,
            self.tiles["edge"].value,
            self.tiles["engine"].value,
        )

    def cancel(self) -> None:
        """Stop after the batch that is running; finished tiles are shown."""
        if self.job is not None and self.job.running:
            self._say("Cancelling …")
            self.job.cancel()

    def _progressed(self, update: Progress) -> None:
        self.bar.setMaximum(update.total)
        self.bar.setValue(update.done)
        if update.total == 0:
            self._say(f"{update.phase[:1].upper()}{update.phase[1:]} …")
        elif "tiles_per_s" in update.metrics:
            left = update.metrics["seconds_left"]
            self.bar.setFormat(f"%v of %m tiles, {update.metrics['tiles_per_s']:,.0f} tiles/s, {left:,.0f} s left")
            self._say("Classifying …")

    def _finished(self, answer: tuple[FieldResult, NewMap]) -> None:
        result, new = answer
        table = result.table
        self.map.show(new)
        self.results.setVisible(True)
        self._show_counts()
        done = (
            f"{len(table):,} tiles in {result.seconds:.1f} s ({len(table) / max(result.seconds, 1e-9):,.0f} tiles/s)."
        )
        if not result.complete:
            done = f"Cancelled: the {len(table):,} tiles that were finished are shown."
        self._say(" ".join([done, *(f"Warning: {text}." for text in result.warnings)]), bad=bool(result.warnings))

    def _busy(self, busy: bool) -> None:
        self.run_button.setEnabled(not busy)
        self.cancel_button.setEnabled(busy)
        self.bar.setVisible(busy)
        if busy:
            self.bar.setFormat("%p%")
            self.bar.setRange(0, 0)

    # -- results -------------------------------------------------------------------------------

    def _show_counts(self) -> None:
        table = self.map.table
        if table is not None:
            self.classes.show_counts(table.scheme, table.counts(self.map.style.min_confidence), self.map.style.visible)

    def _restyle(self) -> None:
        self.map.restyle(OverlayStyle(self.classes.visible_classes(), self.threshold.value() / 100))

    def _threshold_moved(self) -> None:
        self.threshold_text.setText(f"{self.threshold.value()} %")
        self._restyle()
        self._show_counts()

    def _ask_and_export(self, kind: str) -> None:
        assert self._source is not None
        pattern = _EXPORTS[kind]
        start = str((self._source.path or Path(self._source.name)).with_suffix("").name) + pattern[1:]
        name, _ = QFileDialog.getSaveFileName(self, f"Export {kind}", start, f"{kind} ({pattern})")
        if name:
            path = Path(name)
            self.export(path if path.suffix else path.with_suffix(pattern[1:]))

    def export(self, path: Path) -> Job | None:
        """Write the map; the suffix chooses CSV, GeoJSON or a picture."""
        if self.map.table is None or self._source is None:
            self._say("There is no map yet; press Run first.", bad=True)
            return None
        style = self.map.style
        job = start_job(
            work.export,
            table=self.map.table,
            source=self._source,
            path=path,
            visible=style.visible,
            min_confidence=style.min_confidence,
        )
        job.returned.connect(lambda written: self._say(f"Wrote {written}."))
        job.failed.connect(lambda error: self._say(str(error), bad=True))
        return job

    def _say(self, text: str, bad: bool = False) -> None:
        self.message.setText(text)
        self.message.setStyleSheet("color: #E8743B;" if bad else "")

    def closeEvent(self, event: Any) -> None:
        """Leave nothing running behind."""
        if self.job is not None and self.job.running:
            self.job.cancel()
            self.job.wait(5)
        self._disconnect()
        self._keeper.close()
        super().closeEvent(event)


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row
