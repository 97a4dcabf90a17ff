"""The hash of an image's pixels, made while its rows pass by, so that nothing is read twice."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.task import NO_TASK, Task

if TYPE_CHECKING:
    from napari_cellclass.core.images.source import SourceImage

# Above this an id is made from evenly spaced bands instead of every pixel.
_WHOLE_HASH_BYTES = 64 << 20
_HASH_BANDS = 64
_ID_LENGTH = 32
_BAND_BYTES = 1 << 20  # small, so that a cancelled run ends at once


class PassingHash:
    """Hash of shape, dtype and pixels of an image; the rows that are hashed may be given, the rest is read.

    Of images above 64 MiB only 64 evenly spaced bands of rows are hashed, and the result begins with ``s``.

    Parameters
    ----------
    source
        The image.
    """

    def __init__(self, source: SourceImage) -> None:
        self._source = source
        # The fastest one that processors help with; nobody gains from two images of one id.
        self._digest = hashlib.sha1(usedforsecurity=False)
        self._digest.update(repr((source.data.shape, source.dtype.newbyteorder("=").str)).encode())
        height, width = source.shape
        row_bytes = max(1, width * source.channels * source.dtype.itemsize)
        self._whole = row_bytes * height <= _WHOLE_HASH_BYTES
        band = max(1, _BAND_BYTES // row_bytes)
        step = band
        if not self._whole:
            band = max(1, min(band, height // _HASH_BANDS))
            step = max(band, height // _HASH_BANDS)
        self._bands = [(y0, min(height, y0 + band)) for y0 in range(0, height, step)]
        self._band = 0  # the one that is being hashed, and its next row
        self._next = 0

    @property
    def next_row(self) -> int:
        """The first row that is hashed and has not been given yet; those above it are not asked for."""
        return self._next

    def wanted(self, y0: int, y1: int) -> list[tuple[int, int]]:
        """Give the ranges of rows within ``[y0, y1)`` that are hashed and have not been given yet."""
        left = [(max(a, self._next), b) for a, b in self._bands[self._band :]]
        return [(max(a, y0), min(b, y1)) for a, b in left if a < y1 and b > y0]

    def rows(self, y0: int, pixels: NDArray[Any]) -> None:
        """Take rows from ``y0`` on, over the whole width; any that were left out before them are read.

        Raises
        ------
        ImageError
            The pixels cannot be read.
        """
        y1 = y0 + len(pixels)
        while self._band < len(self._bands):
            _, end = self._bands[self._band]
            if self._next >= y1:
                return
            if self._next < y0:
                stop = min(end, y0)
                self._add(self._source.read(self._next, 0, stop, self._source.shape[1]), stop)
            else:
                stop = min(end, y1)
                self._add(pixels[self._next - y0 : stop - y0], stop)

    def finish(self, task: Task = NO_TASK) -> str:
        """Read what is left and give the hash.

        Raises
        ------
        ImageError
            The pixels cannot be read.
        CancelledError
            The task was cancelled.
        """
        while self._band < len(self._bands):
            task.check("cancelled while the image was read")
            task.progress("reading the image", self._band, len(self._bands))
            end = self._bands[self._band][1]
            self._source.passed(self._next, again=True)
            self._add(self._source.read(self._next, 0, end, self._source.shape[1]), end)
        return ("" if self._whole else "s") + self._digest.hexdigest()[:_ID_LENGTH]

    def _add(self, pixels: NDArray[Any], stop: int) -> None:
        native = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        self._digest.update(np.ascontiguousarray(native).view(np.uint8).data)
        self._next = stop
        if stop == self._bands[self._band][1]:
            self._band += 1
            self._next = self._bands[self._band][0] if self._band < len(self._bands) else stop
