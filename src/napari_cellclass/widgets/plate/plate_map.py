"""A clickable map of a plate: a cell per well, coloured by the fraction of one class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QHelpEvent, QPainter, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.plates.tables import classes_in_table
from napari_cellclass.core.plates.wells import Well, parse_well, plate_format, row_name

_EDGE_PX, _BAR_PX, _MIN_CELL_PX = 20, 34, 4
_EMPTY, _FAILED = QColor(128, 128, 128, 45), QColor(150, 150, 150)
_CHOSEN = "#E69F00"


class PlateView(QWidget):
    """Paints a plate; ``clicked`` and ``opened`` (by a double-click) are sent with the name of a well."""

    clicked = Signal(str)
    opened = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._wells: dict[Well, Any] = {}
        self._plate = (8, 12)
        self._class, self._chosen = "", ""
        self._colours: NDArray[np.uint8] = np.zeros((256, 3), np.uint8)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def show_wells(self, wells: pd.DataFrame, colours: NDArray[np.uint8]) -> None:
        """Show a table of wells; the colours are uint8 (256, 3) for a fraction of 0 to 1."""
        rows = [row for _, row in wells.iterrows()]
        self._wells = {well: row for row in rows if (well := parse_well(row["well"])) is not None}
        self._plate = plate_format(list(self._wells)) if self._wells else (8, 12)
        self._colours, self._chosen = colours, ""
        self.setVisible(bool(self._wells))
        self._fit()

    def show_class(self, name: str) -> None:
        """Colour the wells by the fraction of a class."""
        self._class = name
        self.update()

    def choose(self, well: str) -> None:
        """Frame a well; an empty name frames none."""
        self._chosen = well
        self.update()

    # -- geometry -----------------------------------------------------------------------------

    def _cell_px(self) -> float:
        return max(_MIN_CELL_PX, (self.width() - _EDGE_PX - 2) / self._plate[1])

    def _fit(self) -> None:
        self.setFixedHeight(round(_EDGE_PX + self._cell_px() * self._plate[0]) + _BAR_PX)
        self.update()

    def cell(self, well: Well) -> QRectF:
        """Give the rectangle of a well in the widget."""
        side = self._cell_px()
        return QRectF(_EDGE_PX + (well.column - 1) * side, _EDGE_PX + (well.row - 1) * side, side, side)

    def _well_at(self, point: QPointF) -> Any:
        side = self._cell_px()
        row, column = (int((v - _EDGE_PX) // side) + 1 for v in (point.y(), point.x()))
        return self._wells.get(Well(row, column))

    def resizeEvent(self, event: Any) -> None:
        """Keep cells square."""
        super().resizeEvent(event)
        self._fit()

    def sizeHint(self) -> QSize:
        """Use the width that is available."""
        return QSize(120, self.height())

    # -- mouse ---------------------------------------------------------------------------------

    def mousePressEvent(self, event: Any) -> None:
        """Choose a well."""
        row = self._well_at(event.position())
        if row is not None and event.button() == Qt.MouseButton.LeftButton:
            self.choose(row["well"])
            self.clicked.emit(row["well"])

    def mouseDoubleClickEvent(self, event: Any) -> None:
        """Open a field of a well."""
        row = self._well_at(event.position())
        if row is not None:
            self.opened.emit(row["well"])

    def event(self, event: Any) -> bool:
        """Show the numbers of the well under the pointer."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            row = self._well_at(QPointF(event.pos()))
            QToolTip.showText(event.globalPos(), "" if row is None else self.text_of(row), self)
            return True
        return bool(super().event(event))

    def text_of(self, row: pd.Series) -> str:
        """Describe a well."""
        missing = f", {row['missing']} missing" if row["missing"] else ""
        lines = [f"{row['well']}: fields {row['fields']}{missing}"]
        if row["fields"]:
            fractions = [f"{name} {row[f'fraction_{name}']:.1%}" for name in classes_in_table(row.to_frame().T)]
            lines += [*fractions, f"{counted(int(row['tiles']), 'tile')}; double-click to open a field"]
        return "\n".join(lines)

    # -- painting ------------------------------------------------------------------------------

    def paintEvent(self, event: Any) -> None:
        """Draw names, wells and the colour bar."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPixelSize(9)
        painter.setFont(font)
        self._draw_names(painter)
        gap = 0.06 * self._cell_px()
        painter.setPen(Qt.PenStyle.NoPen)
        for i in range(self._plate[0]):
            for j in range(self._plate[1]):
                well = Well(i + 1, j + 1)
                painter.setBrush(self._colour(self._wells.get(well)))
                painter.drawRect(self.cell(well).adjusted(gap, gap, -gap, -gap))
        self._draw_chosen(painter)
        self._draw_bar(painter)
        painter.end()

    def _colour(self, row: Any) -> QColor:
        if row is None:
            return _EMPTY
        fraction = row.get(f"fraction_{self._class}")
        if fraction is None or not np.isfinite(float(fraction)):
            return _FAILED
        return QColor(*map(int, self._colours[round(255 * float(fraction))]))

    def _draw_names(self, painter: QPainter) -> None:
        painter.setPen(self.palette().windowText().color())
        side = self._cell_px()
        every = max(1, round(14 / side)), max(1, round(18 / side))
        for i in range(0, self._plate[0], every[0]):
            box = QRectF(0, _EDGE_PX + i * side, _EDGE_PX - 2, side)
            painter.drawText(box.adjusted(0, -6, 0, 6), Qt.AlignmentFlag.AlignCenter, row_name(i + 1))
        for j in range(0, self._plate[1], every[1]):
            box = QRectF(_EDGE_PX + j * side, 0, side, _EDGE_PX)
            painter.drawText(box.adjusted(-8, 0, 8, 0), Qt.AlignmentFlag.AlignCenter, str(j + 1))

    def _draw_chosen(self, painter: QPainter) -> None:
        well = parse_well(self._chosen)
        if well is not None:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(_CHOSEN), 2))
            painter.drawRect(self.cell(well))

    def _draw_bar(self, painter: QPainter) -> None:
        top = _EDGE_PX + self._cell_px() * self._plate[0] + 6
        width = (self.width() - _EDGE_PX - 2) / 256
        painter.setPen(Qt.PenStyle.NoPen)
        for i, colour in enumerate(self._colours):
            painter.setBrush(QColor(*map(int, colour)))
            painter.drawRect(QRectF(_EDGE_PX + i * width, top, width + 1, 8))
        painter.setPen(self.palette().windowText().color())
        below = QRectF(_EDGE_PX, top + 9, self.width() - _EDGE_PX - 2, 14)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, "0")
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, "fraction of tiles")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, "1")
