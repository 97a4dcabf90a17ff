"""The tiles of several fields as points of a scatter plot: where each is, what is known of it, and its colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.labels.classes import UNCLASSIFIED_COLOUR, ClassScheme, palette
from napari_cellclass.core.labels.label_store import CONFLICT, UNLABELLED, UNSURE
from napari_cellclass.core.plates.wells import well_in_name

ColourBy = Literal["prediction", "label", "confidence", "labelled or not", "field", "well", "plate"]
"""What points are coloured by."""
_UNSURE_COLOUR = "#B58CFF"  # white, as on the map, would not be seen in the light theme
_STATES = (
    ("labelled", "#56B4E9"),
    ("not labelled", UNCLASSIFIED_COLOUR),
    ("unsure", _UNSURE_COLOUR),
    ("in conflict", "#FF0000"),
)
# Five colours of matplotlib's "viridis" (van der Walt & Smith 2015), from 0 to 1, as napari's map of confidence has.
_VIRIDIS = ("#440154", "#3B528B", "#21918C", "#5EC962", "#FDE725")
_STEPS = 256
_FAINT = 0.45  # opacity of points without a class, which would hide the others
_LISTED = 8


@dataclass(frozen=True)
class PointField:
    """A field whose tiles are points.

    Parameters
    ----------
    key
        Identifies image, plane and grid.
    name
        The image's.
    path
        Its file, or None.
    """

    key: str
    name: str
    path: Path | None = None

    @property
    def well(self) -> str:
        """The well of its name, or ``"no well"``."""
        well = well_in_name(self.name)
        return "no well" if well is None else well.name

    @property
    def plate(self) -> str:
        """The folder of its file, as the images of a plate have one of their own, or ``"no folder"``."""
        return "no folder" if self.path is None else self.path.parent.name or str(self.path.parent)


@dataclass(frozen=True, eq=False)
class TilePoints:
    """Where the tiles lie.

    Parameters
    ----------
    xy
        float32, shape (N, 2).
    field, tile
        int64, shape (N,) each: index of the field, ascending, and of the tile in it, ascending within a field.
    fields
        The fields.
    axes
        What the axes are, for users.
    """

    xy: NDArray[np.float32]
    field: NDArray[np.int64]
    tile: NDArray[np.int64]
    fields: tuple[PointField, ...]
    axes: str = ""

    @classmethod
    def of(
        cls,
        fields: Sequence[tuple[PointField, NDArray[np.int64], NDArray[np.float32]]],
        axes: str = "",
    ) -> TilePoints:
        """Put the tiles of fields together; each field comes with its tiles, ascending, and their places."""
        counts = [len(tiles) for _, tiles, _ in fields]
        return cls(
            np.concatenate([np.zeros((0, 2), np.float32), *(xy for _, _, xy in fields)]),
            np.repeat(np.arange(len(fields)), counts),
            np.concatenate([np.zeros(0, np.int64), *(tiles for _, tiles, _ in fields)]),
            tuple(field for field, _, _ in fields),
            axes,
        )

    def __len__(self) -> int:
        return len(self.xy)

    def rows_of(self, key: str) -> slice:
        """Give which points are tiles of a field."""
        keys = [field.key for field in self.fields]
        if key not in keys:
            return slice(0, 0)
        first, last = np.searchsorted(self.field, (keys.index(key), keys.index(key) + 1))
        return slice(int(first), int(last))

    def points_of(self, key: str, tile_indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the points of tiles of a field; a tile that is no point is left out."""
        rows = self.rows_of(key)
        tiles = self.tile[rows]
        places = np.searchsorted(tiles, tile_indices)
        found = places[places < len(tiles)]
        found = found[tiles[found] == np.asarray(tile_indices)[places < len(tiles)]]
        return found + rows.start

    def tiles_of(self, key: str, points: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the tiles of a field that are among some points."""
        rows = self.rows_of(key)
        return self.tile[points[(points >= rows.start) & (points < rows.stop)]]


@dataclass(frozen=True, eq=False)
class PointStates:
    """What is known of the tiles.

    Parameters
    ----------
    label
        int16, shape (N,): class index, or one of the negative labels.
    predicted
        int16, shape (N,): class index, -1 where nothing is predicted.
    confidence
        float32, shape (N,): probability of the predicted class, NaN where nothing is predicted.
    """

    label: NDArray[np.int16]
    predicted: NDArray[np.int16]
    confidence: NDArray[np.float32]

    @classmethod
    def unknown(cls, n: int) -> PointStates:
        """Know nothing of n tiles."""
        return cls(np.full(n, UNLABELLED, np.int16), np.full(n, -1, np.int16), np.full(n, np.nan, np.float32))


@dataclass(frozen=True, eq=False)
class Colouring:
    """The colours of points, and what they mean.

    Parameters
    ----------
    rgba
        float32, shape (N, 4), in 0..1.
    legend
        A text with its ``"#RRGGBB"``, in order.
    """

    rgba: NDArray[np.float32]
    legend: tuple[tuple[str, str], ...]


def colour_points(
    by: ColourBy, points: TilePoints, states: PointStates, scheme: ClassScheme, percentages: bool = True
) -> Colouring:
    """Colour points.

    Parameters
    ----------
    by
        What by.
    points, states
        N points, and what is known of them.
    scheme
        The classes that ``states`` are of.
    percentages
        Whether confidences are worth a percentage, see :attr:`TileTable.has_percentages`.
    """
    if by == "confidence":
        return _by_confidence(states.confidence, percentages)
    if by in ("prediction", "label"):
        codes = states.predicted if by == "prediction" else states.label
        named = [*zip(scheme.names, scheme.colours, strict=True)]
        if by == "label":
            named.append(("unsure", _UNSURE_COLOUR))
            codes = np.where(codes == UNSURE, len(scheme), codes)
        return _by_code(np.where(codes < 0, -1, codes), named, "not labelled" if by == "label" else "not predicted")
    if by == "labelled or not":
        code_of = {UNLABELLED: 1, UNSURE: 2, CONFLICT: 3}
        codes = np.zeros(len(points), np.int64)
        for label, code in code_of.items():
            codes[states.label == label] = code
        return _by_code(codes, _STATES, "")
    names = [getattr(field, "name" if by == "field" else by) for field in points.fields]
    order = list(dict.fromkeys(names)) if by != "field" else list(range(len(names)))
    index = {name: i for i, name in enumerate(order)}
    codes = np.array([index[name] if by != "field" else i for i, name in enumerate(names)] or [0], np.int64)
    texts = [str(one) for one in order] if by != "field" else _told_apart(names)
    return _by_code(codes[points.field], list(zip(texts, palette(len(texts)), strict=True)), "")


def _told_apart(names: Sequence[str]) -> list[str]:
    """Give names that occur more than once a number."""
    counts, seen = Counter(names), Counter[str]()
    found = []
    for name in names:
        seen[name] += 1
        found.append(f"{name} ({seen[name]})" if counts[name] > 1 else name)
    return found


def _by_code(codes: NDArray[np.integer], named: Sequence[tuple[str, str]], other: str) -> Colouring:
    """Colour by an index into names with colours; -1 is a faint grey."""
    table = np.array([_rgba(colour) for _, colour in named] + [_rgba(UNCLASSIFIED_COLOUR, _FAINT)], np.float32)
    present = np.unique(codes)
    legend = [named[i] for i in present.tolist() if i >= 0]
    if len(legend) > _LISTED:
        legend = [*legend[: _LISTED - 1], (f"and {len(legend) - _LISTED + 1} more", UNCLASSIFIED_COLOUR)]
    if other and (codes < 0).any():
        legend.append((other, UNCLASSIFIED_COLOUR))
    return Colouring(table[codes], tuple(legend))


def _by_confidence(confidence: NDArray[np.float32], percentages: bool) -> Colouring:
    steps = np.linspace(0, 1, _STEPS)
    ends = np.array([_rgba(colour) for colour in _VIRIDIS])
    table = np.stack([np.interp(steps, np.linspace(0, 1, len(ends)), column) for column in ends.T], axis=1)
    table = np.concatenate([table, [_rgba(UNCLASSIFIED_COLOUR, _FAINT)]]).astype(np.float32)
    codes = np.where(np.isfinite(confidence), np.nan_to_num(confidence).clip(0, 1) * (_STEPS - 1), _STEPS)
    legend = [(f"{value:.0%}", colour) for value, colour in zip((0, 0.25, 0.5, 0.75, 1), _VIRIDIS, strict=True)]
    if not percentages:
        legend = [("less sure", _VIRIDIS[0]), ("surer", _VIRIDIS[-1])]
    return Colouring(table[codes.astype(np.int64)], tuple(legend))


def _rgba(colour: str, opacity: float = 1.0) -> tuple[float, float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue, opacity
