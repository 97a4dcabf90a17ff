"""What all widgets of the plugin share: their window, a page that scrolls, and what happens when they close."""

from __future__ import annotations

from typing import Any, ClassVar

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QMainWindow, QScrollArea, QVBoxLayout, QWidget

from napari_cellclass.widgets.common.first_use import pay_first_uses
from napari_cellclass.widgets.common.wheel import keep_wheel_for_scrolling


def main_window(widget: QWidget) -> QMainWindow | None:
    """Give the window that a widget is docked in, also where the dock floats."""
    parent: Any = widget.parent()
    while parent is not None and not isinstance(parent, QMainWindow):
        parent = parent.parent()
    return parent


def scrolling(page: QWidget) -> QScrollArea:
    """Let a page scroll up and down; it is as wide as it is shown."""
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(page)
    return scroll


class DockedWidget(QWidget):
    """A widget in a dock of napari's window. It is closed down once, when its dock or the window is closed.

    The wheel scrolls it, and changes a value only in a field that has the focus.
    """

    display_name: ClassVar[str]
    """Its name in the manifest, by which other widgets find it."""
    _in_dock = _closed_down = False

    def fill(self, page: QWidget, width: int = 360) -> QScrollArea:
        """Show a page, or what holds pages, at least ``width`` px wide."""
        scroll = scrolling(page)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(scroll)
        self.setMinimumWidth(width)
        return scroll

    def close_down(self, window_stays: bool) -> None:
        """End running jobs and disconnect from the viewer.

        Parameters
        ----------
        window_stays
            Whether only the dock was closed, so that a job that ends in a moment may still finish.
        """
        raise NotImplementedError

    def event(self, event: Any) -> bool:
        """Notice that the dock is closed: napari then only takes the widget out of it, without closing it."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is None and self._in_dock:
                self._close_down_once(True)
            self._in_dock = self.parent() is not None
        elif event.type() == QEvent.Type.Polish:  # once, before it is shown
            keep_wheel_for_scrolling(self)
        elif event.type() == QEvent.Type.Show:
            pay_first_uses(self)
        return bool(super().event(event))

    def closeEvent(self, event: Any) -> None:
        """Leave no job running."""
        self._close_down_once(False)
        super().closeEvent(event)

    def _close_down_once(self, window_stays: bool) -> None:
        if not self._closed_down:
            self._closed_down = True
            self.close_down(window_stays)
