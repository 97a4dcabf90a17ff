"""Real keys, clicks and drops in a napari window, as its tests send them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtTest import QTest

_NO_MODIFIER = Qt.KeyboardModifier.NoModifier


def canvas(viewer: Any) -> Any:
    """The widget that shows the layers."""
    return viewer.window._qt_viewer.canvas.native


def press(viewer: Any, key: Any, modifier: Any = _NO_MODIFIER) -> None:
    """Press a key on the canvas."""
    QTest.keyClick(canvas(viewer), key, modifier)


def click(qtbot: Any, button: Any) -> None:
    """Click a button that is shown, once it can be clicked."""
    qtbot.waitUntil(button.isVisible)
    qtbot.waitUntil(button.isEnabled)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def drop(viewer: Any, path: Path) -> None:
    """Drop a file onto the window."""
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    event = QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, _NO_MODIFIER)
    viewer.window._qt_viewer.dropEvent(event)
