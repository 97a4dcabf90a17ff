"""Compare a model with labelled tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import DatasetError, ModelError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.class_images import ReadImage
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.evaluation.results import Evaluation
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.stats.metrics import evaluate
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.preprocess import PreprocessSpec, channel_mismatch
from napari_cellclass.core.workspace.project_file import is_project
from napari_cellclass.runs.classify.field import Predictor, precision_of
from napari_cellclass.runs.common.project_data import open_dataset, untrained_tiles

__all__ = ["Evaluation", "evaluate_folder", "predict_dataset", "read_test_set"]

# From a tile's index in the data set and its pixels (h, w, C) to other pixels.
ChangeTile = Callable[[int, NDArray[Any]], NDArray[Any]]
_BATCH = 32


def evaluate_folder(
    folder: Path,
    bundle: ModelBundle,
    engine: Predictor,
    group_by: str | None = None,
    read: ReadImage = read_image,
    task: Task = NO_TASK,
) -> Evaluation:
    """Classify labelled tiles, of class folders or a TILES.csv, and compare.

    Raises
    ------
    DatasetError, ModelError, ImageError
        See :func:`read_test_set`; images with other channels than the model's.
    CancelledError
        The task was cancelled.
    """
    data = read_test_tiles(folder, bundle, group_by, None, read, task)
    return evaluate_dataset(data, bundle, engine, task, str(folder))


def evaluate_dataset(
    data: TileDataset,
    bundle: ModelBundle,
    engine: Predictor,
    task: Task = NO_TASK,
    name: str = "the test set",
) -> Evaluation:
    """Classify labelled tiles of a data set, and compare; ``name`` is used in error messages.

    Raises
    ------
    DatasetError, ModelError, ImageError
        No tile has finite pixels; other channels than the model's; a file has become unreadable.
    CancelledError
        The task was cancelled.
    """
    if data.channels != bundle.preprocess.channels:
        raise ModelError(f"{name}: {channel_mismatch(bundle.preprocess.channels, data.channels)}")
    prob = bundle.calibrated(predict_dataset(data, engine, task, bundle.preprocess))
    return evaluate_predictions(data, prob, precision_of(engine), name)


def evaluate_predictions(
    data: TileDataset, prob: NDArray[np.float32], precision: str = "f32", name: str = "the test set"
) -> Evaluation:
    """Compare probabilities (N, K), calibrated, with the labels of a data set.

    Raises
    ------
    DatasetError
        No tile has finite ones.
    """
    if not np.isfinite(prob).all(axis=1).any():
        raise DatasetError(f"{name} has no tile with finite pixels; check the images")
    # Where every file is one tile, a table of files would be a table of tiles.
    fields = [str(data.paths[i]) for i in data.image] if len(data.paths) < len(data) else None
    report = evaluate(prob, data.labels, list(data.groups), data.scheme.names, fields=fields)
    return Evaluation(data, prob, report, precision)


def read_test_tiles(
    folder: Path,
    bundle: ModelBundle,
    group_by: str | None = None,
    tile_px: int | None = None,
    read: ReadImage = read_image,
    task: Task = NO_TASK,
) -> TileDataset:
    """Make a data set that a model can be tested on, in the order of its classes.

    ``tile_px`` is the side of the tiles that fields of folders are cut into; the model's when None.

    Raises
    ------
    DatasetError, ModelError, ImageError, CancelledError
        See :func:`evaluate_folder`.
    """
    size = bundle.manifest.tile_px if tile_px is None else (tile_px, tile_px)
    data = read_test_set(folder, size, bundle.scheme.names, group_by, read, task)
    if data.channels != bundle.preprocess.channels:
        raise ModelError(f"{folder}: {channel_mismatch(bundle.preprocess.channels, data.channels)}")
    return untrained_tiles(data, bundle, folder) if is_project(folder) else data


def read_test_set(
    folder: Path,
    tile_px: tuple[int, int],
    classes: Sequence[str],
    group_by: str | None = None,
    read: ReadImage = read_image,
    task: Task = NO_TASK,
) -> TileDataset:
    """Read labelled tiles to test a model on, of class folders or a TILES.csv.

    Images of folders at least as large as the model's tile, (height, width) in px, are cut into such tiles;
    smaller ones are one tile each. Rotated copies that a ``tiles.csv`` lists are left out.

    Raises
    ------
    DatasetError
        See :func:`read_dataset`.
    CancelledError
        The task was cancelled.
    """

    def cut(source: SourceImage) -> TileGrid:
        fits = source.shape[0] >= tile_px[0] and source.shape[1] >= tile_px[1]
        return TileGrid.regular(source.shape, tile_px if fits else source.shape)

    return open_dataset(folder, cut, group_by, read, classes, task).without_rotated_copies()


def predict_dataset(
    data: TileDataset,
    engine: Predictor,
    task: Task = NO_TASK,
    spec: PreprocessSpec | None = None,
    change: ChangeTile | None = None,
) -> NDArray[np.float32]:
    """Predict every tile of a data set: float32, shape (N, K); ``change`` perturbs the tiles before.

    A model that scales each field to its own range needs its ``spec`` here.
    """
    prob = np.full((len(data), len(data.scheme)), np.nan, np.float32)
    waiting: list[tuple[int, NDArray[Any]]] = []
    levels = None if spec is None else data.levels_lookup(spec, task)

    def flush() -> None:
        if waiting:
            prob[[index for index, _ in waiting]] = engine.predict(
                np.stack([tile for _, tile in waiting]), None if spec is None else spec.identity_levels
            )
            waiting.clear()

    for index, tile in data.tiles(np.arange(len(data)), "classifying", task):
        if waiting and (len(waiting) == _BATCH or waiting[0][1].shape != tile.shape):
            flush()
        pixels = tile if spec is None or levels is None else spec.apply_levels(tile, levels(index))
        waiting.append((index, pixels if change is None else change(index, pixels)))
    flush()
    return prob
