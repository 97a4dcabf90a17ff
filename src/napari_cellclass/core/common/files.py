"""Atomic writing of files: a reader never sees half of one."""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import tempfile
import traceback
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import platformdirs

from napari_cellclass.core.common.errors import OutputError

_UMASK = os.umask(0o022)  # can only be read by setting it: once, before any thread starts
os.umask(_UMASK)

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EFBIG: "the file is larger than this disk or account allows; choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EACCES: "no permission to write there; choose another folder",
    errno.EPERM: "no permission to write there; choose another folder",
    errno.EROFS: "that disk is read-only; choose another folder",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ENOTDIR: "a part of that path is a file; choose another folder",
    errno.EISDIR: "that is a folder; choose a file name",
    errno.EEXIST: "a file of that name is in the way; choose another folder",
}


def output_error(path: Path, error: OSError) -> OutputError:
    """Return an error that says in one line why ``path`` could not be written."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return OutputError(f"cannot write {path}: {reason}")


@contextlib.contextmanager
def atomic_write(path: Path, wait_for_disk: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, and rename it to ``path`` when the block ends without an error.

    Parameters
    ----------
    path
        The file to write; its folder is created where it is missing.
    wait_for_disk
        Whether the bytes are on the disk before the name is; without it a power cut may leave an empty file.

    Yields
    ------
    Path
        The file to write to. It is removed when the block raises.

    Raises
    ------
    OutputError
        The folder or file cannot be written: no permission, disk full, read-only.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-", suffix=path.suffix)
        os.close(handle)
    except OSError as error:
        raise output_error(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        if wait_for_disk:
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())  # a full disk may only be noticed here
        temporary.chmod(0o666 & ~_UMASK)
        temporary.replace(path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``, and rename it to ``path`` when the block ends without an error.

    Raises
    ------
    OutputError
        It cannot be created, or ``path`` exists.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".tmp-", ignore_cleanup_errors=True) as temporary:
            inner = Path(temporary) / path.name
            inner.mkdir()
            yield inner
            inner.replace(path)
    except OSError as error:
        raise output_error(path, error) from error


def is_pattern(path: Path) -> bool:
    """Return whether a path is a pattern such as ``plate/*.tif``; an existing file never is one."""
    return not path.exists() and any(letter in str(path) for letter in "*?[")


def absolute_pattern(path: Path) -> Path:
    """Return a path or pattern as an absolute one; the current folder's name is never read as a pattern."""
    return Path(glob.escape(str(Path.cwd()))) / path if is_pattern(path) else path.absolute()


def check_writable(path: Path) -> None:
    """Raise :class:`OutputError` now if ``path`` could not be written later, after hours of work."""
    existed = Path(path).parent.exists()
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=Path(path).parent, prefix=".tmp-")
        os.close(handle)
        Path(name).unlink()
        if not existed:
            Path(path).parent.rmdir()
    except OSError as error:
        raise output_error(Path(path), error) from error


def write_text(path: Path, text: str | Iterable[str]) -> None:
    """Write text, or pieces of it, as UTF-8 with line feeds, atomically."""
    # A file name may hold bytes that are not UTF-8; they are written as escapes.
    how: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": "\n"}
    with atomic_write(path) as temporary, temporary.open("w", **how) as stream:
        stream.writelines([text] if isinstance(text, str) else text)


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as indented JSON; NaN and infinity are refused rather than written."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_crash_log(error: BaseException) -> Path:
    """Write the traceback of a defect to the user's log folder, or to the temporary one, and return its path."""
    text = "".join(traceback.format_exception(error))
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    for folder in (
        platformdirs.user_log_path("napari-cellclass", appauthor=False),
        Path(tempfile.gettempdir()),
    ):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_text(folder / f"crash-{stamp}.log", text)
            (folder / f"crash-{stamp}.log").chmod(0o600)  # it shows where the user's images are
        except (OutputError, OSError):
            continue
        return folder / f"crash-{stamp}.log"
    return Path(os.devnull)
