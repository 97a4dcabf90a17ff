"""What a dock holds, with a scroll bar at its side where it is higher than the dock."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QScrollArea, QVBoxLayout, QWidget


def scrolling(page: QWidget) -> QScrollArea:
    """Let a page scroll up and down; it is as wide as it is shown."""
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(page)
    return scroll


def fill_dock(dock: QWidget, page: QWidget, width: int = 360) -> QScrollArea:
    """Put a page, or what holds pages, into an empty widget that is to be docked, at least ``width`` px wide."""
    scroll = scrolling(page)
    whole = QVBoxLayout(dock)
    whole.setContentsMargins(0, 0, 0, 0)
    whole.addWidget(scroll)
    dock.setMinimumWidth(width)
    return scroll
