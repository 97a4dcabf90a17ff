"""The names that napari gives to keys."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt

_NAMED = {
    Qt.Key.Key_Left: "Left", Qt.Key.Key_Right: "Right", Qt.Key.Key_Up: "Up", Qt.Key.Key_Down: "Down",
    Qt.Key.Key_PageUp: "PageUp", Qt.Key.Key_PageDown: "PageDown",
}  # fmt: skip


def key_name(event: Any) -> str:
    """Name the key of an event of Qt as the table of keys does: ``"1"``, ``"Control-Z"``, ``"Shift-Left"``; '' if none.

    A letter or digit is what is typed, whichever keys that takes on a keyboard.
    """
    modifiers = event.modifiers()
    control = bool(modifiers & Qt.KeyboardModifier.ControlModifier)
    shift = bool(modifiers & Qt.KeyboardModifier.ShiftModifier)
    if modifiers & Qt.KeyboardModifier.AltModifier:
        return ""
    named = _NAMED.get(event.key())
    if named is None and not control:
        return str(event.text()).lower()
    code = int(event.key())
    if named is None and not ord(" ") < code < 127:
        return ""
    return "Control-" * control + "Shift-" * shift + (named or chr(code))
