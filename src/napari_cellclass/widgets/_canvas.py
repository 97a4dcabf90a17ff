"""What napari leaves undone at its canvas."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_cellclass.viewer.layers import bare
from napari_cellclass.widgets._docks import main_window

if TYPE_CHECKING:
    from napari.viewer import Viewer


class _CanvasKeeper(QObject):
    """Makes a window's canvas current before a layer is removed from it; lives as long as the window."""

    def __init__(self, window: QMainWindow, viewer: Viewer) -> None:
        super().__init__(window)
        bare(viewer).layers.events.removing.connect(self._make_current)

    def _make_current(self, event: Any = None) -> None:
        with contextlib.suppress(RuntimeError):  # the window is gone
            for child in self.parent().findChildren(QWidget):
                if child.inherits("QOpenGLWidget"):
                    child.makeCurrent()


def keep_canvas_current(widget: QWidget, viewer: Viewer) -> None:
    """Let layers be removed from a window without a crash; call it whenever a widget is shown in it.

    napari 0.9.2 frees a removed layer's shaders at once (``VispyCanvas._clean_and_update_scenegraph``), in whatever
    OpenGL context is current then; with Mesa the next frame crashes, with other drivers memory may be damaged
    (napari's issues 6472 and 8471).
    """
    window = main_window(widget)
    if window is not None and window.findChild(_CanvasKeeper) is None:
        _CanvasKeeper(window, viewer)
