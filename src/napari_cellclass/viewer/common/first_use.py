"""What napari makes at the first use of a window, in steps: letters for text on maps."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_cellclass.viewer.common.proxies import unwrap

if TYPE_CHECKING:
    from napari.viewer import Viewer

_LETTERS = string.digits + "%.? -_" + string.ascii_letters + string.punctuation


def first_use_steps(viewer: Viewer) -> Iterator[Callable[[], None]]:
    """Yield what has to be done once before text can be written on tiles, in steps of some ten ms each.

    napari draws each letter once at a large size, to scale it down on the canvas (``QtTextureFont``).
    """
    info = unwrap(viewer).window._qt_viewer.canvas.font_info()
    font = info.font_manager.get_font(info.face)
    for letter in _LETTERS:
        yield partial(_load, font, letter)


def _load(font: Any, letter: str) -> None:
    font[letter]
