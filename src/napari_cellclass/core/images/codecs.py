"""PNG, JPEG, BMP, GIF, JPEG 2000 and WebP; all but most PNG are decoded whole."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.images.planes import DecodedPlane, LazyPlane, check_decodable, choose_plane
from napari_cellclass.core.images.png import (
    HEAD_BYTES,
    SIGNATURE,
    PngHeader,
    PngPlane,
    check_pixel_chunks,
    iterate_chunks,
)
from napari_cellclass.core.images.source import SourceImage

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_HEAD_BYTES = 65_536
_GREY_MODES = {"1", "L", "LA", "La", "I", "F"}
_DTYPES = {"I": np.int32, "F": np.float32}


def read_codec(path: Path, kind: str, *, t: int, z: int) -> SourceImage:
    """Open an image that is decoded when it is first read: whole, or a PNG as far as its rows are requested.

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
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    strips = _png_of_strips(head)
    if strips is not None:
        check_decodable(path.name, strips.height, strips.width)
        choose_plane(path.name, "", (), t, z)
        return _record(path, PngPlane(path, strips), 1, {})
    deep = _deep_header(head, kind)
    if deep is not None:
        (height, width), samples, dtype, decode = deep
        check_decodable(path.name, height, width)
        choose_plane(path.name, "", (), t, z)
        channels = samples - 1 if samples in (2, 4) else samples
        plane = _DeepPlane(path, (height, width, channels), dtype, decode)
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
    decoded = _PillowPlane(path, (height, width, 1 if grey else 3), dtype, _Recipe(kind, t, lut))
    return _record(path, decoded, frames, chosen)


def _png_of_strips(head: bytes) -> PngHeader | None:
    """Return the header of a PNG that is read strip by strip, else None."""
    header = PngHeader.read(head)
    animated = b"acTL" in head  # animations are Pillow's
    return header if header is not None and header.row_decodable and not animated else None


def _record(path: Path, plane: LazyPlane, frames: int, chosen: dict[str, int]) -> SourceImage:
    colour = plane.shape[2] > 1
    shape = ((frames,) if frames > 1 else ()) + (plane.shape if colour else plane.shape[:2])
    axes = ("T" if frames > 1 else "") + ("YXS" if colour else "YX")
    return SourceImage(
        data=plane, name=path.name, path=path, rgb=plane.shape[2] == 3,
        source_axes=axes, source_shape=shape, plane=chosen,
    )  # fmt: skip


def _pillow_class(kind: str) -> Callable[[IO[bytes], str], ImageFile]:
    """Return the format's own class: ``Image.open`` warns of every image above 90 million pixels."""
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
    """Return the colours of a palette: uint8, shape (256, 3), or (256, 1) when all are greys."""
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
    """How a file is decoded: format, frame, and colours of its palette."""

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
    """More than 8 bits per colour, which Pillow would cut down to 8."""

    def __init__(self, path: Path, shape: tuple[int, int, int], dtype: np.dtype, decoder: str) -> None:
        super().__init__(path.name, shape, dtype)
        self._path, self._decoder = path, decoder

    def _decode(self) -> NDArray[Any]:
        import imagecodecs

        data = self._path.read_bytes()
        if self._decoder == "png_decode":
            check_pixel_chunks(data)
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
    header = PngHeader.read(data[:HEAD_BYTES])
    if header is None or header.interlaced:
        return
    missing = header.height * header.row_bytes
    stream = zlib.decompressobj()
    for name, content, _ in iterate_chunks(data):
        if name == b"IDAT":
            pending: Any = content
            while pending and missing > 0:
                missing -= len(stream.decompress(pending, 1 << 20))
                pending = stream.unconsumed_tail
    if missing - len(stream.flush()) > 0:
        raise ValueError("rows are missing at its end")


def _without_extras(data: bytes) -> bytes:
    """Leave only a PNG's pixels: libpng writes to stderr of any colour profile it does not like."""
    parts: list[bytes | memoryview] = [SIGNATURE]
    for name, content, stored in iterate_chunks(data):
        if name in (b"IHDR", b"IDAT", b"IEND"):
            parts += [len(content).to_bytes(4, "big"), name, content, stored]
    return b"".join(parts)


def _deep_header(head: bytes, kind: str) -> tuple[tuple[int, int], int, np.dtype, str] | None:
    """Return (height, width), samples, dtype and decoder of what imagecodecs decodes better than Pillow, else None."""
    if kind == "png":
        return _png_header(head)
    if kind != "jp2":
        return None
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
    """Parse an interlaced PNG of 16 bits, the only kind that neither Pillow nor the strip reader decodes correctly."""
    header = PngHeader.read(head)
    if header is None or header.depth != 16 or header.colour not in (2, 4, 6):
        return None
    return (header.height, header.width), header.samples, header.dtype, "png_decode"
