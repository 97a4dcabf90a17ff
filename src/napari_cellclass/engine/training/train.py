"""Train a network on labelled tiles and write it as a bundle."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from napari_cellclass.core.common.errors import EngineError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.engine.common.environment import import_keras
from napari_cellclass.engine.common.parent_process import listen_to_parent
from napari_cellclass.engine.networks.architectures import build_network
from napari_cellclass.engine.training.crash_checkpoint import Checkpoint
from napari_cellclass.engine.training.distillation import TaughtRun, make_teacher, open_teacher
from napari_cellclass.engine.training.pretrained import train_pretrained
from napari_cellclass.engine.training.quantise import check_nncf_installed
from napari_cellclass.engine.training.texture_joining import join_texture
from napari_cellclass.engine.training.tile_pixels import load_pixels
from napari_cellclass.engine.training.training_run import TrainingRun
from napari_cellclass.engine.training.warm_start import copy_weights, match_preprocessing, open_initial_model
from napari_cellclass.engine.training.write_model import write_model


def train(
    data: TileDataset,
    params: TrainParams,
    out: Path,
    *,
    task: Task = NO_TASK,
    stopped: Callable[[], bool] | None = None,
) -> ModelBundle:
    """Train a network once and write its bundle.

    The same data, parameters and seed give the same weights on the same machine. This imports
    TensorFlow, so it is run in a process of its own.

    Parameters
    ----------
    data
        Tiles with their split.
    params
        Settings; ``seed`` is that of this run, ``runs`` is ignored.
    out
        The ``.cellclass`` file to write.
    task
        Reports ``"reading tiles"``, then ``"training"`` once per epoch with loss, accuracy, val_loss,
        val_accuracy, seconds and seconds_left, and ``"epoch"`` within epochs; checked once per batch.
    stopped
        Checked once per epoch: ends training early and keeps the epoch of the lowest validation loss. By default
        a message from the parent process, see :mod:`napari_cellclass.engine.common.parent_process`. A training that
        runs to its end keeps its last epoch, whatever the validation tiles; these decide only whether texture
        features join, see :func:`napari_cellclass.engine.training.texture_joining.join_texture`.

    Raises
    ------
    DatasetError
        A class has no usable tile in a split.
    ModelError
        The tiles are too small for the network, or ``initial`` does not fit.
    EngineError
        The loss is not finite, the exported network predicts differently from Keras, or NNCF is needed and missing.
    CancelledError
        The task was cancelled; nothing was written.
    OutputError
        The bundle cannot be written.
    """
    params = _resolved(params)
    check_nncf_installed(params)
    stop_requested = listen_to_parent()
    if params.network == "pretrained":
        return train_pretrained(data, params, out, task, stopped or stop_requested.is_set)
    run = _prepare(data, params, task, stopped or stop_requested.is_set)
    import tensorflow as tf

    checkpoint, finished = Checkpoint(out), False
    try:
        run.fit(after_epoch=checkpoint)
        epoch = run.choose_epoch()
        if isinstance(run, TaughtRun):
            run.taught = run.record()
        else:
            join_texture(run)
        task.check("cancelled before the model was written; nothing was written")
        written = write_model(run, epoch, run.val_prob, out)
        finished = True
        return written
    except tf.errors.OpError as error:
        reason = str(error).strip().splitlines()[0]
        raise EngineError(f"TensorFlow has failed: {reason}; use a smaller --batch-size or --input-px") from error
    finally:
        checkpoint.remove(finished)


def _prepare(data: TileDataset, params: TrainParams, task: Task, stopped: Callable[[], bool]) -> TrainingRun:
    """Read the tiles, and build the network with the weights that training starts from."""
    started = time.perf_counter()
    initial, bundle = open_initial_model(params, data), open_teacher(params, data)
    pixels = load_pixels(data, params, task)
    pixels = pixels if initial is None else match_preprocessing(pixels, initial, params.grey_range)
    teacher = None
    if bundle is not None:
        teacher, pixels = make_teacher(bundle, pixels, data, params, task)
    keras = import_keras()
    import tensorflow as tf

    keras.backend.clear_session()
    tf.config.experimental.enable_op_determinism()
    model = build_network(
        params.network, pixels.spec.input_px, data.channels, len(data.scheme), params.seed, params.standardise,
        params.as_published,
    )  # fmt: skip
    if initial is not None:
        copy_weights(model, initial)
    settings = model, data, pixels, params, task, stopped, started
    return TrainingRun(*settings) if teacher is None else TaughtRun(*settings, teacher=teacher)


def _resolved(params: TrainParams) -> TrainParams:
    """Resolve automatic settings that the caller has not: see ``resolve_auto_settings`` of ``runs``."""
    if params.network == "auto":
        compact = params.reason_for_compact or params.teacher is not None
        params = params.model_copy(update={"network": "compact" if compact else "pretrained"})
    if params.standardise != "auto":
        return params
    return params.model_copy(update={"standardise": "none" if params.network == "pretrained" else "tile"})
