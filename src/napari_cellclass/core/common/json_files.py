"""Reading of JSON files that other programs wrote: packed or not, with bare NaN, in UTF-8 or UTF-16."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from napari_cellclass.core.common.csv_tables import decode_text
from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.limits import limit, limit_variable

_GZIP = b"\x1f\x8b"


def load_json(path: Path, what: str = "GeoJSON") -> Any:
    """Parse a file of JSON, unpacked where it is packed by gzip.

    ``NaN`` and ``Infinity``, which are not JSON but are written for measurements, are read as such floats.

    Raises
    ------
    DatasetError
        The file is missing, larger than a limit (``core/common/limits.py``), packed or unpacked, or not JSON.
    """
    path = Path(path)
    try:
        size, most = path.stat().st_size, limit("annotation_bytes")
        if size <= most:
            content = _unpacked(path, most)
            size = len(content)
        if size > most:
            raise DatasetError(
                f"{path} has {size:,} bytes; up to {most:,} are read, export less "
                f"or raise {limit_variable('annotation_bytes')}"
            )
        return json.loads(decode_text(content))
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DatasetError(f"cannot open {path}: {reason}; choose a {what} file") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read as {what}: {error}; export it again") from error


def _unpacked(path: Path, most: int) -> bytes:
    """Read a file, of a packed one at most one byte more than are allowed."""
    with path.open("rb") as stream:
        if stream.read(2) != _GZIP:
            stream.seek(0)
            return stream.read()
    with gzip.open(path) as packed:
        return packed.read(most + 1)
