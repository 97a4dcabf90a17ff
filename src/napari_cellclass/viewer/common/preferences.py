"""What a user has set in napari's preferences, under the name of the plugin; the manifest lists it."""

from __future__ import annotations

import os
from typing import Any, cast, get_args

from napari_cellclass.core.common.limits import limit_variable
from napari_cellclass.core.labels.classes import PaletteName

_PLUGIN = "napari-cellclass"
_set_here = [""]  # the last one is what this module has set the limit to


def class_palette() -> PaletteName:
    """Give the palette that new classes get their colours from."""
    from napari.settings import get_plugin_settings

    settings: Any = get_plugin_settings(_PLUGIN)
    name = str(settings.labelling.palette)
    return cast("PaletteName", name) if name in get_args(PaletteName) else "Okabe-Ito"


def cpu_threads() -> int | None:
    """Give the number of CPU threads to classify a field with; None for one per core."""
    from napari.settings import get_plugin_settings

    settings: Any = get_plugin_settings(_PLUGIN)
    return int(settings.computing.threads) or None


def limit_cache() -> None:
    """Let features take as much disk space as the user allows, here and in child processes.

    An environment variable that sets the limit already counts more.
    """
    from napari.settings import get_plugin_settings

    settings: Any = get_plugin_settings(_PLUGIN)
    variable = limit_variable("feature_store_bytes")
    if os.environ.get(variable, _set_here[-1]) == _set_here[-1]:
        _set_here.append(str(int(settings.computing.cache_gb) << 30))
        os.environ[variable] = _set_here[-1]


def predict_live() -> bool:
    """Whether the field is predicted anew at every label, until that is switched off on the page."""
    from napari.settings import get_plugin_settings

    settings: Any = get_plugin_settings(_PLUGIN)
    return bool(settings.labelling.live)
