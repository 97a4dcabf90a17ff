"""Measurements of all tiles of a data set: brightness, contrast, saturation, and what finds copies of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.tiles.statistics import THUMBNAIL_PX, channel_stats, saturated_fraction, tile_fingerprint


@dataclass(frozen=True, eq=False)
class TileStats:
    """Measurements of N tiles.

    Parameters
    ----------
    mean, sd
        float64, shape (N, C): of every channel, in grey values; NaN where a tile holds no finite pixel.
    saturated
        float32, shape (N,): fraction of the values that lie at the top of a camera's range, such as 255 or 4095.
    flat
        bool, shape (N,): all pixels of the tile are equal.
    hashes
        uint64, shape (N,): see :func:`~napari_cellclass.core.tiles.statistics.difference_hash`.
    thumbnails
        int8, shape (N, 256): 16 x 16 px of fine structure, standardised, see
        :func:`~napari_cellclass.core.tiles.statistics.detail_thumbnail`.
    """

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    saturated: NDArray[np.float32]
    flat: NDArray[np.bool_]
    hashes: NDArray[np.uint64]
    thumbnails: NDArray[np.int8]


def measure_tiles(data: TileDataset, task: Task = NO_TASK) -> TileStats:
    """Read every tile once and measure it.

    Raises
    ------
    ImageError
        A file has become unreadable since the data set was made.
    CancelledError
        The task was cancelled.
    """
    n, channels = len(data), data.channels
    mean, sd = np.full((n, channels), np.nan), np.full((n, channels), np.nan)
    saturated, flat = np.zeros(n, np.float32), np.zeros(n, bool)
    hashes, thumbnails = np.zeros(n, np.uint64), np.zeros((n, THUMBNAIL_PX * THUMBNAIL_PX), np.int8)
    for i, tile in data.tiles(np.arange(n), "measuring the tiles", task):
        mean[i], sd[i] = channel_stats(tile[None])[0]
        saturated[i] = saturated_fraction(tile)
        flat[i] = bool((tile == tile[:1, :1]).all())
        hashes[i], thumbnails[i] = tile_fingerprint(tile)
    return TileStats(mean, sd, saturated, flat, hashes, thumbnails)
