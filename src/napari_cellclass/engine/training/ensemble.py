"""An ensemble: several trained networks as one model that averages their predictions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.models.head_record import HeadRecord
from napari_cellclass.core.models.texture_decision import TextureHead
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.engine.features.keras_network import keras_network
from napari_cellclass.engine.networks.architectures import average_models
from napari_cellclass.engine.training.tile_pixels import load_pixels
from napari_cellclass.engine.training.training_run import HISTORY, TrainingRun
from napari_cellclass.engine.training.write_model import write_model


def write_ensemble(
    members: Sequence[ModelBundle],
    data: TileDataset,
    params: TrainParams,
    out: Path,
    *,
    task: Task = NO_TASK,
) -> ModelBundle:
    """Write one bundle whose network combines several and averages their softmax outputs.

    Members are averaged with their texture features, where these joined.

    Parameters
    ----------
    members
        Models trained on ``data`` with ``params`` and different seeds.
    out
        The ``.cellclass`` file to write. Its history is the mean of the members' histories, epoch by epoch; its
        scores are measured for the ensemble.

    Raises
    ------
    EngineError
        The exported network predicts differently from Keras.
    OutputError
        The bundle cannot be written.
    CancelledError
        The task was cancelled.
    """
    started = time.perf_counter()
    pixels = load_pixels(data, params, task)
    model = average_models([keras_network(member) for member in members])
    heads = [TextureHead.of(member.manifest.training) for member in members]
    seeds = [
        {"seed": member.manifest.training["seed"], "id": member.model_id, "texture": head is not None and head.joined}
        for member, head in zip(members, heads, strict=True)
    ]
    run = TrainingRun(model, data, pixels, params, task, lambda: False, started, members=seeds)
    histories = pd.concat([member.table("history.csv") for member in members])
    mean = histories.groupby("epoch", as_index=False).mean()[HISTORY]
    run.history = mean.to_dict("records")
    left_out = [prob for member in members if (prob := member.left_out()) is not None]
    if run.cross_validated and len(left_out) == len(members):
        # The network has seen these tiles; what its members said of them without having seen them has not.
        averaged = np.mean(left_out, axis=0)[pixels.tile_indices]
        run.val = np.flatnonzero(np.isfinite(averaged).all(axis=1))
        run.val_prob, run.head = averaged[run.val], HeadRecord.of(members[0].manifest.training)
    else:
        run.val_prob = run.predict(run.val)
    return write_model(run, len(run.history), run.val_prob, out)
