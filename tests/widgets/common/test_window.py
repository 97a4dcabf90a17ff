"""What all docks share, in a real window: the wheel, the list of keys, the colour of warnings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QColor, QPalette, QWheelEvent
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QPushButton,
    QScrollArea,
    QTabBar,
    QWidget,
)
from tests._patience import WINDOW_S
from tests.widgets.common.test_docks import widget_classes

from napari_cellclass.viewer.common.window_sizes import window_size
from napari_cellclass.widgets.common.dock_widget import DockedWidget
from napari_cellclass.widgets.common.job_panel import ProgressBar
from napari_cellclass.widgets.common.jobs import start_long_job
from napari_cellclass.widgets.common.text import WrappedLabel
from napari_cellclass.widgets.common.warning_colour import MIN_CONTRAST, contrast, readable
from napari_cellclass.widgets.common.wheel import takes_the_wheel


def open_dock(viewer: Any, name: str) -> Any:
    _, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", name)
    if name == "Cell Class":
        widget.fill_now()
    page = getattr(widget, "page", widget)  # three entries open a page of one dock
    QApplication.processEvents()
    return page


def roll(widget: QWidget, steps: int) -> None:
    """Turn the wheel over the middle of a widget.

    Qt propagates wheel events of the window system alone, so here the event is given to what is under the mouse, and
    to its parents until one takes it, as Qt does (``QApplication::notify``).
    """
    window, place = widget.window(), widget.mapToGlobal(QPointF(widget.rect().center()))
    receiver = window.childAt(window.mapFromGlobal(place.toPoint()))
    while receiver is not None:
        event = QWheelEvent(
            receiver.mapFromGlobal(place), place, QPoint(0, 0), QPoint(0, 120 * steps), Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        event.ignore()
        if QApplication.sendEvent(receiver, event) and event.isAccepted():
            break
        receiver = None if receiver.isWindow() else receiver.parentWidget()
    QApplication.processEvents()


def value(field: QWidget) -> Any:
    if isinstance(field, QAbstractSpinBox):
        return field.text()
    return field.value() if isinstance(field, QAbstractSlider) else field.currentIndex()


def fields_of(dock: QWidget) -> list[Any]:
    return [field for field in dock.findChildren(QWidget) if takes_the_wheel(field) and field.isVisible()]


def page_of(field: QWidget, dock: QWidget) -> Any:
    """The page of a dock that scrolls; None for a field outside of it."""
    return next((area for area in dock.findChildren(QScrollArea) if area.isAncestorOf(field)), None)


def bring_into_view(field: QWidget, dock: QWidget) -> None:
    page = page_of(field, dock)
    if page is not None:
        page.ensureWidgetVisible(field)
    QApplication.processEvents()


@pytest.mark.parametrize("name", sorted(widget_classes()))
def test_the_wheel_over_a_form_changes_no_value_and_gives_no_focus(viewer: Any, name: str) -> None:
    dock = open_dock(viewer, name)
    for button in dock.findChildren(QPushButton):
        if button.text() == "More settings":
            button.click()
    QApplication.processEvents()
    fields = fields_of(dock)
    assert fields
    for field in fields:
        bring_into_view(field, dock)
        before, focused = value(field), QApplication.focusWidget()
        for steps in (-1, 1, 1, -1):
            bring_into_view(field, dock)
            roll(field, steps)
        assert value(field) == before, field
        assert field.focusPolicy() != Qt.FocusPolicy.WheelFocus
        assert QApplication.focusWidget() is focused


def test_the_wheel_scrolls_past_a_field_and_changes_the_one_with_the_focus(viewer: Any, qtbot: Any) -> None:
    dock = open_dock(viewer, "Train")
    qtbot.mouseClick(dock.more_button, Qt.MouseButton.LeftButton)
    viewer.window._qt_window.resize(1300, 600)
    viewer.window._qt_window.activateWindow()
    QApplication.processEvents()
    for kind in (QAbstractSpinBox, QComboBox):
        field = next(field for field in fields_of(dock) if isinstance(field, kind))
        bar = page_of(field, dock).verticalScrollBar()
        assert bar.maximum() > 0
        bring_into_view(field, dock)
        place, before = bar.value(), value(field)
        roll(field, -1 if place < bar.maximum() else 1)
        assert (bar.value() != place, value(field)) == (True, before)
        bring_into_view(field, dock)
        field.setFocus()
        qtbot.waitUntil(field.hasFocus)
        place = bar.value()
        roll(field, -1)
        roll(field, -1)
        changed = value(field)
        roll(field, 1)
        assert (bar.value(), changed != value(field) or changed != before) == (place, True)


def test_the_wheel_leaves_fields_alone_that_come_later(viewer: Any, qtbot: Any) -> None:
    dock = open_dock(viewer, "Train")
    for field in (QComboBox(), QTabBar()):
        for text in ("one", "two", "three"):
            field.addItem(text) if isinstance(field, QComboBox) else field.addTab(text)
        dock._scroll.widget().layout().insertWidget(0, field)
        dock._scroll.verticalScrollBar().setValue(0)
        qtbot.waitUntil(field.isVisible)
        roll(field, -1)
        assert field.currentIndex() == 0


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_warning_can_be_read_in_both_themes_and_follows_them(viewer: Any, qtbot: Any, theme: str) -> None:
    from napari.utils.theme import get_theme

    dock = DockedWidget()
    dock.viewer = viewer  # type: ignore[attr-defined]
    label = WrappedLabel()
    dock.fill(label)
    dock.close_down = lambda window_stays: None  # type: ignore[method-assign]
    viewer.window.add_dock_widget(dock)
    viewer.theme = "light" if theme == "dark" else "dark"
    label.show_text("Warning: one group alone.", warn=True)
    viewer.theme = theme
    QApplication.processEvents()
    text = label.palette().color(QPalette.ColorRole.WindowText)
    background = get_theme(theme).background.as_rgb_tuple()[:3]
    assert contrast((text.red(), text.green(), text.blue()), background) >= MIN_CONTRAST
    assert text != QColor(*get_theme(theme).text.as_rgb_tuple()[:3])
    label.show_text("Done.")
    assert label.palette().color(QPalette.ColorRole.WindowText) != text


def test_contrast_is_that_of_the_guidelines() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("background", [(0, 0, 0), (38, 41, 48), (120, 120, 120), (210, 210, 210), (255, 255, 255)])
def test_every_colour_becomes_readable_on_every_background(background: tuple[int, int, int]) -> None:
    for colour in ((227, 182, 23), (255, 0, 0), (0, 0, 0), (255, 255, 255), (0, 114, 178)):
        assert contrast(readable(colour, background), background) >= MIN_CONTRAST


def test_no_dock_has_a_colour_of_warnings_of_its_own() -> None:
    from pathlib import Path

    source = Path(__file__).parents[3] / "src" / "napari_cellclass" / "widgets"
    assert [path.name for path in source.rglob("*.py") if "color: #E8743B" in path.read_text(encoding="utf-8")] == []


def test_the_list_of_keys_covers_no_part_of_the_canvas(
    viewer: Any, qtbot: Any, screenshot: Callable, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cellclass.core.samples.synthetic import checkerboard_field

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    dock = open_dock(viewer, "Annotate tiles")
    assert not dock.keys.isVisible()
    viewer.add_image(checkerboard_field(32, 6, 6)[0], name="field")
    qtbot.waitUntil(dock.keys.isVisible)
    assert ("1", "class 1") in dock.keys.keys
    assert ("Ctrl+Z", "undo") in dock.keys.keys
    native = viewer.window._qt_viewer.canvas.native
    canvas = native.rect().translated(native.mapToGlobal(QPoint(0, 0)))
    assert not canvas.intersects(dock.keys.rect().translated(dock.keys.mapToGlobal(QPoint(0, 0))))
    assert not viewer.canvas.overlays.text.visible
    assert dock.keys.width() <= dock.width()
    screenshot("key-list")
    viewer.theme = "light"
    screenshot("key-list-light")
    viewer.window.remove_dock_widget("all")
    assert dock.keys.keys == ()


def test_letters_for_maps_are_drawn_while_nothing_waits_for_them(viewer: Any, qtbot: Any) -> None:
    open_dock(viewer, "Classify field")
    info = viewer.window._qt_viewer.canvas.font_info()
    font = info.font_manager.get_font(info.face)
    qtbot.waitUntil(lambda: set("0123456789%abcxyzABC") <= set(font._glyphs))


def test_the_progress_of_a_job_is_named_when_napari_is_closed_and_gone_when_it_is_cancelled(
    viewer: Any, qtbot: Any
) -> None:
    ends = threading.Event()

    def work(task: Any) -> None:
        task.progress("slicing", 3, 10)
        ends.wait(WINDOW_S)

    dock = open_dock(viewer, "Prepare tiles")
    tasks = viewer.window._qt_window._window._task_status_manager
    job = start_long_job(work, owner=dock)
    qtbot.waitUntil(lambda: tasks.get_status() == ["Cell Class: Prepare tiles: slicing, 30 %"])
    job.cancel()
    assert not tasks.is_busy()
    ends.set()
    qtbot.waitUntil(lambda: not job.running)
    assert not tasks.is_busy()


def test_a_progress_bar_waits_for_the_next_frame_to_be_painted(viewer: Any, qtbot: Any) -> None:
    painted: list[int] = []

    class Bar(ProgressBar):
        def paintEvent(self, event: Any) -> None:
            painted.append(self.value())
            super().paintEvent(event)

    bar = Bar()
    qtbot.addWidget(bar)
    bar.setRange(0, 100)
    bar.show()
    qtbot.waitUntil(lambda: bool(painted))
    painted.clear()
    for value in range(1, 101):
        bar.setValue(value)
        bar.setRange(0, 100)
    assert painted == []
    qtbot.waitUntil(lambda: painted[-1:] == [100])
    assert len(painted) < 5


def test_a_window_of_results_opens_in_the_size_in_which_it_was_left(viewer: Any, qtbot: Any) -> None:
    shown = open_dock(viewer, "Evaluate").window_of_results
    shown.open_results()
    qtbot.waitUntil(shown.isVisible)
    shown.resize(640, 480)
    shown.close()
    assert window_size("Evaluate") == (640, 480)
    viewer.window.remove_dock_widget("all")  # which closes windows that were never opened, too
    again = open_dock(viewer, "Evaluate").window_of_results
    again.close()
    assert window_size("Evaluate") == (640, 480), "a window that was never shown has no size of its user's"
    again.open_results()
    assert (again.width(), again.height()) == (640, 480)
