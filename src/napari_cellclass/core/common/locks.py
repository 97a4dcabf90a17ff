"""Temporary folders that are cleared away even after the process that used them was killed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from napari_cellclass.core.common.files import output_error

_PREFIX, _LOCK = "cellclass-", ".in-use"
_YOUNG_S = 60.0  # a folder is locked a moment after it is made
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""What :func:`try_lock` raises where the file system knows no locks, as some network folders."""

if sys.platform == "win32":
    import msvcrt

    def try_lock(number: int) -> None:
        """Lock an open file until it is closed, or raise ``OSError`` at once where another process holds it."""
        os.lseek(number, 1 << 40, os.SEEK_SET)  # a byte past any content: a locked byte cannot be read there
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def try_lock(number: int) -> None:
        """Lock an open file until it is closed, or raise ``OSError`` at once where another process holds it."""
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a private temporary folder for as long as the block lasts.

    A lock tells that it is in use: what a killed process has left behind is removed by the next one that
    asks for such a folder.

    Raises
    ------
    OutputError
        The folder cannot be made: disk full, no permission.
    """
    place = Path(tempfile.gettempdir())
    _clear(place)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        number = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise output_error(place / f"{_PREFIX}*", error) from error
    try:
        with contextlib.suppress(OSError):  # where there are no locks, nothing is cleared either
            try_lock(number)
        yield folder
    finally:
        os.close(number)
        shutil.rmtree(folder, ignore_errors=True)


def in_scratch_folder(path: Path) -> bool:
    """Tell whether a path lies in a folder of :func:`scratch_folder`, and is gone when that is."""
    place = Path(tempfile.gettempdir())
    return any(
        parent.parent == place and parent.name.startswith(_PREFIX) and (parent / _LOCK).exists()
        for parent in path.absolute().parents
    )


def _clear(place: Path) -> None:
    """Remove the folders whose process has ended; a folder of another user cannot be opened and stays."""
    for lock in place.glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError):
            if time.time() - lock.stat().st_mtime < _YOUNG_S:
                continue
            number = os.open(lock, os.O_RDWR)
            try:
                try_lock(number)
                left_behind = True
            except OSError:
                left_behind = False
            finally:
                os.close(number)
            if left_behind:
                shutil.rmtree(lock.parent, ignore_errors=True)
