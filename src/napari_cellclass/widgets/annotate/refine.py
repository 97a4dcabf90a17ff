"""Refine: train a network in the background, and offer it where it does better than the live map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.task import Progress
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.annotate.live_predictions import LivePredictions
from napari_cellclass.widgets.annotate.work import Refined, refine_model, use_refined
from napari_cellclass.widgets.common.jobs import Job, start_job, start_long_job
from napari_cellclass.widgets.common.text import WrappedLabel

_NAME = "Refine"


class RefinePanel(QWidget):
    """What became of a refinement, and a button to use its model; ``button`` starts one, and cancels it.

    ``refined`` is sent with the path of a model that is used.

    Parameters
    ----------
    workspace, predictions
        The work, and what its labels predict.
    model_path
        Gives the path for a new model.
    """

    refined = Signal(object)

    def __init__(self, workspace: Workspace, predictions: LivePredictions, model_path: Callable[[], Path]) -> None:
        super().__init__()
        self._workspace, self._predictions, self._model_path = workspace, predictions, model_path
        self.job: Job | None = None
        self._found: Refined | None = None
        self.button, self.use_button = QPushButton(_NAME), QPushButton("Use it")
        self.button.setToolTip(
            "train a network beside the live map, which takes minutes, and compare both on random tiles of parts that "
            "neither has seen; it is offered only where it is better"
        )
        self.use_button.setToolTip("write the model, and choose it on the page Map")
        self.text = WrappedLabel(selectable=False)
        self.text.keep_whole()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addWidget(self.text)
        column.addWidget(self.use_button)
        self.button.clicked.connect(self._pressed)
        self.use_button.clicked.connect(self.use)
        self._forget()

    @property
    def running(self) -> bool:
        """Whether a network is being trained."""
        return self.job is not None and self.job.running

    def _forget(self) -> None:
        """Offer nothing any more."""
        if self._found is not None:
            self._found.files.close()
        self._found = None
        self.use_button.setVisible(False)
        self.setVisible(False)

    def _say(self, text: str, warn: bool = False) -> None:
        self.text.show_text(text, warn)
        self.setVisible(True)

    def _pressed(self) -> None:
        if self.running:
            self.cancel()
        else:
            self.start()

    def start(self) -> None:
        """Train a network on the labels, unless it could not be compared; labelling goes on meanwhile."""
        current = self._predictions.current
        if self.running or current is None or current.held_out is None:
            return
        self._forget()
        if why_not := current.held_out.why_not():
            self._say(why_not)
            return
        try:
            request = self._predictions.keep_request(self._model_path())
        except CellClassError as error:
            self._say(str(error), True)
            return
        if request is None:
            return
        self.button.setText("Cancel")
        self._say("Refining: a network is trained …")
        self.job = job = start_long_job(refine_model, owner=self, request=request, held_out=current.held_out)
        job.progressed.connect(self._show_progress)
        job.returned.connect(self._show)
        job.failed.connect(lambda error: self._say(str(error), True))
        job.cancelled.connect(lambda: self._say("Cancelled; the live map stays."))
        job.finished.connect(lambda: self.button.setText(_NAME))

    def _show_progress(self, update: Progress) -> None:
        self._say(f"Refining: {update.in_words()} …")

    def _show(self, found: Refined) -> None:
        self._found = found
        self._say(found.found.text)
        self.use_button.setVisible(found.path is not None)

    def use(self) -> None:
        """Write the model that won beside the others of the work."""
        found = self._found
        if found is None or found.path is None or self.running:
            return
        self.use_button.setEnabled(False)
        job = start_job(use_refined, owner=self, refined=found, out=self._model_path())
        job.returned.connect(self._used)
        job.failed.connect(lambda error: self._say(str(error), True))
        job.finished.connect(lambda: self.use_button.setEnabled(True))

    def _used(self, path: Path) -> None:
        self._forget()
        self.refined.emit(path)

    def cancel(self) -> None:
        """End the training, if one is running."""
        if self.running and self.job is not None:
            self._say("Cancelling …")
            self.job.cancel()

    def close_down(self) -> None:
        """Leave no job running and no model that is not used."""
        if self.job is not None:
            self.job.cancel()
        self._forget()
