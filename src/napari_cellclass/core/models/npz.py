"""Arrays in an npz archive that may be anybody's."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_npz(content: bytes, most_bytes: int) -> dict[str, NDArray[Any]]:
    """Read the arrays of an archive by their names, without pickle and no larger than allowed.

    Parameters
    ----------
    content
        The archive.
    most_bytes
        How large it may claim to be, unpacked.

    Raises
    ------
    ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error
        It is damaged or too large; with ``ValueError``, in a few words why.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = sum(info.file_size for info in archive.infolist())
    if size > most_bytes:
        raise ValueError(f"they claim {size:,} bytes, more than {most_bytes:,}")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
