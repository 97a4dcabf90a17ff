"""Pages of test tiles in a chosen order: all, or those of one cell of the confusion matrix."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QPushButton, QSpinBox, QVBoxLayout, QWidget

from napari_cellclass.core.evaluation.example_tiles import ORDERS, TILES_PER_PAGE, PanelTile, panel_tile_indices
from napari_cellclass.core.evaluation.results import Evaluation
from napari_cellclass.core.params.evaluate import PanelOrder
from napari_cellclass.report.panel import draw_panel, panel_height, tile_at
from napari_cellclass.widgets.common.figure_view import FigureView
from napari_cellclass.widgets.common.jobs import Job, start_job
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import WrappedLabel
from napari_cellclass.widgets.evaluate import work

if TYPE_CHECKING:
    from napari.viewer import Viewer


class PanelView(QWidget):
    """Pages of 25 tiles; ``opened`` is sent with the evaluation and the :class:`PanelTile` that was double-clicked."""

    opened = Signal(object, object)

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._evaluation: Evaluation | None = None
        self._drawn: Evaluation | None = None  # the evaluation of the tiles on screen, until others are read
        self._cell: tuple[int, int] | None = None
        self._tile_indices: NDArray[np.int64] = np.zeros(0, np.int64)
        self._job: Job | None = None
        self._requests = 0
        self.page = 0
        self.tiles: tuple[PanelTile, ...] = ()
        self.order, self.seed = QComboBox(), QSpinBox()
        self.order.setToolTip("which tiles of the cell are shown first")
        self.seed.setToolTip("another number draws other tiles, the same number the same ones")
        for order in get_args(PanelOrder):
            self.order.addItem(ORDERS[order], order)
        self.order.setCurrentIndex(self.order.findData("wrong"))
        self.order.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.order.setMinimumContentsLength(12)
        self.seed.setPrefix("seed ")
        self.seed.setMaximum(9999)
        self.seed.setVisible(False)
        self.title, self.status = WrappedLabel(selectable=False), WrappedLabel(selectable=False)
        self.all_button = QPushButton("All tiles")
        self.back_button, self.next_button = QPushButton("◀"), QPushButton("▶")
        for button, text in ((self.back_button, "the previous page"), (self.next_button, "the next page")):
            button.setToolTip(text)
            button.setMaximumWidth(44)
        self.figure = FigureView(viewer, lambda width: panel_height(self.tiles, width))
        self.figure.setToolTip("double-click a tile to see it in its field")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.title)
        column.addLayout(row_of(self.order, self.seed, self.all_button))
        pages = row_of(self.back_button, self.status, self.next_button)
        pages.setStretch(1, 1)
        column.addLayout(pages)
        column.addWidget(self.figure)
        self.order.currentIndexChanged.connect(self._reordered)
        self.seed.valueChanged.connect(self._reordered)
        self.all_button.clicked.connect(self.show_all)
        self.back_button.clicked.connect(lambda: self.turn_pages(-1))
        self.next_button.clicked.connect(lambda: self.turn_pages(1))
        self.figure.mouseDoubleClickEvent = self._double_clicked

    def show_set(self, evaluation: Evaluation) -> None:
        """Show the first page of a test set."""
        self._evaluation = evaluation
        self.show_all()

    def show_all(self) -> None:
        """Show all tiles."""
        self._cell = None
        self._reordered()

    def show_cell(self, cell: tuple[int, int]) -> None:
        """Show only the tiles of a true and a predicted class."""
        self._cell = cell
        self._reordered()

    @property
    def tile_indices(self) -> NDArray[np.int64]:
        """Indices of the tiles of all pages, in order."""
        return self._tile_indices

    def turn_pages(self, pages: int) -> None:
        """Go forward or back by a number of pages."""
        last = max(0, -(-len(self._tile_indices) // TILES_PER_PAGE) - 1)
        self._show_page(min(last, max(0, self.page + pages)))

    def cell_text(self) -> str:
        """Describe which tiles are shown."""
        assert self._evaluation is not None
        if self._cell is None:
            return f"all tiles ({len(self._tile_indices):,})"
        names = self._evaluation.data.scheme.names
        truth, predicted = names[self._cell[0]], names[self._cell[1]]
        return f"{truth} predicted as {predicted} ({len(self._tile_indices):,})"

    def _reordered(self) -> None:
        order: PanelOrder = self.order.currentData()
        self.seed.setVisible(order == "random")
        if self._evaluation is None:
            return
        self._tile_indices = panel_tile_indices(self._evaluation, order, self.seed.value(), self._cell)
        self.title.setText(f"Tiles: {self.cell_text()}")
        self.all_button.setVisible(self._cell is not None)
        self._show_page(0)

    def _show_page(self, page: int) -> None:
        assert self._evaluation is not None
        self.page = page
        count = max(1, -(-len(self._tile_indices) // TILES_PER_PAGE))
        self.status.setText(f"page {page + 1} of {count}")
        self.back_button.setEnabled(page > 0)
        self.next_button.setEnabled(page + 1 < count)
        if self._job is not None:
            self._job.cancel()
        self._requests += 1
        number, evaluation = self._requests, self._evaluation
        tile_indices = self._tile_indices[page * TILES_PER_PAGE : (page + 1) * TILES_PER_PAGE]
        self._job = start_job(work.tiles, owner=self, evaluation=evaluation, tile_indices=tile_indices)
        self._job.returned.connect(lambda tiles: self._show(evaluation, tiles) if number == self._requests else None)
        self._job.failed.connect(lambda error: self.status.setText(str(error)) if number == self._requests else None)

    def _show(self, evaluation: Evaluation, tiles: tuple[PanelTile, ...]) -> None:
        self._drawn, self.tiles = evaluation, tiles
        if tiles:
            self.figure.show_figure(partial(draw_panel, tiles))
        else:
            self.figure.clear_figure()

    def _double_clicked(self, event: Any) -> None:
        point = event.position()
        tile = tile_at(self.tiles, self.figure.width(), point.x(), point.y())
        if tile is not None:
            self.opened.emit(self._drawn, tile)

    def close_down(self) -> None:
        """Stop reading and following the viewer."""
        self._requests += 1
        if self._job is not None:
            self._job.cancel()
        self.figure.close_down()
