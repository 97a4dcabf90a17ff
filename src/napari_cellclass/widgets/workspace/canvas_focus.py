"""Gives the keyboard back to the canvas, so that keys label again after a choice, a button or Enter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QApplication, QComboBox, QLineEdit, QWidget

if TYPE_CHECKING:
    from napari.viewer import Viewer

_ENDS_ENTRY = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape)


class CanvasFocus(QObject):
    """Watches the fields of a dock: where one has been used, the canvas gets the keyboard.

    Parameters
    ----------
    dock
        The widget whose fields are watched, also those that are added later.
    viewer
        The viewer with the canvas.
    """

    def __init__(self, dock: QWidget, viewer: Viewer) -> None:
        super().__init__(dock)
        self._dock, self._viewer = dock, viewer
        app = QApplication.instance()
        assert app is not None
        app.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Notice the end of an entry."""
        if event is None or not isinstance(watched, QWidget):
            return False
        kind = event.type()
        if kind == QEvent.Type.MouseButtonRelease and isinstance(watched, QAbstractButton) and self._inside(watched):
            QTimer.singleShot(0, self.give)
        elif kind == QEvent.Type.KeyPress and self._inside(watched):
            key: Any = event
            field = isinstance(watched, QLineEdit | QAbstractSpinBox | QComboBox)
            if field and key.key() in _ENDS_ENTRY:
                QTimer.singleShot(0, self.give)
        elif kind == QEvent.Type.Hide and isinstance(watched.parent(), QComboBox) and self._inside(watched.parent()):
            QTimer.singleShot(0, self.give)  # its list of choices was closed
        return False

    def _inside(self, widget: Any) -> bool:
        try:
            return bool(self._dock.isAncestorOf(widget))
        except RuntimeError:  # Qt has deleted one of them
            return False

    def give(self) -> None:
        """Let the canvas have the keyboard, unless a dialog is open."""
        try:
            if QApplication.activeModalWidget() is None and self._dock.isVisible():
                self._viewer.window._qt_viewer.canvas.native.setFocus()
        except (RuntimeError, AttributeError):
            return  # the window is being closed
