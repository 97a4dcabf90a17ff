"""Units of length as programs write them, and pixel sizes in µm."""

from __future__ import annotations

import math
import unicodedata
from typing import Any

import numpy as np

_UM: dict[str, float] = {
    **dict.fromkeys(("um", "mum", "u", "micron", "micrometer", "micrometre"), 1.0),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-3),
    **dict.fromkeys(("pm", "picometer", "picometre"), 1e-6),
    **dict.fromkeys(("å", "a", "ångström", "angström", "ångstrom", "angstrom"), 1e-4),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1e4),
    **dict.fromkeys(("dm", "decimeter", "decimetre"), 1e5),
    **dict.fromkeys(("m", "meter", "metre"), 1e6),
    **dict.fromkeys(("in", "inch", "inches", '"'), 25_400.0),
    **dict.fromkeys(("pt", "point"), 25_400.0 / 72),
}


def um_per_unit(unit: str | None) -> float | None:
    """Return the µm of a unit of length, or None where it is none.

    Case, plural, both code points of µ and its escapes, ``-`` and ``_`` within a word, and a following ``/px`` or
    ``per pixel`` make no difference.
    """
    # NFKC makes the micro sign a Greek letter mu, and the sign of the unit angstrom a letter with a ring.
    text = unicodedata.normalize("NFKC", (unit or "").replace("\\u00b5", "µ").replace("\\u00B5", "µ"))
    text = text.casefold().split("/")[0].split(" per ")[0].strip().rstrip(".")
    text = text.replace("μ", "u").replace("-", "").replace("_", "").replace(" ", "")
    text = {"umeter": "um", "umetre": "um", "umeters": "um", "umetres": "um"}.get(text, text)
    return _UM.get(text, _UM.get(text[:-1]) if len(text) > 3 and text.endswith("s") else None)


def read_number(value: Any) -> float | None:
    """Return a number of a text with a decimal point or comma, or None where it is none."""
    if isinstance(value, str):
        value = value.strip()
        if value.count(",") == 1 and "." not in value:
            value = value.replace(",", ".")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def size_in_um(y: Any, x: Any, unit_y: str | None, unit_x: str | None) -> tuple[float, float] | None:
    """Return the (y, x) size of a pixel in µm, or None when it is unknown, not finite or not above 0."""
    sizes = [_side(y, unit_y), _side(x, unit_x)]
    return None if sizes[0] is None or sizes[1] is None else (sizes[0], sizes[1])


def one_sided_note(y: Any, x: Any, unit_y: str | None, unit_x: str | None) -> tuple[str, ...]:
    """Say that a pixel size is known along one axis only, and not used; empty where it is not so."""
    sizes = {"height": _side(y, unit_y), "width": _side(x, unit_x)}
    known = [name for name, size in sizes.items() if size is not None]
    if len(known) != 1:
        return ()
    size = sizes[known[0]]
    return (f"the file gives the {known[0]} of a pixel only, {size:g} µm; its pixel size is unknown",)


def _side(value: Any, unit: str | None) -> float | None:
    factor, number = um_per_unit(unit), read_number(value)
    size = number * factor if factor and number is not None else 0.0
    return float(size) if np.isfinite(size) and size > 0 else None


def round_length(most: float) -> float:
    """Return the largest 1, 2 or 5 times a power of ten that is at most ``most``, as scale bars are long."""
    power = 10.0 ** math.floor(math.log10(most))
    # The quotient of a round number by its power of ten may be off by rounding.
    step = next((one for one in (5.0, 2.0) if most / power >= one * (1 - 1e-9)), 1.0)
    return step * power


def length_text(um: float) -> str:
    """Write a length in µm with the unit that keeps its number short: nm, µm, mm or cm."""
    units = (("cm", 1e4), ("mm", 1e3), ("µm", 1.0), ("nm", 1e-3))
    unit, factor = next((one for one in units if um >= one[1] * (1 - 1e-9)), units[-1])
    return f"{um / factor:g} {unit}"
