"""The table of a split: tiles of each class or group that train, validate and test."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_cellclass.widgets.common.text import plain_tip

if TYPE_CHECKING:
    pass

_ROW_PX = 24


class SplitTable(QTableWidget):
    """How many tiles of each class, or of each group, train, validate and test.

    Parameters
    ----------
    what
        What a row is: ``"class"`` or ``"group"``.
    """

    _SPLITS = ("train", "validation", "test", "left_out")
    _HEADERS = ("train", "validate", "test", "unused")

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
