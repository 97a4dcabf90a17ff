"""The results of an experiment: reasons of the verdict, box plots and training curves side by side."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cellclass.core.common.findings import Finding
from napari_cellclass.report.runs_figures import draw_saved_runs
from napari_cellclass.widgets.common.figure_view import FigureView
from napari_cellclass.widgets.common.results.columns import Columns
from napari_cellclass.widgets.common.results.warnings import FoldedWarnings
from napari_cellclass.widgets.common.text import WrappedLabel, plain_tip
from napari_cellclass.widgets.experiment.work import ExperimentResult

if TYPE_CHECKING:
    from napari.viewer import Viewer

_TITLES = {
    "runs": "Balanced accuracy of each training",
    "curves": "Training curves",
    "shuffled": "Control: training accuracy on true and on shuffled labels",
}
_ASPECT = 0.76


class ExperimentResults(QWidget):
    """What the verdict rests on.

    Parameters
    ----------
    viewer
        Its theme gives the colours.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.warning = FoldedWarnings()
        self.text, self.pair = WrappedLabel(), WrappedLabel()
        self.pictures = {name: FigureView(viewer, lambda width: round(_ASPECT * width)) for name in _TITLES}
        columns = Columns()
        for name, picture in self.pictures.items():
            columns.add(_TITLES[name], picture)
        columns.add("Why", self.text)
        columns.add("By tile or by group", self.pair)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.warning)
        column.addWidget(columns)

    def show_result(self, result: ExperimentResult) -> None:
        """Show the result of an experiment."""
        self.warning.show_findings([Finding("warning", "", text) for text in result.verdict["warnings"]])
        self.pair.setText(result.pair())
        self.text.setText(result.text())
        for label in (self.pair, self.text):
            label.setVisible(bool(label.text()))
        for name, picture in self.pictures.items():
            picture.clear_figure()
            path = result.figures.get(name)
            if path is not None:
                picture.setToolTip(plain_tip(str(path)))
                picture.show_figure(partial(draw_saved_runs, result.out, name))

    def close_down(self) -> None:
        """Stop following the viewer."""
        for picture in self.pictures.values():
            picture.close_down()
