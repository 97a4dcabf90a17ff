"""A real napari window in a real or virtual display, with the plugin found through its manifest."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from qtpy.QtWidgets import QApplication

SCREENSHOTS = Path(__file__).parents[2] / "screenshots"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gui)


@pytest.fixture
def qtbot(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """pytest-qt's, more patient: on a busy machine 5 s are no sign that anything is wrong."""
    wait_until = qtbot.waitUntil
    monkeypatch.setattr(qtbot, "waitUntil", lambda condition, *, timeout=30_000: wait_until(condition, timeout=timeout))
    return qtbot


@pytest.fixture
def viewer(qtbot: Any) -> Iterator[Any]:
    """A napari viewer with its window shown."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        pytest.fail("window tests need a display; run them with: sh scripts/xvfb.sh python -m pytest tests/gui")
    if "tensorflow" in sys.modules:
        pytest.fail(
            "a test imported TensorFlow into this process; with Mesa's OpenGL that crashes: use a child process"
        )
    import napari

    viewer = napari.Viewer(show=True)
    viewer.window._qt_window.resize(1300, 860)
    QApplication.processEvents()
    yield viewer
    viewer.close()
    QApplication.processEvents()


@pytest.fixture
def classify(viewer: Any) -> Any:
    """The Classify widget, docked as a user gets it from the Plugins menu."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", "Classify field")
    return widget


@pytest.fixture
def screenshot(viewer: Any, qtbot: Any) -> Callable[[str], Path]:
    """Save a picture of the whole window under a name."""

    def save(name: str) -> Path:
        qtbot.wait(300)
        path = SCREENSHOTS / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)).save(path)
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
