"""Our entry in ``layer.metadata``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.layers import Layer

KEY = "napari_cellclass"


def remembered(layer: Layer) -> Mapping[str, Any]:
    """Give what was answered about a user's image layer, see :func:`remember`."""
    entry = layer.metadata.get(KEY)
    return entry if isinstance(entry, dict) and entry.get("kind") == "image" else {}


def remember(layer: Layer, **answers: Any) -> None:
    """Keep answers about a user's image layer in its metadata, which sends its event ``metadata``."""
    layer.metadata = {**layer.metadata, KEY: {**remembered(layer), "kind": "image", **answers}}


def forget(layer: Layer) -> None:
    """Drop the answers about a user's image layer, so that it is asked again."""
    if remembered(layer):
        layer.metadata = {key: value for key, value in layer.metadata.items() if key != KEY}
