"""The file of a blinded reading, ``NAME.blind``: pictures of tiles in the open, what they are sealed."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.common.limits import limit
from napari_cellclass.core.models.bundle import DAMAGED_ZIP

SUFFIX = ".blind"
_KIND, _VERSION = "blinded reading", 1
_HEADER, _SEALED, _NETWORK = "session.json", "sealed.bin", "network.bin"
_LARGEST_SEALED_BYTES = 64 << 20


class BlindError(CellClassError):
    """A blinded reading is not finished, already revealed, or its files were changed."""


@dataclass(frozen=True)
class SealedEnvelope:
    """Content that cannot be read by accident, and not changed without being noticed.

    The text is compressed and mixed with a stream of bytes that follows from its hash. That keeps a reader who
    opens the file in an editor from seeing classes and file names; it is no encryption, and does not hinder someone
    who writes a program to cheat. The hash over the content, which holds a random salt, was shown and stored with
    every reader's first line before the first tile was read: the content cannot be exchanged afterwards.

    Parameters
    ----------
    blob
        The mixed bytes.
    seal
        SHA-256 of the content, in hexadecimal digits.
    """

    blob: bytes
    seal: str

    @classmethod
    def of(cls, content: Any) -> SealedEnvelope:
        """Seal something JSON-able."""
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
        seal = hashlib.sha256(text).hexdigest()
        return cls(_mixed(zlib.compress(text, 9), seal), seal)

    def content(self) -> Any:
        """Give the content.

        Raises
        ------
        BlindError
            It is not what was sealed.
        """
        try:
            unpacker = zlib.decompressobj()
            text = unpacker.decompress(_mixed(self.blob, self.seal), _LARGEST_SEALED_BYTES)
        except zlib.error:
            text = b""
        if hashlib.sha256(text).hexdigest() != self.seal:
            raise BlindError(
                f"the sealed order does not fit its seal {self.seal[:16]}...: the file was changed after the session "
                "began; draw a new session"
            )
        return json.loads(text)


def _mixed(data: bytes, seal: str) -> bytes:
    stream = hashlib.shake_256(seal.encode()).digest(len(data))
    return (np.frombuffer(data, np.uint8) ^ np.frombuffer(stream, np.uint8)).tobytes()


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Write a picture (h, w, 3) as PNG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_blind_file(
    path: Path, header: dict[str, Any], order: SealedEnvelope, network: SealedEnvelope | None, pictures: Sequence[bytes]
) -> None:
    """Write a session.

    Parameters
    ----------
    path
        ``NAME.blind``.
    header
        What anyone may see: classes, numbers, when it was drawn.
    order
        What every tile is, and in which order they come.
    network
        The network's answers, sealed apart.
    pictures
        PNG files, in the order of the tiles' numbers, which says nothing.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    content = {"kind": _KIND, "version": _VERSION, **header, "seal": order.seal}
    content["network_seal"] = network.seal if network else None
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_HEADER, json.dumps(content, indent=2))
        archive.writestr(_SEALED, order.blob)
        if network:
            archive.writestr(_NETWORK, network.blob)
        for number, picture in enumerate(pictures):
            archive.writestr(_picture_name(number), picture)


def _picture_name(number: int) -> str:
    return f"tiles/{number:04d}.png"


def read_blind_file(path: Path) -> tuple[dict[str, Any], SealedEnvelope, SealedEnvelope | None]:
    """Read a session without its pictures: header, order, network.

    Raises
    ------
    BlindError
        The file is missing, or no blinded reading.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(_member(archive, _HEADER))
            if header["kind"] != _KIND or header["version"] != _VERSION:
                raise ValueError("another kind or version")
            order = SealedEnvelope(_member(archive, _SEALED), str(header["seal"]))
            seal = header["network_seal"]
            network = None if seal is None else SealedEnvelope(_member(archive, _NETWORK), str(seal))
    except (*DAMAGED_ZIP, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BlindError(
            f"{path} is no file of a blinded reading ({error}); choose a NAME{SUFFIX} that was drawn here"
        ) from error
    return header, order, network


def read_tile_png(path: Path, number: int) -> bytes:
    """Read the PNG of a tile.

    Raises
    ------
    BlindError
        The file was removed or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _member(archive, _picture_name(number))
    except (*DAMAGED_ZIP, KeyError, ValueError) as error:
        raise BlindError(f"picture {number} of {path} cannot be read ({error}); restore the file") from error


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > (most := limit("model_text_bytes")):
        raise ValueError(f"{name} claims {info.file_size:,} bytes, more than {most:,}")
    return archive.read(info)


def decode_png(picture: bytes) -> NDArray[np.uint8]:
    """Decode a PNG into uint8 (h, w, 3).

    Raises
    ------
    BlindError
        It is damaged.
    """
    try:
        with Image.open(io.BytesIO(picture), formats=("PNG",)) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow raises anything of damaged files
        raise BlindError(f"a picture of the reading cannot be shown ({error}); restore the file") from error
