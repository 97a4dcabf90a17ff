"""Lets the canvas be painted once for a label and the map that follows it, instead of twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QWidget

from napari_cellclass.widgets.annotate.live_predictions import LivePredictions

if TYPE_CHECKING:
    from napari.viewer import Viewer

_LONGEST_MS = 80


class CanvasPause(QObject):
    """Holds the canvas while a few labels are fitted, at most 80 ms: nobody sees that a label is painted so late.

    Without a graphics card each painting takes as long as the fit, and the two would share the cores.

    Parameters
    ----------
    owner
        The widget that lives as long as this.
    viewer
        The viewer with the canvas.
    predictions
        Tell when a fit begins, and when what it predicts has come.
    """

    def __init__(self, owner: QWidget, viewer: Viewer, predictions: LivePredictions) -> None:
        super().__init__(owner)
        self._viewer = viewer
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_LONGEST_MS)
        self._timer.timeout.connect(self.end)
        predictions.label_fit_started.connect(self.begin)
        predictions.predicted.connect(self.end)
        predictions.failed.connect(self.end)

    def begin(self) -> None:
        """Paint nothing for a moment; a pause that has begun gets no longer."""
        if not self._timer.isActive():
            self._switch(False)
            self._timer.start()

    def end(self, _: object = None) -> None:
        """Paint what has changed."""
        if self._timer.isActive() or self.sender() is self._timer:
            self._timer.stop()
            self._switch(True)

    def _switch(self, painted: bool) -> None:
        try:
            self._viewer.window._qt_viewer.canvas.native.setUpdatesEnabled(painted)
        except (RuntimeError, AttributeError):
            return  # the window is being closed
