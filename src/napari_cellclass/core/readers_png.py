"""PNG read strip by strip, from its top as far as rows are asked for, so that work on the first need not wait."""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.ahead import OneAhead
from napari_cellclass.core.readers_plane import LazyPlane

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_STRIP_BYTES = 1 << 20  # a processor's cache holds it
_PIECE = 1 << 16
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
        """Read a file's beginning; None where it is none of a PNG."""
        if len(head) < 29 or not head.startswith(SIGNATURE) or head[12:16] != b"IHDR":
            return None
        width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", head[16:29])
        return cls(width, height, depth, colour, bool(interlaced)) if colour in _SAMPLES else None

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
    def whole_bytes(self) -> bool:
        """Whether its rows can be decoded here: colours of 8 or 16 bits without a palette, row after row."""
        return self.depth in (8, 16) and self.colour != 3 and not self.interlaced


class PngPlane(LazyPlane):
    """A PNG whose rows are decoded when they are asked for, with all above them, and kept.

    Parameters
    ----------
    path
        The file.
    header
        Its header, with ``whole_bytes``.
    """

    def __init__(self, path: Path, header: PngHeader) -> None:
        super().__init__(path.name, (header.height, header.width, header.channels), header.dtype)
        self._path, self._header = path, header
        self._lock = threading.Lock()
        self._inflated: OneAhead[bytes] | None = None
        self._above = b""
        self._pixels: NDArray[Any] | None = None
        self._rows = 0

    def _fetch(self, y0: int, x0: int, y1: int, x1: int) -> NDArray[Any]:
        with self._lock:
            pixels = np.empty(self.shape, self.dtype) if self._pixels is None else self._pixels
            if self._rows < y1:
                self._decode_to(y1, pixels)
            self._pixels = pixels
        part = pixels[y0:y1, x0:x1]
        part.flags.writeable = False
        return part

    def _decode_to(self, y1: int, pixels: NDArray[Any]) -> None:
        header = self._header
        if self._inflated is None:
            self._inflated, self._above = OneAhead(self._filtered()), bytes(header.row_bytes - 1)
        try:
            # Rows are inflated while the filters of those above are undone.
            with self._inflated.taken(few=header.height * header.row_bytes <= _STRIP_BYTES) as strips:
                while self._rows < y1:
                    strip = _unfiltered(self._above, next(strips), header)
                    self._above = strip[-1].astype(strip.dtype.newbyteorder(">")).tobytes()
                    pixels[self._rows : self._rows + len(strip)] = strip[..., : self.shape[2]]
                    self._rows += len(strip)
        except BaseException:  # the next who asks is told the same, not that nothing is left
            self._inflated, self._rows = None, 0
            raise
        if self._rows == self.shape[0]:
            self._inflated = None  # lets go of the file's bytes

    def _filtered(self) -> Iterator[bytes]:
        """Inflate strips of rows, the last one shorter; all rows or an error."""
        data = self._path.read_bytes()
        if PngHeader.read(data[:29]) != self._header:
            raise ValueError("the file was changed while it was read")
        yield from _filtered_strips(data, self._header)


def chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, bytes]]:
    """Give name, content and stored checksum of every chunk of a PNG; the last may be cut short."""
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
        They are damaged; what is cut short, libpng tells by itself.
    """
    for _ in _pixel_chunks(data):
        pass


def _pixel_chunks(data: bytes) -> Iterator[memoryview]:
    """Give the compressed pixels, chunk by chunk, each of them checked."""
    from isal import isal_zlib

    for name, content, stored in chunks(data):
        if name == b"IDAT":
            if len(stored) == 4 and isal_zlib.crc32(content, isal_zlib.crc32(name)) != int.from_bytes(stored, "big"):
                raise ValueError("incorrect data check")
            yield content


def _filtered_strips(data: bytes, header: PngHeader) -> Iterator[bytes]:
    """Inflate the rows of a PNG as they are stored, about a megabyte at a time.

    Raises
    ------
    ValueError
        The stream is damaged, or rows are missing.
    """
    from isal import isal_zlib

    rows = max(1, _STRIP_BYTES // header.row_bytes)
    left, wanted = header.height, 0
    strip = bytearray()
    stream = isal_zlib.decompressobj()
    for content in _pixel_chunks(data):
        for start in range(0, len(content), _PIECE):
            piece: Any = content[start : start + _PIECE]
            while left:
                wanted = min(rows, left) * header.row_bytes
                strip += stream.decompress(piece, wanted - len(strip))  # a bomb stops here
                if len(strip) < wanted:
                    break
                yield bytes(strip)
                strip.clear()
                left -= min(rows, left)
                piece = stream.unconsumed_tail
    if left:
        raise ValueError("rows are missing at its end")


def _unfiltered(above: bytes, filtered: bytes, header: PngHeader) -> NDArray[Any]:
    """Undo the filters of some rows by libpng, in a PNG of its own that begins with the row above them."""
    import imagecodecs

    height = len(filtered) // header.row_bytes + 1
    size = struct.pack(">IIBBBBB", header.width, height, header.depth, header.colour, 0, 0, 0)
    stored = zlib.compress(b"".join((b"\0", above, filtered)), 0)
    parts = [SIGNATURE, _chunk(b"IHDR", size), _chunk(b"IDAT", stored), _chunk(b"IEND", b"")]
    strip = imagecodecs.png_decode(b"".join(parts))[1:]
    return np.asarray(strip if strip.ndim == 3 else strip[..., None])


def _chunk(name: bytes, content: bytes) -> bytes:
    from isal import isal_zlib

    length = struct.pack(">I", len(content))
    check = struct.pack(">I", isal_zlib.crc32(content, isal_zlib.crc32(name)))
    return b"".join((length, name, content, check))
