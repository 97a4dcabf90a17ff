"""Class names with their order, colours and keys: one record for layer, model and export."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.common.names import normal_form

# Okabe & Ito, "Color Universal Design" (2008), without black, which a dark field hides; then the
# classes of Paul Tol's "muted" scheme (SRON/EPS/TN/09-002, 2021) that differ most from those.
_PALETTE = (
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#CC79A7",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#882255",
    "#44AA99",
    "#999933",
    "#DDCC77",
    "#AA4499",
)
# Paul Tol's qualitative schemes "bright" and "vibrant" (SRON/EPS/TN/09-002, 2021), without grey, which means unsure.
_TOL = {
    "Tol bright": ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377"),
    "Tol vibrant": ("#EE7733", "#0077BB", "#33BBEE", "#EE3377", "#CC3311", "#009988"),
}
PaletteName = Literal["Okabe-Ito", "Tol bright", "Tol vibrant"]
_KEYS = "123456789abcdefghijklmnopqrstuvwxyz"
UNCLASSIFIED_COLOUR = "#9A9A9A"
UNSURE_NAME = "(unsure)"
"""Name of the class of tiles whose prediction set is not one class."""
UNLIKE_NAME = "(unlike training)"
"""What tiles are counted as, beside their class, that are unlike all that a model was trained on."""
BELOW_THRESHOLD_NAME = "(below threshold)"
"""Where tiles are counted that no class is shown of."""
NO_CLASS_NAME = "(no class)"
"""What tiles are called that have no class."""
RESERVED_NAMES = frozenset(
    (UNSURE_NAME, UNLIKE_NAME, BELOW_THRESHOLD_NAME, NO_CLASS_NAME, "(conflict)", "(unlabelled)")
)
"""Names that no class may have, as they stand for other tiles in tables."""
UNSURE_COLOUR = "#FFFFFF"
UNLIKE_COLOUR = "#FF00FF"
"""Of tiles that are unlike all that a model was trained on."""


def palette(n: int, name: PaletteName = "Okabe-Ito") -> tuple[str, ...]:
    """Give ``n`` hex colours; the first six, by default twelve, are distinguishable with common colour blindness."""
    extra = [
        colorsys.hls_to_rgb((0.61803398875 * i) % 1.0, (0.42, 0.62)[i % 2], 0.65)
        for i in range(max(0, n - len(_PALETTE)))
    ]
    more = tuple("#" + "".join(f"{round(255 * v):02X}" for v in rgb) for rgb in extra)
    first = _TOL.get(name, ())
    return (*first, *(colour for colour in _PALETTE if colour not in first), *more)[:n]


@dataclass(frozen=True)
class ClassScheme:
    """The classes of a model or an annotation, in the order of the network's outputs.

    Parameters
    ----------
    names
        Class names, kept in Unicode's form NFC; their order is the order of the softmax outputs.
    colours
        ``"#RRGGBB"`` per class.
    keys
        The key that labels a tile with the class, one character each, or ``""``.

    Raises
    ------
    ParamsError
        Fewer than two classes, an empty, reserved or duplicate name, or lists of different lengths.
    """

    names: tuple[str, ...]
    colours: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(normal_form(name) for name in self.names))
        n = len(self.names)
        if n < 2:
            raise ParamsError(f"a classifier needs at least two classes, but there is {n}: {self.names}")
        if not all(name.strip() for name in self.names):
            raise ParamsError(f"a class has an empty name in {self.names}; give each class a name")
        if reserved := [name for name in self.names if name.strip() in RESERVED_NAMES]:
            raise ParamsError(f"a class cannot be called {reserved[0]!r}, which stands for other tiles; rename it")
        if len(set(self.names)) != n:
            raise ParamsError(f"a class name appears twice in {self.names}; rename one of them")
        object.__setattr__(self, "colours", tuple(self.colours) or palette(n))
        object.__setattr__(self, "keys", tuple(self.keys) or tuple(_KEYS[:n].ljust(n)))
        if len(self.colours) != n or len(self.keys) != n:
            raise ParamsError(f"{n} classes need {n} colours and keys, not {self.colours} and {self.keys}")
        invalid = [colour for colour in self.colours if not re.fullmatch("#[0-9A-Fa-f]{6}", colour)]
        if invalid:
            raise ParamsError(f"{invalid[0][:40]!r} is not a colour; write it as #RRGGBB")

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Give the class index of ``name``; ``ValueError`` when it is not a class."""
        return self.names.index(normal_form(name))

    def rgb(self, index: int) -> tuple[int, int, int]:
        """Give the RGB colour of a class index, 0..255.

        -1 is the grey of "no class", K the colour of "unsure", K + 1 that of "unlike training".
        """
        value = (*self.colours, UNSURE_COLOUR, UNLIKE_COLOUR, UNCLASSIFIED_COLOUR)[index]
        return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)

    def to_json(self) -> list[dict[str, str]]:
        """Give a JSON-able list, one object per class in order."""
        rows = zip(self.names, self.colours, self.keys, strict=True)
        return [{"name": name, "colour": colour, "key": key} for name, colour, key in rows]

    @classmethod
    def from_json(cls, content: Sequence[dict[str, Any]]) -> ClassScheme:
        """Read what :meth:`to_json` gave."""
        return cls(
            tuple(str(row["name"]) for row in content),
            tuple(str(row["colour"]) for row in content),
            tuple(str(row.get("key", "")) for row in content),
        )
