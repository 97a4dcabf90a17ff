"""Limits on the size of untrusted files: far above real data, and too low to exhaust a machine.

Each limit can be raised or lowered by an environment variable, ``NAPARI_CELLCLASS_MAX_`` and its name in capitals,
such as ``NAPARI_CELLCLASS_MAX_IMAGE_PIXELS=4000000000``; child processes inherit it.
"""

from __future__ import annotations

import os
from typing import Literal

from napari_cellclass.core.common.errors import ParamsError

LimitName = Literal[
    "image_pixels",
    "model_bytes",
    "model_text_bytes",
    "annotation_bytes",
    "annotation_features",
    "table_bytes",
    "tiles",
    "settings_bytes",
    "project_bytes",
    "feature_store_bytes",
]
DEFAULTS: dict[LimitName, int] = {
    # Pixels decoded in one go: a whole PNG or JPEG, one strip or tile of a TIFF. A TIFF of any size is read in parts.
    "image_pixels": 1_000_000_000,
    # One member of a model, unpacked; the largest network on offer has 0.1 GB of weights.
    "model_bytes": 4 << 30,
    # Tables, figures and golden tiles of a model, and the header of a blinded reading, unpacked.
    "model_text_bytes": 256 << 20,
    # A GeoJSON, COCO or annotation file, and the features in it.
    "annotation_bytes": 1 << 30,
    "annotation_features": 2_000_000,
    # A CSV file.
    "table_bytes": 2 << 30,
    # Tiles on one field.
    "tiles": 20_000_000,
    # A file of settings, which may list the images of a plate.
    "settings_bytes": 64 << 20,
    # A project file, with the labels of all of its fields.
    "project_bytes": 256 << 20,
    # Features of tiles in the cache folder; those of the images used longest ago are deleted first.
    "feature_store_bytes": 4 << 30,
}


def limit_variable(name: LimitName) -> str:
    """Return the environment variable that changes a limit."""
    return f"NAPARI_CELLCLASS_MAX_{name.upper()}"


def limit(name: LimitName) -> int:
    """Return a limit: that of the environment variable, else the default.

    Raises
    ------
    ParamsError
        The environment variable is not an integer above 0.
    """
    text = os.environ.get(limit_variable(name), "").replace("_", "").strip()
    if not text:
        return DEFAULTS[name]
    if not text.isascii() or not text.isdecimal() or not int(text[:20]):
        raise ParamsError(f"{limit_variable(name)} is {text[:40]!r}; set it to a whole number above 0, or not at all")
    return int(text[:20])
