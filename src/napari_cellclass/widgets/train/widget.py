"""The page *Train* of the dock *Cell Class*: labelled tiles in, a model out, with previews of both."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import FileEdit
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.models.bundle import SUFFIX
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.report.curves import draw_tiles, tiles_height
from napari_cellclass.report.histograms import draw_histograms
from napari_cellclass.runs.train.annotated_fields import TrainRequest
from napari_cellclass.runs.train.preview import TrainingPreview, preview_training
from napari_cellclass.widgets.common.choices.data_choice import DataChoice
from napari_cellclass.widgets.common.choices.settings_form import StartChoice, TrainForm
from napari_cellclass.widgets.common.dock_widget import DockedWidget
from napari_cellclass.widgets.common.docks import CLASSIFY, EXPERIMENT, ExperimentDock
from napari_cellclass.widgets.common.figure_view import FigureView, warm_up
from napari_cellclass.widgets.common.jobs import Job, start_job, start_long_job
from napari_cellclass.widgets.common.layout import labelled, row_of
from napari_cellclass.widgets.common.text import WrappedLabel, plain_tip
from napari_cellclass.widgets.train import work
from napari_cellclass.widgets.train.outcome import Outcome
from napari_cellclass.widgets.train.progress import EPOCHS, TrainProgress
from napari_cellclass.widgets.train.split_table import SplitTable

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_cellclass.core.workspace.project import Project

_SETTINGS = ["network", "standardise", "epochs", "augment", "as_published"]
_MORE = [
    "with_compact",
    "colour",
    "texture",
    "class_weights",
    "normalisation",
    "range",
    "rotate",
    "views",
    "batch_size",
    "learning_rate",
    "input_px",
    "precision",
    "thumbnails",
    "seed",
]
_CANCEL_WAIT_S = 3.0
_HISTOGRAMS_PX = 150
_FEWEST_POINTS = 3  # of a curve; a line through two says nothing
_NO_TILES = "No tiles are labelled yet: label some on the page Label, or choose a folder with a sub-folder per class."
_TILES = "Choose labelled tiles, check them with Preview, and press Train."


class TrainPage(DockedWidget):
    """Train a network on class folders, annotated layers or a project.

    ``trained`` is sent with the path of a model that has been trained.

    Parameters
    ----------
    viewer
        The viewer.
    """

    display_name = "Train"
    trained = Signal(object)

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.job: Job | None = None
        self._request: TrainRequest | None = None
        self._trained_request: TrainRequest | None = None
        self._preview: TrainingPreview | None = None
        self._train_after_preview = self._is_training = False
        self._suggested = ""
        self._project: Project | None = None
        self._build()
        self._connect()
        self._data_changed()
        start_job(warm_up)
        self._say_what_next()

    @property
    def training(self) -> bool:
        """Whether a training is running or about to start."""
        return self._train_after_preview or (self._is_training and self.job is not None and self.job.running)

    def _build(self) -> None:
        self.data = DataChoice(self.viewer)
        self.form, self.more = TrainForm(_SETTINGS), TrainForm(_MORE)
        self.more_button = QPushButton("More settings")
        self.more_button.setCheckable(True)
        self.more.setVisible(False)
        self.start = StartChoice()
        self.test = FileEdit(mode="d", tooltip="class folders that are not trained on, to test the model; or none")
        self.test.line_edit.native.setPlaceholderText("none")
        self.test.line_edit.value = ""
        self.out = FileEdit(mode="w", filter=f"Models (*{SUFFIX})", tooltip="the model to write")
        self.preview_button, self.train_button = QPushButton("Preview"), QPushButton("Train")
        self.experiment_button, self.pair_button = (
            QPushButton("Learned or memorised?"),
            QPushButton("By tile or by group?"),
        )
        self.experiment_button.setToolTip("open the widget Experiment with these tiles: repeated runs and a verdict")
        self.pair_button.setToolTip(
            "train with tiles held out at random and with whole groups held out, and show both accuracies"
        )
        self.progress, self.warning = TrainProgress(self.viewer), WrappedLabel()
        self.split, self.groups = SplitTable("class"), SplitTable("group")
        self.tiles = FigureView(self.viewer, lambda width: width)
        self.histograms = FigureView(self.viewer, lambda width: _HISTOGRAMS_PX)
        self.outcome = Outcome(self.viewer)
        self.warning.set_warning(True)
        self.warning.setVisible(False)
        inner = QWidget()
        column = QVBoxLayout(inner)
        for widget in (self.data, self.form, self.more_button, self.more):
            column.addWidget(widget)
        column.addLayout(labelled(("test set", self.test.native), ("start", self.start), ("model", self.out.native)))
        column.addLayout(row_of(self.preview_button, self.train_button))
        column.addLayout(row_of(self.experiment_button, self.pair_button))
        for widget in (self.progress, self.outcome, self.warning, self.split, self.groups, self.tiles, self.histograms):
            column.addWidget(widget)
        column.addStretch(1)
        self._scroll = self.fill(inner)

    def _connect(self) -> None:
        events = self.viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(self._layers_changed)
        self.data.changed.connect(self._data_changed)
        self.data.changed.connect(self._forget_preview)
        for form in (self.form, self.more, self.data.cutting, self.data.grouping):
            form.changed.connect(self._forget_preview)
        self.more_button.toggled.connect(self.more.setVisible)
        self.preview_button.clicked.connect(self.preview)
        self.train_button.clicked.connect(self.train)
        self.experiment_button.clicked.connect(self.experiment)
        self.pair_button.clicked.connect(self.compare_splits)
        self.progress.cancel_button.clicked.connect(self.cancel)
        self.outcome.classify.connect(self.classify)
        self.outcome.copy.connect(self.fast_copy)

    def _disconnect(self) -> None:
        events = self.viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.disconnect(self._layers_changed)
        for view in (self.tiles, self.histograms, self.progress.curves):
            view.close_down()
        self.outcome.close_down()

    def _layers_changed(self, event: Any = None) -> None:
        self.data.refresh()
        self._say_what_next()

    def _say_what_next(self) -> None:
        """Say what to do first, as long as nothing else was said."""
        if self.progress.message.text() in ("", _NO_TILES, _TILES):
            self.progress.show_message(_NO_TILES if self.data.is_empty() else _TILES)

    def set_project(self, project: Project | None) -> None:
        """Train on the labels of a project from now on, for its next version; None where none is open any more."""
        self._project = project
        self.data.set_project(None if project is None else project.path)
        self._data_changed()

    def _data_changed(self) -> None:
        if self._project is not None and self.data.from_project.isChecked():
            self._suggested = str(self._project.next_model_path())
            self.out.value = self._suggested
        elif str(self.out.value) in (self._suggested, ".", ""):
            self._suggested = work.suggest_out(self.data.suggestion(), self.data.folder_above())
            self.out.value = self._suggested
        self._say_what_next()

    # -- request -------------------------------------------------------------------------------

    def _request_from_form(self) -> TrainRequest:
        out = Path(self.out.value)
        out = out if out.suffix == SUFFIX else out.with_name(out.name + SUFFIX)
        values = self.form.values() | self.more.values()
        if values["as_published"]:  # a default that was left unchanged is no choice of the user's
            values = {name: value for name, value in values.items() if value != TrainParams.model_fields[name].default}
        values |= self.data.values()
        values |= {"out": out, "initial": self.start.currentData()}
        test = self.test.line_edit.value.strip()
        values |= {"test": [Path(test)] if test not in ("", ".") else []}
        return TrainRequest(TrainParams.checked(**values), self.data.fields())

    def preview_folder(self, folder: Path, tile_px: int | None, group_by: str | None) -> None:
        """Choose class folders, and show how they are split."""
        self.data.choose_folder(folder, tile_px, group_by)
        self.preview()

    def preview(self) -> None:
        """Show how the tiles are split, and 25 of them as the network's input."""
        self._start_preview(self._request_from_form, train_after=False)

    def train(self) -> None:
        """Train, unless the split turns out to be impossible; the window stays responsive."""
        self._start_preview(self._request_from_form, train_after=True)

    def fast_copy(self, path: Path) -> None:
        """Teach the compact network what a model says, with the tiles that the last training had."""
        request = self._trained_request
        if request is None:
            return
        if self._project is not None and self.data.from_project.isChecked():
            out = self._project.next_model_path()
        else:
            out = Path(work.suggest_out(f"{path.stem}-fast", path.parent))
        self._start_preview(lambda: work.copy_request(request, path, out), train_after=True)

    def _start_preview(self, make_request: Callable[[], TrainRequest], train_after: bool) -> None:
        if self.job is not None and self.job.running:
            return
        try:
            self._request = make_request()
        except CellClassError as error:
            self.progress.show_message(str(error), warn=True)
            return
        self._train_after_preview = train_after
        self.progress.begin(training=False)
        self._is_training = False
        job = start_job(preview_training, owner=self, request=self._request, previous=self._preview)
        self._follow_job(job).returned.connect(self._previewed)

    def _forget_preview(self) -> None:
        """Show no split and no warning of other tiles or settings than those that are chosen now."""
        if (self.job is not None and self.job.running) or self.split.isHidden():
            return
        try:
            same = self._request is not None and self._request.equals(self._request_from_form())
        except CellClassError:
            same = False
        if not same:
            for widget in (self.warning, self.split, self.groups):
                widget.setVisible(False)
            for view in (self.tiles, self.histograms):
                view.clear_figure()

    def _previewed(self, found: TrainingPreview) -> None:
        self._preview = found
        self.split.show_classes(found.table)
        self.groups.show_groups(found.groups)
        self.warning.setText("\n".join(f"Warning: {text}." for text in found.warnings))
        self.warning.setVisible(bool(found.warnings))
        height, width = found.tiles.shape[1:3]
        self.tiles.height_of = partial(tiles_height, len(found.tiles), (height, width))
        self.tiles.show_figure(partial(draw_tiles, found.tiles, found.titles))
        self.histograms.show_figure(partial(draw_histograms, found.before, found.after))
        self.progress.show_message(found.summary())

    # -- training ------------------------------------------------------------------------------

    def _start_training(self) -> None:
        assert self._request is not None
        assert self._preview is not None
        request = self._trained_request = self._preview.resolved(self._request)
        self.progress.begin(training=True, held_out=self._preview.held_out)
        self._is_training = True
        job = self._follow_job(
            start_long_job(
                work.train, owner=self, every_report_of=EPOCHS, request=request, stopped=self.progress.stopped.is_set
            )
        )
        job.returned.connect(self._trained)

    def _follow_job(self, job: Job) -> Job:
        self.job = job
        self._enable(False)
        self._scroll.ensureWidgetVisible(self.progress.message, 0, 0)
        job.progressed.connect(self.progress.show_progress)
        job.failed.connect(self._failed)
        job.cancelled.connect(self._cancelled)
        job.finished.connect(self._job_finished)
        return job

    def cancel(self) -> None:
        """End at once and keep nothing."""
        self._train_after_preview = False
        if self.job is not None and self.job.running:
            self.progress.show_message("Cancelling …")
            self.job.cancel()

    def _failed(self, error: CellClassError) -> None:
        self._train_after_preview = False
        self.progress.show_message(str(error), warn=True)

    def _cancelled(self) -> None:
        self._train_after_preview = False
        self.progress.show_message("Cancelled; nothing was written.")

    def _job_finished(self) -> None:
        self.progress.finish()
        self._enable(True)
        if self._train_after_preview:
            self._train_after_preview = False
            self._start_training()

    def _trained(self, trained: work.Trained) -> None:
        self.outcome.add(trained)
        path = trained.model.path
        self.start.add(path)
        self._data_changed()
        if trained.label_curve:
            if len(trained.label_curve) >= _FEWEST_POINTS:
                self.progress.show_label_curve(trained.label_curve, trained.chance, trained.interval)
            self.progress.show_message(f"Trained; the model is in {path.name}.")
        else:
            training = trained.model.manifest.training
            self.progress.show_kept(training["epochs"], training["epoch_kept"])
            self.progress.show_message(f"Trained; epoch {training['epoch_kept']} is in {path.name}.")
        self.progress.message.setToolTip(plain_tip(str(path)))
        self.trained.emit(path)
        classify = CLASSIFY.find(self)
        if classify is not None:
            classify.model_trained(path)

    def last_model(self) -> Path | None:
        """Give the model that was trained last in this window, or None."""
        return self.outcome.trained[-1].model.path if self.outcome.trained else None

    def classify(self, path: Path) -> None:
        """Classify the field with a model, in the widget *Classify field*, which is opened where it is not."""
        CLASSIFY.open(self, self.viewer).run_when_ready(path)

    def experiment(self) -> ExperimentDock:
        """Open the widget *Experiment* with the tiles and settings of this one."""
        widget = EXPERIMENT.open(self, self.viewer)
        widget.set_training(self.data, self.form, self.more)
        return widget

    def compare_splits(self) -> None:
        """Train by tile and by group, in the widget *Experiment*, and show both accuracies."""
        self.experiment().start_pair()

    # -- window --------------------------------------------------------------------------------

    def _enable(self, enabled: bool) -> None:
        for button in (self.preview_button, self.train_button):
            button.setEnabled(enabled)

    def _cancel_and_wait(self) -> None:
        self.cancel()
        if self.job is not None:
            self.job.wait(_CANCEL_WAIT_S)

    def running_work(self) -> str:
        """Name the training, while one is running or about to start."""
        return "A training" if self.training else ""

    def lasting_work(self) -> str:
        """Name the training, as :meth:`running_work` does."""
        return self.running_work()

    def stop_work(self, keep: bool) -> None:
        """End the training: with this epoch, of which the best one is written, or at once."""
        if keep and self.progress.has_epochs:
            self._train_after_preview = False
            self.progress.stopped.set()
        else:
            self._cancel_and_wait()

    def showEvent(self, event: Any) -> None:
        """Follow labels that were added since."""
        super().showEvent(event)
        self._layers_changed()

    def enterEvent(self, event: Any) -> None:
        """Follow labels that were added since."""
        super().enterEvent(event)
        self._layers_changed()

    def close_down(self, window_stays: bool) -> None:
        """Leave no job running, but let a training write its best epoch where only the dock was closed."""
        if window_stays and self.training and self.progress.has_epochs and self.job is not None:
            from napari.utils.notifications import show_info  # imports Dask

            self.job.mute()
            self.progress.stopped.set()
            show_info(f"The training ends with this epoch; the best one will be in {self.out.value}.")
        else:
            self._cancel_and_wait()
        self._disconnect()
