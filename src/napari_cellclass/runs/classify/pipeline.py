"""The tiles of a field read and classified: at once, by threads that keep the network busy, or in turn on one core."""

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

_PREFETCH = 2  # batches that wait
_AT_ONCE = 2  # batches that are classified, so that the network does not wait between them
_PART = 8  # tiles; between parts a run can be cancelled

Batch = tuple[NDArray[np.int64], NDArray[Any]]
Predict = Callable[[NDArray[Any]], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Looked:
    """What is known of some tiles.

    Parameters
    ----------
    places
        int64, shape (n,): places in the grid.
    prob
        float32, shape (n, K): the network's answers.
    stats
        float64, shape (n, 2, C): see :func:`~napari_cellclass.core.tiles.statistics.sampled_stats`.
    extremes
        float64, shape (n, 2): lowest and highest pixel; not finite where there are NaN or infinite pixels.
    """

    places: NDArray[np.int64]
    prob: NDArray[np.float32]
    stats: NDArray[np.float64]
    extremes: NDArray[np.float64]


def classified(batches: Iterator[Batch], predict: Predict, task: Task) -> Generator[Looked]:
    """Classify batches of tiles, in their order.

    Within :func:`~napari_cellclass.core.common.prefetch.single_threaded` no threads are started: a batch is read and
    classified, then the next one.

    Parameters
    ----------
    batches
        Read in a thread of their own, two batches prefetched.
    predict
        Gives probabilities of tiles (n, h, w, C); called from two threads.
    task
        Checked every few tiles and ten times a second; when it was cancelled, no more is given.

    Yields
    ------
    Looked
        Of the batches, the last one of a cancelled run in part.

    Raises
    ------
    ImageError
        The pixels cannot be read.
    """
    if is_single_threaded():
        yield from _in_turn(batches, predict, task)
        return
    with prefetch(batches, _PREFETCH, task) as ready, ThreadPoolExecutor(_AT_ONCE, "classify") as pool:
        running: deque[tuple[int, Future[Looked]]] = deque()
        for places, tiles in ready:
            running.append((len(places), pool.submit(_look, places, tiles, predict, task)))
            if len(running) > _AT_ONCE:
                wanted, result = running.popleft()
                looked = result.result()
                yield looked
                if len(looked.places) < wanted:
                    return
        for wanted, result in running:
            looked = result.result()
            yield looked
            if len(looked.places) < wanted:
                return


def _in_turn(batches: Iterator[Batch], predict: Predict, task: Task) -> Generator[Looked]:
    while not task.cancelled():
        batch = next(batches, None)
        if batch is None:
            return
        looked = _look(*batch, predict, task)
        yield looked
        if len(looked.places) < len(batch[0]):
            return


def _look(places: NDArray[np.int64], tiles: NDArray[Any], predict: Predict, task: Task) -> Looked:
    parts = []
    for start in range(0, len(tiles), _PART):
        if task.cancelled():
            break
        part = tiles[start : start + _PART]
        with np.errstate(all="ignore"):
            extremes = np.stack([part.min(axis=(1, 2, 3)), part.max(axis=(1, 2, 3))], axis=1).astype(np.float64)
            stats = sampled_stats(part)
        parts.append((predict(part), stats, extremes))
    if not parts:
        empty = np.zeros((0, 0), np.float32)
        return Looked(places[:0], empty, np.zeros((0, 2, tiles.shape[3])), np.zeros((0, 2)))
    prob, stats, extremes = (np.concatenate(values) for values in zip(*parts, strict=True))
    return Looked(places[: len(prob)], prob, stats, extremes)
