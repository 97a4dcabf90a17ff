"""Real napari windows with the plugin found through its manifest: one for all tests of a module.

A test gets the module's window as it is after a start. When it has ended, its docks and layers are closed as a user
closes them, and what is left of it in the window or the process fails it by name; the next test gets a new window then.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image
from qtpy.QtCore import QEvent, QThreadPool
from qtpy.QtWidgets import QApplication, QDockWidget
from tests._patience import WINDOW_S

from napari_cellclass.engine.features import store
from napari_cellclass.viewer.common import preferences
from napari_cellclass.widgets.common.dock_widget import DockedWidget

SCREENSHOTS = Path(__file__).parents[1] / "screenshots"
SIZE = (1300, 860)
# What a window keeps once one of our widgets has been docked in it: that which acts when layers are removed.
KEPT = Counter(
    f"layers.events.{event}: napari_cellclass.widgets.common.layer_removal._RemovalFix.{name}"
    for event, name in (("removing", "_make_current"), ("removed", "_release_layer"))
)
HELPERS = ("multiprocessing.resource_tracker", "Xvfb", "_fork_server.py --serve")  # processes that belong to no test


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what opens a window."""
    for item in items:
        if {"window", "own_viewer"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.gui)


@pytest.fixture
def qtbot(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """pytest-qt's, more patient: on a busy machine 5 s are no sign that anything is wrong."""
    wait_until = qtbot.waitUntil
    monkeypatch.setattr(
        qtbot, "waitUntil", lambda condition, *, timeout=1000 * WINDOW_S: wait_until(condition, timeout=timeout)
    )
    return qtbot


def open_viewer() -> Any:
    """Open a napari window."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        pytest.fail("window tests need a display; run them with: sh scripts/xvfb.sh python -m pytest tests/widgets")
    if "tensorflow" in sys.modules:
        pytest.fail(
            "a test imported TensorFlow into this process; with Mesa's OpenGL that crashes: use a child process"
        )
    import napari

    viewer = napari.Viewer(show=True)
    viewer.window._qt_window.resize(*SIZE)
    QApplication.processEvents()
    return viewer


class SharedWindow:
    """The window of a module, opened when it is first asked for."""

    def __init__(self) -> None:
        self._viewer: Any = None
        self._start: Counter[str] = Counter()

    def viewer(self) -> Any:
        """Give the window, which is as after its start."""
        if self._viewer is None:
            self._viewer = open_viewer()
            use_once(self._viewer)
            clear(self._viewer)
            self._start = traces(self._viewer)
            gc.collect()
        if not gc.get_freeze_count():
            gc.freeze()  # napari collects garbage at each removed layer, which takes as long as there are objects
        return self._viewer

    def left_over(self) -> list[str]:
        """Clear the window; tell what it has more than at its start, or less, each with its count."""
        clear(self._viewer)
        more, less = self._difference()
        if more:
            gc.collect()  # what nobody refers to any more is no leak
            clear(self._viewer)
            more, less = self._difference()
        return [f"{n} x {what}" for what, n in more.items()] + [f"missing: {n} x {what}" for what, n in less.items()]

    def _difference(self) -> tuple[Counter[str], Counter[str]]:
        now = traces(self._viewer)
        return now - self._start - KEPT, self._start - now

    def close(self) -> None:
        """Close the window; the next test gets a new one."""
        if self._viewer is not None:
            self._viewer.close()
            QApplication.processEvents()
            gc.unfreeze()
        self._viewer = None


@pytest.fixture(autouse=True)
def live_off(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open pages without live predictions, as a user may prefer; a test that is about them asks for ``live``."""
    if "live" not in request.fixturenames:
        monkeypatch.setattr(preferences, "predict_live", lambda: False)


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open pages with live predictions, and with an empty store of features."""
    monkeypatch.setattr(store, "store_folder", lambda: tmp_path / "features")


@pytest.fixture(scope="module")
def window(qapp: Any) -> Iterator[SharedWindow]:
    """The module's window."""
    shared = SharedWindow()
    yield shared
    shared.close()


@pytest.fixture
def viewer(window: SharedWindow, qtbot: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The viewer of the module's window; what a test leaves in it or running fails the test."""
    yield window.viewer()
    left = window.left_over()
    if left:
        window.close()
        pytest.fail(f"{request.node.name} has left behind: " + "; ".join(sorted(left)), pytrace=False)


@pytest.fixture
def own_viewer(qtbot: Any) -> Iterator[Any]:
    """A viewer with a window of the test's own, which it may close."""
    viewer = open_viewer()
    yield viewer
    with contextlib.suppress(RuntimeError):  # the test has closed it, and Qt has deleted it since
        viewer.close()
    QApplication.processEvents()


def use_once(viewer: Any) -> None:
    """Bring forth what napari makes with the first layers, so that it does not look like a test's."""
    import numpy as np

    pixels = np.zeros((8, 8), np.uint8)
    for add in (viewer.add_image, viewer.add_labels):
        add(pixels)
    viewer.add_shapes([[[0, 0], [2, 2]]], shape_type="rectangle")
    viewer.add_points([[1, 1]])
    QApplication.processEvents()


def clear(viewer: Any) -> None:
    """Close all docks and remove all layers, as a user does, and wait until what ran in the window has ended."""
    window = viewer.window
    for dock in list(window._wrapped_dock_widgets.values()):
        inner = dock.widget()
        window.remove_dock_widget(dock)
        if inner is not None:
            inner.deleteLater()  # napari leaves it to Python's garbage collection
    for widget in QApplication.topLevelWidgets():
        if isinstance(widget, DockedWidget) and not widget.isVisible():  # its dock was closed by the test
            widget.deleteLater()
    viewer.layers.clear()
    viewer.dims.reset()
    viewer.dims.ndisplay = 2
    viewer.theme = "dark"
    window._qt_window.resize(*SIZE)
    _end_threads()
    app = QApplication.instance()
    for _ in range(2):
        QApplication.processEvents()
        app.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def _end_threads() -> None:
    """Let threads come to their end, and their last signals arrive."""
    pool = QThreadPool.globalInstance()
    for _ in range(100 * WINDOW_S):
        QApplication.processEvents()
        if pool.waitForDone(10):
            return


def traces(viewer: Any) -> Counter[str]:
    """Tell, each with its count, what is in a window and in this process that a test may leave behind."""
    found = [f"layer {layer.name!r}" for layer in viewer.layers]
    docks = viewer.window._qt_window.findChildren(QDockWidget)
    found += [f"dock {dock.objectName() or dock.windowTitle()!r}" for dock in docks if dock.isVisible()]
    found += [f"widget {_kind(one)}" for one in QApplication.allWidgets() if _kind(one).startswith("napari_cellclass")]
    found += [f"dialog {_kind(QApplication.activeModalWidget())}"] if QApplication.activeModalWidget() else []
    found += [f"thread {one.name}" for one in threading.enumerate() if _belongs_to_a_test(one)]
    found += [f"Qt thread {i}" for i in range(QThreadPool.globalInstance().activeThreadCount())]
    found += [f"process {' '.join(words)[:200]}" for words in _processes()]
    found += [f"key {key}" for key in viewer.keymap]
    for kind in {type(viewer)} | {type(layer) for layer in viewer.layers}:
        found += [f"key {key} of all {kind.__name__}" for key in kind.class_keymap]
    for name in ("mouse_move", "mouse_drag", "mouse_wheel", "mouse_double_click"):
        found += [f"{name}: {_named(one)}" for one in getattr(viewer, f"{name}_callbacks")]
    found += _callbacks(viewer)
    found += [f"text {viewer.canvas.overlays.text.text!r}"] if viewer.canvas.overlays.text.visible else []
    return Counter(found)


def _kind(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _belongs_to_a_test(thread: threading.Thread) -> bool:
    """Tell threads that a test may have started from those of Qt, and of Dask and Zarr, which keep them for later."""
    dask: Any = sys.modules.get("dask.threaded")
    kept = [*getattr(getattr(dask, "default_pool", None), "_threads", ())]
    sync: Any = sys.modules.get("zarr.core.sync")
    if sync is not None and sync.loop[0] is not None:
        kept += [sync.iothread[0], *getattr(sync.loop[0]._default_executor, "_threads", ())]
    return not isinstance(thread, threading._DummyThread) and thread not in kept


def _processes() -> list[list[str]]:
    """Command lines of the processes that this one has started and that still run."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            words = process.cmdline()
            if process.status() != psutil.STATUS_ZOMBIE and not any(name in " ".join(words) for name in HELPERS):
                found.append(words)
        except psutil.Error:  # it has ended meanwhile
            continue
    return found


def _callbacks(viewer: Any) -> Iterator[str]:
    """Name everything that listens to a viewer."""
    models = {
        "viewer": viewer, "layers": viewer.layers, "selection": viewer.layers.selection, "dims": viewer.dims,
        "camera": viewer.scene.camera, "cursor": viewer.cursor,
    }  # fmt: skip
    for name, model in models.items():
        emitters = {"": model.events, **{f".{event}": one for event, one in model.events.emitters.items()}}
        for event, emitter in emitters.items():
            yield from (f"{name}.events{event}: {_named(one)}" for one in emitter.callbacks if _named(one))


def _named(callback: Any) -> str:
    """The full name of a callback, '' of one whose owner is gone."""
    if isinstance(callback, tuple):
        owner = callback[0]()
        return "" if owner is None else f"{_kind(owner)}.{callback[1]}"
    function = getattr(callback, "func", callback)
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', _kind(function))}"


@pytest.fixture
def dock(viewer: Any) -> Any:
    """The dock Cell Class, as a user gets it from the Plugins menu, with its pages."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
    widget.fill_now()
    QApplication.processEvents()
    return widget


@pytest.fixture
def classify(dock: Any) -> Any:
    """The page Map of that dock."""
    return dock.show_page("Classify field")


def set_overlap(page: Any, overlap: float) -> None:
    """Choose the overlap of the tiles in the header of the dock that a page is in."""
    parent = page.parent()
    while not hasattr(parent, "header"):
        parent = parent.parent()
    parent.header.overlap.setValue(overlap)


def open_field(dock: Any, qtbot: Any, tile_px: int | None = None) -> None:
    """Wait until the chosen image lies under its grid, of tiles of a size where one is given."""
    if tile_px is not None:
        dock.header.tile_px.setValue(tile_px)
        dock.header._size_changed(tile_px)  # also where it has this value already
    qtbot.waitUntil(lambda: not dock.header.opening)
    assert dock.workspace.annotation is not None, dock.header.message.text()


@pytest.fixture
def screenshot(viewer: Any) -> Callable[[str], Path]:
    """Save a picture of the whole window under a name."""

    def save(name: str) -> Path:
        for _ in range(3):  # layout, then what follows from it, then paint
            QApplication.processEvents()
        path = SCREENSHOTS / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        picture = Image.fromarray(viewer.screenshot(canvas_only=False, flash=False))
        picture.save(path, compress_level=1)
        return path

    return save


@pytest.fixture
def menu_texts(viewer: Any) -> Callable[..., list[str]]:
    """Texts of a menu's entries, sub-menus included, as a user finds them."""

    def texts(*path: str) -> list[str]:
        menu: Any = viewer.window._qt_window.menuBar()
        for name in path:
            menu = next(a.menu() for a in menu.actions() if a.text().replace("&", "") == name)
            menu.aboutToShow.emit()
        found = []
        waiting = list(menu.actions())
        while waiting:
            action = waiting.pop()
            found.append(action.text().replace("&", ""))
            waiting += action.menu().actions() if action.menu() else []
        return found

    return texts
