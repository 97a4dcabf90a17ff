"""The plugin's other widgets, found in the window or opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_cellclass.viewer.common.layers import bare

if TYPE_CHECKING:
    from napari.viewer import Viewer

W = TypeVar("W", bound=QWidget)


def main_window(widget: QWidget) -> QMainWindow | None:
    """Give the window that a widget is docked in, also where the dock floats."""
    parent: Any = widget.parent()
    while parent is not None and not isinstance(parent, QMainWindow):
        parent = parent.parent()
    return parent


def find_dock(owner: QWidget, kind: type[W]) -> W | None:
    """Find a widget of a kind in the window that ``owner`` is docked in."""
    window = main_window(owner)
    return None if window is None else window.findChild(kind)


def open_dock(owner: QWidget, viewer: Viewer, kind: type[W], name: str) -> W:
    """Give the widget of a kind, and open it under its ``name`` in the manifest where it is not open yet."""
    found = find_dock(owner, kind)
    if found is None:
        _, found = bare(viewer).window.add_plugin_dock_widget("napari-cellclass", name, tabify=True)
    return found


def bring_forward(widget: QWidget) -> None:
    """Put the dock of a widget before those that share its place as tabs."""
    parent: Any = widget.parent()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parent()
    if parent is not None:
        parent.raise_()
