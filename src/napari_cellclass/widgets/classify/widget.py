"""The page *Map* of the dock *Cell Class*: model, Run, and the map with its legend."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.task import Progress
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.label_store import UNLABELLED
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.classify import ClassifyParams
from napari_cellclass.core.stats.calibration import Calibration
from napari_cellclass.core.workspace.recent import Recent
from napari_cellclass.runs.classify.field import FieldResult
from napari_cellclass.runs.common.engine_cache import EngineCache
from napari_cellclass.viewer.common.layer_planes import plane_position
from napari_cellclass.viewer.common.layers import (
    image_from_layers,
    pixel_size_um,
    region_polygons,
    view_centre,
)
from napari_cellclass.viewer.common.map_view import BuiltMap, FieldLayer, MapView
from napari_cellclass.viewer.features.live import LiveMap
from napari_cellclass.viewer.workspace.class_matching import adopt_classes
from napari_cellclass.viewer.workspace.map_origin import MapOrigin
from napari_cellclass.viewer.workspace.opening import OpenedField
from napari_cellclass.viewer.workspace.project_session import ProjectImage
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.classify import work
from napari_cellclass.widgets.classify.evidence import EvidencePanel
from napari_cellclass.widgets.classify.live_predictions import LivePredictionMap
from napari_cellclass.widgets.classify.map_state import MapState
from napari_cellclass.widgets.classify.model_choice import ModelChoice
from napari_cellclass.widgets.classify.model_classes import ModelClasses
from napari_cellclass.widgets.classify.plane_runs import PlaneRuns, describe_result
from napari_cellclass.widgets.classify.resample_notice import ResampleNotice
from napari_cellclass.widgets.classify.results import ResultsPanel
from napari_cellclass.widgets.classify.run_controls import RunControls
from napari_cellclass.widgets.classify.saved_maps import SavedMaps
from napari_cellclass.widgets.common.choices.channel_line import ChannelLine
from napari_cellclass.widgets.common.choices.layer_choice import ImageChoice, RegionChoice
from napari_cellclass.widgets.common.dock_widget import DockedWidget
from napari_cellclass.widgets.common.forms import form
from napari_cellclass.widgets.common.jobs import Job, start_job, start_long_job
from napari_cellclass.widgets.common.layout import labelled
from napari_cellclass.widgets.common.text import WrappedLabel

if TYPE_CHECKING:
    from napari.viewer import Viewer

_VIEW_SETTLES_MS = 120
_POLL_MS, _PAINT_INTERVAL_S = 30, 0.25


class MapPage(DockedWidget):
    """Classify the tiles of a field and show classes and confidences as a layer.

    ``tiles_wanted`` is sent with side and overlap of a model's tiles, where no tile is labelled yet.

    Parameters
    ----------
    viewer, workspace
        The viewer, and the work in it.
    images, channels
        The image layers that are ticked, and the line that names their channels.
    overlap
        Gives the fraction of a tile that its neighbour shares.
    """

    display_name = "Classify field"
    tiles_wanted = Signal(int, float)

    def __init__(
        self,
        viewer: Viewer,
        workspace: Workspace,
        images: ImageChoice,
        channels: ChannelLine,
        overlap: Callable[[], float],
    ) -> None:
        super().__init__()
        self._overlap = overlap
        self.viewer, self.workspace, self.images, self.channels = viewer, workspace, images, channels
        self.map = MapView(viewer)
        self.job: Job | None = None
        self._source: SourceImage | None = None
        self._running: tuple[ModelBundle, Path] | None = None
        self._run_when_ready = False
        self._live: LiveMap | None = None
        self._painted = 0.0
        self._engines = EngineCache()
        self._build()
        self._connect()
        self.controls.set_busy(False)
        self._show_message("Open an image, choose a model, and press Run; the pages Label and Train make models.")

    def _build(self) -> None:
        self.model_choice = ModelChoice()
        self.region = RegionChoice(self.viewer)
        self.tiles = form(ClassifyParams, ["edge", "engine", "precision"])
        self.rescale = ResampleNotice()
        self.controls = RunControls()
        self.run_button, self.cancel_button, self.bar = self.controls.run, self.controls.cancel, self.controls.bar
        self.message = WrappedLabel()
        self.results = ResultsPanel(self.map, self._show_message)
        self.state, self.planes = MapState(self.workspace, self.map, self._engines), PlaneRuns(self.viewer, self.map)
        self.live = LivePredictionMap(
            self.workspace, self.map, self.images, self.results, self.state, self.running_work
        )
        self.keep_map = self.controls.keep_map
        self.classes = ModelClasses(self.workspace)
        self.saved = SavedMaps(self, self.workspace)
        self.evidence = EvidencePanel(self.workspace, self.map, self._engines, self._request)
        settings = [("region", self.region), *((field.label, field.native) for field in self.tiles)]
        inner = QWidget()
        column = QVBoxLayout(inner)
        self.controls.settings.setLayout(labelled(*settings))
        for widget in (self.model_choice, self.rescale, self.classes, self.controls, self.planes, self.message):
            column.addWidget(widget)
        # The counts are what a run is for: on a low screen they are seen without scrolling.
        for shown in (self.results, self.state, self.planes.counts, self.evidence, self.keep_map):
            column.addWidget(shown)
        column.addStretch(1)
        self.fill(inner)
        self.results.setVisible(False)

    def _connect(self) -> None:
        events = self.viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(self._layers_changed)
        self.model_choice.ready.connect(self._model_ready)
        self.images.itemChanged.connect(lambda _: self._compare_scales())
        self.run_button.clicked.connect(self.run)
        self.cancel_button.clicked.connect(self.cancel)
        self.planes.connect(self._plane_shown, self._show_message)
        self.workspace.classes_changed.connect(self._follow_classes)
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
        if self._map_is_gone():
            self.results.setVisible(False)
            QTimer.singleShot(0, self._clear_deleted_map)  # not while napari is changing its list
        self.state.follow()

    def _clear_deleted_map(self) -> None:
        """Remove the text of a map that a user has deleted."""
        if self._map_is_gone() and not self.closed_down:
            self.map.remove()

    def _map_is_gone(self) -> bool:
        return not self.map.is_in_viewer() and self._live is None and not self.live.is_building

    def _compare_scales(self) -> None:
        """Offer resampling where the pixel sizes of image and model differ."""
        chosen = self.images.chosen()
        here = pixel_size_um(chosen[0]) if chosen else None
        self.planes.offer(chosen)
        self.rescale.compare(None if self.model is None else self.model.manifest.pixel_size_um, here)

    def _view_moved(self, event: Any = None) -> None:
        self._view_timer.start()

    @property
    def model(self) -> ModelBundle | None:
        """The model that is open, or None."""
        return self.model_choice.model

    def chosen_model(self) -> Path | None:
        """Give the file that was chosen, of a ``.keras`` file not what it was converted to; None where none is open."""
        return None if self.model is None else Path(self.model_choice.path.value)

    def set_model(self, path: Path | str) -> None:
        """Choose a model, as if its path had been typed."""
        self.model_choice.choose(path)

    def _model_ready(self, model: ModelBundle) -> None:
        Recent().add_model(Path(self.model_choice.path.value))
        adopt_classes(self.workspace, model.scheme)
        self.classes.compare(model.scheme.names)
        self._follow_model_tiles(model.manifest.tile_px, model.manifest.overlap)
        self.state.set_model(model)
        self.channels.expect(model.preprocess.channels)
        self._compare_scales()
        self.tiles["edge"].value = model.manifest.edge
        if self._run_when_ready:
            self._run_when_ready = False
            self.run()
        else:
            how = {name: self.tiles[name].value for name in ("engine", "precision")}
            start_job(work.prepare, model=model, engines=self._engines, **how)

    def model_trained(self, path: Path) -> None:
        """Choose a model that has just been trained; the map becomes its map, unless the user keeps the one shown."""
        if self.keep_map.isChecked() or not self.images.chosen():
            self.set_model(path)
        else:
            self.run_when_ready(path)

    def _follow_model_tiles(self, tile_px: tuple[int, int], overlap: float) -> None:
        annotation = self.workspace.annotation
        if tile_px[0] == tile_px[1] and (annotation is None or (annotation.labels == UNLABELLED).all()):
            self.tiles_wanted.emit(tile_px[0], overlap)

    def show_saved(self, image: ProjectImage) -> None:
        """Show the map of a field of a project, once the field has been opened."""
        self.saved.wait_for(image)

    def field_opened(self, found: OpenedField) -> None:
        """Follow a field that has been opened for labelling."""
        if self.model is not None:
            adopt_classes(self.workspace, self.model.scheme)
        self.saved.build(found.source, self.images.chosen(), self.map.style, self._show_built)

    def _show_built(self, built: BuiltMap, source: SourceImage, origin: MapOrigin) -> None:
        self._source = source
        self.map.show(built)
        self._show_results(origin, None)

    def _show_results(self, origin: MapOrigin, calibration: Calibration | None) -> None:
        self.state.show_origin(origin)
        self.workspace.watch_map(self.map.clickable_layers())
        assert self._source is not None
        self.results.show_map(self._source, calibration)
        self.live.changed.emit()  # whatever says something of the current tile follows this map, too

    def show_no_field(self, reason: str) -> None:
        """Show no counts and no export of the field before: another one is chosen that cannot be opened."""
        if self.job is None or not self.job.running:
            self.results.setVisible(False)
            self._show_message(reason, warn=True)

    def _follow_classes(self) -> None:
        """Give the map's classes the colours that the labels' have."""
        table = self.map.table
        if table is not None and self.map.is_in_viewer():
            scheme = work.recoloured(table.scheme, self.workspace.colours())
            if scheme != table.scheme:
                self.map.update_predictions(replace(table, scheme=scheme))
                self.results.show_counts()
        if self.model is not None:
            self.classes.compare(self.model.scheme.names)

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
        self.planes.begin(request, self.images.chosen(), self.region.chosen())
        self._source = request.source
        self._running = request.model, Path(self.model_choice.path.value)
        self.controls.set_busy(True)
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
        first, now = self._painted == 0, time.perf_counter()
        if self._live is not None and now - self._painted >= _PAINT_INTERVAL_S and self._live.paint():
            self._painted = time.perf_counter()
            self.results.show_progress(self._live, first)

    def _ended(self) -> None:
        self._end_live()
        self.controls.set_busy(False)

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
            raise CellClassError(f"{self.model_choice.text.text()}; take Select file, or Keep as model in Label")
        layers = self.images.chosen()
        source = image_from_layers(layers, self.viewer.dims.point)
        region, here = self.region.chosen(), plane_position(layers[0], self.viewer.dims.point)
        return work.ClassifyRequest(
            source,
            self.model,
            tuple(region_polygons(region, layers[0], here)) if region is not None else (),
            FieldLayer.of(layers[0]),
            self.map.style,
            self.map.current if self.map.is_in_viewer() else None,
            self._overlap(),
            **{name: self.tiles[name].value for name in ("edge", "engine", "precision")},
            rescale=self.rescale.wanted,
            centre=view_centre(self.viewer, layers[0]),
            colours=self.workspace.colours(),
            novelty_rate=self.results.novelty.currentData(),
        )

    def cancel(self) -> None:
        """Stop after the batch that is running; finished tiles are shown."""
        self.planes.cancel()
        if self.job is not None and self.job.running:
            self._show_message("Cancelling …")
            self.job.cancel()

    def _progressed(self, update: Progress) -> None:
        text = self.controls.show_progress(update)
        if text:
            self._show_message(text)

    def _finished(self, found: tuple[FieldResult, BuiltMap]) -> None:
        assert self.job is not None
        self.job.show_in_steps(self._show_found(*found))

    def _show_found(self, result: FieldResult, new: BuiltMap) -> Iterator[None]:
        table = result.table
        assert self._source is not None
        yield from self.map.show_in_steps(new)
        if self._live is not None:
            yield from self._live.remove_in_steps()
        self._end_live()
        yield
        self._plane_shown(self._source, new)
        assert self._running is not None
        self.saved.keep(table, self._running[0].model_id)
        self._show_message(describe_result(result, self._source.name), warn=bool(result.warnings))
        self.planes.finish(result)

    def _plane_shown(self, source: SourceImage, built: BuiltMap) -> None:
        assert self._running is not None
        self._source, (model, path) = source, self._running
        origin = MapOrigin.of(model, path, built, dict(source.plane), source.image_id)
        self._show_results(origin, model.manifest.calibration)

    def _show_message(self, text: str, warn: bool = False) -> None:
        self.message.show_text(text, warn)

    def running_work(self) -> str:
        """Name the classification, while one is running."""
        jobs = (self.job, self.planes.job)
        return "The classification of a field" if any(job is not None and job.running for job in jobs) else ""

    def stop_work(self, keep: bool) -> None:
        """End the run; with ``keep`` the finished tiles become a map."""
        if self.job is not None and self.job.running:
            if not keep:
                self.job.mute()
            self.cancel()

    def close_down(self, window_stays: bool) -> None:
        """Leave no job running; maps stay."""
        self.model_choice.forget()
        self.live.stop()
        for part in (self.planes, self.evidence, self.results):
            part.close_down()
        if self.job is not None and self.job.running:
            self.job.mute()
            self.job.cancel()
            self.job.wait(5)
        self._end_live()
        self._disconnect()
        self._engines.close()
