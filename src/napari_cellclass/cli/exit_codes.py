"""Exit codes of the command line."""

from __future__ import annotations

OK, SOME_FAILED, BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141
"""Done; some images failed; usage or bad input; Ctrl-C; output pipe closed."""
