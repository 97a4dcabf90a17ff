"""The widget *Classify field*: image, model, Run, and the map with its legend."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import FileEdit
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QDialog,
    QFormLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import Progress
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.classify import ClassifyParams
from napari_cellclass.core.stats.calibration import Calibration
from napari_cellclass.runs.classify.field import FieldResult
from napari_cellclass.runs.common.engine_access import KerasDetails, KerasDetailsError
from napari_cellclass.runs.common.engine_cache import EngineCache
from napari_cellclass.viewer.common.layers import (
    image_from_layers,
    matrix_of,
    pixel_size_um,
    region_polygons,
    transform_of,
)
from napari_cellclass.viewer.common.map_view import BuiltMap, FieldLayer, MapView
from napari_cellclass.viewer.features.live import LiveMap
from napari_cellclass.widgets.classify import work
from napari_cellclass.widgets.classify.model_origin import show_origin
from napari_cellclass.widgets.classify.relabel import RelabelPanel
from napari_cellclass.widgets.classify.resample_notice import ResampleNotice
from napari_cellclass.widgets.classify.results import ResultsPanel
from napari_cellclass.widgets.common.choices.channel_line import ChannelLine
from napari_cellclass.widgets.common.dock_widget import DockedWidget
from napari_cellclass.widgets.common.forms import form
from napari_cellclass.widgets.common.job_panel import ProgressBar
from napari_cellclass.widgets.common.jobs import Job, start_job, start_long_job
from napari_cellclass.widgets.common.keras_dialog import KerasDialog
from napari_cellclass.widgets.common.layer_choice import ImageChoice, RegionChoice
from napari_cellclass.widgets.common.layer_removal import fix_layer_removal
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import WrappedLabel

if TYPE_CHECKING:
    from napari.viewer import Viewer

_VIEW_SETTLES_MS = 120
_POLL_MS, _PAINT_INTERVAL_S = 30, 0.25
_LABEL_PX = 56


class ClassifyWidget(DockedWidget):
    """Classify the tiles of a field and show classes and confidences as a layer.

    Parameters
    ----------
    napari_viewer
        The viewer; napari finds the parameter by this name.
    """

    display_name = "Classify field"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        fix_layer_removal(self, napari_viewer)
        self.map = MapView(napari_viewer)
        self.model: ModelBundle | None = None
        self.job: Job | None = None
        self._source: SourceImage | None = None
        self._calibration: Calibration | None = None
        self._requests = 0
        self._run_when_ready = False
        self._live: LiveMap | None = None
        self._painted = 0.0
        self._engines = EngineCache()
        self._build()
        self._connect()
        self._busy(False)
        self._show_message("Open an image, choose a model, and press Run.")

    def _build(self) -> None:
        self.images = ImageChoice(self.viewer)
        self.channels = ChannelLine(self.images)
        self.model_path = FileEdit(
            filter="Models (*.cellclass *.keras)",
            tooltip="a .cellclass or .keras file; may also be dropped onto the window",
        )
        self.model_text, self.origin_text = WrappedLabel("no model chosen"), WrappedLabel()
        self.region = RegionChoice(self.viewer)
        self.tiles = form(ClassifyParams, ["overlap", "edge", "engine", "precision"])
        self.rescale = ResampleNotice()
        self.run_button, self.cancel_button = QPushButton("Run"), QPushButton("Cancel")
        self.bar = ProgressBar()
        self.message = WrappedLabel()
        self.results = ResultsPanel(self.map, self._show_message)
        self.relabel = RelabelPanel(self.viewer, self.map, self._show_message)
        settings = [("region", self.region), *((field.label, field.native) for field in self.tiles)]
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.addLayout(_form(("image", self.images), ("model", self.model_path.native)))
        column.addWidget(self.channels)
        column.addWidget(self.rescale)
        for label in (self.model_text, self.origin_text):
            column.addWidget(label)  # not in the form, which gives a wrapped text too much space
        column.addLayout(_form(*settings))
        column.addLayout(row_of(self.run_button, self.cancel_button))
        column.addWidget(self.bar)
        column.addWidget(self.message)
        column.addWidget(self.results)
        column.addWidget(self.relabel)
        column.addStretch(1)
        self.fill(inner)
        self.results.setVisible(False)
        self.relabel.setVisible(False)

    def _connect(self) -> None:
        events = self.viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(self._layers_changed)
        self.model_path.changed.connect(lambda _: self._load_model())
        self.images.itemChanged.connect(lambda _: self._compare_scales())
        self.run_button.clicked.connect(self.run)
        self.cancel_button.clicked.connect(self.cancel)
        self._view_timer = QTimer(self)
        self._view_timer.setSingleShot(True)
        self._view_timer.setInterval(_VIEW_SETTLES_MS)
        self._view_timer.timeout.connect(self.map.refresh_view)
        self._paint_timer = QTimer(self)
        self._paint_timer.setInterval(_POLL_MS)
        self._paint_timer.timeout.connect(self._paint)
        self.viewer.scene.camera.events.connect(self._view_moved)

    def _disconnect(self) -> None:
        events = self.viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.disconnect(self._layers_changed)
        self.viewer.scene.camera.events.disconnect(self._view_moved)

    def _layers_changed(self, event: Any = None) -> None:
        self.images.refresh()
        self.region.refresh()
        self._compare_scales()
        if not self.map.is_in_viewer() and self._live is None:
            self.results.setVisible(False)
        self.relabel.setVisible(self._live is None and self.map.is_in_viewer() and not self.results.isHidden())

    def _compare_scales(self) -> None:
        """Offer resampling where the pixel sizes of image and model differ."""
        chosen = self.images.chosen()
        here = pixel_size_um(chosen[0]) if chosen else None
        self.rescale.compare(None if self.model is None else self.model.manifest.pixel_size_um, here)

    def _view_moved(self, event: Any = None) -> None:
        self._view_timer.start()

    # -- model ---------------------------------------------------------------------------------

    def chosen_model(self) -> Path | None:
        """Give the file that was chosen, of a ``.keras`` file not what it was converted to; None where none is open."""
        return None if self.model is None else Path(self.model_path.value)

    def set_model(self, path: Path | str) -> None:
        """Choose a model, as if its path had been typed."""
        if Path(self.model_path.value) == Path(path):
            self._load_model()  # the same file may hold another model by now
        self.model_path.value = Path(path)

    def _load_model(self, keras_details: KerasDetails | None = None) -> None:
        self.model = None
        self.channels.expect(None)
        self.origin_text.setVisible(False)
        self._requests += 1
        path = Path(self.model_path.value)
        if path.is_dir() or not path.name:
            self.model_text.setText("no model chosen")
            return
        number = self._requests
        self.model_text.setText("opening …")
        job = start_job(work.load, owner=self, path=path, keras_details=keras_details)
        job.returned.connect(lambda model: self._model_ready(model) if number == self._requests else None)
        job.failed.connect(lambda error: self._model_failed(error, path) if number == self._requests else None)

    def _model_ready(self, model: ModelBundle) -> None:
        self.model = model
        m = model.manifest
        self.model_text.setText(
            f"{m.network}: {', '.join(model.scheme.names)}; tiles of {m.tile_px[1]} x {m.tile_px[0]} px, "
            f"{counted(model.preprocess.channels, 'channel')}{'; also in int8' if model.has_int8 else ''}"
        )
        self.channels.expect(model.preprocess.channels)
        self._compare_scales()
        show_origin(self.origin_text, model)
        self.tiles["overlap"].value = m.overlap
        self.tiles["edge"].value = m.edge
        self._busy(self.job is not None and self.job.running)
        if self._run_when_ready:
            self._run_when_ready = False
            self.run()
        else:
            how = {name: self.tiles[name].value for name in ("engine", "precision")}
            start_job(work.prepare, model=model, engines=self._engines, **how)

    def _model_failed(self, error: CellClassError, path: Path) -> None:
        if isinstance(error, KerasDetailsError):
            dialog = KerasDialog(error.info, path.name, self)
            if dialog.exec() == QDialog.DialogCode.Accepted:
                self._load_model(dialog.details())
                return
            self.model_text.setText("no model chosen: its classes are not named")
        else:
            self.model_text.setText(str(error))
        self._busy(self.job is not None and self.job.running)

    # -- run -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Classify the chosen field; the window stays responsive."""
        if self.job is not None and self.job.running:
            return
        self._compare_scales()  # a layer's scale may have changed since
        try:
            request = self._request()
        except CellClassError as error:
            self._show_message(str(error), warn=True)
            return
        self._source, self._calibration = request.source, request.model.manifest.calibration
        self._busy(True)
        self._live = LiveMap(self.viewer, self.map, request.field_layer)
        self._painted = 0.0
        self._paint_timer.start()
        self.job = start_long_job(work.run, owner=self, request=request, engines=self._engines, live=self._live)
        self.job.progressed.connect(self._progressed)
        self.job.returned.connect(self._finished)
        self.job.failed.connect(lambda error: self._show_message(str(error), warn=True))
        self.job.cancelled.connect(lambda: self._show_message("Cancelled before the first tile was finished."))
        self.job.finished.connect(self._ended)

    def _paint(self) -> None:
        """Show the finished tiles: the first ones at once, further ones a few times a second."""
        first = self._painted == 0
        if self._live is None or time.perf_counter() - self._painted < _PAINT_INTERVAL_S:
            return
        if self._live.paint():
            self._painted = time.perf_counter()
            self.results.show_progress(self._live, first)

    def _ended(self) -> None:
        self._end_live()
        self._busy(False)

    def _end_live(self) -> None:
        self._paint_timer.stop()
        live, self._live = self._live, None
        if live is not None:
            live.remove()
            self.results.show_progress(None)
            self._layers_changed()

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
            self.map.current if self.map.is_in_viewer() else None,
            self.tiles["overlap"].value,
            self.tiles["edge"].value,
            self.tiles["engine"].value,
            self.tiles["precision"].value,
            self.rescale.wanted,
            self._centre(layers[0]),
        )

    def _centre(self, layer: Any) -> tuple[float, float]:
        """Centre of the view in px of a layer."""
        centre = np.array(self.viewer.scene.camera.center[-2:], float)
        y, x = np.linalg.solve(matrix_of(transform_of(layer)), (*centre, 1.0))[:2]
        return float(y), float(x)

    def cancel(self) -> None:
        """Stop after the batch that is running; finished tiles are shown."""
        if self.job is not None and self.job.running:
            self._show_message("Cancelling …")
            self.job.cancel()

    def _progressed(self, update: Progress) -> None:
        self.bar.setMaximum(update.total)
        self.bar.setValue(update.done)
        if update.total == 0:
            self._show_message(f"{update.phase[:1].upper()}{update.phase[1:]} …")
        elif "tiles_per_s" in update.metrics:
            left = update.metrics["seconds_left"]
            self.bar.setFormat(f"%v of %m tiles, {update.metrics['tiles_per_s']:,.0f} tiles/s, {left:,.0f} s left")
            self._show_message("Classifying …")

    def _finished(self, found: tuple[FieldResult, BuiltMap]) -> None:
        assert self.job is not None
        self.job.show_in_steps(self._show_found(*found))

    def _show_found(self, result: FieldResult, new: BuiltMap) -> Iterator[None]:
        table = result.table
        yield from self.map.show_in_steps(new)
        self._end_live()
        yield
        assert self._source is not None
        self.results.show_map(self._source, self._calibration)
        self.relabel.show_map(self._source)
        self.relabel.setVisible(True)
        seconds = f"{result.seconds:.2g}" if result.seconds < 10 else f"{result.seconds:,.0f}"
        done = f"{counted(len(table), 'tile')} in {seconds} s ({len(table) / max(result.seconds, 1e-9):,.0f} tiles/s)."
        if not result.complete:
            done = f"Cancelled: the {len(table):,} tiles that were finished are shown."
        done = f"{self._source.name}: {done}"
        self._show_message(
            " ".join([done, *(f"Warning: {text}." for text in result.warnings)]), warn=bool(result.warnings)
        )

    def _busy(self, busy: bool) -> None:
        self.run_button.setEnabled(not busy)
        self.cancel_button.setEnabled(busy)
        self.bar.setVisible(busy)
        if busy:
            self.bar.setFormat("%p%")
            self.bar.setRange(0, 0)

    def _show_message(self, text: str, warn: bool = False) -> None:
        self.message.show_text(text, warn)

    def close_down(self, window_stays: bool) -> None:
        """Leave no job running; maps stay."""
        self._requests += 1
        if self.job is not None and self.job.running:
            self.job.mute()
            self.job.cancel()
            self.job.wait(5)
        self._end_live()
        self._disconnect()
        self._engines.close()


def _form(*rows: tuple[str, QWidget]) -> QFormLayout:
    form = QFormLayout()
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for text, field in rows:
        label = QLabel(text)
        label.setMinimumWidth(_LABEL_PX)
        form.addRow(label, field)
    return form
