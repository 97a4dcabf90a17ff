"""Positions on a plate, or in a field, read from the names of images."""

from __future__ import annotations

import re
from dataclasses import dataclass

# "B03" of B03f00.tif or Plate1_B3_s2.tif; 1536 wells have rows AA to AF. Not "C01Z01" within a longer word.
_LETTERS = re.compile(r"(?<![A-Za-z0-9])(A[A-F]|[A-P])(\d{1,2})(?!\d)")
# "r02c03f01" as Operetta and Opera write it; "_r02_c03" is the position of a tile in a field.
_NUMBERS = re.compile(r"(?<![A-Za-z0-9])[rR](\d{1,2})[cC](\d{1,2})(?!\d)")
_TILE = re.compile(r"_[rR](\d{1,4})_[cC](\d{1,4})(?!\d)")
# "f01" of O05f01 or r02c03f01, "s2" of B3_s2, "site_3"; read after the well only, not within a word.
_SITE = re.compile(r"(?<![A-Za-z])(?:site|field|[sf])[_-]?(\d{1,4})(?!\d)", re.IGNORECASE)
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
    """Read a well from the name of a file or group, ``O05f01.TIF`` or ``r02c03f01.tiff``; None if there is none."""
    if match := _NUMBERS.search(name):
        return _on_a_plate(int(match.group(1)), int(match.group(2)))
    match = _LETTERS.search(name)
    return _on_a_plate(_row(match.group(1)), int(match.group(2))) if match else None


def parse_well(text: str) -> Well | None:
    """Read a well that is written alone, ``B3``, ``b03`` or ``B003``; None if it is none."""
    match = _WELL_TEXT.fullmatch(text.strip())
    return _on_a_plate(_row(match.group(1).upper()), int(match.group(2))) if match else None


def site_in_name(name: str) -> int | None:
    """Read the number of a well's field, ``O05f01.TIF`` or ``Plate1_B3_s2.tif``; None if there is none."""
    well = _NUMBERS.search(name) or _LETTERS.search(name)
    match = _SITE.search(name, well.end()) if well else None
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
