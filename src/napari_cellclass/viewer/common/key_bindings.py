"""Key bindings of our own layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.viewer import Viewer

_KEYS = "abcdefghijklmnopqrstuvwxyz0123456789"

Action = Callable[[], None]


def bind_keys(layers: Iterable[Any], keys: Mapping[str, Action], fallback: Callable[[str], None]) -> None:
    """Bind keys on layers of our own, and every other letter and digit to ``fallback``.

    This hides napari's own keys, which change the tool or edit the layer.
    """
    for key in (*keys, *(k for k in _KEYS if k not in keys)):
        action = keys.get(key)

        def press(layer: Any, key: str = key, action: Action | None = action) -> None:
            fallback(key) if action is None else action()

        for layer in layers:
            layer.bind_key(key.upper() if len(key) == 1 else key, press, overwrite=True)


def list_keys(viewer: Viewer, lines: Iterable[str]) -> None:
    """Show what the keys do as text on the canvas."""
    overlay = viewer.canvas.overlays.text
    overlay.text = "\n".join([*lines, ""])  # without it the dark box ends one line too soon
    overlay.font_size, overlay.position, overlay.visible = 9, "top_left", True
