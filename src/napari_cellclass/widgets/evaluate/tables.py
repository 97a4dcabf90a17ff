"""Tables of an evaluation: its figures, the confusion matrix with clickable cells, and the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.stats.intervals import Estimate
from napari_cellclass.core.stats.metrics import EvalReport
from napari_cellclass.widgets.common.text import plain_tip

_ROW_PX, _MAX_ROWS = 24, 10
_MIN_CELL_PX, _MAX_COLUMNS = 42, 5  # more columns of that width need a scroll bar in the narrowest dock
_CELL_PX, _MAX_CELLS = 40, 10
_CENTRE = Qt.AlignmentFlag.AlignCenter
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


def _figure(found: Mapping[str, Any], name: str) -> tuple[str, str]:
    """Give a class's figure with its interval, where there is one: short for a cell, and long."""
    value, bounds = found[name], found[f"{name}_interval"]
    if value is None:
        return "-", "not defined: there is no such tile"
    if bounds is None:
        return f"{value:.3f}", f"{name} {value:.3f}; no confidence interval is defined"
    lo, hi = bounds
    return f"{value:.3f}\n{lo:.2f}–{hi:.2f}", f"{name} {value:.3f}, 95 % confidence interval {lo:.3f} to {hi:.3f}"


class _Table(QTableWidget):
    def __init__(self, headers: Sequence[str]) -> None:
        super().__init__(0, len(headers))
        self.setHorizontalHeaderLabels(list(headers))
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(_ROW_PX)
        self.setShowGrid(False)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)

    def fill(self, rows: Sequence[Sequence[str]]) -> None:
        """Replace the rows."""
        self.setRowCount(len(rows))
        for i, row in enumerate(rows):
            for j, text in enumerate(row):
                cell = QTableWidgetItem(text)
                cell.setToolTip(plain_tip(text))
                if j:
                    cell.setTextAlignment(_RIGHT)
                self.setItem(i, j, cell)
        row_px = self.verticalHeader().defaultSectionSize()
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + row_px * min(_MAX_ROWS, len(rows)) + 6)


class FigureTable(_Table):
    """Accuracy, balanced accuracy, kappa and ECE of a test set with their intervals."""

    def __init__(self) -> None:
        super().__init__(["figure", "value", "95 % CI"])

    def show_report(self, report: EvalReport) -> None:
        """Fill the rows."""
        rows = [
            _row("accuracy", report.accuracy),
            _row("balanced accuracy", report.balanced_accuracy),
            _row("Cohen's kappa", report.kappa),
            ("calibration error (ECE)", f"{report.ece:.3f}", ""),
        ]
        self.fill(rows)


def _row(name: str, value: Estimate | None) -> tuple[str, str, str]:
    if value is None:
        return name, "-", ""
    bounds = "not defined" if value.lo is None else f"{value.lo:.3f} to {value.hi:.3f}"
    return name, f"{value.value:.3f}", bounds


class ClassTable(_Table):
    """Recall, precision and F1 of each class."""

    def __init__(self) -> None:
        super().__init__(["class", "tiles", "recall", "precision", "F1"])
        self.setToolTip("with 95 % confidence intervals, where these are defined")

    def show_report(self, report: EvalReport) -> None:
        """Fill the rows."""
        self.verticalHeader().setDefaultSectionSize(_CELL_PX)
        figures = [[_figure(found, name) for name in ("recall", "precision", "f1")] for found in report.per_class]
        names = [(found["name"], f"{found['n']:,}") for found in report.per_class]
        self.fill([(*name, *(short for short, _ in row)) for name, row in zip(names, figures, strict=True)])
        for i, row in enumerate(figures):
            for j, (_, long) in enumerate(row):
                self.item(i, 2 + j).setToolTip(long)


class ConfusionTable(QTableWidget):
    """The confusion matrix, rows are the ground truth; ``cell`` is sent with the class indices of a clicked cell."""

    cell = Signal(int, int)

    def __init__(self) -> None:
        super().__init__(0, 0)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setToolTip("rows are the ground truth, columns the prediction; click a cell to see its tiles")
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.horizontalHeader().setMinimumSectionSize(_MIN_CELL_PX)
        for header in (self.horizontalHeader(), self.verticalHeader()):
            header.setHighlightSections(False)
            header.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.verticalHeader().setDefaultSectionSize(_CELL_PX)
        self.cellClicked.connect(self.cell)

    def show_report(self, report: EvalReport) -> None:
        """Fill the cells with tiles and their fraction of the row."""
        counts = np.array(report.confusion)
        fraction = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
        k = len(report.classes)
        self.setRowCount(k)
        self.setColumnCount(k)
        for i, name in enumerate(report.classes):
            across, down = QTableWidgetItem(name), QTableWidgetItem(_short(name))
            for header in (across, down):
                header.setToolTip(plain_tip(name))
            self.setHorizontalHeaderItem(i, across)
            self.setVerticalHeaderItem(i, down)
        for i in range(k):
            for j in range(k):
                item = QTableWidgetItem(f"{counts[i, j]:,}\n{fraction[i, j]:.0%}")
                item.setTextAlignment(_CENTRE)
                item.setBackground(_shade(fraction[i, j]))
                item.setForeground(QColor("white" if fraction[i, j] > 0.5 else "#202020"))
                predicted = f"predicted as {report.classes[j]}"
                tiles = counted(int(counts[i, j]), "tile")
                item.setToolTip(plain_tip(f"{tiles} of {report.classes[i]} {predicted}; click to see"))
                self.setItem(i, j, item)
        bar = self.horizontalScrollBar().sizeHint().height() if k > _MAX_COLUMNS else 4
        height = self.horizontalHeader().sizeHint().height()
        self.setFixedHeight(height + _CELL_PX * min(_MAX_CELLS, k) + bar + 2 * self.frameWidth())


def _short(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"


def _shade(fraction: float) -> QColor:
    """From nearly white to the blue of the other figures."""
    pale, deep = np.array([240, 245, 250]), np.array([0, 90, 150])
    return QColor(*(int(v) for v in pale + fraction * (deep - pale)))
