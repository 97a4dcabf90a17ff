"""What a user has set in napari's preferences, under the name of the plugin; the manifest lists it."""

from __future__ import annotations

from typing import Any

_PLUGIN = "napari-cellclass"


def cpu_threads() -> int | None:
    """Give the number of CPU threads to classify a field with; None for one per core."""
    from napari.settings import get_plugin_settings

    settings: Any = get_plugin_settings(_PLUGIN)
    return int(settings.computing.threads) or None
