"""The tiles of a field read and classified: by threads that keep the network busy, or one batch after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.prefetch import is_single_threaded, prefetch
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.tiles.statistics import sampled_stats

_PREFETCH = 2  # batches that are prefetched
_CONCURRENT = 2  # batches that are classified at once, so that the network does not wait between them
_CHUNK = 8  # tiles; between chunks a run can be cancelled

Batch = tuple[NDArray[np.int64], NDArray[Any]]
Predict = Callable[[NDArray[Any]], tuple[NDArray[np.float32], NDArray[np.float32]]]


@dataclass(frozen=True, eq=False)
class BatchResult:
    """What was found in a batch of n tiles.

    Parameters
    ----------
    tile_indices
        int64, shape (n,): indices of the tiles in the grid.
    prob
        float32, shape (n, K): the network's probabilities.
    stats
        float64, shape (n, 2, C): see :func:`~napari_cellclass.core.tiles.statistics.sampled_stats`.
    extremes
        float64, shape (n, 2): lowest and highest pixel; not finite where there are NaN or infinite pixels.
    distances
        float32, shape (n,): from the model's training tiles; NaN where that is not known.
    """

    tile_indices: NDArray[np.int64]
    prob: NDArray[np.float32]
    stats: NDArray[np.float64]
    extremes: NDArray[np.float64]
    distances: NDArray[np.float32]


def classify_batches(batches: Iterator[Batch], predict: Predict, task: Task) -> Generator[BatchResult]:
    """Classify batches of tiles, in their order.

    Within :func:`~napari_cellclass.core.common.prefetch.single_threaded` no thread is started: each batch is read and
    classified before the next one.

    Parameters
    ----------
    batches
        Read in a thread of their own, two batches prefetched.
    predict
        Gives probabilities of tiles (n, h, w, C), and their distances; called from two threads.
    task
        Checked every few tiles and ten times a second; when it was cancelled, no more is given.

    Yields
    ------
    BatchResult
        One per batch; the last one of a cancelled run may hold fewer tiles.

    Raises
    ------
    ImageError
        The pixels cannot be read.
    """
    if is_single_threaded():
        yield from _one_after_another(batches, predict, task)
        return
    with prefetch(batches, _PREFETCH, task) as ready, ThreadPoolExecutor(_CONCURRENT, "classify") as pool:
        running: deque[tuple[int, Future[BatchResult]]] = deque()
        for tile_indices, tiles in ready:
            running.append((len(tile_indices), pool.submit(_classify_batch, tile_indices, tiles, predict, task)))
            if len(running) > _CONCURRENT:
                size, result = running.popleft()
                found = result.result()
                yield found
                if len(found.tile_indices) < size:
                    return
        for size, result in running:
            found = result.result()
            yield found
            if len(found.tile_indices) < size:
                return


def _one_after_another(batches: Iterator[Batch], predict: Predict, task: Task) -> Generator[BatchResult]:
    while not task.cancelled():
        batch = next(batches, None)
        if batch is None:
            return
        found = _classify_batch(*batch, predict, task)
        yield found
        if len(found.tile_indices) < len(batch[0]):
            return


def _classify_batch(tile_indices: NDArray[np.int64], tiles: NDArray[Any], predict: Predict, task: Task) -> BatchResult:
    chunks = []
    for start in range(0, len(tiles), _CHUNK):
        if task.cancelled():
            break
        chunk = tiles[start : start + _CHUNK]
        with np.errstate(all="ignore"):
            extremes = np.stack([chunk.min(axis=(1, 2, 3)), chunk.max(axis=(1, 2, 3))], axis=1).astype(np.float64)
            stats = sampled_stats(chunk)
        chunks.append((*predict(chunk), stats, extremes))
    if not chunks:
        empty = np.zeros((0, 0), np.float32)
        stats, extremes = np.zeros((0, 2, tiles.shape[3])), np.zeros((0, 2))
        return BatchResult(tile_indices[:0], empty, stats, extremes, np.zeros(0, np.float32))
    prob, distances, stats, extremes = (np.concatenate(values) for values in zip(*chunks, strict=True))
    return BatchResult(tile_indices[: len(prob)], prob, stats, extremes, distances)
