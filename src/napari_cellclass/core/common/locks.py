"""File locks, and temporary folders that are removed even after the process that used them was killed."""

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
"""Error numbers of :func:`try_lock` where the file system has no locks, as on some network drives."""

if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> None:
        """Lock an open file until it is closed, or raise ``OSError`` at once where another process holds it."""
        os.lseek(descriptor, 1 << 40, os.SEEK_SET)  # a byte past any content: a locked byte cannot be read there
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def try_lock(descriptor: int) -> None:
        """Lock an open file until it is closed, or raise ``OSError`` at once where another process holds it."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a private temporary folder, and remove it when the block ends.

    It is locked while it is in use: what a killed process left behind is removed by the next process that
    enters such a block.

    Raises
    ------
    OutputError
        The folder cannot be created: disk full, no permission.
    """
    parent = Path(tempfile.gettempdir())
    _remove_abandoned(parent)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise output_error(parent / f"{_PREFIX}*", error) from error
    try:
        with contextlib.suppress(OSError):  # without locks, nothing is removed either
            try_lock(descriptor)
        yield folder
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def in_scratch_folder(path: Path) -> bool:
    """Return whether a path lies in a :func:`scratch_folder`, so that it will be removed."""
    found = [one for one in path.absolute().parents if one.name.startswith(_PREFIX) and (one / _LOCK).exists()]
    # Where the temporary folder is, Python finds out by writing a file: not for every path of a user.
    return bool(found) and Path(tempfile.gettempdir()) in (folder.parent for folder in found)


def _remove_abandoned(parent: Path) -> None:
    """Remove scratch folders whose process has ended; those of other users cannot be opened and stay."""
    for lock in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError):
            if time.time() - lock.stat().st_mtime < _YOUNG_S:
                continue
            descriptor = os.open(lock, os.O_RDWR)
            try:
                try_lock(descriptor)
                abandoned = True
            except OSError:
                abandoned = False
            finally:
                os.close(descriptor)
            if abandoned:
                shutil.rmtree(lock.parent, ignore_errors=True)
