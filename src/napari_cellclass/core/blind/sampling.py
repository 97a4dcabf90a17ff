"""Sampling of test tiles for a blinded reading: which tiles, in which order, with which contrast."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.blind.container import encode_png
from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.images.display import stretch_contrast, to_rgb

_MAX_GAP = 15  # other tiles between a tile and its repeat


def sample_tiles(data: TileDataset, tiles: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Sample tiles balanced over classes, and within a class over groups; indices in random order.

    Raises
    ------
    ParamsError
        There are fewer tiles.
    """
    if len(data) < tiles:
        raise ParamsError(
            f"{tiles} tiles are to be read of {counted(len(data), 'test tile')}; ask for at most {len(data)}"
        )
    order = rng.permutation(len(data))
    names = np.array([f"{label} {group}" for label, group in zip(data.labels, data.groups, strict=True)])
    order = order[np.argsort(_occurrence(names[order]), kind="stable")]
    order = order[np.argsort(_occurrence(data.labels[order]), kind="stable")]
    return rng.permutation(order[:tiles])


def insert_repeats(labels: NDArray[Any], repeats: int, rng: np.random.Generator) -> list[int]:
    """Give the numbers 0 to n - 1 in order, some of them repeated later, with other tiles in between.

    Parameters
    ----------
    labels
        int, shape (n,): class indices, over which repeats are balanced.
    repeats
        At most n // 2.
    rng
        Chooses what is repeated, and where.

    Returns
    -------
    list of int
        n + repeats long. Between a tile and its repeat are at least a quarter of n, or 15, other tiles.
    """
    n = len(labels)
    gap = min(_MAX_GAP, n // 4)
    candidates = rng.permutation(max(n - gap, 1))
    chosen = candidates[np.argsort(_occurrence(labels[candidates]), kind="stable")][:repeats]
    order = list(range(n))
    for tile in rng.permutation(chosen).tolist():
        first = order.index(tile)
        order.insert(int(rng.integers(first + gap + 1, len(order) + 1)), tile)
    return order


def _occurrence(keys: NDArray[Any]) -> NDArray[np.int64]:
    """Count for each entry how many equal ones come before it."""
    count = np.zeros(len(keys), np.int64)
    for key in np.unique(keys):
        equal = keys == key
        count[equal] = np.arange(equal.sum())
    return count


def render_tiles(data: TileDataset, tile_indices: NDArray[np.int64], task: Task) -> list[bytes]:
    """Read tiles and return each as a PNG.

    The contrast rule is that of :class:`~napari_cellclass.core.blind.session.BlindSession`.

    Raises
    ------
    ImageError
        A file has become unreadable.
    CancelledError
        The task was cancelled.
    """
    rendered: dict[int, bytes] = {}
    for image in np.unique(data.image[tile_indices]):
        source = data.read(data.paths[image])
        for tile_index in tile_indices[data.image[tile_indices] == image].tolist():
            task.check("cancelled while rendering the tiles")
            pixels = source.read(*(int(v) for v in data.boxes[tile_index]))
            rendered[tile_index] = encode_png(to_rgb(stretch_contrast(pixels, jointly=source.rgb)))
            task.progress("rendering the tiles", len(rendered), len(tile_indices))
    return [rendered[int(tile_index)] for tile_index in tile_indices]
