"""Features kept on disk in the user's cache folder, so that no tile is computed twice.

A folder for each image and kind of features holds files that are written once and renamed into place: a killed process
leaves none that is half written, and processes that write at the same time do not meet.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import time
import uuid
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import platformdirs
from numpy.typing import ArrayLike, NDArray

from napari_cellclass.core.common.errors import OutputError
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.common.limits import limit
from napari_cellclass.core.models.feature_spec import FeatureSpec

_SUFFIX = ".features"
_HEADER = struct.Struct("<8sII")  # what it is, tiles, features
_MAGIC = b"CCFEAT01"
_ROWS = 256  # that wait in memory for one file
_MOST_FILES, _MERGED_BYTES = 64, 16 << 20
_KEPT = 0.8  # of the limit, after the features used longest ago were deleted
_MEASURED_BYTES = 64 << 20  # that may be written before sizes are added up again
_BOX_BYTES = 4 * 4 + 4  # of a box and a checksum
_ABANDONED_S = 3600.0  # age of a temporary file whose process must have ended
_GAP = 4  # rows that are read in vain rather than skipped
Box = tuple[int, int, int, int]


def store_folder() -> Path:
    """Return the folder of the features; it may be deleted at any time."""
    return Path(platformdirs.user_cache_dir("napari-cellclass", appauthor=False)) / "features"


@dataclass(frozen=True)
class _Row:
    """Where the features of a tile are: n-th row of a file of so many tiles, and their checksum."""

    path: Path
    tiles: int
    number: int
    checksum: int


_Wanted = tuple[int, Box, _Row]  # place in the result, box, place in a file


class FeatureStore:
    """The features that are on disk for one image.

    Features are float32, as they were computed: rounded to float16, they changed probabilities by up to 0.005. One
    thread at a time may use it.

    Parameters
    ----------
    image_id
        Hash of the image's content, see :attr:`~napari_cellclass.core.images.source.SourceImage.image_id`.
    spec
        Which features; those of another spec are never mixed up with these.
    folder
        Of all features, by default :func:`store_folder`.
    """

    def __init__(self, image_id: str, spec: FeatureSpec, folder: Path | None = None) -> None:
        self.problem: str | None = None
        self._root = folder or store_folder()
        self._folder = self._root / f"{image_id}-{spec.key}"
        self._columns = sum(spec.columns)
        self._rows: dict[Box, _Row] = {}
        self._waiting: dict[Box, NDArray[np.float32]] = {}
        self._unmeasured = _MEASURED_BYTES  # the first file already is a reason to add up what there is
        with contextlib.suppress(OSError):
            os.utime(self._folder)  # used now: others are deleted before it
        self._merge(self._read_index(sorted(self._folder.glob(f"[!.]*{_SUFFIX}"))))

    def __len__(self) -> int:
        return len(self._rows.keys() | self._waiting.keys())

    def known(self, boxes: ArrayLike) -> NDArray[np.bool_]:
        """Return which tiles (n, 4) seem to be there, without reading their features: bool, shape (n,)."""
        return np.array([key in self._rows or key in self._waiting for key in _keys(boxes)], bool)

    def get(self, boxes: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Look up tiles.

        Parameters
        ----------
        boxes
            Shape (n, 4): y0, x0, y1, x1 in px.

        Returns
        -------
        found : ndarray of bool, shape (n,)
            Which tiles are there and undamaged.
        features : ndarray of float32, shape (n, F)
            Zeros where they are not.
        """
        keys = _keys(boxes)
        found, features = np.zeros(len(keys), bool), np.zeros((len(keys), self._columns), np.float32)
        by_file: dict[Path, list[_Wanted]] = {}
        for i, key in enumerate(keys):
            if key in self._waiting:
                found[i], features[i] = True, self._waiting[key]
            elif key in self._rows:
                by_file.setdefault(self._rows[key].path, []).append((i, key, self._rows[key]))
        for path, wanted in by_file.items():
            with contextlib.suppress(OSError), path.open("rb") as stream:  # it may have been deleted
                for part in _close_together(wanted):
                    self._read(stream, part, found, features)
        return found, features

    def put(self, boxes: ArrayLike, features: NDArray[np.float32]) -> None:
        """Keep the features (n, F) of tiles (n, 4); they are on disk after some more of them, or :meth:`flush`.

        Where the disk is full or cannot be written, :attr:`problem` says so, and no more are kept.
        """
        if self.problem is None:
            self._waiting |= zip(_keys(boxes), np.asarray(features, np.float32), strict=True)
            if len(self._waiting) >= _ROWS:
                self.flush()

    def flush(self) -> None:
        """Write what waits in memory."""
        if self._waiting and self.problem is None:
            waiting, self._waiting = self._waiting, {}
            self._write(list(waiting), np.stack(list(waiting.values())))

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def _write(self, keys: Sequence[Box], features: NDArray[np.float32]) -> None:
        # In the order of time, so that what replaces a damaged file is found after it.
        path = self._folder / f"{time.time_ns():020d}-{uuid.uuid4().hex}{_SUFFIX}"
        boxes, values = np.array(keys, "<i4"), np.ascontiguousarray(features, "<f4")
        checksums = np.array([_checksum(key, row.tobytes()) for key, row in zip(keys, values, strict=True)], "<u4")
        header = _HEADER.pack(_MAGIC, len(keys), self._columns)
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with atomic_write(path, wait_for_disk=False) as temporary:
                temporary.write_bytes(b"".join((header, boxes.tobytes(), checksums.tobytes(), values.tobytes())))
        except (OutputError, OSError) as error:
            self.problem = f"features are not kept for the next time: {error}"
            return
        for number, key in enumerate(keys):
            self._rows[key] = _Row(path, len(keys), number, int(checksums[number]))
        self._unmeasured += values.nbytes
        if self._unmeasured >= _MEASURED_BYTES:
            self._unmeasured = 0
            self._make_room()

    def _read(
        self, stream: BinaryIO, wanted: Sequence[_Wanted], found: NDArray[np.bool_], features: NDArray[np.float32]
    ) -> None:
        """Read rows that lie close together in a file with one access; damaged ones are not found."""
        length, first = 4 * self._columns, wanted[0][2]
        stream.seek(_HEADER.size + _BOX_BYTES * first.tiles + length * first.number)
        content = stream.read(length * (wanted[-1][2].number + 1 - first.number))
        for i, key, row in wanted:
            start = length * (row.number - first.number)
            values = content[start : start + length]
            if len(values) == length and _checksum(key, values) == row.checksum:
                found[i], features[i] = True, np.frombuffer(values, "<f4")

    def _read_index(self, paths: Sequence[Path]) -> list[Path]:
        """Read which tiles are in files; return the small ones. Damaged files are left out."""
        small = []
        for path in paths:
            with contextlib.suppress(OSError, struct.error):
                size = path.stat().st_size
                with path.open("rb") as stream:
                    magic, tiles, columns = _HEADER.unpack(stream.read(_HEADER.size))
                    if magic != _MAGIC or columns != self._columns or size != self._file_size(tiles):
                        continue
                    boxes = np.frombuffer(stream.read(16 * tiles), "<i4").reshape(tiles, 4)
                    checksums = np.frombuffer(stream.read(4 * tiles), "<u4")
                rows = zip(map(tuple, boxes.tolist()), checksums.tolist(), strict=True)
                self._rows |= {key: _Row(path, tiles, number, crc) for number, (key, crc) in enumerate(rows)}
                if size < _MERGED_BYTES:
                    small.append(path)
        return small

    def _file_size(self, tiles: int) -> int:
        return _HEADER.size + tiles * (_BOX_BYTES + 4 * self._columns)

    def _merge(self, small: list[Path]) -> None:
        """Join small files to a large one where there are many; another process that does so, too, does no harm."""
        if len(small) <= _MOST_FILES:
            return
        keys = [key for key, row in self._rows.items() if row.path in set(small)]
        limited = keys[: max(1, 4 * _MERGED_BYTES // (4 * self._columns))]
        found, features = self.get(limited)
        self._write([key for key, there in zip(limited, found, strict=True) if there], features[found])
        if self.problem is None:
            for path in set(small) - {row.path for row in self._rows.values()}:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _make_room(self) -> None:
        """Delete the features of the images used longest ago, until all take less than the limit."""
        most = limit("feature_store_bytes")
        used = {folder: _last_used(folder) for folder in self._root.glob("*-*")}
        sizes = {folder: _size(folder) for folder in used}
        total = sum(sizes.values())
        if total <= most:
            return
        for folder in sorted(sizes, key=lambda one: used[one]):
            if folder != self._folder and total > _KEPT * most:
                shutil.rmtree(folder, ignore_errors=True)
                total -= sizes[folder]
        if total > most:
            self.problem = f"features are not kept for the next time: those of this image are more than {most:,} bytes"


def _close_together(wanted: list[_Wanted]) -> Iterator[list[_Wanted]]:
    """Divide rows of a file where others lie between them, and after so many."""
    part: list[_Wanted] = []
    for one in sorted(wanted, key=lambda one: one[2].number):
        if part and (one[2].number - part[-1][2].number > _GAP or len(part) == _ROWS):
            yield part
            part = []
        part.append(one)
    yield part


def _keys(boxes: ArrayLike) -> list[Box]:
    return [(y0, x0, y1, x1) for y0, x0, y1, x1 in np.asarray(boxes, np.int64).reshape(-1, 4).tolist()]


def _checksum(key: Box, values: bytes) -> int:
    return zlib.crc32(values, zlib.crc32(struct.pack("<4i", *key)))


def _last_used(folder: Path) -> float:
    with contextlib.suppress(OSError):
        return folder.stat().st_mtime
    return 0.0


def _size(folder: Path) -> int:
    return sum(_file_sizes(folder))


def _file_sizes(folder: Path) -> Iterator[int]:
    """Give the sizes of a folder's files; temporary files of killed processes are deleted."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):
                found = path.stat()
                if path.name.startswith(".tmp-") and time.time() - found.st_mtime > _ABANDONED_S:
                    path.unlink()
                else:
                    yield found.st_size
