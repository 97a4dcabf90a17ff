"""What the keys do, as a few lines in a dock: beside the image, where it covers no tile."""

from __future__ import annotations

import html
from collections.abc import Sequence

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QLabel

from napari_cellclass.widgets.common.text import breakable

_SHORT = 24  # longer names may be broken across lines


class KeyList(QLabel):
    """Keys in bold, each with what it does; it takes no space while it is empty."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: tuple[tuple[str, str], ...] = ()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)  # a click must not move the focus
        self.show_keys(())

    def show_keys(self, keys: Sequence[tuple[str, str]]) -> None:
        """Show pairs of a key and what it does; nothing for an empty sequence."""
        self.keys = tuple(keys)
        self.setText("&nbsp;&nbsp; ".join(f"<b>{_escaped(key)}</b>&nbsp;{_escaped(what)}" for key, what in self.keys))
        self.setVisible(bool(self.keys))

    def minimumSizeHint(self) -> QSize:
        """Be as narrow as the dock."""
        return QSize(0, super().minimumSizeHint().height())


def help_text(keys: Sequence[tuple[str, str]]) -> str:
    """Write keys with what they do in one line, for the status bar."""
    return ", ".join(f"{key} {what}" for key, what in keys)


def _escaped(text: str) -> str:
    """Escape a text, and keep its words on one line unless it is long."""
    if len(text) > _SHORT:
        return html.escape(breakable(text))
    return html.escape(text).replace(" ", "&nbsp;")
