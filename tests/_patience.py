"""How long tests wait before something counts as hanging; slow machines are not meant by it.

``timeout`` in ``pyproject.toml``, for a whole test, is longer than each of these.
"""

from __future__ import annotations

import time
from collections.abc import Callable

WINDOW_S = 300
"""For a condition in a window, and for what a thread of ours does."""
PROCESS_S = 900
"""For a child process, one that trains networks too."""


def wait_until(condition: Callable[[], object], seconds: float = PROCESS_S) -> None:
    """Wait for what another process or thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(0.01)
