"""Writing one tile as a PNG or TIFF file with its bit depth, channels and pixel size."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.images.source import SourceImage

TileFormat = Literal["auto", "png", "tiff"]

# What the formats can hold, as dtype.str without its byte order.
_PNG = {"u1", "u2"}
_IMAGEJ = {"u1", "u2", "f4"}
_OME = {"i1", "i2", "i4", "u4", "f8"}
# Run-length matching on filtered rows: on photographs about as small as zlib's level 6, in an eighth of the time.
_RLE, _ALL_FILTERS = 3, 0xF8


def tile_suffix(source: SourceImage, wanted: TileFormat = "auto") -> str:
    """Choose the kind of file for the tiles of an image: ``".png"`` or ``".tif"``.

    ``auto`` is PNG for 8 bits with 1 or 3 channels and for 16 bits with 1 channel, else TIFF.

    Raises
    ------
    ParamsError
        PNG is requested, but cannot hold such pixels.
    """
    kind = "u1" if source.dtype == np.bool_ else source.dtype.str[1:]
    if wanted == "auto":
        return ".png" if (kind, source.channels) in {("u1", 1), ("u1", 3), ("u2", 1)} else ".tif"
    if wanted == "png" and (kind not in _PNG or source.channels not in (1, 3)):
        raise ParamsError(
            f"{source.name}: a PNG cannot hold {counted(source.channels, 'channel')} of {source.dtype}; "
            "use --format tiff"
        )
    return ".png" if wanted == "png" else ".tif"


def to_storable_dtype(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels (h, w, C) as a file will give them back: booleans as 255 and 0, native byte order."""
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))


def write_tile(path: Path, pixels: NDArray[Any], like: SourceImage, content_hash: str) -> None:
    """Write a tile, whole or not at all; the same tile gives the same bytes.

    Parameters
    ----------
    path
        Ends in ``.png`` or ``.tif``, see :func:`tile_suffix`.
    pixels
        Shape (h, w, C), of :func:`to_storable_dtype`.
    like
        The image it was cut from: its pixel size and channel names go into a TIFF, as ImageJ or OME metadata.
    content_hash
        The tile's :attr:`SourceImage.image_id`, which also is the UUID of an OME-TIFF.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    # Thousands of small files: waiting for the disk at each would take longer than all the rest.
    with atomic_write(path, wait_for_disk=False) as temporary:
        if path.suffix == ".png":
            temporary.write_bytes(_png(pixels))
        else:
            _write_tiff(temporary, pixels, like, content_hash)


def _png(pixels: NDArray[Any]) -> bytes:
    import imagecodecs

    flat = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(flat), level=6, strategy=_RLE, filter=_ALL_FILTERS))


def _write_tiff(path: Path, pixels: NDArray[Any], like: SourceImage, content_hash: str) -> None:
    import tifffile

    kind, channels = pixels.dtype.str[1:], pixels.shape[2]
    rgb = like.rgb and channels == 3
    imagej = kind in _IMAGEJ and not (rgb and kind != "u1")
    ome = not imagej and kind in _OME | {"u2", "f4"}
    data = pixels if rgb else np.moveaxis(pixels, 2, 0) if channels > 1 else pixels[..., 0]
    metadata: dict[str, Any] = {"axes": "YXS" if rgb else "CYX" if channels > 1 else "YX"}
    options: dict[str, Any] = {"photometric": "rgb" if rgb else "minisblack"}
    names = like.channel_names if not rgb and channels > 1 else ()
    size = like.pixel_size_um
    if size and ome:
        metadata |= {"PhysicalSizeY": size[0], "PhysicalSizeYUnit": "µm"}
        metadata |= {"PhysicalSizeX": size[1], "PhysicalSizeXUnit": "µm"}
    elif size:
        per = 1.0 if imagej else 1e4
        options |= {"resolution": (per / size[1], per / size[0]), "resolutionunit": None if imagej else "CENTIMETER"}
        metadata |= {"unit": "um"} if imagej else {}
    if names:
        metadata |= {"Labels": list(names)} if imagej else {"Channel": {"Name": list(names)}} if ome else {}
    if ome:
        metadata["UUID"] = str(UUID(hex=content_hash[-32:]))
    tifffile.imwrite(path, np.ascontiguousarray(data), imagej=imagej, ome=ome or None, metadata=metadata, **options)
