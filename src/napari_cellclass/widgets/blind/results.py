"""The results of a blinded reading: a table, and pictures of the tiles that network and reader disagree on."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_cellclass.core.blind.results import BlindResult, ReaderResult
from napari_cellclass.core.common.findings import Finding
from napari_cellclass.core.stats.intervals import Estimate
from napari_cellclass.widgets.common.results.columns import Columns
from napari_cellclass.widgets.common.results.sheet import SheetTile, TileSheet
from napari_cellclass.widgets.common.results.warnings import FoldedWarnings
from napari_cellclass.widgets.common.text import WrappedLabel

_MAX_COLUMNS = 2
_MAX_ROWS = 9


class BlindResults(QWidget):
    """A column per reader and one for the network; and the tiles that they classify differently, as pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.result: BlindResult | None = None
        self.table, self.between, self.caveats = _table(), WrappedLabel(), FoldedWarnings()
        self.differing, self.differing_title = TileSheet(), WrappedLabel()
        pictures = QWidget()
        inner = QVBoxLayout(pictures)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addWidget(self.differing_title)
        inner.addWidget(self.differing)
        self.differing_title.setStyleSheet("font-weight: bold;")
        self.export_button = QPushButton("Export")
        self.export_button.setToolTip("write NAME.json, NAME.tiles.csv and NAME.answers.csv")
        columns = Columns()
        columns.add("Against the ground truth, with 95 % confidence intervals", self.table)
        columns.add_bare(pictures, span=2)
        columns.add("Between readers", self.between)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.caveats, columns):
            column.addWidget(widget)
        column.addWidget(self.export_button, 0, Qt.AlignmentFlag.AlignLeft)

    def show_result(self, result: BlindResult) -> None:
        """Fill table and sheet."""
        self.result = result
        self.caveats.show_findings([Finding("warning", "", text) for text in result.caveats()])
        columns = {one.reader: _reader_cells(one) for one in result.readers}
        if result.network is not None:
            network = {key: Estimate(**result.network[key]) for key in ("accuracy", "balanced_accuracy")}
            columns["network"] = {
                "accuracy": _estimate(network["accuracy"]),
                "balanced accuracy": _estimate(network["balanced_accuracy"]),
            }
        rows = list(dict.fromkeys(name for cells in columns.values() for name in cells))
        _fill(self.table, rows, list(columns), [[cells.get(row, "") for cells in columns.values()] for row in rows])
        self.between.setText(
            "\n".join(
                f"{a} and {b}: kappa " + _estimate(one.kappa).replace("\n", ", 95 % confidence interval ")
                for a, b, one in result.between
            )
        )
        self.between.setVisible(bool(result.between))
        self._show_differing(result)

    def _show_differing(self, result: BlindResult) -> None:
        shown = result.network is not None
        self.differing_title.setVisible(shown)
        self.differing.setVisible(shown)
        found = result.disagreements()
        self.differing_title.setText(
            f"{len(found)} of {len(result.tiles)} tiles are classified differently by network and reader"
        )
        self.differing.show_tiles([_sheet_tile(row, result) for row in found.to_dict("records")], result.pictures)

    def clear_result(self) -> None:
        """Show nothing of an earlier session, whose tiles may be read again."""
        self.result = None
        self.differing.clear_tiles()

    def close_down(self) -> None:
        """Stop reading pictures."""
        self.differing.close_down()


def _sheet_tile(row: dict[Hashable, Any], result: BlindResult) -> SheetTile:
    truth = row["true_class"]

    def opinion(who: str, said: str, more: str = "") -> str:
        return f"{'✓' if said == truth else '✗'} {who}: {said or 'none'}{more}"

    opinions = [opinion(one.reader, row[f"reader {one.reader}"]) for one in result.readers]
    confidence = row["confidence"]
    opinions.append(opinion("network", row["network"], "" if np.isnan(confidence) else f" {confidence:.0%}"))
    return SheetTile(int(row["tile"]), (*opinions, f"ground truth: {truth}"), str(row["path"]))


def _reader_cells(one: ReaderResult) -> dict[str, str]:
    cells = {
        "accuracy": _estimate(one.accuracy),
        "balanced accuracy": _estimate(one.balanced_accuracy),
        "time per tile": f"{one.median_seconds:.1f} s",
    }
    if one.within is not None:
        cells["same on repeats"] = f"{one.within.same} of {one.within.n}"
        cells["kappa on repeats"] = _estimate(one.within.kappa)
    if one.against_network is not None:
        cells["minus network"] = _estimate(one.against_network.difference, "+.2f")
        p = one.against_network.p
        cells["McNemar's test"] = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return cells


def _estimate(value: Estimate | None, form: str = ".2f") -> str:
    if value is None:
        return "not defined"
    if value.lo is None or value.hi is None:
        return f"{value.value:{form}}"
    return f"{value.value:{form}}\n{value.lo:{form}} to {value.hi:{form}}"


def _table() -> QTableWidget:
    table = QTableWidget()
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
    table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    return table


def _fill(table: QTableWidget, rows: list[str], columns: list[str], cells: list[list[str]]) -> None:
    table.setRowCount(len(rows))
    table.setColumnCount(len(columns))
    table.setHorizontalHeaderLabels(columns)
    for i, name in enumerate(rows):
        table.setVerticalHeaderItem(i, QTableWidgetItem(name))
        for j, text in enumerate(cells[i]):
            table.setItem(i, j, QTableWidgetItem(text))
    table.resizeRowsToContents()
    height = table.horizontalHeader().sizeHint().height() + sum(
        table.rowHeight(i) for i in range(min(len(rows), _MAX_ROWS))
    )
    sideways = table.horizontalScrollBar().sizeHint().height() if len(columns) > _MAX_COLUMNS else 0
    table.setFixedHeight(height + 2 * table.frameWidth() + sideways + 2)
