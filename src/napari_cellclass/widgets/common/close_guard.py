"""Asks before napari is closed while a training runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMainWindow, QMessageBox, QWidget

from napari_cellclass.widgets.common.dock_widget import main_window

_TEXT = "A training is running. Stop it and close napari? The epochs so far are lost."


class CloseGuard(QObject):
    """Watches the main window that a widget is docked in.

    Parameters
    ----------
    widget
        The widget.
    busy
        Whether something would be lost now.
    end
        Ends it, and returns when it has ended.
    """

    def __init__(self, widget: QWidget, busy: Callable[[], bool], end: Callable[[], None]) -> None:
        super().__init__(widget)
        self._widget, self._busy, self._end = widget, busy, end
        self._watched: QMainWindow | None = None

    def watch(self) -> None:
        """Find the main window and watch it from now on."""
        window = main_window(self._widget)
        if window is not None and window is not self._watched:
            self._watched = window
            window.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Ask before the window closes; keep it open where the user says no."""
        if event is None or event.type() != QEvent.Type.Close or watched is not self._watched or not self._busy():
            return False
        buttons = QMessageBox.StandardButton
        button: Any = QMessageBox.question(
            self._widget, "napari-cellclass", _TEXT, buttons.Yes | buttons.No, buttons.No
        )
        if button != buttons.Yes:
            event.ignore()
            return True
        self._end()
        return False
