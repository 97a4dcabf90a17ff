"""Tiles as icons of a list."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap

from napari_cellclass.widgets.common.images import image_of


def tile_icon(pixels: NDArray[np.uint8], side_px: int, colour: str | None = None) -> QIcon:
    """Make an icon of a tile, with a bar in the colour of its class at the top.

    Parameters
    ----------
    pixels
        uint8, shape (h, w, 3).
    side_px
        The icon's longer side.
    colour
        ``"#RRGGBB"``; None for no bar.
    """
    image = image_of(pixels)
    pixmap = QPixmap.fromImage(image).scaled(side_px, side_px, Qt.AspectRatioMode.KeepAspectRatio)
    if colour is not None:
        painter = QPainter(pixmap)
        painter.fillRect(0, 0, pixmap.width(), 5, QColor(colour))
        painter.end()
    return QIcon(pixmap)
