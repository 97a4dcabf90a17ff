"""Asks before a dock or napari is closed while something runs: go on, stop and keep, or cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QMessageBox, QPushButton, QWidget

Answer = Literal["go on", "keep", "cancel"]
_POLL_MS = 50


class Running(Protocol):
    """A widget with work that may be running."""

    def running_work(self) -> str:
        """Name what is running, '' where nothing is."""

    def lasting_work(self) -> str:
        """Name what is running and takes long to do again, '' for nothing: asked also where a program closes napari."""

    def stop_work(self, keep: bool) -> None:
        """Stop it; with ``keep`` what is finished is kept."""


class CloseGuard(QObject):
    """Watches the window that a widget is docked in, and the button that closes its dock.

    Parameters
    ----------
    widget, work
        The widget, and what it runs.
    """

    def __init__(self, widget: QWidget, work: Running) -> None:
        super().__init__(widget)
        self._widget, self._work = widget, work
        self._watched: list[QObject] = []

    def watch(self) -> None:
        """Find window and button, which are others once the dock was moved, and watch them from now on."""
        parent: Any = self._widget.parent()
        while parent is not None:
            found: Any = None
            if isinstance(parent, QMainWindow):
                found = parent
            elif isinstance(parent, QDockWidget):
                found = getattr(parent.titleBarWidget(), "close_button", None)
            if found is not None and not any(found is one for one in self._watched):
                found.installEventFilter(self)
                self._watched.append(found)
            parent = parent.parent()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Ask before window or dock close while something runs."""
        kind = QEvent.Type.None_ if event is None else event.type()
        if kind not in (QEvent.Type.Close, QEvent.Type.MouseButtonRelease) or not self._work.running_work():
            return False  # in this order: the window gets hundreds of other events
        assert event is not None
        if kind == QEvent.Type.Close and isinstance(watched, QMainWindow):
            if not event.spontaneous() and not self._work.lasting_work():
                return False
            event.ignore()
            return self._ask_and_stop(watched.close)
        if kind == QEvent.Type.MouseButtonRelease and isinstance(watched, QPushButton):
            watched.setDown(False)
            return self._ask_and_stop(watched.click)
        return False

    def _ask_and_stop(self, close: Callable[[], Any]) -> bool:
        """Keep it open, and close it once what runs has ended, if that is wanted."""
        answer = ask(self._widget, self._work.running_work())
        if answer != "go on":
            self._work.stop_work(answer == "keep")
            self._close_when_idle(close)
        return True

    def _close_when_idle(self, close: Callable[[], Any]) -> None:
        """Close once what runs has come to its end, without keeping the window waiting."""
        if self._work.running_work():
            QTimer.singleShot(_POLL_MS, lambda: self._close_when_idle(close))
        else:
            close()


def ask(parent: QWidget, work: str) -> Answer:
    """Ask what to do with what is running."""
    box = QMessageBox(parent)
    box.setWindowTitle("napari-cellclass")
    box.setText(f"{work} is running.")
    answers: dict[Any, Answer] = {
        box.addButton("Go on", QMessageBox.ButtonRole.RejectRole): "go on",
        box.addButton("Stop and keep what is finished", QMessageBox.ButtonRole.AcceptRole): "keep",
        box.addButton("Cancel it and close", QMessageBox.ButtonRole.DestructiveRole): "cancel",
    }
    box.setDefaultButton(next(iter(answers)))
    box.setEscapeButton(next(iter(answers)))
    box.exec()
    return answers.get(box.clickedButton(), "go on")
