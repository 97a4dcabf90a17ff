"""Texture features that join the network of a training, if its held-out tiles support that."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.models.texture_decision import (
    decide_texture,
    fit_head,
    head_logits,
    network_weight,
    pool_probabilities,
    skip_texture,
)
from napari_cellclass.engine.features.texture import SMALLEST_PX
from napari_cellclass.engine.features.texture_network import texture_model, with_texture
from napari_cellclass.engine.networks.loading import predictor
from napari_cellclass.engine.training.training_run import TrainingRun

_BATCH = 32


def join_texture(run: TrainingRun) -> None:
    """Pool the network of a run with texture features, if its held-out tiles support that.

    The linear model is fitted to training tiles only, so that held-out tiles can evaluate the model that is written.
    Sets the run's ``texture`` and, where it joins, ``full_model``, ``predict_batch`` and ``val_prob``.

    Raises
    ------
    CancelledError
        The run was cancelled.
    """
    shape = run.model.input_shape[1:]
    if run.params.texture == "off" or run.params.standardise != "tile" or min(shape[:2]) < SMALLEST_PX:
        return
    indices, data = run.pixels.tile_indices[run.val], run.data
    labels, groups = data.labels[run.pixels.tile_indices], data.groups[indices].astype(str).tolist()
    run.texture = skip_texture(run.val_prob, labels[run.val], groups)
    if run.texture is not None:
        return
    features = predictor(texture_model(shape))
    values = _texture_features(run, features, np.concatenate([run.train, run.val]))
    head = fit_head(values[: len(run.train)], labels[run.train], len(data.scheme))
    weight = network_weight(len(run.train))
    both = pool_probabilities(run.val_prob, head_logits(head, values[len(run.train) :]), weight)
    run.texture = decide_texture(run.val_prob, both, labels[run.val], groups, len(run.train))
    if run.texture.joined:
        run.full_model = with_texture(run.full_model, head, weight)
        run.predict_batch = predictor(run.full_model)
        run.val_prob = run.predict(run.val)


def _texture_features(
    run: TrainingRun, features: Callable[[NDArray[np.float32]], NDArray[np.float32]], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    parts = []
    for start in range(0, len(rows), _BATCH):
        run.task.check("cancelled while measuring texture; nothing was written")
        parts.append(features(run.pixels.batch(rows[start : start + _BATCH])))
        run.task.progress("measuring texture", min(start + _BATCH, len(rows)), len(rows))
    return np.concatenate(parts)
