"""Gives the keyboard back to the canvas, so that keys label again after a choice, a button or Enter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QTabBar,
    QWidget,
)

from napari_cellclass.widgets.common.choices.layer_choice import ImageChoice

if TYPE_CHECKING:
    from napari.viewer import Viewer

_ENDS_ENTRY = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape)
# What has done its work once the mouse is released; a number or a text is typed into the others.
_DONE_AT_RELEASE = (QAbstractButton, QAbstractSlider, QTabBar)


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
        self._watch(dock)

    def _watch(self, widget: QWidget) -> None:
        """Watch a widget with all that it contains; not the application, whose events are thousands a second."""
        for one in (widget, *widget.findChildren(QWidget)):
            one.removeEventFilter(self)  # or it would be called twice
            one.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Notice the end of an entry, and new widgets."""
        if event is None:
            return False
        kind = event.type()
        if kind == QEvent.Type.ChildPolished:
            child: Any = event
            if isinstance(child.child(), QWidget):
                self._watch(child.child())
        elif kind == QEvent.Type.MouseButtonRelease:
            # A list of layers gets its mouse events in the part of it that scrolls.
            ticks = watched is not None and isinstance(watched.parent(), ImageChoice)
            if ticks or isinstance(watched, _DONE_AT_RELEASE):
                QTimer.singleShot(0, self.give)
        elif kind == QEvent.Type.KeyPress:
            key: Any = event
            field = isinstance(watched, QLineEdit | QAbstractSpinBox | QComboBox)
            if field and key.key() in _ENDS_ENTRY:
                QTimer.singleShot(0, self.give)
        elif kind == QEvent.Type.Hide and watched is not None and isinstance(watched.parent(), QComboBox):
            QTimer.singleShot(0, self.give)  # its list of choices was closed
        return False

    def give(self) -> None:
        """Let the canvas have the keyboard, unless a dialog is open."""
        try:
            if QApplication.activeModalWidget() is None and self._dock.isVisible():
                self._viewer.window._qt_viewer.canvas.native.setFocus()
        except (RuntimeError, AttributeError):
            return  # the window is being closed
