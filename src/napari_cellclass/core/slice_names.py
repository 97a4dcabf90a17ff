"""Names of cut tiles that sort, on every system."""

from __future__ import annotations

import re

_PLACE_WIDTH = 2
# What Windows does not take in a file name.
_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


def safe_prefix(text: str) -> str:
    """Make a text fit to begin a file name with: what Windows does not take becomes ``_``."""
    return _NOT_IN_NAMES.sub("_", text).strip(" .") or "tile"


def tile_place(row: int, col: int, grid_shape: tuple[int, int]) -> str:
    """Say where a tile lies: ``"_r00_c03"``."""
    wide = [max(_PLACE_WIDTH, len(str(n - 1))) for n in grid_shape]
    return f"_r{row:0{wide[0]}d}_c{col:0{wide[1]}d}"
