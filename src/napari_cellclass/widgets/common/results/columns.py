"""A layout of parts in one to three columns, as many as the width has room for."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QPoint, QRect, QSize
from qtpy.QtWidgets import QLayoutItem, QVBoxLayout, QWidget

from napari_cellclass.widgets.common.flow_layout import FlowLayout
from napari_cellclass.widgets.common.text import WrappedLabel

_GAP_PX = 14
_LEAST_PX, _MOST = 370, 3


class ColumnLayout(FlowLayout):
    """Places each widget below the shortest column so far; one that spans several below those that end first.

    Parameters
    ----------
    parent
        The widget that is laid out.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._spans: list[int] = []

    def add(self, widget: QWidget, span: int = 1) -> None:
        """Append a widget that is as wide as ``span`` columns, where there are as many."""
        self.addWidget(widget)
        self._spans.append(span)

    def columns_at(self, width: int) -> int:
        """Give the number of columns at a width in px."""
        return max(1, min(_MOST, (width + _GAP_PX) // (_LEAST_PX + _GAP_PX)))

    def takeAt(self, index: int) -> QLayoutItem | None:
        """Remove an item, and give it."""
        if 0 <= index < len(self._spans):
            del self._spans[index]
        return super().takeAt(index)

    def sizeHint(self) -> QSize:
        """Offer a single column."""
        return QSize(_LEAST_PX, self.heightForWidth(_LEAST_PX))

    def minimumSize(self) -> QSize:
        """Be as narrow as a column; the height follows from the width."""
        return QSize(_LEAST_PX, 0)

    def _place(self, rect: QRect, move: bool) -> int:
        columns = self.columns_at(rect.width())
        across = (rect.width() - (columns - 1) * _GAP_PX) // columns
        ends = [rect.y()] * columns
        for item, wanted in zip(self._items, self._spans, strict=False):
            if item.isEmpty():
                continue
            span = min(wanted, columns)
            tops = [max(ends[i : i + span]) for i in range(columns - span + 1)]
            column = tops.index(min(tops))
            width = span * across + (span - 1) * _GAP_PX
            height = item.heightForWidth(width) if item.hasHeightForWidth() else item.sizeHint().height()
            if move:
                left = rect.x() + column * (across + _GAP_PX)
                item.setGeometry(QRect(QPoint(left, tops[column]), QSize(width, height)))
            ends[column : column + span] = [tops[column] + height + _GAP_PX] * span
        return max(ends) - _GAP_PX - rect.y() if max(ends) > rect.y() else 0


class Part(QWidget):
    """A widget under a title; both are hidden while the widget is.

    Parameters
    ----------
    title, widget
        What it is, and the widget.
    """

    def __init__(self, title: str, widget: QWidget) -> None:
        super().__init__()
        self._widget = widget
        self.title = WrappedLabel(title, selectable=False)
        self.title.setStyleSheet("font-weight: bold;")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.title)
        column.addWidget(widget)
        widget.installEventFilter(self)
        self.setVisible(not widget.isHidden())

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Follow the widget."""
        kinds = (QEvent.Type.ShowToParent, QEvent.Type.HideToParent)
        if watched is self._widget and event is not None and event.type() in kinds:
            self.setVisible(event.type() == QEvent.Type.ShowToParent)
        return False


class Columns(QWidget):
    """Parts of a result in columns."""

    def __init__(self) -> None:
        super().__init__()
        self._layout = ColumnLayout(self)

    def add(self, title: str, widget: QWidget, span: int = 1) -> None:
        """Append a part under a title."""
        self._layout.add(Part(title, widget), span)

    def add_bare(self, widget: QWidget, span: int = 1) -> None:
        """Append a widget that has a title of its own."""
        self._layout.add(widget, span)
