"""What a TIFF's tags say about its pixels: colours, pixel size and channel names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.images.units import one_sided_note, size_in_um

_WHITE_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 2, 3, 5, 6
_NO_COLOURS = {8: "CIELAB", 9: "ICCLAB", 10: "ITULAB", 32844: "LogL", 32845: "LogLUV"}
_GIVES_RGB = {6, 7, 33007, 34892, 33004, 33005, 34712, 50001}  # codecs that undo YCbCr by themselves
_ALPHA = {1, 2}  # premultiplied or not

# Larger pixels are no microscope's; these multiples are what screens and printers are set to.
_LARGEST_UM = 50.0
_OFFICE_DPI = (72.0, 96.0, 100.0)
_LARGEST_OFFICE_DPI = 4800.0


@dataclass(frozen=True)
class Colour:
    """How the samples of a page become channels.

    Parameters
    ----------
    kind
        ``"grey"`` (as stored), ``"invert"``, ``"bits"``, ``"palette"``, ``"cmyk"`` or ``"ycbcr"``.
    keep
        The samples that are used, in order; alpha is not among them.
    channels, dtype
        What :meth:`convert` gives.
    white
        The grey value of white for ``"invert"``; with ``"bits"`` 1 when white is zero.
    rgb
        Whether the channels are red, green, blue.
    """

    kind: str
    keep: tuple[int, ...]
    channels: int
    dtype: np.dtype
    white: int = 0
    rgb: bool = False

    def planes(self, count: int) -> tuple[int, ...]:
        """Which of ``count`` sample planes are to be read; one plane holds all samples together."""
        return self.keep if count > 1 else (0,)

    def convert(self, part: NDArray[Any], palette: NDArray[Any] | None) -> NDArray[Any]:
        """Turn stored samples (h, w, S) into channels (h, w, C)."""
        if part.shape[2] != len(self.keep):
            part = part[..., list(self.keep)]
        if self.kind == "bits":
            return (part.astype(bool) ^ bool(self.white)).astype(np.uint8) * np.uint8(255)
        if self.kind == "invert":
            return part.dtype.type(self.white) - part if part.dtype.kind == "u" else ~part
        if self.kind == "palette":
            assert palette is not None
            lut = palette_colours(palette)[:, : self.channels]
            index = part[..., 0].astype(np.intp)
            if index.max(initial=0) >= len(lut):
                raise ValueError(f"colour {index.max()} is not in the palette of {len(lut)}")
            return lut[index]
        if self.kind == "cmyk":
            full = float(np.iinfo(part.dtype).max)
            rgb = (full - part[..., :3]) * (full - part[..., 3:4]) / full
            return np.rint(rgb).astype(part.dtype)
        if self.kind == "ycbcr":
            y, cb, cr = (part[..., i].astype(np.float32) - (0, 128, 128)[i] for i in range(3))
            rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)
            return np.rint(rgb).clip(0, 255).astype(np.uint8)
        return part


def palette_colours(colormap: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a TIFF's palette, uint16 of shape (3, n), as uint8 of shape (n, 3)."""
    colours = np.asarray(colormap).T
    # Some programs write 8-bit colours into the 16-bit palette.
    return (colours if colours.max(initial=0) < 256 else colours >> 8).astype(np.uint8)


def read_colour(name: str, tif: Any, key: Any, palettes: Sequence[NDArray[Any] | None]) -> Colour:
    """Decide how the samples of a page become channels.

    Alpha is known by the ExtraSamples tag; the fourth sample of RGB is alpha without it, too. In a file
    of ImageJ a palette only colours the display, so the stored greys are kept. A palette of greys
    gives one channel. White-is-zero floats are kept: they have no white to be inverted at.

    Raises
    ------
    ImageError
        The colour space is not supported.
    """
    photometric, count = int(key.photometric), int(key.samplesperpixel)
    if photometric in _NO_COLOURS:
        raise ImageError(f"cannot read {name}: {_NO_COLOURS[photometric]} colours are not supported; save it as RGB")
    dtype = np.dtype(key.dtype) if key.dtype is not None else np.dtype(np.uint8)
    extras = [int(e) for e in key.extrasamples][-count:]
    keep = tuple(i for i in range(count) if i < count - len(extras) or extras[i - count + len(extras)] not in _ALPHA)
    keep = keep or (0,)
    if photometric in (_RGB, _YCBCR):
        keep = (0, 1, 2) if count in (3, 4) else keep
        if photometric == _YCBCR and int(key.compression) not in _GIVES_RGB and keep == (0, 1, 2):
            if dtype != np.uint8:
                raise ImageError(f"cannot read {name}: YCbCr colours of {dtype} are not supported; save it as RGB")
            return Colour("ycbcr", keep, 3, dtype, rgb=True)
        return Colour("grey", keep, len(keep), dtype, rgb=len(keep) == 3)
    if photometric == _PALETTE and not tif.is_imagej and dtype.kind in "ub" and all(p is not None for p in palettes):
        luts = [palette_colours(p) for p in palettes if p is not None]
        grey = all((lut == lut[:, :1]).all() for lut in luts)
        return Colour("palette", (0,), 1 if grey else 3, np.dtype(np.uint8), rgb=not grey)
    if photometric == _CMYK and count >= 4 and dtype.kind == "u":
        return Colour("cmyk", (0, 1, 2, 3), 3, dtype, rgb=True)
    return _grey(photometric, int(key.bitspersample), keep, dtype)


def _grey(photometric: int, bits: int, keep: tuple[int, ...], dtype: np.dtype) -> Colour:
    """Decide how samples without a colour space become channels."""
    if dtype == np.bool_:
        return Colour("bits", keep, len(keep), np.dtype(np.uint8), white=int(photometric == _WHITE_IS_ZERO))
    if photometric == _WHITE_IS_ZERO and dtype.kind in "ui":
        return Colour("invert", keep, len(keep), dtype, white=(1 << bits) - 1)
    return Colour("grey", keep, len(keep), dtype)


def pixel_size_um(tif: Any, series: Any, image: int) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """Return the (y, x) size of a pixel in µm, or None; and what a user should know of it.

    OME metadata come first, then ImageJ's unit, then Aperio's ``MPP``. The resolution tag alone is
    believed when it gives 50 µm or less and is not a usual setting of a screen or printer, a
    multiple of 72, 96 or 100 dpi. ``image`` counts the images of the OME metadata.
    """
    if tif.is_ome:
        pixels = _ome_pixels(tif, image)
        if pixels is None:
            return None, ()
        get = pixels.attrib.get
        sizes = get("PhysicalSizeY"), get("PhysicalSizeX")
        units = get("PhysicalSizeYUnit", "µm"), get("PhysicalSizeXUnit", "µm")
        return size_in_um(*sizes, *units), one_sided_note(*sizes, *units)
    key = series.keyframe
    y, x = _per_unit(key, "YResolution"), _per_unit(key, "XResolution")
    metadata = (tif.imagej_metadata or {}) if tif.is_imagej else {}
    unit = metadata.get("unit")
    if unit and str(unit).lower() not in ("inch", "cm", "pixel", "pixels"):
        # ImageJ has a unit of its own for y where it differs.
        given = 1 / y if y else None, 1 / x if x else None, str(metadata.get("yunit") or unit), str(unit)
        return size_in_um(*given), one_sided_note(*given)
    found = re.search(r"\bMPP\s*=\s*([0-9]*[.,]?[0-9]+)", key.description or "")
    if found:
        return size_in_um(found[1], found[1], "µm", "µm"), ()
    resolution = key.tags.get("ResolutionUnit")
    tag_unit = {2: "inch", 3: "cm"}.get(int(resolution.value)) if resolution is not None else None
    size = size_in_um(1 / y, 1 / x, tag_unit, tag_unit) if y and x and tag_unit else None
    return (size if size is not None and all(_is_microscopic(s) for s in size) else None), ()


def _per_unit(key: Any, tag: str) -> float | None:
    found = key.tags.get(tag)
    try:
        above, below = found.value
        return above / below if above > 0 and below > 0 else None
    except (AttributeError, TypeError, ValueError):
        return None


def _is_microscopic(size_um: float) -> bool:
    dpi = 25_400.0 / size_um
    office = dpi <= _LARGEST_OFFICE_DPI and any(abs(dpi / d - round(dpi / d)) < 2e-3 for d in _OFFICE_DPI)
    return size_um <= _LARGEST_UM and not office


def _ome_pixels(tif: Any, image: int) -> ElementTree.Element | None:
    """Return the ``Pixels`` element of an image."""
    try:
        root = ElementTree.fromstring(tif.ome_metadata or "")
    except ElementTree.ParseError:
        return None
    found = root.findall("{*}Image/{*}Pixels")
    return found[image] if image < len(found) else None


def channel_names(tif: Any, image: int, indices: Sequence[int]) -> tuple[str, ...]:
    """Return the channels' names of OME or ImageJ metadata, or none.

    Parameters
    ----------
    tif, image
        The open file, and which image of its OME metadata.
    indices
        The page of every channel; ImageJ labels pages.
    """
    names: list[Any] = []
    if tif.is_ome:
        pixels = _ome_pixels(tif, image)
        names = [c.attrib.get("Name") for c in pixels.findall("{*}Channel")] if pixels is not None else []
    elif tif.is_imagej and len(indices) > 1:
        labels = (tif.imagej_metadata or {}).get("Labels") or []
        names = [labels[i] for i in indices if i < len(labels)]
    good = all(isinstance(n, str) and n for n in names) and len(set(names)) == len(names)
    return tuple(names) if good else ()
