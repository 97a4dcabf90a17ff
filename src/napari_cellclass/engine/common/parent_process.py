"""Messages to a training process from the program that started it, over standard input.

The line ``stop`` asks it to end and keep the best epoch. When standard input ends, the program has ended or wants
the process to end, and it exits at once: no orphan goes on computing.
"""

from __future__ import annotations

import os
import threading

LISTEN_VARIABLE = "NAPARI_CELLCLASS_LISTEN"
"""Environment variable, ``1`` where standard input is connected to the starting program."""
STOP_LINE = b"stop"
EXIT_PARENT_GONE = 3
_WRITE_S = 0.5
_NICE = 10

writing_lock = threading.Lock()
"""Held while a file is written, so that an exit does not leave an incomplete one beside the model."""
_stop = threading.Event()
_listener: list[threading.Thread] = []


def listen_to_parent() -> threading.Event:
    """Start to read messages from the parent process, if there is one.

    Returns
    -------
    threading.Event
        Set once ``stop`` was received.
    """
    if os.environ.get(LISTEN_VARIABLE) == "1" and not _listener:
        if hasattr(os, "nice"):
            os.nice(_NICE)  # lower priority than the window, which shares the processor
        _listener.append(threading.Thread(target=_read, name="parent", daemon=True))
        _listener[0].start()
    return _stop


def _read() -> None:
    # Not sys.stdin: its lock would be held when the interpreter ends.
    received = b""
    while part := os.read(0, 4096):
        received += part
        if STOP_LINE in received.split():
            _stop.set()
    writing_lock.acquire(timeout=_WRITE_S)
    os._exit(EXIT_PARENT_GONE)
