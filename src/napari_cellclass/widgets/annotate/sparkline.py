"""A small curve of the accuracy over the number of labels."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from napari_cellclass.runs.live.accuracy_curve import CurvePoint
from napari_cellclass.widgets.common.warning_colour import theme_of

_WIDTH, _HEIGHT, _DOT = 84, 34, 2.5
_BAND_ALPHA = 70
_TOLD = 8  # points in the tooltip


class Sparkline(QWidget):
    """Draws estimates as a line within the band of their intervals, in the colours of the theme; numbers on hovering.

    It is hidden while there are fewer than two.
    """

    def __init__(self) -> None:
        super().__init__()
        self.curve: tuple[CurvePoint, ...] = ()
        self.setFixedSize(_WIDTH, _HEIGHT)
        self.setVisible(False)

    def show_curve(self, curve: tuple[CurvePoint, ...]) -> None:
        """Draw a curve in the place of the one before."""
        if curve == self.curve:
            return
        self.curve = curve
        self.setVisible(len(curve) > 1)
        self.update()
        step = max(1, -(-(len(curve) - 1) // (_TOLD - 1)))
        rows = [f"{point.n_labels}: {in_words(point)}" for point in curve[::-step][:_TOLD][::-1]]
        title = "Balanced accuracy on the other tiles by number of labels, with its 95 % confidence interval:"
        self.setToolTip("\n".join([title, *rows]))

    def paintEvent(self, event: Any) -> None:
        """Draw the band, the line, and a dot for now."""
        if len(self.curve) < 2:
            return
        colour = _theme_colour(self)
        value, low, high = self._paths()
        band = QColor(colour)
        band.setAlpha(_BAND_ALPHA)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(band)
        painter.drawPolygon(QPolygonF([*high, *low[::-1]]))
        painter.setPen(QPen(colour, 1.5))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPolyline(QPolygonF(value))
        painter.setBrush(colour)
        painter.drawEllipse(value[-1], _DOT, _DOT)
        painter.end()

    def _paths(self) -> tuple[list[QPointF], list[QPointF], list[QPointF]]:
        """Return the points of estimates, lower and upper bounds: from the lowest bound, rounded down, to 1."""
        bounds = [
            (point.estimate.value if point.estimate.lo is None else point.estimate.lo,
             point.estimate.value if point.estimate.hi is None else point.estimate.hi)
            for point in self.curve
        ]  # fmt: skip
        bottom = min(0.9, int(10 * min(low for low, _ in bounds)) / 10)
        first, last = self.curve[0].n_labels, self.curve[-1].n_labels
        area = QRectF(self.rect()).adjusted(_DOT, _DOT + 1, -_DOT - 1, -_DOT - 1)

        def place(n: int, accuracy: float) -> QPointF:
            x = area.left() + area.width() * (n - first) / max(1, last - first)
            return QPointF(x, area.bottom() - area.height() * (accuracy - bottom) / (1 - bottom))

        numbers = [point.n_labels for point in self.curve]
        return (
            [place(point.n_labels, point.estimate.value) for point in self.curve],
            [place(n, low) for n, (low, _) in zip(numbers, bounds, strict=True)],
            [place(n, high) for n, (_, high) in zip(numbers, bounds, strict=True)],
        )


def in_words(point: CurvePoint) -> str:
    """Give an estimate with its interval."""
    one = point.estimate
    return f"{one.value:.2f}" if one.lo is None else f"{one.value:.2f} ({one.lo:.2f} to {one.hi:.2f})"


def _theme_colour(widget: QWidget) -> QColor:
    from napari.utils.theme import get_theme

    theme: Any = get_theme(theme_of(widget))
    return QColor(*theme.icon.as_rgb_tuple()[:3])
