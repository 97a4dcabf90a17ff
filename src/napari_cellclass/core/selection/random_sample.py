"""A random sample of a field's tiles, whichever tiles were labelled first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


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


def random_draws(order: NDArray[np.int64], steps: Iterable[tuple[NDArray[np.int64], NDArray[np.int16]]]) -> list[int]:
    """Return the tiles that were drawn at random from those without a label, in the order of the draws.

    A tile was drawn where it was labelled alone, while it was the first in random order that had no label. Tiles that
    were labelled for another reason, such as uncertain ones, are no draws: what is drawn stands for the tiles that have
    no label, not for them.

    Parameters
    ----------
    order
        Of :func:`sampling_order`.
    steps
        The history of labels: indices of the tiles, and their labels after the step, -1 for none.
    """
    labelled = np.zeros(len(order), bool)
    draws: list[int] = []
    first = 0
    for tiles, after in steps:
        while first < len(order) and labelled[order[first]]:
            first += 1
        if len(tiles) == 1 and first < len(order) and tiles[0] == order[first] and after[0] != -1:
            draws.append(int(tiles[0]))
        labelled[tiles] = after != -1
        if (after == -1).any():
            first = 0
    return [tile for tile in dict.fromkeys(draws) if labelled[tile]]
