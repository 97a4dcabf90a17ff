"""The wheel scrolls a form; it changes a value only in the field that has the keyboard focus."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QAbstractSlider, QAbstractSpinBox, QComboBox, QScrollBar, QTabBar, QWidget

# What the wheel changes in Qt; a scroll bar is a slider too, but there the wheel is meant.
_VALUE_FIELDS = (QAbstractSpinBox, QComboBox, QAbstractSlider, QTabBar)


def takes_the_wheel(widget: QObject | None) -> bool:
    """Whether the wheel would change a value of a widget: spin and combo boxes, sliders, and tab bars."""
    return isinstance(widget, _VALUE_FIELDS) and not isinstance(widget, QScrollBar)


class _WheelFilter(QObject):
    """Passes wheel events of fields without focus on to what they lie in."""

    def watch(self, widget: QWidget) -> None:
        """Watch a widget with all that it contains, now and later."""
        for one in (widget, *widget.findChildren(QWidget)):
            one.removeEventFilter(self)  # or it would be called twice
            one.installEventFilter(self)
            if one.focusPolicy() == Qt.FocusPolicy.WheelFocus:
                one.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Watch new children; keep the wheel from fields without focus."""
        if event is None:
            return False
        kind = event.type()
        if kind == QEvent.Type.ChildPolished:
            child = event.child()
            if isinstance(child, QWidget):
                self.watch(child)
        elif kind == QEvent.Type.Wheel and takes_the_wheel(watched) and not _has_focus(watched):
            event.ignore()  # so that Qt gives it to the parent, up to the page that scrolls
            return True
        return False


def _has_focus(field: QObject | None) -> bool:
    return isinstance(field, QWidget) and field.hasFocus()


def keep_wheel_for_scrolling(widget: QWidget) -> None:
    """Let the wheel scroll over a widget with all that it contains, now and later; fields need the focus to take it."""
    _WheelFilter(widget).watch(widget)
