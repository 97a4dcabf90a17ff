"""Features of the tiles of one image, in any order."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cellclass.core.common.prefetch import is_single_threaded, prefetch
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.feature_spec import FeatureSpec
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.streaming import iterate_tile_batches
from napari_cellclass.engine.features.extractor import FeatureExtractor
from napari_cellclass.engine.features.store import FeatureStore
from napari_cellclass.engine.features.user_backbone import UserBackbone
from napari_cellclass.engine.inference.openvino_graph import TileFormat

_BATCH = 16  # tiles; between batches a run can be cancelled
_READ_BATCH = 256  # tiles whose features are on disk
_CONCURRENT = 2  # batches that are computed at once, so that OpenVINO does not wait between them
_PREFETCH = 2  # batches that are read before they are needed


@dataclass(frozen=True, eq=False)
class _Batch:
    """Tiles of a batch: their indices, which of them are computed, and the pixels of these (n, h, w, C)."""

    indices: NDArray[np.int64]
    computed: NDArray[np.bool_]
    tiles: NDArray[Any] | None


def open_extractor(
    source: SourceImage,
    grid: TileGrid,
    spec: FeatureSpec,
    threads: int | None = None,
    user_backbone: UserBackbone | None = None,
) -> FeatureExtractor:
    """Compile features for the tiles of an image; for others of the same size, channels and dtype it can be used, too.

    Raises
    ------
    ModelError
        The backbone is not installed, or OpenVINO cannot compile it.
    """
    one = np.empty((1, *grid.tile_px, source.channels), source.dtype)
    return FeatureExtractor(spec, TileFormat.of(one), threads, user_backbone)


def open_store(source: SourceImage, spec: FeatureSpec, task: Task = NO_TASK) -> FeatureStore:
    """Open what is on disk for an image, which reads its pixels for its id.

    Raises
    ------
    ImageError
        The pixels cannot be read.
    CancelledError
        The task was cancelled.
    """
    return FeatureStore(source.identify(task), spec)


def iterate_features(
    source: SourceImage,
    grid: TileGrid,
    extractor: FeatureExtractor,
    order: ArrayLike | None = None,
    store: FeatureStore | None = None,
    task: Task = NO_TASK,
) -> Generator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Give the features of an image's tiles, a batch at a time.

    Pixels are read in a thread while features are computed; within
    :func:`~napari_cellclass.core.common.prefetch.single_threaded` there is none.

    Parameters
    ----------
    source, grid
        The image and its tiles.
    extractor
        See :func:`open_extractor`.
    order
        Indices of tiles, those needed first at first; others are left out. By default all tiles: those on disk, then
        the others row by row, which reads a file fastest.
    store
        See :func:`open_store`. What is in it is not computed again, and what is computed is put into it. Its
        ``problem`` says afterwards where nothing could be kept.
    task
        Reports the finished tiles; when it was cancelled, no more are given. Those finished are in the store.

    Yields
    ------
    tile_indices : ndarray of int64, shape (n,)
        Indices in the grid.
    features : ndarray of float32, shape (n, F)
        A row of NaN where a tile holds NaN or infinite pixels.

    Raises
    ------
    ImageError
        The pixels cannot be read.
    """
    if order is None:
        batches, total = _all_batches(source, grid, store), len(grid)
    else:
        wanted = np.asarray(order, np.int64)
        batches, total = _ordered_batches(source, grid, wanted, store), len(wanted)
    done = 0
    task.progress("computing features", 0, total)
    try:
        for batch, computed in _computed(batches, extractor, task):
            yield batch.indices, _joined(batch, computed, source, grid, extractor, store)
            done += len(batch.indices)
            task.progress("computing features", done, total)
    finally:
        if store is not None:
            store.flush()


def image_features(
    source: SourceImage,
    grid: TileGrid,
    extractor: FeatureExtractor,
    store: FeatureStore | None = None,
    task: Task = NO_TASK,
) -> NDArray[np.float32]:
    """Return the features of all tiles of an image, float32 of shape (N, F); see :func:`iterate_features`.

    Raises
    ------
    ImageError
        The pixels cannot be read.
    CancelledError
        The task was cancelled.
    """
    features = np.empty((len(grid), extractor.columns), np.float32)
    for indices, found in iterate_features(source, grid, extractor, store=store, task=task):
        features[indices] = found
    task.check("cancelled while features were computed; those finished are kept for the next time")
    return features


def _all_batches(source: SourceImage, grid: TileGrid, store: FeatureStore | None) -> Iterator[_Batch]:
    known = np.zeros(len(grid), bool) if store is None else store.known(grid.boxes)
    on_disk, missing = np.flatnonzero(known), np.flatnonzero(~known)
    for start in range(0, len(on_disk), _READ_BATCH):
        indices = on_disk[start : start + _READ_BATCH]
        yield _Batch(indices, np.zeros(len(indices), bool), None)
    for places, tiles in iterate_tile_batches(source, grid.take(missing), _BATCH):
        yield _Batch(missing[places], np.ones(len(places), bool), tiles)


def _ordered_batches(
    source: SourceImage, grid: TileGrid, order: NDArray[np.int64], store: FeatureStore | None
) -> Iterator[_Batch]:
    known = np.zeros(len(order), bool) if store is None else store.known(grid.boxes[order])
    start = 0
    while start < len(order):
        size = _READ_BATCH if known[start : start + _READ_BATCH].all() else _BATCH
        indices, computed = order[start : start + size], ~known[start : start + size]
        start += size
        yield _Batch(indices, computed, _read(source, grid, indices[computed]) if computed.any() else None)


def _read(source: SourceImage, grid: TileGrid, indices: NDArray[np.int64]) -> NDArray[Any]:
    """Read some tiles, row by row, into an array (n, h, w, C) in the order of ``indices``."""
    tiles = np.empty((len(indices), *grid.tile_px, source.channels), source.dtype)
    for places, pixels in iterate_tile_batches(source, grid.take(indices), _BATCH):
        tiles[places] = pixels
    return tiles


def _computed(
    batches: Iterator[_Batch], extractor: FeatureExtractor, task: Task
) -> Generator[tuple[_Batch, NDArray[np.float32] | None]]:
    """Give batches with the features of their tiles that were computed, in their order."""
    if is_single_threaded():
        for batch in batches:
            if task.cancelled():
                return
            yield batch, None if batch.tiles is None else extractor(batch.tiles)
        return
    with prefetch(batches, _PREFETCH, task) as ready, ThreadPoolExecutor(_CONCURRENT, "features") as pool:
        running: deque[tuple[_Batch, Future[NDArray[np.float32]] | None]] = deque()
        for batch in ready:
            running.append((batch, None if batch.tiles is None else pool.submit(extractor, batch.tiles)))
            if len(running) > _CONCURRENT or batch.tiles is None:
                yield _first(running)
        while running and not task.cancelled():
            yield _first(running)


def _first(
    running: deque[tuple[_Batch, Future[NDArray[np.float32]] | None]],
) -> tuple[_Batch, NDArray[np.float32] | None]:
    batch, future = running.popleft()
    return batch, None if future is None else future.result()


def _joined(
    batch: _Batch,
    computed: NDArray[np.float32] | None,
    source: SourceImage,
    grid: TileGrid,
    extractor: FeatureExtractor,
    store: FeatureStore | None,
) -> NDArray[np.float32]:
    """Join the computed features of a batch with those on disk, and keep the former."""
    if store is None:
        assert computed is not None
        return computed
    features = np.empty((len(batch.indices), extractor.columns), np.float32)
    boxes = grid.boxes[batch.indices]
    if computed is not None:
        features[batch.computed] = computed
        store.put(boxes[batch.computed], computed)
    on_disk = np.flatnonzero(~batch.computed)
    found, features[on_disk] = store.get(boxes[on_disk])
    lost = on_disk[~found]  # damaged, or deleted by another process
    if len(lost):
        features[lost] = extractor(_read(source, grid, batch.indices[lost]))
        store.put(boxes[lost], features[lost])
    return features
