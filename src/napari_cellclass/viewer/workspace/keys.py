"""The keys of a workspace: one table, bound on the viewer and on every layer that would hide it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.label_store import UNLABELLED, UNSURE
from napari_cellclass.viewer.common.key_bindings import Action, advertise_keys, bind_keys, stop_advertising
from napari_cellclass.viewer.common.proxies import unwrap

if TYPE_CHECKING:
    from napari.viewer import Viewer


MOUSE = (("arrows", "walk"), ("Shift+drag", "selects"), ("wheel", "zooms"))
"""What mouse and arrows do, beside the keys."""


def list_keys(scheme: ClassScheme) -> list[tuple[str, str]]:
    """Give the keys that label and undo, each with what it does."""
    classes = [(key.strip(), name) for key, name in zip(scheme.keys, scheme.names, strict=True) if key.strip()]
    return [*classes, ("0", "clear"), ("u", "unsure"), ("Ctrl+Z", "undo")]


def labels_by_key(scheme: ClassScheme) -> dict[str, int]:
    """Give the label that each key stands for: a class, unsure, or none."""
    classes = {key.strip().lower(): i for i, key in enumerate(scheme.keys) if key.strip()}
    return {"0": UNLABELLED, "u": UNSURE} | classes


class KeyTable:
    """Binds one table of keys, so that a key means the same whichever layer is selected.

    napari asks the selected layer first, then the viewer. Layers of our own hide all letters and digits; those of a
    user, such as the image, only the keys of the table.

    Parameters
    ----------
    viewer
        The viewer.
    fallback
        Gets every other letter or digit that is pressed on a layer of our own.
    """

    def __init__(self, viewer: Viewer, fallback: Callable[[str], None]) -> None:
        self._viewer, self._fallback = viewer, fallback
        self._keys: dict[str, Action] = {}
        self._text = ""
        self._own: list[Any] = []
        self._users: list[Any] = []

    def set_keys(self, keys: Mapping[str, Action], text: str) -> None:
        """Bind other keys from now on, which the status bar names by a text while a layer of our own is selected."""
        self._unbind()
        self._keys, self._text = dict(keys), text
        self._bind()

    def set_layers(self, own: Iterable[Any], users: Iterable[Any]) -> None:
        """Bind the keys on these layers and on no other: layers of our own, and image layers of a user's."""
        self._unbind()
        self._own, self._users = [unwrap(layer) for layer in own], [unwrap(layer) for layer in users]
        self._bind()

    def release(self) -> None:
        """Bind nothing any more."""
        self._unbind()
        self._keys, self._own, self._users = {}, [], []

    def _bind(self) -> None:
        if self._keys:
            bind_keys(self._own, self._keys, self._fallback)
            advertise_keys(self._own, self._text)
            for target in (*self._users, unwrap(self._viewer)):
                for key, action in self._keys.items():
                    target.bind_key(_spelled(key), lambda _, action=action: action(), overwrite=True)

    def _unbind(self) -> None:
        stop_advertising(self._own)
        for layer in self._own:
            layer.keymap.clear()
        for target in (*self._users, unwrap(self._viewer)):
            for key in self._keys:
                target.bind_key(_spelled(key), None)


def _spelled(key: str) -> str:
    return key.upper() if len(key) == 1 else key
