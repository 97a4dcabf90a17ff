"""Edits of a class list, each as the journal entry that makes it."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.common.journal import Entry
from napari_cellclass.core.labels.classes import ClassScheme, palette
from napari_cellclass.core.labels.label_store import UNLABELLED

_RESERVED_KEYS = "0u"
"""Keys that clear a tile and mark it unsure; no class can have them."""
_KEYS = "".join(key for key in string.digits + string.ascii_lowercase if key not in _RESERVED_KEYS)


def add_class(scheme: ClassScheme, name: str, colour: str | None, key: str | None) -> Entry:
    """Add a class at the end; the first free colour and key where none is given, no key for ``""``.

    Raises
    ------
    ParamsError
        The name is empty or in use, the colour is not ``#RRGGBB``, the key is in use, ``0`` or ``u``.
    """
    free = (c for c in palette(2 * len(scheme) + 13) if c not in scheme.colours)
    row = {
        "name": name.strip(),
        "colour": next(free) if colour is None else colour,
        "key": next((k for k in _KEYS if k not in scheme.keys), "") if key is None else key,
    }
    _check(row, scheme.keys)
    return _entry([*scheme.to_json(), row], range(len(scheme)))


def change_class(
    scheme: ClassScheme, index: int, name: str | None, colour: str | None, key: str | None
) -> Entry | None:
    """Rename or recolour a class, or give it another key; None where nothing would change.

    Raises
    ------
    ParamsError
        See :func:`add_class`.
    IndexError
        No such class.
    """
    _check_index(scheme, index)
    rows = scheme.to_json()
    new = {"name": name.strip() if name is not None else None, "colour": colour, "key": key}
    row = rows[index] | {part: value for part, value in new.items() if value is not None}
    if row == rows[index]:
        return None
    others = scheme.keys[:index] + scheme.keys[index + 1 :]
    _check(row, others if key is not None else ())
    return _entry([*rows[:index], row, *rows[index + 1 :]], range(len(rows)))


def remove_class(scheme: ClassScheme, index: int, into: int | None) -> Entry:
    """Remove a class; its tiles go to the class ``into``, or lose ttarget label where that is None.

    Raises
    ------
    ParamsError
        Fewer than two classes would be left.
    IndexError, ValueError
        No such class, or both are the same.
    """
    _check_index(scheme, index)
    target = UNLABELLED
    if into is not None:
        _check_index(scheme, into)
        if index == into:
            raise ValueError(f"class {index} cannot be merged into itself")
        target = into - (into > index)
    rows = scheme.to_json()
    mapping = [target if old == index else old - (old > index) for old in range(len(rows))]
    return _entry(rows[:index] + rows[index + 1 :], mapping)


def _entry(rows: Sequence[Mapping[str, str]], mapping: Sequence[int]) -> Entry:
    ClassScheme.from_json([dict(row) for row in rows])  # raises for a duplicate or empty name
    return {"do": "classes", "classes": list(rows), "map": list(mapping)}


def _check_index(scheme: ClassScheme, index: int) -> None:
    if not 0 <= index < len(scheme):
        raise IndexError(f"there is no class {index} among {len(scheme)}")


def _check(row: Mapping[str, str], other_keys: Sequence[str]) -> None:
    name, colour, key = row["name"], row["colour"], row["key"]
    if not re.fullmatch("#[0-9A-Fa-f]{6}", colour):
        raise ParamsError(f"the colour {colour!r} of class {name!r} is not possible; write it as #RRGGBB")
    if len(key) > 1 or (key and key in _RESERVED_KEYS):
        raise ParamsError(f"the key {key!r} of class {name!r} is not possible; use one letter or digit except 0 and u")
    if key and key in other_keys:
        raise ParamsError(f"the key {key!r} belongs to another class; choose a free one for {name!r}")
