"""A sheet of pictures of tiles with what was said of each, in pages, read in a thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QListWidget, QListWidgetItem, QPushButton, QVBoxLayout, QWidget

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import Task
from napari_cellclass.widgets.common.images import image_of
from napari_cellclass.widgets.common.jobs import Job, start_job
from napari_cellclass.widgets.common.layout import row_of
from napari_cellclass.widgets.common.text import WrappedLabel, plain_tip

_PAGE = 48
_ICON_PX, _CELL_PX, _GAP_PX = 112, 178, 6
_KEY_ROLE = Qt.ItemDataRole.UserRole
Read = Callable[[Sequence[int], Task], list[NDArray[np.uint8]]]


@dataclass(frozen=True)
class SheetTile:
    """A tile of a sheet.

    Parameters
    ----------
    key
        What it is read by.
    caption
        The lines below its picture.
    tip
        More about it, such as its file.
    """

    key: int
    caption: tuple[str, ...]
    tip: str = ""


def _read_images(read: Read, keys: Sequence[int], task: Task) -> list[QImage]:
    """Read tiles, and scale them to icons: small ones by whole pixels, so that these stay visible."""
    images = []
    for pixels in read(keys, task):
        image = image_of(pixels)
        mode = Qt.TransformationMode
        how = mode.FastTransformation if max(pixels.shape[:2]) < _ICON_PX else mode.SmoothTransformation
        images.append(image.scaled(_ICON_PX, _ICON_PX, Qt.AspectRatioMode.KeepAspectRatio, how))
    return images


class TileSheet(QWidget):
    """Pictures with captions; ``opened`` is sent with the key of a tile that was double-clicked. It does not scroll."""

    opened = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._tiles: tuple[SheetTile, ...] = ()
        self._read: Read | None = None
        self._job: Job | None = None
        self._requests = self.page = 0
        self.list = QListWidget()
        self.list.setViewMode(QListWidget.ViewMode.IconMode)
        self.list.setResizeMode(QListWidget.ResizeMode.Adjust)
        self.list.setMovement(QListWidget.Movement.Static)
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.list.setIconSize(QSize(_ICON_PX, _ICON_PX))
        for policy in (self.list.setVerticalScrollBarPolicy, self.list.setHorizontalScrollBarPolicy):
            policy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.status = WrappedLabel(selectable=False)
        self.back_button, self.next_button = QPushButton("◀"), QPushButton("▶")
        for button, text in ((self.back_button, "the previous page"), (self.next_button, "the next page")):
            button.setToolTip(text)
            button.setMaximumWidth(44)
        pages = row_of(self.back_button, self.next_button, self.status)
        pages.setStretch(2, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(pages)
        column.addWidget(self.list)
        self.back_button.clicked.connect(lambda: self._show_page(self.page - 1))
        self.next_button.clicked.connect(lambda: self._show_page(self.page + 1))
        self.list.itemDoubleClicked.connect(lambda item: self.opened.emit(int(item.data(_KEY_ROLE))))

    def show_tiles(self, tiles: Sequence[SheetTile], read: Read) -> None:
        """Show the first page of other tiles.

        Parameters
        ----------
        tiles
            All of them, in order.
        read
            Gives the pictures of some, uint8 (h, w, 3), by their keys; called in a thread.
        """
        self._tiles, self._read = tuple(tiles), read
        self._show_page(0)

    def clear_tiles(self) -> None:
        """Show nothing."""
        self._tiles, self._read = (), None
        self._show_page(0)

    def captions(self) -> list[str]:
        """Give the captions of the tiles of the page."""
        return [self.list.item(i).text() for i in range(self.list.count())]

    def _show_page(self, page: int) -> None:
        self.close_down()
        self.list.clear()
        self.page = page
        shown = self._tiles[page * _PAGE : (page + 1) * _PAGE]
        pages = -(-len(self._tiles) // _PAGE)
        for button in (self.back_button, self.next_button):
            button.setVisible(pages > 1)
        self.back_button.setEnabled(page > 0)
        self.next_button.setEnabled(page + 1 < pages)
        text = counted(len(self._tiles), "tile")
        self._say(f"{text}, page {page + 1} of {pages}" if pages > 1 else "")
        for tile in shown:
            item = QListWidgetItem("\n".join(tile.caption))
            item.setData(_KEY_ROLE, tile.key)
            item.setToolTip(plain_tip("\n".join(text for text in (*tile.caption, tile.tip) if text)))
            item.setFlags(Qt.ItemFlag.ItemIsEnabled)
            self.list.addItem(item)
        self._fit()
        if self._read is None or not shown:
            return
        number = self._requests
        self._job = start_job(_read_images, owner=self, read=self._read, keys=[tile.key for tile in shown])
        self._job.returned.connect(lambda images: self._fill(images) if number == self._requests else None)
        self._job.failed.connect(lambda error: self._say(str(error)) if number == self._requests else None)

    def _say(self, text: str) -> None:
        self.status.setText(text)
        self.status.setVisible(bool(text))

    def _fill(self, images: list[QImage]) -> None:
        for i, image in enumerate(images):
            self.list.item(i).setIcon(QIcon(QPixmap.fromImage(image)))

    def _fit(self) -> None:
        """Be as high as all rows of the page."""
        lines = max((len(tile.caption) for tile in self._tiles), default=1)
        cell = QSize(_CELL_PX, _ICON_PX + lines * self.fontMetrics().lineSpacing() + 3 * _GAP_PX)
        self.list.setGridSize(cell)
        across = max(1, (self.width() - 2 * self.list.frameWidth() - 2) // cell.width())
        rows = -(-self.list.count() // across)
        self.list.setFixedHeight(rows * cell.height() + 2 * self.list.frameWidth() + _GAP_PX)

    def resizeEvent(self, event: Any) -> None:
        """Take the height that the rows need in this width."""
        super().resizeEvent(event)
        self._fit()

    def close_down(self) -> None:
        """Stop reading."""
        self._requests += 1
        if self._job is not None:
            self._job.cancel()
