"""A random sample of a field's tiles, whichever tiles were labelled first."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Step = tuple[NDArray[np.int64], NDArray[np.int16]]


def sampling_order(field: str, n_tiles: int) -> NDArray[np.int64]:
    """Return the order in which the tiles of a field are drawn at random: the same whenever it is asked for.

    Parameters
    ----------
    field
        Identifies the field and its grid.
    n_tiles
        Number of tiles.

    Returns
    -------
    int64, shape (n_tiles,)
        A permutation of the tile indices.
    """
    seed = int.from_bytes(hashlib.sha256(field.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).permutation(n_tiles)


class RandomDraws:
    """Tells the tiles that were drawn at random from those without a label, in the order of the draws.

    A tile was drawn where it was labelled alone, while it was the first in random order that had no label. Tiles that
    were labelled for another reason, such as uncertain ones, are no draws: what is drawn stands for the tiles that have
    no label, not for them.

    Parameters
    ----------
    order
        Of :func:`sampling_order`.
    """

    def __init__(self, order: NDArray[np.int64]) -> None:
        self._order = order
        self._forget()

    def _forget(self) -> None:
        self._seen: list[Step] = []
        self._labelled = np.zeros(len(self._order), bool)
        self._draws: list[int] = []
        self._first = 0

    def follow(self, steps: Sequence[Step]) -> list[int]:
        """Return the draws of a history; only what was added since the last call is gone through.

        Parameters
        ----------
        steps
            The history of labels: indices of the tiles, and their labels after the step, -1 for none. A step that was
            there at the last call is the same object.
        """
        seen = len(self._seen)
        if len(steps) < seen or any(one is not other for one, other in zip(self._seen, steps, strict=False)):
            self._forget()
            seen = 0
        for step in steps[seen:]:
            self._take(*step)
        self._seen = list(steps)
        return [tile for tile in dict.fromkeys(self._draws) if self._labelled[tile]]

    def _take(self, tiles: NDArray[np.int64], after: NDArray[np.int16]) -> None:
        order, labelled = self._order, self._labelled
        while self._first < len(order) and labelled[order[self._first]]:
            self._first += 1
        drawn = len(tiles) == 1 and self._first < len(order) and tiles[0] == order[self._first]
        if drawn and after[0] != -1:
            self._draws.append(int(tiles[0]))
        labelled[tiles] = after != -1
        if (after == -1).any():
            self._first = 0
