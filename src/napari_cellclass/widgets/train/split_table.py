"""What the Train widget shows: figures drawn in a thread, and the table of the split."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QLabel, QSizePolicy, QTableWidget, QTableWidgetItem

from napari_cellclass.core.common.errors import CancelCheck, ProgressCallback
from napari_cellclass.report.curves import Look, draw_curves
from napari_cellclass.widgets.common.jobs import Job, start_job
from napari_cellclass.widgets.common.text import plain_tip

if TYPE_CHECKING:
    from napari.viewer import Viewer

_LEAST_MS = 500
_ROW_PX = 24
Draw = Callable[[Look], NDArray[np.uint8]]


def _render(draw: Draw, look: Look, progress: ProgressCallback, cancelled: CancelCheck) -> NDArray[np.uint8]:
    return draw(look)


def warm_up(progress: ProgressCallback, cancelled: CancelCheck) -> None:
    """Import what draws, while a user still looks around."""
    draw_curves((), 1, Look(100, 100))


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
        self._drawn: tuple[Draw, Look] | None = None
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_LEAST_MS)
        self._timer.timeout.connect(self._refresh)
        viewer.events.theme.connect(self._theme_changed)
        self.setVisible(False)

    def show_figure(self, draw: Draw) -> None:
        """Show a figure as soon as it is drawn; an earlier one that is not yet is dropped."""
        self._draw = draw
        self.setVisible(True)
        self._fit()
        self._refresh()

    def clear_figure(self) -> None:
        """Show nothing and take no room."""
        self._draw = self._drawn = None
        self.clear()
        self.setVisible(False)

    def let_go(self) -> None:
        """Stop following the viewer."""
        self._draw = None
        self._timer.stop()
        self._viewer.events.theme.disconnect(self._theme_changed)

    def _theme_changed(self, event: Any = None) -> None:
        QTimer.singleShot(0, self._refresh)  # napari changes its colours in the same turn

    def _look(self) -> Look:
        from napari.utils.theme import get_theme

        colour = get_theme(self._viewer.theme).text.as_rgb_tuple()
        text = "#" + "".join(f"{int(v):02X}" for v in colour[:3])
        return Look(max(120, self.width()), max(80, self.height()), self.devicePixelRatioF(), text)

    def _refresh(self) -> None:
        if self._draw is None or self._timer.isActive() or (self._job is not None and self._job.running):
            return
        wanted = (self._draw, self._look())
        if wanted == self._drawn:
            return
        self._drawn = wanted
        self._job = start_job(_render, owner=self, draw=wanted[0], look=wanted[1])
        self._job.returned.connect(self._show)
        self._job.failed.connect(self._failed)
        self._job.finished.connect(self._timer.start)

    def _show(self, pixels: NDArray[np.uint8]) -> None:
        if self._draw is None:
            return
        height, width = pixels.shape[:2]
        image = QImage(pixels.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888)
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
        """Draw anew at the new size, once it has settled."""
        super().resizeEvent(event)
        if self._draw is not None:
            self._fit()
            self._timer.start()

    def sizeHint(self) -> QSize:
        """Take the width that is there, whatever is shown."""
        return QSize(120, self.height())


class SplitTable(QTableWidget):
    """How many tiles of each class, or of each group, train, validate and test.

    Parameters
    ----------
    what
        What a row is: ``"class"`` or ``"group"``.
    """

    _SPLITS = ("train", "validation", "test", "left_out")
    _HEADERS = ("train", "validate", "test", "left out")

    def __init__(self, what: str) -> None:
        super().__init__(0, 1 + len(self._HEADERS))
        self.setHorizontalHeaderLabels([what, *self._HEADERS])
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setShowGrid(False)
        self.setWordWrap(False)  # it would show a path's first folder alone
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(_ROW_PX)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.setToolTip("tiles, and in how many groups (fields or wells) they lie")
        self.setVisible(False)

    def show_classes(self, table: pd.DataFrame) -> None:
        """Fill the rows from :attr:`TrainingPreview.table`."""
        groups = table.get([f"{split}_groups" for split in self._SPLITS[:-1]])
        self._fill(table["class_name"], table[list(self._SPLITS)].to_numpy(), groups.to_numpy())

    def show_groups(self, table: pd.DataFrame) -> None:
        """Fill the rows from :attr:`TrainingPreview.groups`."""
        counts = table.rename(columns={"": "left_out"})[list(self._SPLITS)]
        self._fill(table["group"], counts.to_numpy(), None)

    def _fill(self, names: Iterable[Any], tiles: NDArray[np.int64], groups: NDArray[np.int64] | None) -> None:
        self.setRowCount(len(tiles))
        for i, name in enumerate(names):
            named = QTableWidgetItem(str(name))
            named.setToolTip(plain_tip(str(name)))
            self.setItem(i, 0, named)
            for j, count in enumerate(tiles[i]):
                within = groups[i, j] if groups is not None and j < groups.shape[1] else None
                cell = QTableWidgetItem(_tiles(count, within))
                cell.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(i, 1 + j, cell)
        for j in (2, 3):
            self.setColumnHidden(1 + j, not tiles[:, j].any())
        self.setVisible(True)
        rows = min(8, len(tiles))
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + _ROW_PX * rows + 6)


def _tiles(tiles: int, groups: int | None) -> str:
    if groups is None or not tiles:
        return f"{tiles:,}" if tiles else "-"
    return f"{tiles:,} in {groups} group{'' if groups == 1 else 's'}"
