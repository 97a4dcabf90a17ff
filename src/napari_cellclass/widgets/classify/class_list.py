"""Legend, table and bar chart of a map's classes in one: a row per class."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from qtpy.QtCore import QRectF, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_cellclass.core.labels.classes import (
    UNCLASSIFIED_COLOUR,
    UNLIKE_COLOUR,
    UNLIKE_NAME,
    UNSURE_COLOUR,
    ClassScheme,
)

_BAR_ROLE = Qt.ItemDataRole.UserRole + 1
_HEADERS = ("class", "tiles", "fraction", "area", "")


class _BarDelegate(QStyledItemDelegate):
    """Paints a fraction, 0 to 1, as a bar in the class's colour."""

    def paint(self, painter: QPainter, option: Any, index: Any) -> None:
        super().paint(painter, option, index)
        bar = index.data(_BAR_ROLE)
        if bar is not None:
            fraction, colour = bar
            area = QRectF(option.rect).adjusted(3, 5, -3, -5)
            area.setWidth(max(1.0, area.width() * fraction) if fraction > 0 else 0.0)
            painter.fillRect(area, QColor(colour))


class ClassList(QTableWidget):
    """A row per class with colour, tiles, fraction, area and a bar; unchecking a row hides the class.

    ``visibility_changed`` is sent with one bool per class.
    """

    visibility_changed = Signal(tuple)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(_HEADERS), parent)
        self._classes = 0
        self.setHorizontalHeaderLabels(list(_HEADERS))
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setShowGrid(False)
        vertical, header = self.verticalHeader(), self.horizontalHeader()
        vertical.setVisible(False)
        vertical.setDefaultSectionSize(24)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(len(_HEADERS) - 1, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(30)
        self.setItemDelegateForColumn(len(_HEADERS) - 1, _BarDelegate(self))
        self.itemChanged.connect(self._changed)

    def show_counts(self, scheme: ClassScheme, counts: pd.DataFrame, visible: tuple[bool, ...] = ()) -> None:
        """Fill the rows.

        Parameters
        ----------
        scheme
            The classes.
        counts
            Of :meth:`TileTable.counts`; there may be a row of tiles unlike training before the last.
        visible
            One bool per class; empty for all.
        """
        self.blockSignals(True)
        self._classes = len(scheme)
        self.setRowCount(len(counts))
        for i, row in enumerate(counts.itertuples()):
            is_class = i < len(scheme)
            last = i == len(counts) - 1
            colour = scheme.colours[i] if is_class else UNCLASSIFIED_COLOUR if last else UNSURE_COLOUR
            if not is_class and row.class_name == UNLIKE_NAME:
                colour = UNLIKE_COLOUR
            name = QTableWidgetItem(_swatch(colour), str(row.class_name))
            if is_class:
                name.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
                shown = not visible or visible[i]
                name.setCheckState(Qt.CheckState.Checked if shown else Qt.CheckState.Unchecked)
                name.setToolTip("untick to hide this class on the map")
            elif row.class_name == UNLIKE_NAME:
                name.setToolTip("counted in their classes, too")
            self.setItem(i, 0, name)
            for column, text in enumerate(
                (f"{row.tiles:,}", f"{row.fraction:.1%}", area_text(row.area_px, row.area_um2)), 1
            ):
                cell = QTableWidgetItem(text)
                cell.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(i, column, cell)
            bar = QTableWidgetItem()
            bar.setData(_BAR_ROLE, (float(row.fraction), colour))
            self.setItem(i, 4, bar)
            self.setRowHidden(i, False)  # it was the last one before
        self.setRowHidden(len(counts) - 1, int(counts["tiles"].iloc[-1]) == 0)
        self.blockSignals(False)
        shown_rows = sum(not self.isRowHidden(i) for i in range(self.rowCount()))
        self.setFixedHeight(min(300, self.horizontalHeader().sizeHint().height() + 24 * shown_rows + 6))

    def visible_classes(self) -> tuple[bool, ...]:
        """One bool per class."""
        items = [self.item(i, 0) for i in range(self._classes)]
        return tuple(item is not None and item.checkState() == Qt.CheckState.Checked for item in items)

    def _changed(self, item: QTableWidgetItem) -> None:
        if item.column() == 0:
            self.visibility_changed.emit(self.visible_classes())


def area_text(area_px: float, area_um2: float) -> str:
    """Write an area with its unit: µm² or mm² where the pixel size is known, else px²."""
    if math.isnan(area_um2):  # no pixel size
        return f"{area_px / 1e6:,.2f} Mpx" if area_px >= 1e6 else f"{area_px:,.0f} px²"
    return f"{area_um2 / 1e6:,.3f} mm²" if area_um2 >= 1e5 else f"{area_um2:,.0f} µm²"


def _swatch(colour: str) -> QIcon:
    pixmap = QPixmap(14, 14)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setBrush(QBrush(QColor(colour)))
    painter.setPen(QColor("#505050"))
    painter.drawRect(1, 1, 11, 11)
    painter.end()
    return QIcon(pixmap)
