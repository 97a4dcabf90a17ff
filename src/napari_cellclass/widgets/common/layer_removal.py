"""Works around a crash and a leak in napari when a layer is removed from a window."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QAbstractButton, QMainWindow, QWidget

from napari_cellclass.viewer.common.proxies import unwrap
from napari_cellclass.widgets.common.window_parts import main_window

if TYPE_CHECKING:
    from napari.viewer import Viewer


class _RemovalFix(QObject):
    """Acts when a layer is removed from a window; lives as long as the window.

    It looks at the layer's own controls alone: a walk through the whole window takes some ten ms, at each layer.
    """

    def __init__(self, window: QMainWindow, viewer: Viewer) -> None:
        super().__init__(window)
        self._layers, self._qt_viewer = unwrap(viewer).layers, unwrap(viewer).window._qt_viewer
        self._buttons: list[Any] = []
        self._layers.events.removing.connect(self._make_current)
        self._layers.events.removed.connect(self._release_layer)

    def _make_current(self, event: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the window is gone
            self._qt_viewer.canvas.native.makeCurrent()
            controls = self._qt_viewer.controls.widgets.get(self._layers[event.index])
            self._buttons = [] if controls is None else controls.findChildren(QAbstractButton)

    def _release_layer(self, event: Any) -> None:
        buttons, self._buttons = self._buttons, []
        for button in buttons:
            with contextlib.suppress(RuntimeError):
                if getattr(button, "layer", None) is event.value:
                    button.layer = None


class _InstallWhenShown(QObject):
    """Waits until a widget is docked in a window, which then gets its fix."""

    def __init__(self, widget: QWidget, viewer: Viewer) -> None:
        super().__init__(widget)
        self._viewer = viewer
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Check the window each time the widget is shown: it may have been moved to another."""
        if event is not None and event.type() == QEvent.Type.Show and isinstance(watched, QWidget):
            window = main_window(watched)
            if window is not None and window.findChild(_RemovalFix) is None:
                _RemovalFix(window, self._viewer)
        return False


def fix_layer_removal(widget: QWidget, viewer: Viewer) -> None:
    """Let layers be removed, without a crash or a leak, from the window that a widget will be docked in.

    napari 0.9.2 frees a removed layer's shaders at once (``VispyCanvas._clean_and_update_scenegraph``), in whatever
    OpenGL context is current then; with Mesa the next frame crashes, with other drivers memory may be damaged
    (napari's issues 6472 and 8471). It also keeps a removed layer for ever, by the mode buttons of its controls, whose
    tooltips follow the shortcuts (``ActionManager.bind_button``).
    """
    _InstallWhenShown(widget, viewer)
