"""Figures of a report in a dock, drawn in a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QLabel, QSizePolicy

from napari_cellclass.core.common.task import Task
from napari_cellclass.report.curves import FigureStyle, draw_curves
from napari_cellclass.widgets.common.images import image_of
from napari_cellclass.widgets.common.jobs import Job, start_job

if TYPE_CHECKING:
    from napari.viewer import Viewer

_MIN_INTERVAL_MS = 500
Draw = Callable[[FigureStyle], NDArray[np.uint8]]


def _render(draw: Draw, style: FigureStyle, task: Task) -> NDArray[np.uint8]:
    return draw(style)


def warm_up(task: Task) -> None:
    """Import matplotlib while a user is still choosing files."""
    draw_curves((), 1, FigureStyle(100, 100))


class FigureView(QLabel):
    """A figure that is drawn in a thread, at most twice a second, and again for another size or theme.

    Parameters
    ----------
    viewer
        Its theme gives the colour of text.
    height_of
        From the width in px to the height.
    """

    def __init__(self, viewer: Viewer, height_of: Callable[[int], int]) -> None:
        super().__init__()
        self._viewer = viewer
        self.height_of = height_of
        self._draw: Draw | None = None
        self._job: Job | None = None
        self._drawn: tuple[Draw, FigureStyle] | None = None
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_MIN_INTERVAL_MS)
        self._timer.timeout.connect(self._refresh)
        viewer.events.theme.connect(self._theme_changed)
        self.setVisible(False)

    def show_figure(self, draw: Draw) -> None:
        """Show a figure as soon as it is drawn; an earlier one that is still being drawn is dropped."""
        self._draw = draw
        self.setVisible(True)
        self._fit()
        self._refresh()

    def clear_figure(self) -> None:
        """Show nothing and take no space."""
        self._draw = self._drawn = None
        self.clear()
        self.setVisible(False)

    def close_down(self) -> None:
        """Stop following the viewer."""
        self._draw = None
        self._timer.stop()
        self._viewer.events.theme.disconnect(self._theme_changed)

    def _theme_changed(self, event: Any = None) -> None:
        QTimer.singleShot(0, self._refresh)  # napari changes its colours in the same event

    def _style(self) -> FigureStyle:
        from napari.utils.theme import get_theme

        colour = get_theme(self._viewer.theme).text.as_rgb_tuple()
        text = "#" + "".join(f"{int(v):02X}" for v in colour[:3])
        return FigureStyle(max(120, self.width()), max(80, self.height()), self.devicePixelRatioF(), text)

    def _refresh(self) -> None:
        if self._draw is None or self._timer.isActive() or (self._job is not None and self._job.running):
            return
        wanted = (self._draw, self._style())
        if wanted == self._drawn:
            return
        self._drawn = wanted
        self._job = start_job(_render, owner=self, draw=wanted[0], style=wanted[1])
        self._job.returned.connect(self._show)
        self._job.failed.connect(self._failed)
        self._job.finished.connect(self._timer.start)

    def _show(self, pixels: NDArray[np.uint8]) -> None:
        if self._draw is None:
            return
        image = image_of(pixels)
        pixmap = QPixmap.fromImage(image)
        pixmap.setDevicePixelRatio(self.devicePixelRatioF())
        self.setPixmap(pixmap)

    def _failed(self, error: Exception) -> None:
        self.setText(str(error))

    def _fit(self) -> None:
        wanted = self.height_of(max(120, self.width()))
        if wanted != self.height():
            self.setFixedHeight(wanted)

    def resizeEvent(self, event: Any) -> None:
        """Redraw at the new size, once it no longer changes."""
        super().resizeEvent(event)
        if self._draw is not None:
            self._fit()
            self._timer.start()

    def sizeHint(self) -> QSize:
        """Use the width that is available, whatever is shown."""
        return QSize(120, self.height())
