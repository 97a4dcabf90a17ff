"""The window that all tests of a module share: it is as after its start for each of them."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
from qtpy.QtWidgets import QLabel
from tests._windows import SharedWindow

from napari_cellclass.widgets.common.dock_widget import DockedWidget


def test_what_a_test_may_do_is_taken_away(window: SharedWindow) -> None:
    viewer = window.viewer()
    viewer.add_image(np.zeros((8, 8, 8)), name="left")
    viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
    viewer.theme = "light"
    viewer.dims.ndisplay = 3
    assert window.left_over() == []
    assert (list(viewer.layers), viewer.theme, viewer.dims.ndisplay) == ([], "dark", 2)
    assert not viewer.window.dock_widgets


def test_what_a_test_leaves_is_named(window: SharedWindow) -> None:
    viewer, goes_on = window.viewer(), threading.Event()
    viewer.bind_key("K", lambda _: None)
    viewer.layers.events.inserted.connect(goes_on.set)
    thread = threading.Thread(target=goes_on.wait, name="forgotten")
    thread.start()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    label, widget = QLabel("napari's own are no matter"), DockedWidget()
    widget.show()
    left = window.left_over()
    goes_on.set()
    thread.join()
    process.communicate(b"\n")
    for one in (label, widget):
        one.deleteLater()
    for word in ("key K", "layers.events.inserted: ", "thread forgotten", "process ", "DockedWidget"):
        assert any(word in text for text in left), word
    assert len(left) == 5
    window.close()
