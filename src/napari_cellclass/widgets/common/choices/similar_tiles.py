"""The tiles that are most similar to the current one, as small pictures; a click goes there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from napari_cellclass.viewer.workspace.tile_place import TilePlace
from napari_cellclass.widgets.common.images import image_of
from napari_cellclass.widgets.common.text import WrappedLabel

SHOWN = 5
"""How many similar tiles are shown."""
_ICON_PX, _MARK_PX = 52, 6


@dataclass(frozen=True, eq=False)
class SimilarTile:
    """A tile with a class that is similar to another one.

    Parameters
    ----------
    place
        Where it is.
    class_name, colour
        Its class.
    group
        Its well or group; '' where it is none.
    similarity
        Cosine of the features, 1 where they are the same.
    pixels
        uint8, shape (h, w, 3), RGB; None where there is no picture of it.
    """

    place: TilePlace
    class_name: str
    colour: str
    group: str
    similarity: float
    pixels: NDArray[np.uint8] | None

    def describe(self) -> str:
        """Describe it in a line."""
        group = f", {self.group}" if self.group and self.group != self.place.name else ""
        return f"{self.class_name}, similarity {self.similarity:.2f}: {self.place.describe()}{group}"


class SimilarTiles(QWidget):
    """A row of small pictures with class and similarity below each.

    ``place_wanted`` is sent with the :class:`TilePlace` of one that was clicked.

    Parameters
    ----------
    what
        Which tiles are compared, for the heading: *labelled tiles*.
    """

    place_wanted = Signal(object)

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what
        self.shown: tuple[SimilarTile, ...] = ()
        self.text = WrappedLabel(selectable=False)
        self.list = QListWidget()
        self.list.setViewMode(QListWidget.ViewMode.IconMode)
        self.list.setFlow(QListWidget.Flow.LeftToRight)
        self.list.setWrapping(False)
        self.list.setMovement(QListWidget.Movement.Static)
        self.list.setIconSize(QSize(_ICON_PX, _ICON_PX))
        self.list.setFixedHeight(_ICON_PX + 44)
        self.list.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.text)
        column.addWidget(self.list)
        self.list.itemClicked.connect(lambda item: self.place_wanted.emit(self.shown[self.list.row(item)].place))
        self.show_tiles(())

    def show_tiles(self, tiles: Sequence[SimilarTile]) -> None:
        """Show tiles, the most similar first; none hides all of it."""
        self.shown = tuple(tiles)
        self.list.clear()
        self.setVisible(bool(self.shown))
        self.text.show_text(f"Most similar {self._what}; a click goes there:")
        for tile in self.shown:
            item = QListWidgetItem(_icon(tile), f"{tile.class_name[:12]}\n{tile.similarity:.2f}")
            item.setToolTip(tile.describe())
            item.setTextAlignment(Qt.AlignmentFlag.AlignHCenter)
            self.list.addItem(item)


def _icon(tile: SimilarTile) -> QIcon:
    if tile.pixels is None:
        pixmap = QPixmap(_ICON_PX, _ICON_PX)
        pixmap.fill(QColor(tile.colour))
        return QIcon(pixmap)
    image = image_of(tile.pixels)
    pixmap = QPixmap.fromImage(image).scaled(_ICON_PX, _ICON_PX)
    painter = QPainter(pixmap)
    painter.fillRect(0, 0, _ICON_PX, _MARK_PX, QColor(tile.colour))
    painter.end()
    return QIcon(pixmap)
