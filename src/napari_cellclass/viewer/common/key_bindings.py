"""Key bindings of our own layers, and what the status bar says of them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

_KEYS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_HELD = ("Space", "Shift", "Control", "Alt", "Meta")  # held to move the view, with a click or a drag

Action = Callable[[], None]

# What the status bar says while a layer is active, and what napari would say.
_ours: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
_naparis: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def bind_keys(layers: Iterable[Any], keys: Mapping[str, Action], fallback: Callable[[str], None]) -> None:
    """Bind keys on layers of our own, and every other letter and digit to ``fallback``.

    So are all keys that napari has for such a layer: they change the tool or edit the layer.
    """
    for layer in layers:
        for key in (*_naparis_keys(layer), *_KEYS):
            layer.bind_key(key, lambda layer, key=key: fallback(key.lower()), overwrite=True)
        for key, action in keys.items():
            layer.bind_key(key.upper() if len(key) == 1 else key, lambda layer, action=action: action(), overwrite=True)


def _naparis_keys(layer: Any) -> Iterator[str]:
    """Yield the keys that napari binds for all layers of a kind, as they are set in its preferences now."""
    for kind in type(layer).__mro__:
        for key in getattr(kind, "class_keymap", ()):
            if str(key) not in _HELD:
                yield str(key)


def advertise_keys(layers: Iterable[Any], text: str) -> None:
    """Let the status bar name our keys while a layer is active, instead of napari's for the layer's modes."""
    for layer in layers:
        if layer not in _ours:
            _naparis[layer] = layer.help
            layer.events.help.connect(_keep_ours)
        _ours[layer] = text
        layer.help = text


def stop_advertising(layers: Iterable[Any]) -> None:
    """Let the status bar name napari's keys again."""
    for layer in layers:
        if _ours.pop(layer, None) is not None:
            layer.events.help.disconnect(_keep_ours)
            layer.help = _naparis.pop(layer)


def _keep_ours(event: Any) -> None:
    """Napari writes the text anew when a layer is added and when its mode changes."""
    layer = event.source
    if layer in _ours and layer.help != _ours[layer]:
        _naparis[layer] = layer.help
        layer.help = _ours[layer]
