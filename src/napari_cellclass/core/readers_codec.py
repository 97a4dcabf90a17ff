"""PNG, JPEG, BMP, GIF, JPEG 2000 and WebP: formats that are decoded whole."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.contracts import ImageError
from napari_cellclass.core.image import SourceImage
from napari_cellclass.core.readers_plane import DecodedPlane, check_decodable, choose_plane

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_GREY_MODES = {"1", "L", "LA", "La", "I", "F"}
_DTYPES = {"I": np.int32, "F": np.float32}


def read_codec(path: Path, kind: str, *, t: int, z: int) -> SourceImage:
    """Open an image of a format that is decoded whole, at the first read.

    Frames of an animation are T. Alpha is dropped, CMYK and palettes become RGB, a palette of greys
    one channel, 1-bit pixels 0 and 255; an EXIF orientation is not applied. Colours of 16 bits stay 16 bits.

    Parameters
    ----------
    path
        The file.
    kind
        ``"png"``, ``"jpeg"``, ``"bmp"``, ``"gif"``, ``"jp2"`` or ``"webp"``.
    t, z
        Which frame; there is only slice 0.

    Raises
    ------
    ImageError
        The header is damaged, there is no such frame, or there are too many pixels.
    """
    deep = _deep_header(path, kind)
    if deep is not None:
        (height, width), samples, dtype, decode = deep
        check_decodable(path.name, height, width)
        choose_plane(path.name, "", (), t, z)
        channels = samples - 1 if samples in (2, 4) else samples
        plane: DecodedPlane = _DeepPlane(path, (height, width, channels), dtype, decode)
        return _record(path, plane, 1, {})
    with path.open("rb") as stream, _pillow_class(kind)(stream, path.name) as image:
        width, height = image.size
        check_decodable(path.name, height, width)
        frames = int(getattr(image, "n_frames", 1))
        chosen = choose_plane(path.name, "T" if frames > 1 else "", (frames,) if frames > 1 else (), t, z)
        mode = image.mode
        lut = _palette(image) if mode in ("P", "PA") else None
        grey = mode in _GREY_MODES or mode.startswith("I;16") or (lut is not None and lut.shape[1] == 1)
        dtype = np.dtype(np.uint16 if mode.startswith("I;16") else _DTYPES.get(mode, np.uint8))
    plane = _PillowPlane(path, (height, width, 1 if grey else 3), dtype, _Recipe(kind, t, lut))
    return _record(path, plane, frames, chosen)


def _record(path: Path, plane: DecodedPlane, frames: int, chosen: dict[str, int]) -> SourceImage:
    colour = plane.shape[2] > 1
    shape = ((frames,) if frames > 1 else ()) + (plane.shape if colour else plane.shape[:2])
    axes = ("T" if frames > 1 else "") + ("YXS" if colour else "YX")
    return SourceImage(
        data=plane, name=path.name, path=path, rgb=plane.shape[2] == 3,
        source_axes=axes, source_shape=shape, plane=chosen,
    )  # fmt: skip


def _pillow_class(kind: str) -> Callable[[IO[bytes], str], ImageFile]:
    """Give the format's own class: ``Image.open`` warns of every image above 90 million pixels."""
    if kind == "png":
        from PIL.PngImagePlugin import PngImageFile as Found
    elif kind == "jpeg":
        from PIL.JpegImagePlugin import JpegImageFile as Found  # type: ignore[assignment]
    elif kind == "bmp":
        from PIL.BmpImagePlugin import BmpImageFile as Found  # type: ignore[assignment]
    elif kind == "gif":
        from PIL.GifImagePlugin import GifImageFile as Found  # type: ignore[assignment]
    elif kind == "jp2":
        from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile as Found  # type: ignore[assignment]
    else:
        from PIL.WebPImagePlugin import WebPImageFile as Found  # type: ignore[assignment]
    return Found


def _palette(image: ImageFile) -> NDArray[np.uint8]:
    """Give the colours of a palette: uint8, shape (256, 3), or (256, 1) when all are greys."""
    palette = image.palette
    if palette is None:
        raise ImageError(f"cannot read {image.filename!r}: its palette is missing; save it as RGB")
    order = palette.rawmode or palette.mode
    colours = np.frombuffer(bytes(palette.palette), np.uint8)
    colours = colours[: len(colours) // len(order) * len(order)].reshape(-1, len(order))[:256]
    lut = np.zeros((256, 3), np.uint8)
    lut[: len(colours)] = colours[:, [order.index(letter) for letter in "RGB"]]
    return lut[:, :1] if (lut == lut[:, :1]).all() else lut


@dataclass(frozen=True)
class _Recipe:
    """How a file is to be decoded: format, frame, and colours of its palette."""

    kind: str
    frame: int
    lut: NDArray[np.uint8] | None


class _PillowPlane(DecodedPlane):
    """An image that Pillow decodes."""

    def __init__(self, path: Path, shape: tuple[int, int, int], dtype: np.dtype, recipe: _Recipe) -> None:
        super().__init__(path.name, shape, dtype)
        self._path, self._recipe = path, recipe

    def _decode(self) -> NDArray[Any]:
        with self._path.open("rb") as stream, _pillow_class(self._recipe.kind)(stream, self.name) as image:
            image.seek(self._recipe.frame)
            image.load()
            pixels = self._convert(image)
        if self._recipe.kind == "png" and not pixels[-1].any():
            _check_png_rows(self._path)
        return pixels if pixels.ndim == 3 else pixels[..., None]

    def _convert(self, image: ImageFile) -> NDArray[Any]:
        lut = self._recipe.lut
        if lut is not None and image.mode in ("P", "PA"):
            index = np.asarray(image)
            return lut[index if index.ndim == 2 else index[..., 0]]
        if image.mode == "1":
            return np.asarray(image, np.uint8) * np.uint8(255)
        if image.mode in _DTYPES or image.mode.startswith("I;16"):
            return np.asarray(image)
        wanted = "L" if self.shape[2] == 1 else "RGB"
        return np.asarray(image if image.mode == wanted else image.convert(wanted))


class _DeepPlane(DecodedPlane):
    """More than 8 bits per colour, which Pillow would cut down to 8, or a PNG, which it decodes slowly."""

    def __init__(self, path: Path, shape: tuple[int, int, int], dtype: np.dtype, decoder: str) -> None:
        super().__init__(path.name, shape, dtype)
        self._path, self._decoder = path, decoder

    def _decode(self) -> NDArray[Any]:
        import imagecodecs

        data = self._path.read_bytes()
        if self._decoder == "png_decode":
            _check_png_stream(data)
            data = _without_extras(data)
        pixels = getattr(imagecodecs, self._decoder)(data)
        pixels = pixels if pixels.ndim == 3 else pixels[..., None]
        if pixels.dtype != self.dtype:
            raise ValueError(f"the header promises {self.dtype}, but there is {pixels.dtype}")
        return pixels[..., : self.shape[2]]


def _check_png_rows(path: Path) -> None:
    """Refuse a PNG whose stream ends before its last row: Pillow leaves the missing rows black.

    Raises
    ------
    ValueError
        Rows are missing.
    """
    data = path.read_bytes()
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    if interlaced:
        return
    bits = width * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    missing = height * (1 + (bits + 7) // 8)
    stream = zlib.decompressobj()
    for name, content in _chunks(data):
        if name == b"IDAT":
            pending = content
            while pending and missing > 0:
                missing -= len(stream.decompress(pending, 1 << 20))
                pending = stream.unconsumed_tail
    if missing - len(stream.flush()) > 0:
        raise ValueError("rows are missing at its end")


def _check_png_stream(data: bytes) -> None:
    """Refuse a PNG whose pixels fail their checksums: libpng gives them all the same, and prints a warning.

    Raises
    ------
    ValueError
        They are damaged; what is cut short, libpng tells by itself.
    """
    view, at = memoryview(data), 8
    while at + 8 <= len(data):
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")
        stored = view[end : end + 4]
        named_pixels = view[at + 4 : at + 8] == b"IDAT"
        if named_pixels and len(stored) == 4 and zlib.crc32(view[at + 4 : end]) != int.from_bytes(stored, "big"):
            raise ValueError("incorrect data check")
        at = end + 4


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give name and content of every chunk of a PNG."""
    at = 8
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size


def _without_extras(data: bytes) -> bytes:
    """Leave only a PNG's pixels: libpng writes to stderr of any colour profile it does not like."""
    parts, at = [data[:8]], 8
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] in (b"IHDR", b"IDAT", b"IEND"):
            parts.append(data[at:end])
        at = end
    return b"".join(parts)


def _deep_header(path: Path, kind: str) -> tuple[tuple[int, int], int, np.dtype, str] | None:
    """Give (height, width), samples, dtype and decoder of what imagecodecs does better than Pillow, else None."""
    if kind not in ("png", "jp2"):
        return None
    with path.open("rb") as stream:
        head = stream.read(65_536)
    if kind == "png":
        return _png_header(head)
    start = head.find(b"\xff\x4f\xff\x51")
    if start < 0 or len(head) < start + 43:
        return None
    x1, y1, x0, y0 = struct.unpack(">IIII", head[start + 8 : start + 24])
    samples = struct.unpack(">H", head[start + 40 : start + 42])[0]
    bits = (head[start + 42] & 0x7F) + 1
    if bits <= 8 or bits > 16:
        return None
    signed = head[start + 42] & 0x80
    return (y1 - y0, x1 - x0), samples, np.dtype(np.int16 if signed else np.uint16), "jpeg2k_decode"


def _png_header(head: bytes) -> tuple[tuple[int, int], int, np.dtype, str] | None:
    if len(head) < 29 or head[12:16] != b"IHDR":
        return None
    depth, colour, interlaced = head[24], head[25], head[28]
    plain = depth == 8 and not interlaced and b"acTL" not in head  # animations are Pillow's
    if not (plain and colour in (0, 2, 4, 6)) and not (depth == 16 and colour in (2, 4, 6)):
        return None
    width, height = struct.unpack(">II", head[16:24])
    dtype = np.dtype(np.uint8 if depth == 8 else np.uint16)
    return (height, width), {0: 1, 2: 3, 4: 2, 6: 4}[colour], dtype, "png_decode"
