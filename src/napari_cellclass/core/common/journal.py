"""Journals of labels: append-only JSON lines, one file per image, on disk before a label counts."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from napari_cellclass.core.common.errors import CellClassError, DatasetError, OutputError
from napari_cellclass.core.common.files import output_error
from napari_cellclass.core.common.locks import NO_LOCKS, try_lock
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.history import Entry, History, ungrouped
from napari_cellclass.core.tiles.grid import TileGrid

if TYPE_CHECKING:
    from napari_cellclass.core.labels.annotation import Annotation
    from napari_cellclass.core.labels.label_file import ImageKey

VERSION = 1
MALFORMED = (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError)
"""What a damaged entry raises when it is read."""
_LOCK_SECONDS = 5.0


@dataclass(frozen=True)
class Mark:
    """How far a journal was read: the file's inode, and the offset after its last whole line in bytes."""

    inode: int
    offset: int


@dataclass(frozen=True)
class SessionSummary:
    """One sitting at one image with one grid.

    Parameters
    ----------
    session
        Its id, for :meth:`Journal.restore`.
    key, layout
        The grid, see :func:`~napari_cellclass.core.labels.annotation.grid_key` and ``grid_from_layout``.
    grid
        The grid in words.
    labelled
        Tiles with a class.
    changed
        When a label was last changed.
    """

    session: str
    key: str
    layout: dict[str, Any]
    grid: str
    labelled: int
    changed: datetime


class Journal:
    """Append-only JSON lines, one file per image content id.

    Any number of processes may write: each line is one write at the file's end, under a lock.

    Parameters
    ----------
    folder
        Where the files lie; the user's data folder when not given. Made with mode 0700 at the first
        entry, files with 0600.
    """

    def __init__(self, folder: Path | None = None) -> None:
        default = platformdirs.user_data_path("napari-cellclass", appauthor=False) / "journal"
        self.folder = Path(folder) if folder is not None else default

    def path(self, image_id: str) -> Path:
        """Tell the file of an image; an id that is no plain name is hashed."""
        plain = re.fullmatch(r"[A-Za-z0-9_-]{1,128}", image_id)
        name = image_id if plain else "h" + hashlib.blake2b(image_id.encode(), digest_size=16).hexdigest()
        return self.folder / f"{name}.jsonl"

    def append(self, image_id: str, entry: Entry) -> None:
        """Write an entry as one line, flushed to the disk before this returns.

        Raises
        ------
        OutputError
            It cannot be written: disk full, read-only, no permission; then the file is as it was.
        """
        with self.writing(image_id) as file:
            file.append([entry])

    def entries(self, image_id: str) -> list[Entry]:
        """Read all entries; a last line that was cut off, and lines that are no JSON object, are left out.

        Raises
        ------
        DatasetError
            The file is there, but cannot be read.
        """
        return self.read(image_id)[0]

    def read(self, image_id: str) -> tuple[list[Entry], Mark | None]:
        """Read all entries, and how far the file was read; None where there is no file."""
        path = self.path(image_id)
        try:
            with path.open("rb") as stream:
                content = stream.read()
                inode = os.fstat(stream.fileno()).st_ino
        except FileNotFoundError:
            return [], None
        except OSError as error:
            raise DatasetError(
                f"cannot read the journal {path}: {error.strerror or error}; check its permissions"
            ) from error
        entries, length = _parse(content)
        return entries, Mark(inode, length)

    @contextlib.contextmanager
    def writing(self, image_id: str) -> Iterator[JournalFile]:
        """Hold the file of an image, locked against other processes.

        Raises
        ------
        OutputError
            The file cannot be opened, or another process has held it for 5 s.
        """
        path = self.path(image_id)
        try:
            new = not path.exists()
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self.folder.mkdir(mode=0o700)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
            number = os.open(path, flags, 0o600)
        except OSError as error:
            raise output_error(path, error) from error
        try:
            if new:
                _sync_folder(self.folder)
            _lock(number, path)
            yield JournalFile(number, path)
        finally:
            os.close(number)  # gives the lock back too

    def restore(self, image: ImageKey, grid: TileGrid, session: str | None = None) -> Annotation | None:
        """Bring back the labels, classes and steps of an image's grid.

        Parameters
        ----------
        image
            Its ``image_id`` names the file.
        grid
            The grid, or a region of it; labels outside the region are kept, unseen.
        session
            See :meth:`summary`; the one changed last when not given.

        Returns
        -------
        Annotation or None
            None where there is nothing to restore.
        """
        from napari_cellclass.core.labels.annotation import Annotation  # it needs this module

        return Annotation.restored(image, grid, self, session)

    def summary(self, image_id: str) -> list[SessionSummary]:
        """List the sessions of an image, the one changed last at the end."""
        found = []
        for entries in by_session(self.entries(image_id)).values():
            try:
                history = history_of(entries, ())
                layout = dict(entries[0]["grid"])
                times = [float(entry["t"]) for entry in entries if "t" in entry]
                changed = datetime.fromtimestamp(max(times, default=0.0), UTC)
                summary = SessionSummary(
                    str(entries[0]["s"]), str(entries[0]["key"]), layout, _in_words(layout),
                    int((history.store.labelled()[1] >= 0).sum()), changed,
                )  # fmt: skip
            except (*MALFORMED, OSError, CellClassError):
                continue  # a damaged first line: nothing can be said of its session
            found.append(summary)
        return found


class JournalFile:
    """An open, locked journal; made by :meth:`Journal.writing` alone."""

    def __init__(self, number: int, path: Path) -> None:
        self._number = number
        self._path = path

    def news(self, mark: Mark) -> tuple[list[Entry], Mark] | None:
        """Read what was appended since ``mark``; None where the file was replaced or cut shorter."""
        try:
            status = os.fstat(self._number)
            if status.st_ino != mark.inode or status.st_size < mark.offset:
                return None
            if status.st_size == mark.offset:
                return [], mark
            entries, length = _parse(self._content(mark.offset, status.st_size))
        except OSError as error:
            raise output_error(self._path, error) from error
        return entries, Mark(mark.inode, mark.offset + length)

    def append(self, entries: Sequence[Entry]) -> Mark:
        """Write entries as one line each, in one write, and wait for the disk.

        Raises
        ------
        OutputError
            They could not be written; then the file is cut back to what it was.
        """
        lines = [json.dumps(e, allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n" for e in entries]
        content = "".join(lines).encode()
        end = None
        try:
            end = self._whole_lines()
            if os.write(self._number, content) != len(content):
                raise OSError(errno.ENOSPC, "not all was written")
            os.fsync(self._number)
            return Mark(os.fstat(self._number).st_ino, end + len(content))
        except OSError as error:
            if end is not None:
                with contextlib.suppress(OSError):  # a line that is left without its end is never read
                    os.ftruncate(self._number, end)
            raise output_error(self._path, error) from error

    def _whole_lines(self) -> int:
        """Cut off a last line that has no end, which a killed process left, and give the file's size."""
        size = os.fstat(self._number).st_size
        if size == 0 or self._content(size - 1, size) == b"\n":
            return size
        low = size
        while low > 0:
            low = max(0, low - (1 << 16))
            at = self._content(low, min(size, low + (1 << 16))).rfind(b"\n")
            if at >= 0:
                low += at + 1
                break
        os.ftruncate(self._number, low)
        return low

    def _content(self, start: int, end: int) -> bytes:
        os.lseek(self._number, start, os.SEEK_SET)
        parts = []
        while start < end and (part := os.read(self._number, end - start)):
            parts.append(part)
            start += len(part)
        return b"".join(parts)


def by_session(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Sort entries into sessions, each with its start first, the one changed last at the end."""
    found: dict[str, list[Entry]] = {}
    last: dict[str, int] = {}
    for number, entry in enumerate(entries):
        session = entry.get("s")
        if not isinstance(session, str):
            continue
        if entry.get("do") == "start" and entry.get("v") == VERSION:
            found.setdefault(session, [entry])
        elif session in found:
            found[session].append(entry)
        last[session] = number
    return {session: found[session] for session in sorted(found, key=lambda name: last[name])}


def history_of(entries: Sequence[Entry], ids: Any) -> History:
    """Replay a session.

    Parameters
    ----------
    entries
        Of one session, its start first.
    ids
        int64, shape (N,): tile ids of the grid whose labels are wanted densely.

    Raises
    ------
    KeyError, TypeError, ValueError, OverflowError, AttributeError, ParamsError
        The start is damaged.
    """
    start = entries[0]
    history = History(ids, ClassScheme.from_json(start["classes"]))
    history.store.set(*ungrouped(start["set"]))
    history.replay(entries[1:])
    return history


def _parse(content: bytes) -> tuple[list[Entry], int]:
    """Read whole lines, and tell how many bytes they are."""
    length = content.rfind(b"\n") + 1
    entries = []
    for line in content[:length].split(b"\n"):
        if line:
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):  # garbage, as a power cut leaves
                continue
            if isinstance(entry, dict):
                entries.append(entry)
    return entries, length


def _in_words(layout: dict[str, Any]) -> str:
    (height, width), (rows, columns) = layout["tile_px"], layout["grid_shape"]
    if tuple(layout["step_px"]) == (1, 1):
        return f"tiles of {width} x {height} px around points"
    return f"{rows} x {columns} tiles of {width} x {height} px"


def _sync_folder(folder: Path) -> None:
    """Bring a new file's name to the disk; some systems cannot, and need not."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _lock(number: int, path: Path) -> None:
    """Wait for the file's lock, a few seconds at most: its holder may be stopped."""
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            try_lock(number)
            return
        except OSError as error:
            if error.errno in NO_LOCKS:
                return  # some network folders; appending is whole there too
            if time.monotonic() > end:
                raise OutputError(
                    f"cannot write {path}: another program has held it for {_LOCK_SECONDS:.0f} s; close it there"
                ) from error
        time.sleep(0.005)
