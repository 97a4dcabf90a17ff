"""Keep as model: a model of the labels is made in the background, with its progress."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.task import Progress
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.annotate.live_predictions import LivePredictions
from napari_cellclass.widgets.annotate.work import keep_model
from napari_cellclass.widgets.common.jobs import Job, start_long_job
from napari_cellclass.widgets.common.text import WrappedLabel

_NAME = "Keep as model"


class KeepPanel(QWidget):
    """Progress of a model that is being made of the labels; ``button`` starts that, and cancels it.

    ``kept`` is sent with the path of a model.

    Parameters
    ----------
    workspace, predictions
        The work, and what its labels predict.
    model_path
        Gives the path for a new model.
    """

    kept = Signal(object)

    def __init__(self, workspace: Workspace, predictions: LivePredictions, model_path: Callable[[], Path]) -> None:
        super().__init__()
        self._workspace, self._predictions, self._model_path = workspace, predictions, model_path
        self.job: Job | None = None
        self.button = QPushButton(_NAME)
        self.button.setToolTip("make a model of the labels, for plates, other fields and the command line")
        self.bar, self.text = QProgressBar(), WrappedLabel(selectable=False)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(4)
        self.text.keep_whole()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addWidget(self.bar)
        column.addWidget(self.text)
        self.button.clicked.connect(self._pressed)
        self.setVisible(False)

    @property
    def running(self) -> bool:
        """Whether a model is being made."""
        return self.job is not None and self.job.running

    def _pressed(self) -> None:
        if self.running:
            self.cancel()
        else:
            self.start()

    def start(self) -> None:
        """Make a model that predicts what the live map shows; labelling goes on meanwhile."""
        if self.running:
            return
        try:
            request = self._predictions.keep_request(self._model_path())
        except CellClassError as error:
            self._workspace.message.emit(str(error), True)
            return
        if request is None:
            return
        self.button.setText("Cancel")
        self._show_progress(Progress("starting", 0, 0))
        self.setVisible(True)
        self.job = job = start_long_job(keep_model, owner=self, request=request)
        job.progressed.connect(self._show_progress)
        job.returned.connect(self.kept)
        job.failed.connect(lambda error: self._workspace.message.emit(str(error), True))
        job.cancelled.connect(lambda: self._workspace.message.emit("Cancelled; no model was made.", False))
        job.finished.connect(self._finished)

    def _show_progress(self, update: Progress) -> None:
        # A range of 0 is a bar that moves by itself: a step that does not say how far it is.
        self.bar.setRange(0, update.total)
        self.bar.setValue(update.done)
        self.text.show_text(f"A model of the labels: {update.in_words()} …")

    def _finished(self) -> None:
        self.button.setText(_NAME)
        self.setVisible(False)

    def cancel(self) -> None:
        """End it, if a model is being made."""
        if self.running and self.job is not None:
            self.text.show_text("Cancelling …")
            self.job.cancel()
