"""Classify the tiles of one field, and warn of what a user should know of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import napari_cellclass
from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.models.drift import STATISTICS, constant_output_warnings, drift_warnings
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import EdgeRule, TileGrid
from napari_cellclass.core.tiles.preprocess import channel_mismatch, field_levels
from napari_cellclass.core.tiles.resampling import pixel_sizes_differ, rescaled_tile_px
from napari_cellclass.core.tiles.streaming import iterate_tile_batches
from napari_cellclass.runs.classify.pipeline import BatchResult, Predict, classify_batches

_BATCH = 32
_REPORT_EVERY_S = 0.1
FinishedCallback = Callable[[NDArray[np.int64], NDArray[np.float32]], None]


class Predictor(Protocol):
    """What runs a network; see :mod:`napari_cellclass.engine.inference.engines`. It may also have a ``precision``."""

    @property
    def name(self) -> str:
        """The engine's name."""

    def predict(self, tiles: NDArray[Any], levels: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        """Return probabilities (n, K) of raw tiles (n, h, w, C) of a field with these levels."""


def precision_of(engine: Predictor) -> str:
    """Return the precision of what runs a network: f32 where it has none of its own."""
    return str(getattr(engine, "precision", "f32"))


@dataclass(frozen=True, eq=False)
class FieldResult:
    """The tiles of a field that were classified.

    Parameters
    ----------
    table
        The finished tiles; all of the grid unless cancelled.
    complete
        Whether every tile of the grid was classified.
    warnings
        Sentences about the field that a user should read.
    seconds
        Time it took.
    """

    table: TileTable
    complete: bool
    warnings: tuple[str, ...]
    seconds: float


def field_grid(
    source: SourceImage, model: ModelBundle, overlap: float, edge: EdgeRule, resample: bool = False
) -> TileGrid:
    """Lay the tiles of a model over a field.

    Parameters
    ----------
    source, model
        The field, and the model whose tile size is used.
    overlap, edge
        See :meth:`TileGrid.regular`.
    resample
        Whether the tiles are to cover the same area as those of the model, where the field has another pixel size.

    Raises
    ------
    ImageError, ModelError
        The pixel size of the field or of the model is not known, but needed.
    """
    manifest = model.manifest
    tile_px = manifest.tile_px
    if resample:
        tile_px = rescaled_tile_px(tile_px, manifest.pixel_size_um, source.pixel_size_um, source.name)
    return TileGrid.regular(source.shape, tile_px, overlap, edge)


def classify_field(
    source: SourceImage,
    bundle: ModelBundle,
    engine: Predictor,
    grid: TileGrid,
    task: Task = NO_TASK,
    finished: FinishedCallback | None = None,
) -> FieldResult:
    """Run a network on every tile of a field; its pixels are read once, while the network computes.

    Parameters
    ----------
    source, grid
        The field and its tiles.
    bundle, engine
        The model, and what runs it.
    task
        Reports the finished tiles, with ``tiles_per_s`` and ``seconds_left``. It is checked all the time, also from
        other threads; when it was cancelled, the finished tiles are returned.
    finished
        Called with grid indices (n,) and probabilities (n, K) of tiles as they are finished, in the grid's order.

    Raises
    ------
    ModelError
        The field has another number of channels than the model.
    ImageError
        The pixels cannot be read.
    """
    if source.channels != bundle.preprocess.channels:
        raise ModelError(f"{source.name}: {channel_mismatch(bundle.preprocess.channels, source.channels)}")
    start = time.perf_counter()
    levels = field_levels(bundle.preprocess, source, task)
    row_hash = source.row_hash() if source.known_id is None else None
    accumulated = FieldAccumulator.empty(len(grid), len(bundle.scheme), source.channels)
    report = _progress_reporter(task, len(grid))
    report(0)
    batches = iterate_tile_batches(source, grid, _BATCH, row_hash)
    results = classify_batches(batches, _predict(engine, levels), task)
    with contextlib.closing(results):
        for batch in results:
            prob = bundle.calibrated(batch.prob) if len(batch.prob) else batch.prob
            accumulated.add(batch, prob)
            if finished is not None and len(prob):
                finished(batch.tile_indices, prob)
            report(accumulated.count)
    complete = bool(accumulated.done.all())
    if row_hash is not None and complete:
        source.identify(task, row_hash)
    warnings = tuple(_field_warnings(accumulated, source, bundle, grid))
    record = run_record(source, bundle, grid, engine) | _levels_record(levels)
    record |= {"complete": complete, "warnings": list(warnings)}
    finished_grid = grid if complete else grid.take(accumulated.done)
    table = TileTable(finished_grid, bundle.scheme, accumulated.prob[accumulated.done], source.pixel_size_um, record)
    if bundle.training_tiles is not None and has_distances(engine):
        distances = accumulated.distances[accumulated.done]
        table = replace(table, novelty=distances, novelty_p=bundle.training_tiles.p_values(distances))
    return FieldResult(table, complete, warnings, time.perf_counter() - start)


def has_distances(engine: Predictor) -> bool:
    """Whether what runs a network also measures how far tiles are from those that the model was trained on."""
    return bool(getattr(engine, "has_distances", False))


def _predict(engine: Predictor, levels: NDArray[np.float64] | None) -> Predict:
    if has_distances(engine):
        compare: Callable[..., tuple[NDArray[np.float32], NDArray[np.float32]]]
        compare = engine.predict_with_distances  # type: ignore[attr-defined]
        return lambda tiles: compare(tiles, levels)

    def predict(tiles: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return engine.predict(tiles, levels), np.full(len(tiles), np.nan, np.float32)

    return predict


@dataclass(eq=False)
class FieldAccumulator:
    """What has been found in a field of N tiles so far, by index of the tile in the grid.

    Parameters
    ----------
    prob
        float32, shape (N, K): probabilities, NaN where a tile is not finished or could not be classified.
    stats
        float64, shape (N, 2, C): see :func:`~napari_cellclass.core.tiles.statistics.sampled_stats`.
    done
        bool, shape (N,): the finished tiles.
    distances
        float32, shape (N,): from the model's training tiles, NaN where that is not known.
    count, nonfinite
        How many are finished, and how many of these hold NaN or infinite pixels.
    low, high
        Lowest and highest pixel of the others.
    """

    prob: NDArray[np.float32]
    stats: NDArray[np.float64]
    done: NDArray[np.bool_]
    distances: NDArray[np.float32]
    count: int = 0
    nonfinite: int = 0
    low: float = np.inf
    high: float = -np.inf

    @classmethod
    def empty(cls, tiles: int, classes: int, channels: int) -> FieldAccumulator:
        """Begin without any finished tile."""
        prob = np.full((tiles, classes), np.nan, np.float32)
        unknown = np.full(tiles, np.nan, np.float32)
        return cls(prob, np.full((tiles, 2, channels), np.nan), np.zeros(tiles, bool), unknown)

    def add(self, batch: BatchResult, prob: NDArray[np.float32]) -> None:
        """Add a batch and its calibrated probabilities."""
        index = batch.tile_indices
        if len(index) == 0:
            return
        self.prob[index], self.stats[index], self.done[index] = prob, batch.stats, True
        self.distances[index] = batch.distances
        self.count += len(index)
        finite = np.isfinite(batch.extremes).all(axis=1)
        self.nonfinite += int((~finite).sum())
        if finite.any():
            self.low = min(self.low, float(batch.extremes[finite, 0].min()))
            self.high = max(self.high, float(batch.extremes[finite, 1].max()))


def _progress_reporter(task: Task, total: int) -> Callable[[int], None]:
    """Make a function that reports the finished tiles, not more often than anybody can see."""
    start = reported = time.perf_counter()

    def report(done: int) -> None:
        nonlocal reported
        now = time.perf_counter()
        if done == 0:
            task.progress("classifying", 0, total)
        elif now - reported > _REPORT_EVERY_S or done == total:
            reported, rate = now, done / max(1e-9, now - start)
            task.progress("classifying", done, total, tiles_per_s=rate, seconds_left=(total - done) / rate)

    return report


def _field_warnings(
    accumulated: FieldAccumulator, source: SourceImage, bundle: ModelBundle, grid: TileGrid
) -> Iterator[str]:
    yield from _pixel_warnings(accumulated.low, accumulated.high, accumulated.nonfinite, len(accumulated.done))
    yield from _unlike_training(source, bundle, accumulated.low, accumulated.high)
    yield from _other_scale(source, bundle, grid)
    yield from drift_warnings(accumulated.stats, bundle.manifest.data.get(STATISTICS), source.channel_names)
    if accumulated.low < accumulated.high:
        yield from constant_output_warnings(accumulated.prob)


def _pixel_warnings(low: float, high: float, nonfinite: int, total: int) -> Iterator[str]:
    if nonfinite:
        yield f"{nonfinite} of {total} tiles hold NaN or infinite pixels and were left unclassified"
    if low == high:
        yield f"every pixel is {low:g}: the image is constant, its classes mean nothing"


def _unlike_training(source: SourceImage, bundle: ModelBundle, low: float, high: float) -> Iterator[str]:
    dtype, spec = bundle.manifest.data.get("dtype"), bundle.preprocess
    if low > high:  # no tile has finite pixels
        return
    black, white = spec.whole_range if spec.percentiles is None else (-np.inf, np.inf)
    values = f"grey values are {low:g} to {high:g}, but the model takes {black:g} to {white:g} for black to white"
    if dtype and np.dtype(dtype) != source.dtype.newbyteorder("="):
        yield f"pixels are {source.dtype.newbyteorder('=')}, but the model was trained on {dtype}; {values}"
    elif high > white + 3 * (white - black):
        yield f"the image is far brighter than the training images: {values}"


def _other_scale(source: SourceImage, bundle: ModelBundle, grid: TileGrid) -> Iterator[str]:
    """Warn of another pixel size, unless the tiles cover the same area as the model's: all are resized to one input."""
    trained, here = bundle.manifest.pixel_size_um, source.pixel_size_um
    if trained is None or here is None:
        return
    height, width = (side / own for side, own in zip(grid.tile_px, bundle.manifest.tile_px, strict=True))
    if pixel_sizes_differ(trained, (here[0] * height, here[1] * width)):
        yield (
            f"pixels are {here[0]:.3g} µm, but the model was trained on {trained[0]:.3g} µm; rescale to the model's "
            "pixel size (--resample)"
        )


def _levels_record(levels: NDArray[np.float64] | None) -> dict[str, Any]:
    return {} if levels is None else {"levels": levels.tolist()}


def run_record(source: SourceImage, bundle: ModelBundle, grid: TileGrid, engine: Predictor) -> dict[str, Any]:
    """Say what was classified with what, as it is written to ``STEM.run.json``."""
    return {
        "program": f"napari-cellclass {napari_cellclass.__version__}",
        "image": {
            "name": source.name,
            "path": None if source.path is None else str(source.path),
            "id": source.known_id,
            "height_px": source.shape[0],
            "width_px": source.shape[1],
            "channels": source.channels,
            "dtype": str(source.dtype),
            "source_axes": source.source_axes,
            "source_shape": list(source.source_shape),
            "plane": dict(source.plane),
            "pixel_size_um": source.pixel_size_um,
        },
        "model": {
            "path": str(bundle.path),
            "id": bundle.model_id,
            "network": bundle.manifest.network,
            "classes": list(bundle.scheme.names),
        },
        "engine": engine.name,
        "precision": precision_of(engine),
        "grid": {
            "tile_px": list(grid.tile_px),
            "step_px": list(grid.step_px),
            "edge": grid.edge,
            "rows": grid.grid_shape[0],
            "columns": grid.grid_shape[1],
            "tiles": len(grid),
        },
    }
