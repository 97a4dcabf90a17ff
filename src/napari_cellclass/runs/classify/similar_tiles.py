"""Features of single tiles as a model's network sees them, to be compared with those of its training tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.tiles.preprocess import field_levels
from napari_cellclass.runs.classify.field import has_distances
from napari_cellclass.runs.common.engine_access import Engine


def training_tile_features(
    model: ModelBundle, engine: Engine, source: SourceImage, box: NDArray[Any], task: Task = NO_TASK
) -> NDArray[np.float32] | None:
    """Compute the features of a tile.

    Parameters
    ----------
    model, engine
        The model, and what runs it.
    source, box
        The field, and y0, x0, y1, x1 of the tile in px.

    Returns
    -------
    ndarray of float32, shape (F,), or None
        None where the model carries no training tiles, or the tile has no features.

    Raises
    ------
    ImageError, ModelError, EngineError
        The tile cannot be read, or the network not be run.
    """
    if model.training_tiles is None or not has_distances(engine):
        return None
    levels = field_levels(model.preprocess, source, task.silent())
    pixels = source.read(*(int(value) for value in box))[None]
    features: NDArray[np.float32] = engine.features(pixels, levels)[0]  # type: ignore[attr-defined]
    return features if np.isfinite(features).all() else None
