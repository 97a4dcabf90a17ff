"""The results of a blinded reading as tables."""

from __future__ import annotations

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
from napari_cellclass.core.stats.intervals import Estimate
from napari_cellclass.widgets.common.text import WrappedLabel, plain_tip

_MAX_COLUMNS = 2
_MAX_ROWS = 9


class BlindResults(QWidget):
    """A column per reader and one for the network; below, the tiles that they classify differently."""

    def __init__(self) -> None:
        super().__init__()
        self.result: BlindResult | None = None
        self.table, self.differing = _table(), _table()
        self.between, self.differing_title = WrappedLabel(), WrappedLabel()
        self.export_button = QPushButton("Export")
        self.export_button.setToolTip("write NAME.json, NAME.tiles.csv and NAME.answers.csv")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.table, self.between, self.differing_title, self.differing, self.export_button):
            column.addWidget(widget)

    def show_result(self, result: BlindResult) -> None:
        """Fill the tables."""
        self.result = result
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
        if not shown:
            return
        readers = [one.reader for one in result.readers]
        names = [f"reader {reader}" for reader in readers]
        tiles = result.tiles
        rows = tiles[(tiles[names].to_numpy() != tiles[["network"]].to_numpy()).any(axis=1)]
        self.differing_title.setText(
            f"{len(rows)} of {len(tiles)} tiles are classified differently by network and reader:"
        )
        cells = rows[["true_class", *names, "network"]].astype(str).to_numpy().tolist()
        _fill(self.differing, [str(tile) for tile in rows["tile"]], ["ground truth", *readers, "network"], cells)
        for row, path in enumerate(rows["path"]):
            self.differing.verticalHeaderItem(row).setToolTip(plain_tip(str(path)))


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
