"""Counts whoever calls somebody outside of this machine, in any Python process that finds this file, and refuses it."""

from __future__ import annotations

import os
import socket
from typing import Any

_HOME = ("127.", "::1", "localhost", "0.0.0.0", "")


def _note(what: str, whom: Any) -> None:
    with open(os.environ["NAPARI_CELLCLASS_CALLS"], "a", encoding="utf-8") as stream:  # noqa: PTH123
        stream.write(f"{what} {whom!r}\n")
    raise OSError(101, f"{what} outside of this machine is refused by a test")


def _is_outside(address: Any) -> bool:
    if not isinstance(address, tuple):  # a Unix socket
        return False
    host = address[0].decode() if isinstance(address[0], bytes) else str(address[0] or "")
    return not host.startswith(_HOME[:2]) and host not in _HOME


class _Socket(socket.socket):
    def connect(self, address: Any) -> None:
        if _is_outside(address):
            _note("connect", address)
        super().connect(address)

    def connect_ex(self, address: Any) -> int:
        if _is_outside(address):
            _note("connect_ex", address)
        return super().connect_ex(address)

    def sendto(self, data: Any, *more: Any) -> int:
        if _is_outside(more[-1]):
            _note("sendto", more[-1])
        return super().sendto(data, *more)


_getaddrinfo = socket.getaddrinfo


def _looked_up(host: Any, *more: Any, **named: Any) -> Any:
    if _is_outside((host,)):
        _note("getaddrinfo", host)
    return _getaddrinfo(host, *more, **named)


if os.environ.get("NAPARI_CELLCLASS_CALLS"):
    socket.socket = _Socket  # type: ignore[misc]
    socket.getaddrinfo = _looked_up
