"""What napari hands plugins in place of its viewer and layers."""

from __future__ import annotations

from typing import Any


def unwrap(layer: Any) -> Any:
    """Give the layer or viewer itself: napari hands plugins a proxy, which is another object."""
    return getattr(layer, "__wrapped__", layer)
