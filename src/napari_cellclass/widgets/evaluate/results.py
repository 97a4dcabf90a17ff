"""The results of an evaluation: figures of a test set, confusion matrix, tiles, and checks of trust."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.evaluation.headlines import evaluation_headline
from napari_cellclass.core.evaluation.results import EvaluatedSet
from napari_cellclass.report.curves import FigureStyle
from napari_cellclass.report.evaluation_figures import draw_fields, draw_reliability, fields_height
from napari_cellclass.report.figures import height_in_dock, render_for_dock
from napari_cellclass.report.trust_figures import (
    perturbation_figure,
    perturbation_figure_inches,
    shortcut_figure,
    shortcut_figure_inches,
)
from napari_cellclass.runs.evaluate.named_sets import EvaluatedModel
from napari_cellclass.widgets.common.figure_view import FigureView
from napari_cellclass.widgets.common.results.columns import Columns
from napari_cellclass.widgets.common.results.warnings import FoldedWarnings
from napari_cellclass.widgets.common.text import WrappedLabel
from napari_cellclass.widgets.evaluate.example_tiles import PanelView
from napari_cellclass.widgets.evaluate.tables import ClassTable, ConfusionTable, FigureTable

if TYPE_CHECKING:
    from napari.viewer import Viewer

_RELIABILITY_PX = 330


class EvaluationResults(QWidget):
    """Shows one of the test sets of an evaluation, in columns.

    ``headline_changed`` is sent with the headline of a test set when it is shown, ``cell`` with the indices of true and
    predicted class, ``opened`` with an evaluation and its tile, and ``save`` without anything.
    """

    headline_changed = Signal(str)
    cell = Signal(int, int)
    opened = Signal(object, object)
    save = Signal()

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.evaluated: EvaluatedModel | None = None
        self.sets = QComboBox()
        self.sets.setToolTip("the test set whose figures are shown")
        self.sets.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.text, self.alarms = WrappedLabel(), FoldedWarnings()
        self.figures, self.confusion, self.classes = FigureTable(), ConfusionTable(), ClassTable()
        self.panel = PanelView(viewer)
        self.reliability = FigureView(viewer, lambda width: _RELIABILITY_PX)
        self.fields = FigureView(viewer, lambda width: fields_height(self.shown.report))
        self.shortcuts = FigureView(viewer, lambda width: self._figure_height("shortcuts"))
        self.stress = FigureView(viewer, lambda width: self._figure_height("robustness"))
        self.save_button = QPushButton("Save kit …")
        self.save_button.setToolTip("figures (PNG, SVG), their tables and a paragraph on the methods, for a paper")
        self.columns = Columns()
        self.columns.add("Figures", self.figures)
        self.columns.add("Confusion matrix: rows are the ground truth; click a cell to see its tiles", self.confusion)
        self.columns.add_bare(self.panel)
        self.columns.add("Classes", self.classes)
        self.columns.add("Reliability: is a confidence of 80 % right in 80 % of tiles?", self.reliability)
        self.columns.add("Fields, lowest accuracy first", self.fields)
        self.columns.add("Shortcuts: how well features other than the cells predict the class", self.shortcuts)
        self.columns.add("Robustness: balanced accuracy of changed tiles", self.stress)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.alarms, self.sets, self.text, self.columns):
            column.addWidget(widget)
        column.addWidget(self.save_button, 0, Qt.AlignmentFlag.AlignLeft)
        self.sets.currentIndexChanged.connect(self._show_set)
        self.confusion.cell.connect(self._cell_clicked)
        self.panel.opened.connect(self.opened)
        self.save_button.clicked.connect(self.save)

    def _views(self) -> tuple[FigureView, ...]:
        return self.reliability, self.fields, self.shortcuts, self.stress

    @property
    def shown(self) -> EvaluatedSet:
        """The test set that is shown."""
        assert self.evaluated is not None
        return self.evaluated.sets[max(0, self.sets.currentIndex())]

    def show_evaluated(self, evaluated: EvaluatedModel) -> None:
        """Show the first test set; the list offers the others."""
        self.evaluated = evaluated
        self.sets.blockSignals(True)
        self.sets.clear()
        for one in evaluated.sets:
            value = one.report.balanced_accuracy
            self.sets.addItem(f"{one.name}: balanced accuracy {value.value:.3f}")
        self.sets.blockSignals(False)
        self.sets.setVisible(len(evaluated.sets) > 1)
        self._show_set()

    def _show_set(self) -> None:
        one, report = self.shown, self.shown.report
        # How the intervals were made is shown at once only where they are too narrow.
        how = "" if report.groups > 1 else f" Intervals: {report.interval}."
        self.text.setText(f"{one.name}: n = {counted(report.n, 'tile')} of {counted(report.groups, 'group')}.{how}")
        self.figures.setToolTip(f"95 % confidence intervals (CI): {report.interval}")
        self.alarms.show_findings(one.alarms)
        self.headline_changed.emit(evaluation_headline(report, one.alarms))
        for widget in (self.figures, self.confusion, self.classes):
            widget.show_report(report)
        self.panel.show_set(one.evaluation)
        self.reliability.show_figure(partial(draw_reliability, report))
        self.fields.show_figure(partial(draw_fields, report))
        k = len(report.classes)
        for view, draw, table in (
            (self.shortcuts, shortcut_figure, one.shortcuts),
            (self.stress, perturbation_figure, one.robustness),
        ):
            if table is None:
                view.clear_figure()
            else:
                view.show_figure(partial(_render_for_dock, partial(draw, table, k)))

    def _figure_height(self, name: str) -> int:
        table = getattr(self.shown, name)
        inches = {"shortcuts": shortcut_figure_inches, "robustness": perturbation_figure_inches}[name]
        return 1 if table is None else height_in_dock(inches(table))

    def _cell_clicked(self, truth: int, predicted: int) -> None:
        self.panel.show_cell((truth, predicted))
        self.cell.emit(truth, predicted)

    def close_down(self) -> None:
        """Stop reading and following the viewer."""
        self.panel.close_down()
        for view in self._views():
            view.close_down()


def _render_for_dock(figure: Callable[[], Any], style: FigureStyle) -> NDArray[np.uint8]:
    return render_for_dock(figure(), style.width, style.text, style.ratio)
