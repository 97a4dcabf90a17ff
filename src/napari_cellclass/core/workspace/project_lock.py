"""The lock of a project: one process writes to it at a time."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path

from napari_cellclass.core.common.errors import CellClassError, OutputError
from napari_cellclass.core.common.locks import NO_LOCKS, try_lock

_LOCK = ".lock"
_EVERY_S = 0.05


class ProjectBusyError(CellClassError):
    """Another process has a project open."""


class ProjectLock:
    """Holds a project for this process until it is closed or the process ends, however it ends.

    Parameters
    ----------
    folder
        The folder beside the project file; created where it is missing.
    project
        The project file, for messages.
    wait_s
        How long to wait for another process, in s.

    Raises
    ------
    ProjectBusyError
        Another process has the project open.
    OutputError
        The folder cannot be written to.
    """

    def __init__(self, folder: Path, project: Path, wait_s: float = 0.0) -> None:
        path = folder / _LOCK
        try:
            folder.mkdir(exist_ok=True)
            self._number = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        except OSError as error:
            why = error.strerror or error
            raise OutputError(
                f"{project} cannot be changed, as {path} cannot be written: {why}; open it for reading only"
            ) from error
        end = time.monotonic() + wait_s
        try:
            while not self._locked():
                if time.monotonic() >= end:
                    raise ProjectBusyError(
                        f"{project} is open in another program{self._holder()}; close it there, or open it for "
                        "reading only"
                    )
                time.sleep(_EVERY_S)
            os.ftruncate(self._number, 0)
            os.lseek(self._number, 0, os.SEEK_SET)
            os.write(self._number, json.dumps({"pid": os.getpid(), "host": platform.node()}).encode())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let other processes open the project."""
        if self._number >= 0:
            os.close(self._number)
            self._number = -1

    def _locked(self) -> bool:
        try:
            try_lock(self._number)
        except OSError as error:
            return error.errno in NO_LOCKS  # some network folders; the file's own changes are noticed there
        return True

    def _holder(self) -> str:
        try:
            os.lseek(self._number, 0, os.SEEK_SET)
            found = json.loads(os.read(self._number, 1000))
            return f" (process {int(found['pid'])} on {str(found['host'])[:60]})"
        except (OSError, ValueError, KeyError, TypeError):
            return ""
