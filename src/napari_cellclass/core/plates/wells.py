"""Positions on a plate, or in a field, read from the names of images."""

from __future__ import annotations

import re
from dataclasses import dataclass

# "B03" of B03f00.tif or Plate1_B3_s2.tif; 1536 wells have rows AA to AF. What follows may be fields, channels, planes,
# as in A01f00d0 or B02_T0001F001L01A01Z01C02, but no other letter: A1 of A1B2C3 is none.
_LETTERS = re.compile(r"(?<![A-Za-z0-9])(A[A-F]|[A-P])(\d{1,2})(?=(?:[fsdwctzp]\d+)*(?![A-Za-z0-9]))", re.IGNORECASE)
# "B - 03(fld 02 wv DAPI)" and "B_03_f2_c1_..." of InCell.
_APART = re.compile(r"(?<![A-Za-z0-9])(A[A-F]|[A-P])(?: - |_)(\d{1,2})(?= ?\((?:fld|\w+ )|_f\d)")
_NAMED = re.compile(r"(?<![A-Za-z])well[ _-]?(A[A-F]|[A-P])(\d{1,2})(?!\d)", re.IGNORECASE)
# "r02c03f01" as Operetta and Opera write it; "_r02_c03" is the position of a tile in a field.
_NUMBERS = re.compile(r"(?<![A-Za-z0-9])r(\d{1,2})c(\d{1,2})(?!\d)", re.IGNORECASE)
_OPERETTA = re.compile(r"^(\d{3})(\d{3})-\d+-\d{9}(?!\d)|^(\d{3})(\d{3})\d{3}(?=\.flex$)", re.IGNORECASE)
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}", re.IGNORECASE)
_TILE = re.compile(r"_[rR](\d{1,4})_[cC](\d{1,4})(?!\d)")
# A well is certain where its field or channel follows: "_s2", "f01", "_w1", "_T0001F001".
_FOLLOWED = re.compile(r"[ _-]?(?:site|field|fld|fov|[sfw])[ _-]?\d|_T\d+F\d", re.IGNORECASE)
# What else may be written so: a channel, dye, field, image, mouse, plate or position.
_OTHERS = "CDFIMP"
# "f01" of O05f01 or r02c03f01, "s2" of B3_s2, "site_3", "fld 02"; read after the well only, not within a word.
_SITE = re.compile(r"(?<![A-Za-z])(?:site|field|fld|fov|[sf])[ _-]?(\d{1,4})(?!\d)", re.IGNORECASE)
_WELL_TEXT = re.compile(r"(A[A-F]|[A-P])0*(\d{1,2})", re.IGNORECASE)
_LETTERS_IN_ALPHABET = 26
_PLATES = ((8, 12), (16, 24), (32, 48))


@dataclass(frozen=True)
class Well:
    """A well of a plate; row and column count from 1."""

    row: int
    column: int

    @property
    def name(self) -> str:
        """``"B03"``; 1536 wells have rows AA to AF."""
        return f"{row_name(self.row)}{self.column:02d}"

    def on_edge(self, plate: tuple[int, int]) -> bool:
        """Return whether it lies in an outermost row or column of a plate of (rows, columns) wells."""
        return self.row in (1, plate[0]) or self.column in (1, plate[1])


def well_in_name(name: str) -> Well | None:
    """Read a well from the name of a file or group, ``O05f01.TIF`` or ``r02c03f01.tiff``.

    The names of ImageXpress, InCell, Opera and Operetta, Cellomics, Yokogawa and Incucyte are known, in any case. Of
    several that may be the well, that counts which a field or channel follows; else those with one digit, and
    those that may be a channel or another number, are left out.

    Returns
    -------
    Well or None
        None where there is none, or more than one.
    """
    found = _find_well(name)
    return found[0] if found else None


def _find_well(name: str) -> tuple[Well, int] | None:
    """Find the well in a name, and where its text ends."""
    name = _without_guids(name)
    for pattern in (_NUMBERS, _OPERETTA):
        if match := pattern.search(name):
            row, column = (int(text) for text in match.groups() if text is not None)
            well = _on_a_plate(row, column)
            return (well, match.end()) if well else None
    for pattern in (_NAMED, _APART):
        found = _candidates(pattern, name)
        if found:
            return _only(found)
    found = _candidates(_LETTERS, name)
    sure = [one for one in found if _FOLLOWED.match(name, one[1])]
    if sure:
        return _only(sure)
    upper = [one for one in found if name[one[2]].isupper()]
    lower = [one for one in found if one[1] - one[2] > 2 and name[one[2]].upper() not in _OTHERS]
    found = upper or lower
    for keep in (lambda one: one[1] - one[2] > 2, lambda one: name[one[2]] not in _OTHERS):
        if len({one[0] for one in found}) > 1:
            found = [one for one in found if keep(one)] or found
    return _only(found)


def _candidates(pattern: re.Pattern[str], name: str) -> list[tuple[Well, int, int]]:
    """List what may be a well: itself, and where its text ends and begins."""
    found = []
    for match in pattern.finditer(name):
        well = _on_a_plate(_row(match[1].upper()), int(match[2]))
        if well is not None:
            found.append((well, match.end(2), match.start(1)))
    return found


def _only(found: list[tuple[Well, int, int]]) -> tuple[Well, int] | None:
    return found[0][:2] if len({one[0] for one in found}) == 1 else None


def _without_guids(name: str) -> str:
    """Blank the GUIDs that ImageXpress appends to a name, whose digits mean nothing."""
    return _GUID.sub(lambda match: " " * len(match[0]), name)


def parse_well(text: str) -> Well | None:
    """Read a well that is written alone, ``B3``, ``b03`` or ``B003``; None if it is none."""
    match = _WELL_TEXT.fullmatch(text.strip())
    return _on_a_plate(_row(match.group(1).upper()), int(match.group(2))) if match else None


def site_in_name(name: str) -> int | None:
    """Read the number of a well's field, ``O05f01.TIF`` or ``Plate1_B3_s2.tif``; None if there is none."""
    found = _find_well(name)
    match = _SITE.search(_without_guids(name), found[1]) if found else None
    return int(match.group(1)) if match else None


def row_name(row: int) -> str:
    """Return the letters of a row that counts from 1: ``"B"``, ``"AA"``."""
    return chr(ord("A") + row - 1) if row <= _LETTERS_IN_ALPHABET else "A" + row_name(row - _LETTERS_IN_ALPHABET)


def _row(letters: str) -> int:
    return ord(letters[-1]) - ord("A") + 1 + (_LETTERS_IN_ALPHABET if len(letters) == 2 else 0)


def _on_a_plate(row: int, column: int) -> Well | None:
    return Well(row, column) if 1 <= row <= _PLATES[-1][0] and 1 <= column <= _PLATES[-1][1] else None


def wells_in_names(names: list[str]) -> list[Well] | None:
    """Read a well from every name, or None where a name has none, as then the others match by chance."""
    found = [well_in_name(name) for name in names]
    return [well for well in found if well is not None] if found and None not in found else None


def plate_format(wells: list[Well]) -> tuple[int, int]:
    """Return (rows, columns) of the smallest usual plate, of 96, 384 or 1536 wells, that has all of these."""
    row, column = max(well.row for well in wells), max(well.column for well in wells)
    return next(plate for plate in _PLATES if row <= plate[0] and column <= plate[1])


def tile_position_in_name(name: str) -> tuple[int, int] | None:
    """Read a tile's (row, column) in its field from a name like ``Control_0001_r00_c03.tif``; None if there is none."""
    match = _TILE.search(name)
    return (int(match.group(1)), int(match.group(2))) if match else None
