"""What all widgets of the plugin share: their window, a page that scrolls, and what happens when they close."""

from __future__ import annotations

from typing import Any, ClassVar

from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_cellclass.widgets.common.close_guard import CloseGuard
from napari_cellclass.widgets.common.job_panel import JobPanel
from napari_cellclass.widgets.common.wheel import keep_wheel_for_scrolling
from napari_cellclass.widgets.common.window_parts import holding_dock, main_window


def scrolling(page: QWidget) -> QScrollArea:
    """Let a page scroll up and down; it is as wide as it is shown."""
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(page)
    return scroll


class DockedWidget(QWidget):
    """A widget in a dock of napari's window. It is closed down once, when its dock or the window is closed.

    The wheel scrolls it, and changes a value only in a field that has the focus.
    """

    display_name: ClassVar[str]
    """Its name in the manifest, by which other widgets find it."""
    filled = True
    """Whether all that it shows is made; set to False before ``super().__init__()`` by one that makes it later."""
    _in_dock = closed_down = False
    _guard: CloseGuard | None = None

    def __init__(self) -> None:
        super().__init__()
        # Else napari adds empty space below, whose stretch grows with each dock that was opened before.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def fill(self, page: QWidget, width: int = 400) -> QScrollArea:
        """Show a page, or what holds pages, at least ``width`` px wide."""
        scroll = scrolling(page)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(scroll)
        self.setMinimumWidth(width)
        return scroll

    def close_down(self, window_stays: bool) -> None:
        """End running jobs and disconnect from the viewer.

        Parameters
        ----------
        window_stays
            Whether only the dock was closed, so that a job that ends in a moment may still finish.
        """
        raise NotImplementedError

    def running_work(self) -> str:
        """Name what is running, '' where nothing is; closing then asks first."""
        return self.display_name if any(panel.running for panel in self.findChildren(JobPanel)) else ""

    def lasting_work(self) -> str:
        """Name what is running and takes long to do again, '' for nothing."""
        return ""

    def stop_work(self, keep: bool) -> None:
        """Stop what is running; with ``keep`` what is finished is kept."""
        for panel in self.findChildren(JobPanel):
            panel.cancel()

    def showEvent(self, event: Any) -> None:
        """Ask from now on before the dock is closed while something runs."""
        super().showEvent(event)
        if self._guard is None:
            self._guard = CloseGuard(self, self)
        self._guard.watch()

    def event(self, event: Any) -> bool:
        """Notice that the dock is closed: napari then only takes the widget out of it, without closing it."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is None and self._in_dock:
                self.close_down_once(True)
            self._in_dock = self.parent() is not None
            if self._in_dock:
                QTimer.singleShot(0, self._join_tabs)
        elif event.type() == QEvent.Type.Polish:  # once, before it is shown
            keep_wheel_for_scrolling(self)
            if self.filled:
                self.explain()
        elif event.type() == QEvent.Type.Show and self.filled:
            self.prepare_window()
        return bool(super().event(event))

    # Both import what takes long the first time; a dock that is not filled yet does so in a thread.

    def explain(self) -> None:
        """Give *What's this* a text for all fields that are there."""
        from napari_cellclass.widgets.common.help.whats_this import explain_fields

        explain_fields(self)

    def prepare_window(self) -> None:
        """Do once for each window what maps need."""
        from napari_cellclass.widgets.common.first_use import pay_first_uses

        pay_first_uses(self)

    def _join_tabs(self) -> None:
        """Become a tab beside the plugin's other docks in this area: below each other none had room enough."""
        try:
            dock, window = holding_dock(self), main_window(self)
        except RuntimeError:  # it was closed at once
            return
        if dock is None or window is None or dock.isFloating():
            return
        docks = [holding_dock(one) for one in window.findChildren(DockedWidget) if one is not self]
        area = window.dockWidgetArea(dock)
        beside = [
            one for one in docks
            if one is not None and one is not dock and not one.isFloating() and window.dockWidgetArea(one) == area
        ]  # fmt: skip
        if beside and dock not in window.tabifiedDockWidgets(beside[0]):
            window.tabifyDockWidget(beside[0], dock)
            dock.show()
            dock.raise_()

    def closeEvent(self, event: Any) -> None:
        """Leave no job running."""
        self.close_down_once(False)
        super().closeEvent(event)

    def close_down_once(self, window_stays: bool) -> None:
        """Close down, unless that was done; for a widget that holds this one as a page."""
        if not self.closed_down:
            self.closed_down = True
            self.close_down(window_stays)
