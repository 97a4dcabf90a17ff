"""The window and the dock that a widget is in."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget


def main_window(widget: QWidget) -> QMainWindow | None:
    """Give the window that a widget is docked in, also where the dock floats."""
    parent: Any = widget.parent()
    while parent is not None and not isinstance(parent, QMainWindow):
        parent = parent.parent()
    return parent


def holding_dock(widget: QWidget) -> QDockWidget | None:
    """Give the dock that holds a widget, as its content and not as a page of that."""
    parent: Any = widget.parent()
    if parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parent()
    return parent if isinstance(parent, QDockWidget) else None


def page_name(widget: QWidget) -> str:
    """Give the name in napari's menus of the page or dock of ours that a widget is a part of, or is; '' for none."""
    parent: Any = widget
    while parent is not None and not getattr(parent, "display_name", ""):
        parent = parent.parent()
    return "" if parent is None else str(parent.display_name)
