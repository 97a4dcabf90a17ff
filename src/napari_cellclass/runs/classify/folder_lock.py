"""One run at a time for each folder of results: a lock that a killed process leaves behind is taken over."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from napari_cellclass.core.common.errors import OutputError
from napari_cellclass.core.common.files import output_error
from napari_cellclass.core.common.locks import NO_LOCKS, try_lock

LOCK = ".napari-cellclass.lock"
_POLL_S = 0.2


@contextlib.contextmanager
def locked_folder(out: Path) -> Iterator[str]:
    """Keep other runs from writing to a folder while the block lasts; make the folder where it is missing.

    The lock is the operating system's and ends with the process, however that ends. The file names process and
    machine, for another machine that shares the folder but perhaps not its locks.

    Yields
    ------
    str
        A token of this run, see :func:`holds_lock`.

    Raises
    ------
    OutputError
        Another run writes there, or the folder cannot be written.
    """
    path = out / LOCK
    token = uuid.uuid4().hex
    try:
        out.mkdir(parents=True, exist_ok=True)
        number = _acquire(path, out)
    except OSError as error:
        raise output_error(out, error) from error
    try:
        _write_owner(number, token, out)
        yield token
    finally:
        with contextlib.suppress(OSError):  # Windows does not remove an open file
            path.unlink()
        os.close(number)
        if os.name == "nt":
            with contextlib.suppress(OSError):
                path.unlink()


def _write_owner(number: int, token: str, out: Path) -> None:
    """Write process, machine and token into the lock file."""
    about = {"pid": os.getpid(), "host": socket.gethostname(), "since": _now(), "token": token}
    try:
        os.ftruncate(number, 0)
        os.lseek(number, 0, os.SEEK_SET)
        os.write(number, json.dumps(about).encode())
    except OSError as error:
        raise output_error(out, error) from error


def holds_lock(out: Path, token: str) -> bool:
    """Say whether the run with this token still holds the folder: it may have ended, and another one begun."""
    return _read_owner(out / LOCK).get("token") == token


def wait_for_lock(out: Path, seconds: float) -> bool:
    """Wait until a lock file that another machine has just written can be seen here; say whether it can."""
    end = time.monotonic() + seconds
    while not _read_owner(out / LOCK):
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_S)
    return True


def _acquire(path: Path, out: Path) -> int:
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            owner = _read_owner(path)
            try:
                try_lock(number)
            except OSError as error:
                if error.errno not in NO_LOCKS or _alive(owner):
                    raise _in_use(out, owner) from error
            if owner and owner.get("host") != socket.gethostname():
                raise _in_use(out, owner)  # a lock of another machine may not be seen here
            if _is_same(number, path):
                return number
        except BaseException:
            os.close(number)
            raise
        os.close(number)  # its holder has just ended and removed the file


def _is_same(number: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(number), path.stat())
    except FileNotFoundError:
        return False


def _alive(owner: dict[str, Any]) -> bool:
    """Say whether the owning process runs, where the file system has no locks."""
    if os.name == "nt" or not isinstance(owner.get("pid"), int):
        return bool(owner)
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _in_use(out: Path, owner: dict[str, Any]) -> OutputError:
    who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}, since {owner.get('since', '?')}"
    here = owner.get("host") == socket.gethostname() or not owner
    hint = "wait for it to end" if here else f"wait for it to end, or delete {out / LOCK} if it has crashed"
    return OutputError(f"another run is writing to {out} ({who}); {hint}, or choose another --out")


def _read_owner(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
