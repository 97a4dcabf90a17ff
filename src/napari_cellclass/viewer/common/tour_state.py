"""Whether the tour of the dock is still to be shown: once to each user, until it was gone through or closed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import platformdirs

from napari_cellclass.core.common.errors import OutputError
from napari_cellclass.core.common.files import write_json

TOUR_VARIABLE = "NAPARI_CELLCLASS_TOUR"
"""Environment variable: with ``off`` no tour is shown."""


def _file() -> Path:
    return Path(platformdirs.user_data_path("napari-cellclass", appauthor=False)) / "tour.json"


def is_tour_wanted() -> bool:
    """Whether the tour was neither ended by this user nor switched off."""
    try:
        return os.environ.get(TOUR_VARIABLE, "").strip().lower() != "off" and not _file().exists()
    except OSError:
        return False


def remember_tour() -> None:
    """Show the tour no more; where that cannot be written, it is shown again in the next session."""
    path = _file()
    with contextlib.suppress(OutputError, OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(path, {"ended": True})
