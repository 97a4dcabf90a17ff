"""Sizes of windows as a user left them, kept for the next session."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import platformdirs

from napari_cellclass.core.common.errors import OutputError
from napari_cellclass.core.common.files import write_json

_LARGEST = 32_768  # px along a side; Qt has no larger windows to offer
_LARGEST_BYTES = 1 << 16


def _file() -> Path:
    return Path(platformdirs.user_data_path("napari-cellclass", appauthor=False)) / "window_sizes.json"


def window_size(kind: str) -> tuple[int, int] | None:
    """Give the width and height in px in which a kind of window was left; None where that is not known."""
    return _read().get(kind)


def remember_window_size(kind: str, width: int, height: int) -> None:
    """Note the size of a kind of window; where that cannot be written, it opens as before in the next session."""
    path = _file()
    with contextlib.suppress(OutputError, OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(path, {name: list(size) for name, size in (_read() | {kind: (width, height)}).items()})


def _read() -> dict[str, tuple[int, int]]:
    """Read all sizes; what is damaged counts as not known."""
    try:
        if _file().stat().st_size > _LARGEST_BYTES:
            return {}
        content = json.loads(_file().read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    found = content.items() if isinstance(content, dict) else ()
    return {name: (size[0], size[1]) for name, size in found if _is_size(size)}


def _is_size(value: object) -> bool:
    return (
        isinstance(value, list) and len(value) == 2
        and all(type(side) is int and 0 < side <= _LARGEST for side in value)
    )  # fmt: skip
