"""PNG read strip by strip, from its top as far as rows are asked for, so that work on the first need not wait."""

from __future__ import annotations

import io
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.prefetch import ResumablePrefetch
from napari_cellclass.core.images.planes import LazyPlane

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEAD_BYTES = 33
"""Length of the signature and the first chunk."""
_STRIP_BYTES = 1 << 20  # a processor's cache holds it
_READ_BYTES = 1 << 20
_PIECE = (1 << 16) - 1  # the longest stored block of a zlib stream
_CHANGED = "the file was changed while it was read"
_Stamp = tuple[int, int]
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type


@dataclass(frozen=True)
class PngHeader:
    """What the first chunk of a PNG says, see the PNG specification (ISO/IEC 15948), 11.2.2."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool

    @classmethod
    def read(cls, head: bytes) -> PngHeader | None:
        """Read a file's beginning; None where it is none of a PNG, or damaged."""
        if len(head) < HEAD_BYTES or not head.startswith(SIGNATURE + b"\0\0\0\x0dIHDR"):
            return None
        width, height, depth, colour, compression, filters, interlaced, check = struct.unpack(
            ">IIBBBBBI", head[16:HEAD_BYTES]
        )
        known = colour in _SAMPLES and (compression, filters) == (0, 0) and zlib.crc32(head[12:29]) == check
        return cls(width, height, depth, colour, bool(interlaced)) if known else None

    @property
    def samples(self) -> int:
        """Numbers per pixel, alpha among them."""
        return _SAMPLES[self.colour]

    @property
    def channels(self) -> int:
        """Numbers per pixel without alpha."""
        return self.samples - (self.samples in (2, 4))

    @property
    def dtype(self) -> np.dtype:
        """That of a colour."""
        return np.dtype(np.uint8 if self.depth == 8 else np.uint16)

    @property
    def row_bytes(self) -> int:
        """Length of a row in the stream, with the byte that names its filter."""
        return 1 + (self.width * self.depth * self.samples + 7) // 8

    @property
    def row_decodable(self) -> bool:
        """Whether its rows can be decoded here: colours of 8 or 16 bits without a palette, row after row."""
        return self.depth in (8, 16) and self.colour != 3 and not self.interlaced


class PngPlane(LazyPlane):
    """A PNG whose rows are decoded when they are requested, with all above them, and kept until released.

    Parameters
    ----------
    path
        The file.
    header
        Its header, with ``row_decodable``.
    """

    def __init__(self, path: Path, header: PngHeader) -> None:
        super().__init__(path.name, (header.height, header.width, header.channels), header.dtype)
        self._path, self._header = path, header
        self._strip_rows = max(1, _STRIP_BYTES // header.row_bytes)
        self._lock = threading.Lock()
        self._needed = 0
        self._known: _Stamp | None = None
        self._begin()

    def release_rows(self, y0: int) -> None:
        """Release the rows above ``y0`` when more are decoded; reading them again decodes from the top."""
        with self._lock:
            self._needed = y0

    def _begin(self) -> None:
        """Go to the file's beginning."""
        self._inflated: ResumablePrefetch[Sequence[bytes]] | None = None
        self._first = self._rows = 0  # the first row that is kept, and the first that is not decoded yet
        self._above = bytes(self._header.row_bytes - 1)
        self._kept = self._room(-1)

    def _room(self, rows: int) -> NDArray[Any]:
        """Make room for so many rows and the one above them."""
        return np.empty((rows + 1, self._header.width, self._header.samples), self.dtype)

    def _fetch(self, y0: int, x0: int, y1: int, x1: int) -> NDArray[Any]:
        with self._lock:
            if y0 < self._first:
                self._needed = 0
                self._begin()
            if self._rows < y1:
                self._make_room(y0, y1)
                self._decode_to(y1)
            above = self._first - 1
            part = self._kept[y0 - above : y1 - above, x0:x1, : self.shape[2]]
        part.flags.writeable = False
        return part

    def _make_room(self, y0: int, y1: int) -> None:
        """Keep the rows that are needed, with room to ``y1``; for all of them unless some were released."""
        height, step = self.shape[0], self._strip_rows
        first = min(max(self._first, min(self._needed, y0) // step * step), self._rows)
        end = height if first == 0 else min(height, -(-y1 // step) * step)
        if first == self._first:
            if len(self._kept) > end - first:
                return
            end = max(end, min(height, first + 2 * len(self._kept)))  # or each call would copy all that is kept
        room, rows = self._room(end - first), self._rows - first
        room[1 : 1 + rows] = self._kept[1 + first - self._first :][:rows]
        self._first, self._kept = first, room

    def _decode_to(self, y1: int) -> None:
        header = self._header
        if self._inflated is None:
            self._inflated = ResumablePrefetch(self._filtered())
        try:
            # Rows are inflated while the filters of those above are undone.
            with self._inflated.remaining(header.height * header.row_bytes > _STRIP_BYTES) as strips:
                while self._rows < y1:
                    filtered, rows = next(strips), min(self._strip_rows, header.height - self._rows)
                    strip = self._kept[self._rows - self._first :][: rows + 1]
                    _unfilter(self._above, filtered, header, strip)
                    self._above = strip[-1].astype(strip.dtype.newbyteorder(">")).tobytes()
                    self._rows += rows
        except BaseException:  # the next caller gets the same error, not an empty image
            self._begin()
            raise
        if self._rows == header.height:
            self._inflated = None

    def _filtered(self) -> Iterator[Sequence[bytes]]:
        """Inflate strips of rows, the last one shorter; all rows or an error."""
        if self._known is None:
            self._known = _stamp(self._path.stat())
        with _opened(self._path, self._known) as file:
            if PngHeader.read(file.read(HEAD_BYTES)) != self._header:
                raise ValueError(_CHANGED)
            yield from _filtered_strips(file, self._header, self._strip_rows)


class _ReopenedFile(io.RawIOBase):
    """A file that is open only while bytes are read, so that it can be moved and deleted in between."""

    def __init__(self, path: Path, known: _Stamp) -> None:
        self._path, self._at, self._known = path, 0, known

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        with self._path.open("rb", buffering=0) as file:
            if _stamp(os.fstat(file.fileno())) != self._known:
                raise ValueError(_CHANGED)
            file.seek(self._at)
            count = file.readinto(buffer) or 0
        self._at += count
        return count


def _stamp(stat: os.stat_result) -> _Stamp:
    """Return what is another once a file was written to: its size and time."""
    return stat.st_size, stat.st_mtime_ns


def _opened(path: Path, known: _Stamp) -> io.BufferedIOBase:
    """Open a file to be read from its beginning, unless it has changed: a large one is read part by part."""
    file = io.BufferedReader(_ReopenedFile(path, known), _READ_BYTES)
    return file if known[0] > _READ_BYTES else io.BytesIO(file.read())


def iterate_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, bytes]]:
    """Return name, content and stored checksum of every chunk of a PNG; the last may be cut short."""
    view, at = memoryview(data), len(SIGNATURE)
    while at + 8 <= len(data):
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")
        yield bytes(view[at + 4 : at + 8]), view[at + 8 : end], bytes(view[end : end + 4])
        at = end + 4


def check_pixel_chunks(data: bytes) -> None:
    """Refuse a PNG whose pixels fail their checksums: libpng gives them all the same, and prints a warning.

    Raises
    ------
    ValueError
        They are damaged; truncation is reported by libpng itself.
    """
    for _ in _pixel_pieces(io.BytesIO(data)):
        pass


def _pixel_pieces(file: io.BufferedIOBase) -> Iterator[memoryview]:
    """Return the compressed pixels piece by piece, none of a chunk that fails its checksum."""
    from isal import isal_zlib

    file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8:
        length, name, start = int.from_bytes(head[:4], "big"), head[4:], file.tell()
        if name == b"IDAT":
            check = isal_zlib.crc32(name)
            for piece in _pieces(file, length):
                check = isal_zlib.crc32(piece, check)
            stored = file.read(4)
            if len(stored) == 4 and check != int.from_bytes(stored, "big"):
                raise ValueError("incorrect data check")
            file.seek(start)
            yield from _pieces(file, length)
        elif name == b"IEND":
            return
        file.seek(start + length + 4)


def _pieces(file: io.BufferedIOBase, length: int) -> Iterator[memoryview]:
    """Read so many bytes, or as many as there are; a piece is good until the next one is asked for."""
    buffer = memoryview(bytearray(min(length, _PIECE)))
    while length and (count := file.readinto(buffer[:length])):
        length -= count
        yield buffer[:count]


def _filtered_strips(file: io.BufferedIOBase, header: PngHeader, strip_rows: int) -> Iterator[Sequence[bytes]]:
    """Inflate the rows of a PNG as they are stored, so many at a time, each strip in parts of at most ``_PIECE``.

    Raises
    ------
    ValueError
        The stream is damaged, or rows are missing.
    """
    from isal import isal_zlib

    left = header.height
    strip: list[bytes] = []
    wanted = min(strip_rows, left) * header.row_bytes
    stream = isal_zlib.decompressobj()
    for piece in _pixel_pieces(file):
        more: Any = piece
        while left:
            part = stream.decompress(more, min(wanted, _PIECE))  # a bomb stops here
            strip.append(part)
            wanted -= len(part)
            more = stream.unconsumed_tail
            if wanted == 0:
                yield strip
                left -= min(strip_rows, left)
                strip, wanted = [], min(strip_rows, left) * header.row_bytes
            elif not part:
                break
        if not left:
            return
    if left:
        raise ValueError("rows are missing at its end")


def _unfilter(above: bytes, filtered: Sequence[bytes], header: PngHeader, out: NDArray[Any]) -> None:
    """Undo the filters of some rows by libpng, in a PNG of its own that begins with the row above them.

    Parameters
    ----------
    above
        That row as it is stored, without the byte that names its filter.
    filtered
        The rows, in parts of any lengths.
    header
        That of the file.
    out
        Shape (1 + rows, width, samples): the row above, and the rows.
    """
    import imagecodecs

    size = struct.pack(">IIBBBBB", header.width, len(out), header.depth, header.colour, 0, 0, 0)
    rows = _stored((b"\0", above, *filtered))
    parts = [SIGNATURE, *_chunk(b"IHDR", size), *_chunk(b"IDAT", *rows), *_chunk(b"IEND")]
    imagecodecs.png_decode(b"".join(parts), out=out if header.samples > 1 else out[..., 0])


def _stored(parts: Sequence[bytes]) -> Iterator[bytes]:
    """Make a zlib stream (RFC 1950) of what is stored as it is (RFC 1951, 3.2.4)."""
    from isal import isal_zlib

    yield b"\x78\x01"
    check = 1
    for part in parts:
        check = isal_zlib.adler32(part, check)
        for start in range(0, len(part), _PIECE):
            block = part[start : start + _PIECE]
            yield struct.pack("<BHH", 0, len(block), len(block) ^ 0xFFFF)
            yield block
    yield struct.pack("<BHH", 1, 0, 0xFFFF) + struct.pack(">I", check)


def _chunk(name: bytes, *content: bytes) -> list[bytes]:
    from isal import isal_zlib

    check = isal_zlib.crc32(name)
    for part in content:
        check = isal_zlib.crc32(part, check)
    return [struct.pack(">I", sum(map(len, content))), name, *content, struct.pack(">I", check)]
