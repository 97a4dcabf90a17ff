"""Where on a plate, or in a field, an image was taken, as its name tells."""

from __future__ import annotations

import re
from dataclasses import dataclass

# "B03" of B03f00.tif or Plate1_B3_s2.tif; 1536 wells have rows AA to AF. Not "C01Z01" within a longer word.
_LETTERS = re.compile(r"(?<![A-Za-z0-9])(A[A-F]|[A-P])(\d{1,2})(?!\d)")
# "r02c03f01" as Operetta and Opera write it; "_r02_c03" is the place of a tile in a field.
_NUMBERS = re.compile(r"(?<![A-Za-z0-9])[rR](\d{1,2})[cC](\d{1,2})(?!\d)")
_TILE = re.compile(r"_[rR](\d{1,4})_[cC](\d{1,4})(?!\d)")
_PLATES = ((8, 12), (16, 24), (32, 48))


@dataclass(frozen=True)
class Well:
    """A place on a plate; row and column count from 1."""

    row: int
    column: int

    def on_edge(self, plate: tuple[int, int]) -> bool:
        """Tell whether it lies in an outermost row or column of a plate of (rows, columns) wells."""
        return self.row in (1, plate[0]) or self.column in (1, plate[1])


def well_of(name: str) -> Well | None:
    """Read a well from the name of a file or group, ``O05f01.TIF`` or ``r02c03f01.tiff``; None if there is none."""
    if match := _NUMBERS.search(name):
        well = Well(int(match.group(1)), int(match.group(2)))
    elif match := _LETTERS.search(name):
        letters = match.group(1)
        row = ord(letters[-1]) - ord("A") + 1 + (26 if len(letters) == 2 else 0)
        well = Well(row, int(match.group(2)))
    else:
        return None
    return well if 1 <= well.row <= _PLATES[-1][0] and 1 <= well.column <= _PLATES[-1][1] else None


def wells_of(names: list[str]) -> list[Well] | None:
    """Read a well from every name, or None where a name has none: names of another kind that look like it by chance."""
    found = [well_of(name) for name in names]
    return [well for well in found if well is not None] if found and None not in found else None


def plate_of(wells: list[Well]) -> tuple[int, int]:
    """Give (rows, columns) of the smallest usual plate, of 96, 384 or 1536 wells, that has all of these."""
    row, column = max(well.row for well in wells), max(well.column for well in wells)
    return next(plate for plate in _PLATES if row <= plate[0] and column <= plate[1])


def tile_place(name: str) -> tuple[int, int] | None:
    """Read a tile's (row, column) in its field from a name like ``Control_0001_r00_c03.tif``; None if there is none."""
    match = _TILE.search(name)
    return (int(match.group(1)), int(match.group(2))) if match else None
