"""Where the points of the scatter plot come from: plots and predictions, computed in jobs while features stream in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.runs.live.field_features import FieldFeatures
from napari_cellclass.viewer.workspace.live_labels import LabelledField
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.common.docks import CellClassDock
from napari_cellclass.widgets.common.jobs import Job, start_job, start_long_job
from napari_cellclass.widgets.scatter.fields import point_field
from napari_cellclass.widgets.scatter.work import Method, Plot, PlotRequest, plot_tiles, predict_others

_AFTER_MS = 1500  # between plots while features stream in


class Plotter(QObject):
    """Keeps the plot up to date with the features of all fields that are open.

    At most one plot is computed at a time; what changes meanwhile is followed by one more. ``plotted`` is sent with
    whether the points before have kept their positions, ``emptied`` with the reason why nothing is plotted,
    ``predicted`` after other classes are predicted for a field that is not shown, ``failed`` with why a plot could not
    be computed, ``busy`` with whether one is being computed that takes long.

    Parameters
    ----------
    parent
        The widget that listens.
    """

    plotted = Signal(bool)
    emptied = Signal(str)
    predicted = Signal()
    failed = Signal(str)
    busy = Signal(bool)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._owner = parent
        self.plot: Plot | None = None
        self.method: Method = "PCA"
        self._dock: CellClassDock | None = None
        self._fields: dict[str, tuple[LabelledField, FieldFeatures]] = {}
        self._others: dict[str, NDArray[np.float32]] = {}
        self._job: Job | None = None
        self._others_job: Job | None = None
        self._again = self._others_again = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_AFTER_MS)
        self._timer.timeout.connect(self.replot)

    def follow(self, dock: CellClassDock) -> None:
        """Plot the fields of a dock Cell Class from now on."""
        self._dock = dock
        dock.workspace.field_changed.connect(self._field_changed)
        dock.live.progressed.connect(self._progressed)
        dock.live.predicted.connect(self._predict_others)
        self._field_changed()

    def leave(self) -> None:
        """Follow nothing any more, and leave no job running."""
        dock, self._dock = self._dock, None
        self._stop()
        if self._others_job is not None:
            self._others_job.cancel()
        self.plot, self._fields, self._others = None, {}, {}
        if dock is not None:
            dock.workspace.field_changed.disconnect(self._field_changed)
            dock.live.progressed.disconnect(self._progressed)
            dock.live.predicted.disconnect(self._predict_others)

    @property
    def labelled(self) -> dict[str, LabelledField]:
        """The fields with their labels, by key."""
        return {key: labelled for key, (labelled, _) in self._fields.items()}

    def probabilities(self) -> dict[str, NDArray[np.float32]]:
        """Give what the labels predict by now, float32 (N, K), by field."""
        current = None if self._dock is None else self._dock.live.current
        return self._others if current is None else self._others | {current.key: current.prob}

    def set_method(self, method: Method) -> None:
        """Lay the tiles out in another way; what is being computed is given up."""
        self.method = method
        self._stop()
        self.replot()

    # -- plots -------------------------------------------------------------------------------------

    def _field_changed(self) -> None:
        # Not at once: the live predictions take the field in at the same signal, perhaps after this.
        QTimer.singleShot(0, self.replot)

    def _progressed(self, known: int, total: int) -> None:
        if self.plot is None or known >= total:
            self._timer.stop()
            self.replot()
        elif not self._timer.isActive():
            self._timer.start()

    def _work(self) -> Workspace | None:
        dock = self._dock
        return dock.workspace if dock is not None and dock.workspace.annotation is not None else None

    def replot(self) -> None:
        """Plot what is known by now, where the plot can be seen.

        While a plot is being computed nothing is done at once; one more plot follows it.
        """
        dock, work = self._dock, self._work()
        if dock is None or not self._owner.isVisible():
            return  # it is called again when the plot is shown
        if work is None:
            self._empty("Open an image: its tiles are plotted once their features are known.")
            return
        if not dock.live.enabled:
            self._empty("The plot needs the features of the live map: tick 'live' on the page Label.")
            return
        self._fields = {one.key: (one, features) for one, features in dock.live.opened_fields()}
        if self._job is not None:
            self._again = True
            return
        if work.field_key not in self._fields or not any(one.known.any() for _, one in self._fields.values()):
            if self.plot is not None and work.field_key in [one.key for one in self.plot.points.fields]:
                return
            self.plot = None
            self.emptied.emit("The features of the tiles are being computed …")
            return
        fields = tuple((point_field(one), features) for one, features in self._fields.values())
        complete = all(features.complete for _, features in fields)
        self._start(PlotRequest(fields, self.method if complete else "PCA", self.plot))

    def _empty(self, reason: str) -> None:
        self._stop()
        self.plot, self._fields, self._others = None, {}, {}
        self.emptied.emit(reason)

    def _start(self, request: PlotRequest) -> None:
        long = request.method == "UMAP"
        self._job = job = (start_long_job if long else start_job)(plot_tiles, owner=self._owner, request=request)
        self.busy.emit(long)
        job.returned.connect(lambda plot: self._take(job, plot))
        job.failed.connect(lambda error: self._fail(job, error))
        job.finished.connect(lambda: self._finished(job))

    def _take(self, job: Job, plot: Plot) -> None:
        if job is not self._job:
            return
        before, self.plot = self.plot, plot
        same = before is not None and before.projection is plot.projection and plot.projection is not None
        changed = [one.key for one in plot.points.fields] != list(self._fields)
        self._again |= changed or (plot.complete and plot.method != self.method)
        self.plotted.emit(same)
        self._predict_others()

    def _fail(self, job: Job, error: CellClassError) -> None:
        if job is self._job:
            self.method = "PCA"
            self.failed.emit(str(error))

    def _finished(self, job: Job) -> None:
        if job is not self._job:
            return
        self._job = None
        self.busy.emit(False)
        if self._again:
            self._again = False
            self.replot()

    def _stop(self) -> None:
        job, self._job = self._job, None
        self._again = False
        self._timer.stop()
        self.busy.emit(False)
        if job is not None:
            job.cancel()

    # -- predictions of the fields that are not shown ----------------------------------------------

    def _predict_others(self, found: object = None) -> None:
        """Let the labels predict the tiles of other fields, one request after the other."""
        dock, work = self._dock, self._work()
        if dock is None or work is None or self.plot is None or not self._owner.isVisible():
            return
        current, session = dock.live.current, dock.live.session
        fields = {key: features for key, (_, features) in self._fields.items() if key != work.field_key}
        if not fields or session is None or current is None or current.fit is None:
            self._others = {}
            return
        if self._others_job is not None:
            self._others_again = True
            return
        self._others_job = job = start_job(
            predict_others, owner=self._owner, found=current, columns=session.columns, fields=fields
        )
        job.returned.connect(self._take_others)
        job.finished.connect(self._others_finished)

    def _take_others(self, found: dict[str, NDArray[np.float32]]) -> None:
        if self._dock is not None:
            self._others = found
            self.predicted.emit()

    def _others_finished(self) -> None:
        self._others_job = None
        if self._others_again:
            self._others_again = False
            self._predict_others()
