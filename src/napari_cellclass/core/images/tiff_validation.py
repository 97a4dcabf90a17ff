"""Checks that keep a damaged TIFF from hanging or crashing the libraries that read it."""

from __future__ import annotations

import bisect
import functools
import struct
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ImageError

_MAX_TAGS = 4096
_MAX_DIRECTORIES = 1_000_000
_SUB_DIRECTORIES = 330

_CLEAR, _END = 256, 257
_USUAL_CODES, _MAX_CODES = 3840, 8192  # between two clear codes; an encoder clears its table of 4096


def check_directories(path: Path) -> None:
    """Refuse a file whose page directories overlap or lead in a circle: tifffile would follow them for ever.

    What is not checked here (tags, offsets of pixels) tifffile reports by itself.

    Raises
    ------
    ImageError
        The directories overlap, or one of them is its own successor.
    """
    with path.open("rb") as stream:
        head = stream.read(16)
        order = "<" if head[:1] == b"I" else ">"
        big = struct.unpack(order + "H", head[2:4])[0] == 43
        first = head[8:16] if big else head[4:8]
        if len(first) < (8 if big else 4):
            return
        walk = _Directories(stream, path.name, order, big)
        walk.follow(struct.unpack(order + ("Q" if big else "I"), first)[0])


class _Directories:
    """A walk over the directories of a TIFF, each of which may claim its bytes only once."""

    def __init__(self, stream: IO[bytes], name: str, order: str, big: bool) -> None:
        self._stream, self._name, self._order = stream, name, order
        self._count_format, self._entry_bytes, self._offset_bytes = ("Q", 20, 8) if big else ("H", 12, 4)
        self._claimed: list[tuple[int, int]] = []
        self._visited: set[int] = set()

    def follow(self, offset: int) -> None:
        """Visit a chain of directories and all directories below it."""
        pending: list[tuple[int, tuple[int, ...]]] = []
        while offset and len(self._claimed) < _MAX_DIRECTORIES:
            following, below = self._visit(offset)
            pending.extend((sub, (offset,)) for sub in below)
            offset = following
        while pending and len(self._claimed) < _MAX_DIRECTORIES:
            offset, above = pending.pop()
            if offset in above:
                raise self._overlap()
            if offset and offset not in self._visited:  # two pages may share a level
                _, below = self._visit(offset)  # its successor is not followed by tifffile, either
                pending.extend((sub, (*above, offset)) for sub in below)

    def _visit(self, offset: int) -> tuple[int, list[int]]:
        """Visit one directory; return the offset of the next one, 0 at the end, and of those below it."""
        self._stream.seek(offset)
        count_bytes = struct.calcsize("=" + self._count_format)
        head = self._stream.read(count_bytes)
        count = struct.unpack(self._order + self._count_format, head)[0] if len(head) == count_bytes else 0
        entries = self._stream.read(count * self._entry_bytes) if 0 < count <= _MAX_TAGS else b""
        after = self._stream.read(self._offset_bytes)
        self._claim(offset, offset + count_bytes + len(entries))
        self._visited.add(offset)
        if len(entries) < count * self._entry_bytes or len(after) < self._offset_bytes:
            return 0, []  # truncated; tifffile stops here, too
        following = struct.unpack(self._order + ("Q" if self._offset_bytes == 8 else "I"), after)[0]
        return following, self._below(entries)

    def _claim(self, start: int, end: int) -> None:
        at = bisect.bisect(self._claimed, (start, end))
        before = self._claimed[at - 1][1] > start if at else False
        behind = self._claimed[at][0] < end if at < len(self._claimed) else False
        if before or behind:
            raise self._overlap()
        self._claimed.insert(at, (start, end))

    def _overlap(self) -> ImageError:
        return ImageError(
            f"cannot read {self._name}: it is damaged, its page directories overlap; copy or export it again"
        )

    def _below(self, entries: bytes) -> list[int]:
        """Return the offsets of the directories that belong to a page, such as the levels of a pyramid."""
        size = self._entry_bytes
        for i in range(0, len(entries), size):
            tag, kind = struct.unpack(self._order + "HH", entries[i : i + 4])
            if tag != _SUB_DIRECTORIES or kind not in (4, 13, 16, 18):
                continue
            width = 8 if kind in (16, 18) else 4
            count = struct.unpack(
                self._order + ("Q" if size == 20 else "I"), entries[i + 4 : i + size - self._offset_bytes]
            )[0]
            value = entries[i + size - self._offset_bytes : i + size]
            if count * width > len(value):
                self._stream.seek(struct.unpack(self._order + ("Q" if size == 20 else "I"), value)[0])
                value = self._stream.read(min(count, _MAX_TAGS) * width)
            count = min(count, len(value) // width)
            return list(struct.unpack(f"{self._order}{count}{'Q' if width == 8 else 'I'}", value[: count * width]))
        return []


@functools.cache
def _code_positions(early: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return bit offset, width in bits and largest valid code of the codes that follow a clear code.

    TIFF widens its codes one code early (``early`` 1), its old variant does not (0).
    """
    number = np.arange(_MAX_CODES)
    table = 258 + np.maximum(0, number - 1)  # entries of the table when the code is read
    widths = 9 + np.searchsorted([512 - early, 1024 - early, 2048 - early], table, "right")
    return np.cumsum(widths) - widths, widths, np.where(number == 0, 255, table)


def check_lzw(data: bytes, fill_order: int = 1) -> None:
    """Refuse an LZW stream with codes that are not in its table yet.

    imagecodecs' decoder does not check the code after a clear code and reads past its buffer when
    that is damaged.

    Parameters
    ----------
    data
        One strip or tile.
    fill_order
        2 when the bits of every byte are reversed.

    Raises
    ------
    ValueError
        The stream is damaged.
    """
    if fill_order == 2:
        data = np.packbits(np.unpackbits(np.frombuffer(data, np.uint8)), bitorder="little").tobytes()
    old = len(data) > 1 and data[0] == 0 and data[1] & 1
    padded = np.frombuffer(data + b"\0\0\0", np.uint8)
    total, at = len(data) * 8, 9  # a clear code comes first, else the decoder refuses it
    while at < total:
        for limit in (_USUAL_CODES, _MAX_CODES):
            starts, widths, largest = (column[:limit] for column in _code_positions(0 if old else 1))
            count = int(np.searchsorted(starts + widths, total - at, "right"))
            codes = _codes(padded, at + starts[:count], widths[:count], bool(old))
            stops = np.flatnonzero((codes == _CLEAR) | (codes == _END))
            if len(stops) or count < limit:
                break
        used = int(stops[0]) if len(stops) else count
        if (codes[:used] > largest[:used]).any() or used == _MAX_CODES:
            raise ValueError("corrupt LZW codes")
        if not len(stops) or codes[used] == _END:
            return
        at += int(starts[used] + widths[used])


def _codes(data: NDArray[np.uint8], bits: NDArray[Any], widths: NDArray[Any], old: bool) -> NDArray[Any]:
    """Take codes of ``widths`` bits at the bit offsets ``bits`` from a stream."""
    at, inside = bits >> 3, bits & 7
    first, middle, last = (data[at + i].astype(np.int64) for i in range(3))
    if old:
        return (first | middle << 8 | last << 16) >> inside & ((1 << widths) - 1)
    return (first << 16 | middle << 8 | last) >> (24 - inside - widths) & ((1 << widths) - 1)
