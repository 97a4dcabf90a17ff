"""Lets the canvas be painted once for a label and the map that follows it, instead of twice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QWidget

from napari_cellclass.widgets.annotate.live_predictions import LivePredictions

if TYPE_CHECKING:
    from napari.viewer import Viewer

_USUAL_MS, _LONGEST_MS = 80, 200
_SPARE = 1.5  # times as long as the fit before


class CanvasPause(QObject):
    """Holds the canvas while labels are fitted, as long as that took before and half as long again.

    Without a graphics card each painting takes longer than a fit, and the two would share the cores. A pause is 80 to
    200 ms at most: a label and its map 150 ms after the key are sooner than a label after 80 and its map after 250.
    Where fits take longer than that, the label waits 80 ms.

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
        self._began, self._took_ms = 0.0, 0.0
        self._timer.timeout.connect(self.end)
        predictions.label_fit_started.connect(self.begin)
        predictions.predicted.connect(self._predicted)
        predictions.failed.connect(self.end)

    def begin(self) -> None:
        """Paint nothing for a moment; a pause that has begun gets no longer."""
        self._began = time.monotonic()
        if not self._timer.isActive():
            self._switch(False)
            expected = _SPARE * self._took_ms
            self._timer.start(round(expected) if _USUAL_MS < expected <= _LONGEST_MS else _USUAL_MS)

    def _predicted(self) -> None:
        if self._began:
            self._began, self._took_ms = 0.0, 1000 * (time.monotonic() - self._began)
        self.end()

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
