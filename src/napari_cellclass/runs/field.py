"""Classify the tiles of one field: read a row of tiles, run the network, keep what is finished."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import napari_cellclass
from napari_cellclass.core.bundle import ModelBundle
from napari_cellclass.core.contracts import (
    CancelCheck,
    ModelError,
    Progress,
    ProgressCallback,
    never_cancelled,
    no_progress,
)
from napari_cellclass.core.drift import STATISTICS, constant_output, drift_warnings
from napari_cellclass.core.grid import TileGrid
from napari_cellclass.core.image import SourceImage
from napari_cellclass.core.preprocess import channel_mismatch, field_levels
from napari_cellclass.core.table import TileTable
from napari_cellclass.core.tile_rows import rows_of_tiles
from napari_cellclass.core.tile_stats import channel_stats

# Small enough that Cancel is answered at once, large enough to keep all cores busy.
_BATCH = 32
_REPORT_EVERY_S = 0.1


class Predictor(Protocol):
    """What runs a network; see :mod:`napari_cellclass.engine.inference`."""

    @property
    def name(self) -> str:
        """The engine's name."""

    def predict(self, tiles: NDArray[Any], levels: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        """Give probabilities (n, K) of raw tiles (n, h, w, C) of a field with these levels."""


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


def tile_batches(source: SourceImage, grid: TileGrid) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
    """Read a grid's tiles row by row.

    Yields
    ------
    places : int64, shape (n,)
        Places in the grid, n at most 32.
    tiles : ndarray, shape (n, h, w, C)
        Pixels in the image's dtype.

    Raises
    ------
    ImageError
        The pixels cannot be read.
    """
    for places, tiles in rows_of_tiles(source, grid, _BATCH):
        yield places, np.stack(tiles)


def classify_field(
    source: SourceImage,
    bundle: ModelBundle,
    engine: Predictor,
    grid: TileGrid,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> FieldResult:
    """Run a network on every tile of a field.

    Parameters
    ----------
    source, grid
        The field and its tiles.
    bundle, engine
        The model, and what runs it.
    progress
        Told the finished tiles, with ``tiles_per_s`` and ``seconds_left``.
    cancelled
        Asked between batches; when it says so, the finished tiles are returned.

    Raises
    ------
    ModelError
        The field has another number of channels than the model.
    ImageError
        The pixels cannot be read.
    """
    if source.channels != bundle.preprocess.channels:
        raise ModelError(f"{source.name}: {channel_mismatch(bundle.preprocess.channels, source.channels)}")
    source.identify(progress, cancelled)
    levels = field_levels(bundle.preprocess, source, cancelled)
    record = run_record(source, bundle, grid, engine.name) | _levels_record(levels)
    start = reported = time.perf_counter()
    prob = np.full((len(grid), len(bundle.scheme)), np.nan, np.float32)
    done = np.zeros(len(grid), bool)
    low, high, nonfinite = np.inf, -np.inf, 0
    stats = np.full((len(grid), 2, source.channels), np.nan)
    progress(Progress("classifying", 0, len(grid)))
    for places, tiles in tile_batches(source, grid):
        if cancelled():
            break
        prob[places] = bundle.calibrated(engine.predict(tiles, levels))
        done[places] = True
        stats[places] = channel_stats(tiles)
        finite = np.isfinite(tiles).all(axis=(1, 2, 3)) if tiles.dtype.kind == "f" else np.ones(len(tiles), bool)
        nonfinite += int((~finite).sum())
        if finite.any():
            low, high = min(low, float(tiles[finite].min())), max(high, float(tiles[finite].max()))
        now = time.perf_counter()
        if now - reported > _REPORT_EVERY_S or done.all():
            reported, n = now, int(done.sum())
            rate = n / max(1e-9, now - start)
            progress(
                Progress("classifying", n, len(grid), {"tiles_per_s": rate, "seconds_left": (len(grid) - n) / rate})
            )
    complete = bool(done.all())
    warnings = (
        *_warnings(low, high, nonfinite, len(grid)),
        *_unlike_training(source, bundle, low, high),
        *drift_warnings(stats, bundle.manifest.data.get(STATISTICS), source.channel_names),
        *(constant_output(prob) if low < high else ()),
    )
    record |= {"complete": complete, "warnings": list(warnings)}
    finished = grid if complete else grid.take(done)
    table = TileTable(finished, bundle.scheme, prob[done], source.pixel_size_um, record)
    return FieldResult(table, complete, warnings, time.perf_counter() - start)


def _warnings(low: float, high: float, nonfinite: int, total: int) -> Iterator[str]:
    if nonfinite:
        yield f"{nonfinite} of {total} tiles hold NaN or infinite pixels and were left unclassified"
    if low == high:
        yield f"every pixel is {low:g}: the image is constant, its classes mean nothing"


def _unlike_training(source: SourceImage, bundle: ModelBundle, low: float, high: float) -> Iterator[str]:
    dtype, spec = bundle.manifest.data.get("dtype"), bundle.preprocess
    if spec.percentiles is not None:
        spec = spec.model_copy(update={"low": -np.inf, "high": np.inf})
    seen = f"grey values are {low:g} to {high:g}, but the model takes {spec.low:g} to {spec.high:g} for black to white"
    if dtype and np.dtype(dtype) != source.dtype.newbyteorder("="):
        yield f"pixels are {source.dtype.newbyteorder('=')}, but the model was trained on {dtype}; {seen}"
    elif high > spec.high + 3 * (spec.high - spec.low):
        yield f"the image is far brighter than the training images: {seen}"
    trained, here = bundle.manifest.pixel_size_um, source.pixel_size_um
    if trained and here and abs(np.log(here[0] / trained[0])) > np.log(1.1):
        yield f"pixels are {here[0]:.3g} µm, but the model was trained on {trained[0]:.3g} µm; rescale the image first"


def _levels_record(levels: NDArray[np.float64] | None) -> dict[str, Any]:
    return {} if levels is None else {"levels": levels.tolist()}


def run_record(source: SourceImage, bundle: ModelBundle, grid: TileGrid, engine: str) -> dict[str, Any]:
    """Say what was classified with what, as it is written to ``STEM.run.json``."""
    return {
        "program": f"napari-cellclass {napari_cellclass.__version__}",
        "image": {
            "name": source.name,
            "path": None if source.path is None else str(source.path),
            "id": source.image_id,
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
        "engine": engine,
        "grid": {
            "tile_px": list(grid.tile_px),
            "step_px": list(grid.step_px),
            "edge": grid.edge,
            "rows": grid.grid_shape[0],
            "columns": grid.grid_shape[1],
            "tiles": len(grid),
        },
    }
