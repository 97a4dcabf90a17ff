"""Texts that name files: a label that wraps within long names, where a plain one would widen its window; tooltips."""

from __future__ import annotations

import html
import re
from typing import Any

from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QClipboard, QKeySequence
from qtpy.QtWidgets import QApplication, QLabel, QMenu

from napari_cellclass.widgets.common.warning_colour import theme_of, warning_colour

_BREAK = "\u200b"  # zero-width space: a line may end here
_LONG = re.compile(r"\S{25,}")
# A line may end after the characters that join the parts of a name, else after 24 characters.
_PARTS = re.compile(r"(?:[^\W_]|[^\w./\\-]){1,24}[_./\\-]*|[_./\\-]+")


def breakable(text: str) -> str:
    """Let lines end within words of 25 characters or more."""
    return _LONG.sub(lambda word: _BREAK.join(_PARTS.findall(word[0])), text)


def plain_tip(text: str) -> str:
    """Give a tooltip that shows a text from a file unchanged, also where Qt would interpret it as HTML."""
    return f"<span>{html.escape(text)}</span>" if Qt.mightBeRichText(text) else text


class WrappedLabel(QLabel):
    """Plain text that wraps; a user may select it, and copies it without the marks of where lines may end.

    Parameters
    ----------
    text
        The text.
    selectable
        Whether the mouse selects text; else clicks go to the widget behind.
    """

    def __init__(self, text: str = "", selectable: bool = True) -> None:
        super().__init__()
        self._warns = self._whole = False
        self._reserved_lines = 0
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)  # some of it comes out of files
        flags = Qt.TextInteractionFlag
        self.setTextInteractionFlags(flags.TextSelectableByMouse if selectable else flags.NoTextInteraction)
        self.setText(text)

    def setText(self, text: str) -> None:
        """Show a text."""
        super().setText(breakable(text))
        self._fit_height()

    def show_text(self, text: str, warn: bool = False) -> None:
        """Show a text, in the colour of warnings where it is one."""
        self.set_warning(warn)
        self.setText(text)

    def keep_whole(self) -> None:
        """Be as high as the text needs, from now on: on a page that scrolls, the layout would cut it off."""
        self._whole = True
        self._fit_height()

    def reserve_lines(self, lines: int) -> None:
        """Be as high as so many lines from now on, so that nothing below moves with a text; higher for longer ones."""
        self._reserved_lines = lines
        self._fit_height()

    def _fit_height(self) -> None:
        if self._reserved_lines:
            self._reserve()
        height = max(0, self.heightForWidth(self.width()))
        if self._whole and (self.minimumHeight(), self.maximumHeight()) != (height, height):
            self.setFixedHeight(height)

    def _reserve(self) -> None:
        frame = self.height() - self.contentsRect().height() + 2 * self.margin()
        lines = self._reserved_lines * self.fontMetrics().lineSpacing() + frame
        wanted = max(lines, self.heightForWidth(self.width()))
        if self.minimumHeight() != wanted:
            self.setMinimumHeight(wanted)

    def resizeEvent(self, event: Any) -> None:
        """Follow the width."""
        super().resizeEvent(event)
        self._fit_height()

    def set_warning(self, warn: bool) -> None:
        """Show what the label says, now and later, in the colour of warnings, which follows the theme."""
        self._warns = warn
        self._colour()

    def _colour(self) -> None:
        wanted = f"color: {warning_colour(theme_of(self))};" if self._warns else ""
        if self.styleSheet() != wanted:
            self.setStyleSheet(wanted)

    def changeEvent(self, event: Any) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if self._reserved_lines and event.type() in (QEvent.Type.StyleChange, QEvent.Type.FontChange):
            self._fit_height()  # the theme has letters of its own
        if self._warns and event.type() == QEvent.Type.StyleChange:
            self._colour()

    def text(self) -> str:
        """Give the text as it was set."""
        return super().text().replace(_BREAK, "")

    def copy(self, mode: Any = QClipboard.Mode.Clipboard) -> None:
        """Copy what is selected, without the marks of where lines may end."""
        QApplication.clipboard().setText(self.selectedText().replace(_BREAK, ""), mode)

    def mouseReleaseEvent(self, event: Any) -> None:
        """Offer what was selected to a middle click, as other programs do."""
        super().mouseReleaseEvent(event)
        if self.hasSelectedText() and QApplication.clipboard().supportsSelection():
            self.copy(QClipboard.Mode.Selection)

    def keyPressEvent(self, event: Any) -> None:
        """Copy in our own way."""
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: Any) -> None:
        """Offer Copy and Select all, unless the text cannot be selected."""
        if self.textInteractionFlags() == Qt.TextInteractionFlag.NoTextInteraction:
            event.ignore()
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        copy = menu.addAction("Copy", self.copy)
        copy.setEnabled(self.hasSelectedText())
        menu.addAction("Select all", lambda: self.setSelection(0, len(super(WrappedLabel, self).text())))
        menu.popup(event.globalPos())
