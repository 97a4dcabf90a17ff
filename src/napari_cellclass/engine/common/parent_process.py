"""What a training process hears from the program that started it, over standard input.

The line ``stop`` asks it to keep the best epoch and end. When standard input ends, the program is gone
or wants it gone, and the process ends at once: no orphan goes on computing.
"""

from __future__ import annotations

import os
import threading

LISTEN_VARIABLE = "NAPARI_CELLCLASS_LISTEN"
"""Environment variable, ``1`` where the standard input is such a line to the starting program."""
STOP_LINE = b"stop"
EXIT_PARENT_GONE = 3
_WRITE_S = 0.5
_NICE = 10

writing_lock = threading.Lock()
"""Held while a file is written, so that an end does not leave half of one beside the model."""
_stop = threading.Event()
_listener: list[threading.Thread] = []


def listen_to_parent() -> threading.Event:
    """Listen from now on, where there is somebody to listen to.

    Returns
    -------
    threading.Event
        Set once ``stop`` has come.
    """
    if os.environ.get(LISTEN_VARIABLE) == "1" and not _listener:
        if hasattr(os, "nice"):
            os.nice(_NICE)  # a window is waiting for the same processor
        _listener.append(threading.Thread(target=_read, name="parent", daemon=True))
        _listener[0].start()
    return _stop


def _read() -> None:
    # Not sys.stdin: its lock would be held when the interpreter ends.
    words = b""
    while part := os.read(0, 4096):
        words += part
        if STOP_LINE in words.split():
            _stop.set()
    writing_lock.acquire(timeout=_WRITE_S)
    os._exit(EXIT_PARENT_GONE)
