"""The table of labels: one row per field, and what of it is labelled as which class."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_cellclass.viewer.workspace.label_summary import FieldLabels
from napari_cellclass.widgets.common.text import plain_tip

_ROW_PX, _MOST_ROWS = 24, 10


class LabelTable(QTableWidget):
    """One row per field: tiles of each class, unsure, unlabelled, of another size; a last row adds them up."""

    def __init__(self) -> None:
        super().__init__()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(_ROW_PX)
        self.setToolTip("labelled tiles; * marks fields that the model was trained on")

    def show_labels(self, fields: list[FieldLabels], classes: tuple[str, ...]) -> None:
        """Fill the rows."""
        rows = [_row(one, classes) for one in fields]
        if len(rows) > 1:
            rows.append(["all fields", *(_added([row[i] for row in rows]) for i in range(1, len(rows[0])))])
        headers = ["field", *classes, "unsure", "not labelled", "hidden by tile size"]
        self.setColumnCount(len(headers))
        self.setHorizontalHeaderLabels(headers)
        self.setRowCount(len(rows))
        for i, row in enumerate(rows):
            for j, value in enumerate(row):
                text = value if isinstance(value, str) else "?" if value is None else f"{value:,}" if value else "-"
                item = QTableWidgetItem(text)
                if j:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                else:
                    item.setToolTip(plain_tip(text))
                self.setItem(i, j, item)
        for j, name in enumerate(headers):
            needless = name in ("unsure", "hidden by tile size") and not any(row[j] for row in rows)
            self.setColumnHidden(j, needless)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(40)
        shown = min(_MOST_ROWS, max(1, len(rows)))
        self.setFixedHeight(header.sizeHint().height() + _ROW_PX * shown + 8)


def _row(one: FieldLabels, classes: tuple[str, ...]) -> list[Any]:
    name = one.name + " *" * one.trained_on
    return [name, *(one.counts.get(known, 0) for known in classes), one.unsure, one.unlabelled, one.hidden]


def _added(values: list[Any]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
