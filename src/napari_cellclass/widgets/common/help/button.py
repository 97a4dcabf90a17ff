"""A small button with a question mark: what a page is for, and the way to its chapter of the documentation."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QPoint, Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QToolButton, QVBoxLayout, QWhatsThis, QWidget

from napari_cellclass.widgets.common.help.chapters import CHAPTERS, Chapter
from napari_cellclass.widgets.common.warning_colour import theme_of

_SIDE_PX, _WIDTH_PX = 20, 300


def open_link(url: str) -> None:
    """Open an address in the user's browser."""
    QDesktopServices.openUrl(QUrl(url))


def _text_colour(theme_name: str) -> str:
    """Give the colour of text in a theme of napari's: Qt's own of links is hard to read on a dark one."""
    from napari.utils.theme import get_theme

    theme: Any = get_theme(theme_name)
    return str(theme.text.as_hex())


class HelpPopup(QFrame):
    """What a page is for, a link, and what else helps; a click elsewhere closes it.

    Parameters
    ----------
    owner
        The button that it belongs to.
    """

    def __init__(self, owner: QWidget) -> None:
        super().__init__(owner, Qt.WindowType.Popup)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.RichText)
        self.text.setFixedWidth(_WIDTH_PX)
        flags = Qt.TextInteractionFlag
        self.text.setTextInteractionFlags(flags.LinksAccessibleByMouse | flags.LinksAccessibleByKeyboard)
        self.fields_button, self.tour_button = QPushButton("What's this? (Shift+F1)"), QPushButton("Show the tour")
        self.fields_button.setToolTip("click a field next, to read what it means")
        self.tour_button.setToolTip("from the image to a model, in five steps")
        self.tour_button.setVisible(False)
        column = QVBoxLayout(self)
        for widget in (self.text, self.fields_button, self.tour_button):
            column.addWidget(widget)
        self.text.linkActivated.connect(self._follow)
        self.fields_button.clicked.connect(self._ask)
        self.tour_button.clicked.connect(self.close)

    def describe(self, chapter: Chapter) -> None:
        """Say what a page is for."""
        self.text.setText(
            f"<p>{html.escape(chapter.sentence)}</p>"
            f'<p><a href="{html.escape(chapter.url)}" style="color: {_text_colour(theme_of(self))}">'
            f"Documentation: {html.escape(chapter.title)}</a></p>"
        )

    def _follow(self, url: str) -> None:
        self.close()
        open_link(url)

    def _ask(self) -> None:
        self.close()
        QWhatsThis.enterWhatsThisMode()


class HelpButton(QToolButton):
    """Shows a :class:`HelpPopup`; ``tour_wanted`` is sent where the tour is asked for.

    Parameters
    ----------
    page
        Gives the ``display_name`` of the page or dock that is to be explained.
    """

    tour_wanted = Signal()

    def __init__(self, page: str | Callable[[], str]) -> None:
        super().__init__()
        self._page = page
        self.setText("?")
        self.setFixedSize(_SIDE_PX, _SIDE_PX)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the keys of classes go on
        self.setToolTip("what this page is for, and its chapter of the documentation")
        self.setAccessibleName("help")
        self.popup = HelpPopup(self)
        self.popup.tour_button.clicked.connect(self.tour_wanted)
        self.clicked.connect(self.show_help)

    @property
    def chapter(self) -> Chapter:
        """The chapter of what is shown now."""
        return CHAPTERS[self._page if isinstance(self._page, str) else self._page()]

    def offer_tour(self) -> None:
        """Offer the tour beside the help."""
        self.popup.tour_button.setVisible(True)

    def show_help(self) -> None:
        """Show what the page is for, below the button and within the screen."""
        self.popup.describe(self.chapter)
        self.popup.adjustSize()
        corner = self.mapToGlobal(QPoint(self.width() - self.popup.width(), self.height()))
        screen = self.screen()
        if screen is not None:
            area = screen.availableGeometry()
            corner.setX(max(area.left(), min(corner.x(), area.right() - self.popup.width())))
        self.popup.move(corner)
        self.popup.show()


def beside_help(field: QWidget, page: str) -> QWidget:
    """Lay a field with the help of a page, by its ``display_name``, at its right."""
    both = QWidget()
    row = QHBoxLayout(both)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(field, 1)
    row.addWidget(HelpButton(page))
    return both
