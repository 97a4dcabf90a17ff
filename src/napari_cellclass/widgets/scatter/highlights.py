"""The points that are chosen and the ring around the current one, over a canvas with all points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QWidget

from napari_cellclass.viewer.features.selected_tiles import SELECTED_COLOUR
from napari_cellclass.widgets.common.images import image_of

_CURRENT_PX = 15.0
_VEIL = 0.5  # of the background's colour, over the points that are not chosen while some are


class Highlights(QWidget):
    """Dims a canvas, and draws points and a ring over it; the points below need not be drawn again.

    Where OpenGL is computed by the CPU, a hundred thousand points take a tenth of a second.

    Parameters
    ----------
    over
        The canvas.
    """

    def __init__(self, over: QWidget) -> None:
        super().__init__(over)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.background = QColor("black")
        self._positions: NDArray[np.float64] = np.zeros((0, 2))
        self._rgba: NDArray[np.float32] = np.zeros((0, 4), np.float32)
        self._size_px = 1.0
        self._ring: NDArray[np.float64] | None = None
        self.hide()

    def show_points(self, positions: NDArray[np.float64], rgba: NDArray[np.float32], size_px: float) -> None:
        """Draw these points over all others, which are dimmed; none for no points and no dimming.

        Parameters
        ----------
        positions
            Shape (n, 2): x, y in px of the canvas.
        rgba
            float32, shape (n, 4), in 0..1.
        size_px
            Diameter.
        """
        self._positions, self._rgba, self._size_px = positions, rgba, size_px
        self._draw()

    def show_ring(self, position: NDArray[np.float64] | None) -> None:
        """Draw a ring around a position, x and y in px of the canvas; None for no ring."""
        self._ring = position
        self._draw()

    def _draw(self) -> None:
        self.setGeometry(self.parentWidget().rect())
        self.setVisible(len(self._positions) > 0 or self._ring is not None)
        self.update()

    def paintEvent(self, event: Any) -> None:
        """Draw them."""
        painter = QPainter(self)
        if len(self._positions):
            veil = QColor(self.background)
            veil.setAlphaF(_VEIL)
            painter.fillRect(self.rect(), veil)
            ratio = self.devicePixelRatioF()
            size = round(self.height() * ratio), round(self.width() * ratio)
            pixels = stamped(self._positions * ratio, self._rgba, self._size_px * ratio, size)
            image = image_of(pixels)
            image.setDevicePixelRatio(ratio)
            painter.drawImage(0, 0, image)
        if self._ring is not None:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            around = QRectF(0, 0, _CURRENT_PX, _CURRENT_PX)
            around.moveCenter(QPointF(*self._ring.tolist()))
            for colour, width in (("black", 4), (SELECTED_COLOUR, 2)):  # on black, it is seen on any background
                painter.setPen(QPen(QColor(colour), width))
                painter.drawEllipse(around)
        painter.end()


def stamped(
    positions: NDArray[np.float64], rgba: NDArray[np.float32], size_px: float, shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """Draw discs into a transparent picture; of discs over each other the last one is seen.

    Parameters
    ----------
    positions
        Shape (n, 2): centres as x, y in px; those outside are left out.
    rgba
        Shape (n, 4), in 0..1.
    size_px
        Diameter.
    shape
        Height and width of the picture.

    Returns
    -------
    uint8 array, shape (height, width, 4)
    """
    height, width = shape
    reach = int(np.ceil(size_px / 2))
    pixels = np.zeros((height + 2 * reach, width + 2 * reach), np.uint32)
    x, y = np.floor(positions).T
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    x, y = x[inside].astype(np.int64) + reach, y[inside].astype(np.int64) + reach
    colours = np.ascontiguousarray((rgba[inside] * 255).round().astype(np.uint8)).view(np.uint32)[:, 0]
    offsets = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    disc = offsets[:, np.square(offsets).sum(axis=0) <= (size_px / 2) ** 2]
    where = (y[:, None] + disc[0]).ravel(), (x[:, None] + disc[1]).ravel()
    pixels[where] = np.repeat(colours, disc.shape[1])
    shown = np.ascontiguousarray(pixels[reach : reach + height, reach : reach + width])
    return shown.view(np.uint8).reshape(height, width, 4)
