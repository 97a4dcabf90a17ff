"""The file of a blinded reading, ``NAME.blind``: readable tile images, and sealed ground truth and predictions."""

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
    """Content that is not readable by accident, and cannot be changed unnoticed.

    The text is compressed and XORed with a stream of bytes derived from its hash. That prevents a reader who
    opens the file in an editor from seeing classes and file names; it is not encryption, and does not stop someone
    who writes a program to cheat. The hash over the content, which contains a random salt, was shown and stored with
    every reader's first entry before the first tile was read: the content cannot be replaced afterwards.

    Parameters
    ----------
    blob
        The obfuscated bytes.
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
        return cls(_xor_with_stream(zlib.compress(text, 9), seal), seal)

    def content(self) -> Any:
        """Open the envelope.

        Raises
        ------
        BlindError
            It is not what was sealed.
        """
        try:
            unpacker = zlib.decompressobj()
            text = unpacker.decompress(_xor_with_stream(self.blob, self.seal), _LARGEST_SEALED_BYTES)
        except zlib.error:
            text = b""
        if hashlib.sha256(text).hexdigest() != self.seal:
            raise BlindError(
                f"the sealed order does not match its seal {self.seal[:16]}...: the file was changed after the session "
                "began; create a new session"
            )
        return json.loads(text)


def _xor_with_stream(data: bytes, seal: str) -> bytes:
    stream = hashlib.shake_256(seal.encode()).digest(len(data))
    return (np.frombuffer(data, np.uint8) ^ np.frombuffer(stream, np.uint8)).tobytes()


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode pixels, uint8 (h, w, 3), as PNG."""
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
        What is not blinded: classes, counts, time of creation.
    order
        What every tile is, and the reading order.
    network
        The network's predictions, in an envelope of their own.
    pictures
        PNG files, in the order of the tile numbers, which is random.

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
            archive.writestr(_tile_name(number), picture)


def _tile_name(number: int) -> str:
    return f"tiles/{number:04d}.png"


def read_blind_file(path: Path) -> tuple[dict[str, Any], SealedEnvelope, SealedEnvelope | None]:
    """Read a session without its pictures: header, order, network.

    Raises
    ------
    BlindError
        The file is missing, or not a blinded reading.
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
            f"{path} is not a file of a blinded reading ({error}); choose a NAME{SUFFIX} that this program created"
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
            return _member(archive, _tile_name(number))
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
    except Exception as error:  # Pillow raises any kind of error on damaged files
        raise BlindError(f"a picture of the reading cannot be shown ({error}); restore the file") from error
