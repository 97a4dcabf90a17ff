"""The window of a widget's results, beside napari's: it stays open while one works on."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QFrame, QPushButton, QScrollArea, QVBoxLayout, QWidget

from napari_cellclass.viewer.common.window_sizes import remember_window_size, window_size
from napari_cellclass.widgets.common.text import WrappedLabel
from napari_cellclass.widgets.common.window_parts import main_window

_WIDEST, _HIGHEST = 1440, 1000
_OF_SCREEN = 0.92
_LEAST = QSize(560, 380)


class ResultsWindow(QWidget):
    """A headline, and below it results that scroll.

    It belongs to a dock, and goes with it; opened by a finished run it does not take the focus from what a user does.

    Parameters
    ----------
    owner
        The widget in the dock.
    title
        Of the window, such as ``"Evaluate"``.
    results
        What it shows.
    """

    def __init__(self, owner: QWidget, title: str, results: QWidget) -> None:
        super().__init__(owner, Qt.WindowType.Window)
        self.setWindowTitle(f"{title}: results")
        self._kind, self._owner = title, owner
        self.headline, self.message = WrappedLabel(), WrappedLabel()
        self.headline.setStyleSheet("font-size: 15px; font-weight: bold;")
        self.message.setVisible(False)
        self.summary = ResultsSummary(self)
        inner = QWidget()
        page = QVBoxLayout(inner)
        page.setContentsMargins(12, 4, 12, 12)
        page.addWidget(results)
        page.addStretch(1)
        self.scroll = QScrollArea()
        self.scroll.setFrameShape(QFrame.Shape.NoFrame)
        self.scroll.setWidgetResizable(True)
        self.scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        # Always: a bar that comes and goes changes the width, and with it heights of figures and the need of a bar.
        self.scroll.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.scroll.setWidget(inner)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for label in (self.headline, self.message):
            label.setContentsMargins(12, 8, 12, 0)
            column.addWidget(label)
        column.addWidget(self.scroll, 1)
        self.setMinimumSize(_LEAST)
        self._stepped_back = False

    def set_headline(self, text: str) -> None:
        """Show a headline, here and in the dock."""
        self.headline.setText(text)
        self.summary.headline.setText(text)
        self.summary.setVisible(bool(text) and self.summary.parentWidget() is not self)  # else no dock shows it

    def tell(self, text: str) -> None:
        """Show a message below the headline, until there are other results."""
        self.message.setText(text)
        self.message.setVisible(bool(text))

    def open_results(self, activate: bool = False) -> None:
        """Show the window in front of napari's, and give it the focus where that is asked for."""
        if not self.isVisible():
            self._place()
        self.setAttribute(Qt.WidgetAttribute.WA_ShowWithoutActivating, not activate)
        self.show()
        self.raise_()
        if activate:
            self.activateWindow()

    def drop_results(self) -> None:
        """Close the window, and offer it no longer: its results are those of something else."""
        self.tell("")
        self.set_headline("")
        self.close()

    def step_back(self) -> None:
        """Hide the window until :meth:`come_back`."""
        self._stepped_back = self.isVisible()
        self.hide()

    def come_back(self) -> None:
        """Show the window again, if it was hidden by :meth:`step_back`."""
        if self._stepped_back:
            self.open_results()
        self._stepped_back = False

    def show_napari(self) -> None:
        """Bring napari's window to the front, where something was shown that is not in this one."""
        window = main_window(self._owner)
        if window is not None:
            window.raise_()
            window.activateWindow()

    def _place(self) -> None:
        screen = self._owner.screen()
        if screen is None:
            return
        room = screen.availableGeometry()
        most = QSize(min(_WIDEST, int(room.width() * _OF_SCREEN)), min(_HIGHEST, int(room.height() * _OF_SCREEN)))
        left = window_size(self._kind)
        self.resize(most if left is None else QSize(*left).boundedTo(room.size()))
        self.move(room.center() - self.rect().center())

    def showEvent(self, event: Any) -> None:
        """Let napari's window come in front of this one, which a window that belongs to another never does."""
        super().showEvent(event)
        handle = self.windowHandle()
        if handle is not None:
            handle.setTransientParent(None)
        self.setAttribute(Qt.WidgetAttribute.WA_QuitOnClose, False)

    def closeEvent(self, event: Any) -> None:
        """Remember the size, also for the next session; a window that was never shown has none of its user's."""
        if self.isVisible():
            remember_window_size(self._kind, self.width(), self.height())
        super().closeEvent(event)


class ResultsSummary(QWidget):
    """What a dock shows of its results: the headline, and a button that opens their window.

    Parameters
    ----------
    window
        The window.
    """

    def __init__(self, window: ResultsWindow) -> None:
        super().__init__(window)  # until it is laid out in a dock
        self.headline = WrappedLabel()
        self.headline.setStyleSheet("font-weight: bold;")
        self.open_button = QPushButton("Open results")
        self.open_button.setToolTip("figures, tables and pictures, in a window of their own")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.headline)
        column.addWidget(self.open_button)
        self.open_button.clicked.connect(lambda: window.open_results(activate=True))
        self.setVisible(False)
