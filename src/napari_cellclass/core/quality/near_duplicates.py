"""Near-duplicate tiles: the same scene with different pixels, as saved again, resized or exposed differently."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.findings import Finding, counted

# Hashes that differ in at most 3 of 64 bits agree in one of 4 parts of 16 bits.
_MAX_DIFFERENT_BITS = 3
_HASH_PARTS = 4
# Where very many tiles agree in a part, each is compared with so many that follow it, so that time stays linear.
_NEIGHBOURS = 32
_MIN_CORRELATION = 0.98
# A hash of very few bits is that of a tile with one object in a corner, of which there are many.
_MIN_BITS = 8
_CHUNK = 20_000


def find_near_duplicates(
    hashes: NDArray[np.uint64],
    thumbnails: NDArray[np.int8],
    groups: NDArray[np.object_],
    usable: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Find pairs of near-duplicate tiles that belong to different groups.

    Candidates have hashes that differ in at most 3 bits; they count as copies where the thumbnails of their fine
    structure correlate by 0.98 or more. Rotated and mirrored copies are not found.

    Parameters
    ----------
    hashes
        Shape (N,), see :func:`~napari_cellclass.core.tiles.statistics.difference_hash`.
    thumbnails
        Shape (N, P), see :func:`~napari_cellclass.core.tiles.statistics.detail_thumbnail`.
    groups
        N names.
    usable
        bool, shape (N,): tiles to compare; empty ones are similar without being copies.

    Returns
    -------
    ndarray of int64, shape (pairs, 2)
        Tile indices, the smaller first, sorted.
    """
    group = np.unique(groups.astype(str), return_inverse=True)[1]
    bits = np.bitwise_count(hashes)
    shows = thumbnails.any(axis=1) & (bits >= _MIN_BITS) & (bits <= 64 - _MIN_BITS)
    tile_indices = np.flatnonzero(shows & (True if usable is None else usable))
    found = [np.zeros((0, 2), np.int64)]
    for part in range(_HASH_PARTS):
        key = (hashes[tile_indices] >> np.uint64(16 * part)) & np.uint64(0xFFFF)
        order = np.lexsort(
            (hashes[tile_indices], key)
        )  # by the whole hash within a part, so that the nearest are neighbours
        mine, sorted_key = tile_indices[order], key[order]
        for step in range(1, min(_NEIGHBOURS, len(mine) - 1) + 1):
            together = sorted_key[step:] == sorted_key[:-step]
            if not together.any():
                break  # the parts' runs are shorter than this
            a, b = mine[:-step][together], mine[step:][together]
            close = (np.bitwise_count(hashes[a] ^ hashes[b]) <= _MAX_DIFFERENT_BITS) & (group[a] != group[b])
            a, b = a[close], b[close]
            similar = row_correlation(thumbnails[a], thumbnails[b]) >= _MIN_CORRELATION
            found.append(np.sort(np.stack([a[similar], b[similar]], axis=1), axis=1))
    return np.unique(np.concatenate(found), axis=0)


def check_copies_across_split(
    hashes: NDArray[np.uint64],
    thumbnails: NDArray[np.int8],
    sides: NDArray[Any],
    paths: Sequence[Path],
    use: str = "held out",
) -> Finding | None:
    """Warn of near-duplicates in the training and the test tiles; None where there are none.

    Parameters
    ----------
    hashes, thumbnails
        See :func:`find_near_duplicates`.
    sides
        N names of two sides: trained on, and tested on.
    paths
        N files that the tiles are cut from.
    use
        What happens to tiles of the second side.
    """
    pairs = find_near_duplicates(hashes, thumbnails, np.asarray(sides, object))
    if not len(pairs):
        return None
    a, b = (paths[i] for i in pairs[0].tolist())
    text = (
        f"{counted(len(pairs), 'pair')} of tiles, one trained on and one {use}, look the same, such as one of "
        f"{a.name} and one of {b.name}: the accuracy will look better than it is; give copies one group, or remove them"
    )
    files = dict.fromkeys(paths[i] for i in pairs.ravel().tolist())
    return Finding("warning", "copies-across-split", text, tuple(files))


def row_correlation(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.float64]:
    """Return Pearson's correlation of thumbnails (n, P), row by row; 0 where a thumbnail is flat."""
    result = np.zeros(len(a))
    for start in range(0, len(a), _CHUNK):
        x, y = (part[start : start + _CHUNK].astype(np.float64) for part in (a, b))
        x -= x.mean(axis=1, keepdims=True)
        y -= y.mean(axis=1, keepdims=True)
        norm = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
        np.divide((x * y).sum(axis=1), norm, out=result[start : start + _CHUNK], where=norm > 0)
    return result
