"""What the command line tells whoever called it."""

from __future__ import annotations

OK, SOME_FAILED, BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141
"""Done; some images failed; usage or bad input; Ctrl-C; nobody reads the output."""
