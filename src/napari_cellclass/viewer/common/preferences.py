"""What a user has set in napari's preferences, under the name of the plugin; the manifest lists it."""

from __future__ import annotations

import os
import threading
from typing import Any, cast, get_args

from napari_cellclass.core.common.limits import limit_variable
from napari_cellclass.core.labels.classes import PaletteName

_PLUGIN = "napari-cellclass"
_reading = threading.Lock()
_set_here = [""]  # the last one is what this module has set the limit to


def _settings() -> Any:
    """Give what is set; the first time napari reads the settings of all plugins, which takes a tenth of a second."""
    from napari.settings import get_plugin_settings

    with _reading:  # napari's function is not for several threads
        return get_plugin_settings(_PLUGIN)


def class_palette() -> PaletteName:
    """Give the palette that new classes get their colours from."""
    settings = _settings()
    name = str(settings.labelling.palette)
    return cast("PaletteName", name) if name in get_args(PaletteName) else "Okabe-Ito"


def cpu_threads() -> int | None:
    """Give the number of CPU threads to classify a field with; None for one per core."""
    settings = _settings()
    return int(settings.computing.threads) or None


def limit_cache() -> None:
    """Let features take as much disk space as the user allows, here and in child processes.

    An environment variable that sets the limit already counts more.
    """
    settings = _settings()
    variable = limit_variable("feature_store_bytes")
    if os.environ.get(variable, _set_here[-1]) == _set_here[-1]:
        _set_here.append(str(int(settings.computing.cache_gb) << 30))
        os.environ[variable] = _set_here[-1]


def predict_live() -> bool:
    """Whether the field is predicted anew at every label, until that is switched off on the page."""
    settings = _settings()
    return bool(settings.labelling.live)
