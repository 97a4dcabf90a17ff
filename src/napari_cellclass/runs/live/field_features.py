"""Features of the tiles of the fields that are open, filled in while they are computed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.models.linear_head import Standardisation
from napari_cellclass.core.tiles.grid import TileGrid

_BLOCK_TILES = 4
# Mean and scale are made anew when so many more tiles are known, so that early predictions do not hang on a few tiles.
_GROWTH = 1.25


@dataclass(eq=False)
class FieldFeatures:
    """Features of the tiles of one field; one thread fills them in, others read what is known.

    Parameters
    ----------
    key
        Identifies the field, its plane and its grid.
    grid
        The tiles.
    columns
        Number of features.
    group
        What is held out together with this field, such as its well.
    """

    key: str
    grid: TileGrid
    columns: int
    group: str
    values: NDArray[np.float32] = field(init=False)
    known: NDArray[np.bool_] = field(init=False)
    _standardised: NDArray[np.float32] = field(init=False)
    _current: NDArray[np.bool_] = field(init=False)
    _version: int = field(default=-1, init=False)

    def __post_init__(self) -> None:
        n = len(self.grid)
        self.values = np.full((n, self.columns), np.nan, np.float32)
        self._standardised = np.full((n, self.columns), np.nan, np.float32)
        self.known, self._current = np.zeros(n, bool), np.zeros(n, bool)

    def put(self, tile_indices: NDArray[np.int64], features: NDArray[np.float32]) -> None:
        """Fill in the features of tiles; a row of NaN is a tile that has none."""
        self.values[tile_indices] = features
        self.known[tile_indices] = True

    @property
    def complete(self) -> bool:
        """Whether all tiles are known."""
        return bool(self.known.all())

    def standardised(self, standardisation: Standardisation, version: int) -> NDArray[np.float32]:
        """Return standardised features (n, F); rows of NaN are tiles that have none, or none yet."""
        known = self.known.copy()
        if version != self._version:
            self._current[:] = False
            self._version = version
        new = np.flatnonzero(known & ~self._current)
        if len(new):
            self._standardised[new] = standardisation.apply(self.values[new])
            self._current[new] = True
        return self._standardised

    def regions(self) -> NDArray[np.int64]:
        """Return the number of the block of 4 x 4 tiles that each tile is in: neighbours are left out together."""
        blocks = -(-self.grid.grid_shape[1] // _BLOCK_TILES)
        return self.grid.row.astype(np.int64) // _BLOCK_TILES * blocks + self.grid.col // _BLOCK_TILES


class SharedStandardisation:
    """Mean and scale of the features of all tiles that are known, labelled or not, of all fields."""

    def __init__(self) -> None:
        self.current: Standardisation | None = None
        self.version = 0
        self._n, self._complete = 0, False

    def follow(self, fields: list[FieldFeatures]) -> Standardisation | None:
        """Make it anew where many more tiles are known or all have become known; None where there are none."""
        n = sum(int(one.known.sum()) for one in fields)
        complete = all(one.complete for one in fields)
        if n == 0:
            return self.current
        if n >= _GROWTH * self._n or (n != self._n and complete) or n < self._n:
            rows = np.concatenate([one.values[one.known] for one in fields])
            rows = rows[np.isfinite(rows).all(axis=1)]
            if len(rows):
                self.current, self._n, self.version = Standardisation.fit(rows), n, self.version + 1
        return self.current


@dataclass(frozen=True, eq=False)
class Labelled:
    """The labelled tiles of all fields that have features."""

    z: NDArray[np.float32]
    labels: NDArray[np.int64]
    group: NDArray[np.int64]
    region: NDArray[np.int64]
    field: NDArray[np.int64]
    tile: NDArray[np.int64]
