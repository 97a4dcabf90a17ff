"""The results of a plate: the heat map of a class, and the table of fields."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_cellclass.core.common.findings import counted
from napari_cellclass.report.conditions import conditions_inch
from napari_cellclass.report.figures import height_in_dock, inches_in_dock
from napari_cellclass.widgets.common.figure_view import FigureView
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import WrappedLabel, plain_tip
from napari_cellclass.widgets.plate.plate_map import PlateView
from napari_cellclass.widgets.plate.work import PlateResult, draw_conditions

if TYPE_CHECKING:
    from napari.viewer import Viewer

_ROW_PX, _MAX_ROWS, _MIN_ROWS = 24, 8, 3
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_ALL = "all fields"


class FrameModel(QAbstractTableModel):
    """A table as text, of any length."""

    def __init__(self, frame: pd.DataFrame) -> None:
        super().__init__()
        self.frame = frame

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Count the rows."""
        return len(self.frame)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Count the columns."""
        return self.frame.shape[1]

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Give a cell's text."""
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            text = str(self.frame.iat[index.row(), index.column()])
            return text if role == Qt.ItemDataRole.DisplayRole else plain_tip(text)
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column():
            return int(_RIGHT)
        return None

    def headerData(self, section: int, side: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Give a column's title."""
        if role == Qt.ItemDataRole.DisplayRole and side == Qt.Orientation.Horizontal:
            return str(self.frame.columns[section])
        return None


class FrameTable(QTableView):
    """Shows a table of text and lets one row be chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(_ROW_PX)

    def show_frame(self, frame: pd.DataFrame) -> None:
        """Replace the rows."""
        self.setModel(FrameModel(frame))
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        rows = min(_MAX_ROWS, max(_MIN_ROWS, len(frame)))
        scroll_bar = self.horizontalScrollBar().sizeHint().height()
        self.setFixedHeight(header.sizeHint().height() + _ROW_PX * rows + scroll_bar + 6)

    def chosen(self) -> int | None:
        """Give the chosen row."""
        selection = self.selectionModel()
        rows = [] if selection is None else selection.selectedRows()
        return rows[0].row() if rows else None


class PlateResults(QWidget):
    """Shows the wells and fields of a plate; ``opened`` is sent with the row of a field to open.

    Parameters
    ----------
    viewer
        Its theme gives the colours of figures.
    """

    opened = Signal(object)

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.result: PlateResult | None = None
        self._listed = pd.DataFrame()
        self.classes, self.which = QComboBox(), QComboBox()
        self.classes.setToolTip("the class whose fraction of tiles colours the wells")
        self.which.setToolTip("fields of one well, or of all; a click on the plate chooses the well")
        for box in (self.classes, self.which):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.plate = PlateView()
        self.table = FrameTable()
        self.table.setToolTip("double-click a field to see it with its map")
        self.open_button = QPushButton("Open field")
        self.open_button.setToolTip("show the chosen field, or the first one that is listed, with its map")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.classes, self.plate):
            column.addWidget(widget)
        column.addLayout(row_of(self.which, self.open_button))
        column.addWidget(self.table)
        self.conditions = FigureView(viewer, self._conditions_px)
        self.compared = WrappedLabel()
        self.slides_button, self.background = QPushButton("Export for slides …"), QComboBox()
        self.slides_button.setToolTip(
            "a picture of each listed field: image beside map, scale bar, counts; PNG and SVG"
        )
        self.background.addItems(["white", "dark"])
        self.background.setToolTip("background of the pictures for slides")
        column.addLayout(row_of(self.slides_button, self.background))
        for widget in (self.conditions, self.compared):
            column.addWidget(widget)
            widget.setVisible(False)
        self.classes.currentTextChanged.connect(self.plate.show_class)
        self.which.currentIndexChanged.connect(self._list_fields)
        self.plate.clicked.connect(self.which.setCurrentText)
        self.plate.opened.connect(self._open_well)
        self.open_button.clicked.connect(self.open_chosen)
        self.table.doubleClicked.connect(lambda index: self._open(index.row()))
        self.setVisible(False)

    def show_result(self, result: PlateResult) -> None:
        """Show the results of a run."""
        self.result = result
        report = result.report
        self.classes.blockSignals(True)
        before = self.classes.currentText()
        self.classes.clear()
        self.classes.addItems(list(report.classes))
        self.classes.setCurrentIndex(max(0, self.classes.findText(before)))
        self.classes.blockSignals(False)
        self.plate.show_wells(report.wells, result.colours)
        self.plate.show_class(self.classes.currentText())
        self.classes.setVisible(len(report.wells) > 0)
        self.which.blockSignals(True)
        self.which.clear()
        self.which.addItems([_ALL, *report.wells["well"]])
        self.which.blockSignals(False)
        self.setVisible(True)
        self._list_fields()
        self._show_conditions()

    def _show_conditions(self) -> None:
        assert self.result is not None
        found = self.result.report.conditions
        self.compared.setVisible(found is not None)
        if found is None:
            self.conditions.clear_figure()
            return
        self.compared.setText("\n".join(f"{text}." for text in found.sentences()))
        self.conditions.show_figure(functools.partial(draw_conditions, found))

    def _conditions_px(self, width: int) -> int:
        found = None if self.result is None else self.result.report.conditions
        return 0 if found is None else height_in_dock(conditions_inch(found, inches_in_dock(width)))

    def _list_fields(self) -> None:
        assert self.result is not None
        report, well = self.result.report, self.which.currentText()
        fields = report.fields if well == _ALL else report.fields[report.fields["well"] == well]
        self._listed = fields.reset_index(drop=True)
        self.plate.choose("" if well == _ALL else well)
        self.table.show_frame(_texts(self._listed, report.classes))

    def _open_well(self, well: str) -> None:
        self.which.setCurrentText(well)
        self.open_chosen()

    def open_chosen(self) -> None:
        """Open the chosen field, or the first one of the list that is done."""
        row = self.table.chosen()
        done = self._listed.index[self._listed["state"] == "done"]
        if row is None and len(done):
            row = int(done[0])
        if row is not None:
            self._open(row)

    def _open(self, row: int) -> None:
        self.opened.emit(self._listed.iloc[row])

    def listed_stems(self) -> tuple[str, ...]:
        """Give the names of the listed fields that are done."""
        return tuple(self._listed["stem"][self._listed["state"] == "done"])

    def summary(self) -> str:
        """Give a line on how much was classified."""
        assert self.result is not None
        report = self.result.report
        done = int((report.fields["state"] == "done").sum())
        text = f"{done:,} of {counted(len(report.fields), 'image')} classified"
        text += f", {report.reused:,} of them before" if report.reused else ""
        text += f"; {counted(len(report.wells), 'well')}." if len(report.wells) else "; no well is in the names."
        return text


def _texts(fields: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Format the table of fields for display."""
    shown = {"field": fields["stem"], "well": fields["well"]}
    shown |= {name: fields[name] for name in ("condition", "replicate") if name in fields}
    if (fields["state"] != "done").any():
        shown["state"] = fields["state"]
    shown["tiles"] = [_text(value, "{:,.0f}") for value in fields["tiles"]]
    for name in classes:
        shown[name] = [_text(value, "{:.1%}") for value in fields[f"fraction_{name}"]]
    shown["confidence"] = [_text(value, "{:.3f}") for value in fields["mean_confidence"]]
    if fields["unsure"].notna().any():
        shown["unsure"] = [_text(value, "{:,.0f}") for value in fields["unsure"]]
    return pd.DataFrame(shown)


def _text(value: Any, form: str) -> str:
    return "" if pd.isna(value) else form.format(float(value))
