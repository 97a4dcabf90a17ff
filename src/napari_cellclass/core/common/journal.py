"""Append-only journals of JSON entries: every entry is on disk before it counts, a crash costs at most the last one."""

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
from pathlib import Path
from typing import Any

from napari_cellclass.core.common.errors import DatasetError, OutputError
from napari_cellclass.core.common.files import output_error
from napari_cellclass.core.common.locks import NO_LOCKS, try_lock

Entry = dict[str, Any]
"""One JSON object of a journal."""
_LOCK_SECONDS = 5.0


@dataclass(frozen=True)
class ReadPosition:
    """How far a journal was read: the file's inode, and the offset after its last complete line in bytes."""

    inode: int
    offset: int


class Journal:
    """A folder of append-only JSON-lines files, one per key.

    Any number of processes may write: each entry is one write at the file's end, under a lock.

    Parameters
    ----------
    folder
        Folder of the files, created at the first entry.
    private
        Whether the folder is created with mode 0700 and files with 0600; else as the user creates any other.
    """

    def __init__(self, folder: Path, private: bool = True) -> None:
        self.folder = Path(folder)
        self.private = private

    def path(self, key: str) -> Path:
        """Return the file of a key; a key that is not a plain file name is hashed."""
        plain = re.fullmatch(r"[A-Za-z0-9_-]{1,128}", key)
        name = key if plain else "h" + hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        return self.folder / f"{name}.jsonl"

    def append(self, key: str, entry: Entry) -> None:
        """Write an entry as one line, flushed to the disk before this returns.

        Raises
        ------
        OutputError
            It cannot be written: disk full, read-only, no permission; then the file is as it was.
        """
        with self.open_locked(key) as file:
            file.append([entry])

    def entries(self, key: str) -> list[Entry]:
        """Read all entries; a last line that was cut off, and lines that are not JSON objects, are skipped.

        Raises
        ------
        DatasetError
            The file exists, but cannot be read.
        """
        return self.read(key)[0]

    def read(self, key: str) -> tuple[list[Entry], ReadPosition | None]:
        """Read all entries, and how far the file was read; None where there is no file."""
        path = self.path(key)
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
        return entries, ReadPosition(inode, length)

    @contextlib.contextmanager
    def open_locked(self, key: str) -> Iterator[JournalFile]:
        """Open the file of a key, locked against other processes until the block ends.

        Raises
        ------
        OutputError
            The file cannot be opened, or another process has held it for 5 s.
        """
        path = self.path(key)
        try:
            new = not path.exists()
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self.folder.mkdir(mode=0o700 if self.private else 0o777)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
            number = os.open(path, flags, 0o600 if self.private else 0o666)
        except OSError as error:
            raise output_error(path, error) from error
        try:
            if new:
                _sync_folder(self.folder)
            _lock(number, path)
            yield JournalFile(number, path)
        finally:
            os.close(number)  # releases the lock too


class JournalFile:
    """An open, locked journal; created only by :meth:`Journal.open_locked`."""

    def __init__(self, number: int, path: Path) -> None:
        self._number = number
        self._path = path

    def read_since(self, position: ReadPosition | None) -> tuple[list[Entry], ReadPosition] | None:
        """Read what was appended since ``position``, all of it since None; None where the file was replaced or cut."""
        try:
            status = os.fstat(self._number)
            position = position or ReadPosition(status.st_ino, 0)
            if status.st_ino != position.inode or status.st_size < position.offset:
                return None
            if status.st_size == position.offset:
                return [], position
            entries, length = _parse(self._content(position.offset, status.st_size))
        except OSError as error:
            raise output_error(self._path, error) from error
        return entries, ReadPosition(position.inode, position.offset + length)

    def append(self, entries: Sequence[Entry]) -> ReadPosition:
        """Write entries as one line each, in one write, and wait for the disk.

        Raises
        ------
        OutputError
            They could not be written; then the file is truncated to what it was.
        """
        lines = [json.dumps(e, allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n" for e in entries]
        content = "".join(lines).encode()
        end = None
        try:
            end = self._truncate_to_complete_lines()
            if os.write(self._number, content) != len(content):
                raise OSError(errno.ENOSPC, "not all was written")
            os.fsync(self._number)
            return ReadPosition(os.fstat(self._number).st_ino, end + len(content))
        except OSError as error:
            if end is not None:
                with contextlib.suppress(OSError):  # a line without its end is never read
                    os.ftruncate(self._number, end)
            raise output_error(self._path, error) from error

    def _truncate_to_complete_lines(self) -> int:
        """Cut off an incomplete last line, which a killed process left, and return the file's size in bytes."""
        size = os.fstat(self._number).st_size
        if size == 0 or self._content(size - 1, size) == b"\n":
            return size
        low = size
        while low > 0:
            low = max(0, low - (1 << 16))
            last_newline = self._content(low, min(size, low + (1 << 16))).rfind(b"\n")
            if last_newline >= 0:
                low += last_newline + 1
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


def _parse(content: bytes) -> tuple[list[Entry], int]:
    """Read the entries of complete lines, and how many bytes these lines are."""
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
                return  # some network folders; an append is atomic there too
            if time.monotonic() > end:
                raise OutputError(
                    f"cannot write {path}: another program has held it for {_LOCK_SECONDS:.0f} s; close it there"
                ) from error
        time.sleep(0.005)
