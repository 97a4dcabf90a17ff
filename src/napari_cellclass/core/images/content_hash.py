"""The hash of an image's content, made while its rows are read for something else, so that nothing is read twice."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Above this an id is made from evenly spaced bands instead of every pixel.
_WHOLE_HASH_BYTES = 64 << 20
_HASH_BANDS = 64
_ID_LENGTH = 32
_BAND_BYTES = 1 << 20  # small, so that a cancelled run ends at once


class RowHash:
    """Hash of shape, dtype and pixels of an image whose rows are handed in from the top to the bottom.

    Of images above 64 MiB only 64 evenly spaced bands of rows are hashed, and the result begins with ``s``.

    Parameters
    ----------
    shape
        (height, width, channels).
    dtype
        The pixels' dtype; its byte order does not count.
    """

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype) -> None:
        # The fastest one with hardware support; collisions made on purpose are no threat here.
        self._digest = hashlib.sha1(usedforsecurity=False)
        self._digest.update(repr((shape, dtype.newbyteorder("=").str)).encode())
        height, width, channels = shape
        row_bytes = max(1, width * channels * dtype.itemsize)
        self._whole = row_bytes * height <= _WHOLE_HASH_BYTES
        band = max(1, _BAND_BYTES // row_bytes)
        step = band
        if not self._whole:
            band = max(1, min(band, height // _HASH_BANDS))
            step = max(band, height // _HASH_BANDS)
        self._bands = [(y0, min(height, y0 + band)) for y0 in range(0, height, step)]
        self._height = height
        self._band = 0  # the one that is being hashed, and its next row
        self._next = 0

    @property
    def next_row(self) -> int:
        """The first row that is hashed and has not been given yet; those above it are not needed."""
        return self._next

    def missing_rows(self, y0: int = 0, y1: int | None = None) -> list[tuple[int, int]]:
        """Return the ranges of rows within ``[y0, y1)`` that are hashed and have not been given yet, from the top."""
        y1 = self._height if y1 is None else y1
        left = [(max(a, self._next), b) for a, b in self._bands[self._band :]]
        return [(max(a, y0), min(b, y1)) for a, b in left if a < y1 and b > y0]

    def update(self, y0: int, pixels: NDArray[Any]) -> None:
        """Hash rows from ``y0`` on, over the whole width; those that are not hashed or were given before do not count.

        Raises
        ------
        ValueError
            Rows above ``y0`` are still missing.
        """
        if self.missing_rows(0, y0):
            raise ValueError(f"row {self._next} is to be hashed before row {y0}")
        y1 = y0 + len(pixels)
        while self._band < len(self._bands) and self._next < y1:
            stop = min(self._bands[self._band][1], y1)
            self._add(pixels[self._next - y0 : stop - y0], stop)

    def hexdigest(self) -> str:
        """Return the hash.

        Raises
        ------
        ValueError
            Rows are still missing.
        """
        if self._band < len(self._bands):
            raise ValueError(f"row {self._next} has not been hashed")
        return ("" if self._whole else "s") + self._digest.hexdigest()[:_ID_LENGTH]

    def _add(self, pixels: NDArray[Any], stop: int) -> None:
        native = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        self._digest.update(np.ascontiguousarray(native).view(np.uint8).data)
        self._next = stop
        if stop == self._bands[self._band][1]:
            self._band += 1
            self._next = self._bands[self._band][0] if self._band < len(self._bands) else stop
