"""Training of linear models on pretrained features and texture: no epochs, and figures of left-out groups."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.datasets.dataset import VALIDATION, TileDataset
from napari_cellclass.core.datasets.split import split_by_group, unrotated_tile_ids
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.models.feature_scale import read_feature_scale
from napari_cellclass.core.models.feature_spec import FeatureSpec
from napari_cellclass.core.models.head_record import (
    FEATURE_SETS,
    HeadRecord,
    balanced_accuracy,
    decide_network,
    mix,
)
from napari_cellclass.core.models.linear_head import HeadFit, Standardisation, fit_head
from napari_cellclass.core.models.stored_head import StoredHead
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.engine.common.environment import import_keras
from napari_cellclass.engine.features.classifier import (
    build_classifier,
    build_openvino,
    mix_network,
    of_one_brightness,
)
from napari_cellclass.engine.features.extractor import FeatureExtractor, new_feature_spec
from napari_cellclass.engine.features.openvino_classifier import OpenVinoClassifier
from napari_cellclass.engine.features.user_backbone import UserBackbone, open_backbone
from napari_cellclass.engine.inference.openvino_graph import TileFormat, identity_preprocessing
from napari_cellclass.engine.networks.architectures import build_network
from napari_cellclass.engine.networks.loading import eager_predictor
from napari_cellclass.engine.training.tile_pixels import TilePixels, has_colour, load_pixels
from napari_cellclass.engine.training.training_run import HISTORY, TrainingRun, cross_entropy
from napari_cellclass.engine.training.write_model import write_model

_BATCH = 256
# Of the curve of accuracy against tiles: fractions of the groups, draws of each, and the most tiles of one fit.
_FRACTIONS, _DRAWS, _MOST = (0.125, 0.25, 0.5, 0.75), 4, 2000


def train_pretrained(
    data: TileDataset, params: TrainParams, out: Path, task: Task, stopped: Callable[[], bool]
) -> ModelBundle:
    """Fit linear models to features of all training tiles, and write them with their features as one network.

    Where no tile is held out by the split, the figures and the calibration of the model are those of the predictions
    for each group by the fit without it. Where some are, they are those of these tiles, which are not fitted to.

    With ``params.with_compact`` the compact network is trained beside it, on three quarters of the groups where none is
    held out by the split, and mixed in if the tiles that it did not see support that; the figures are of these tiles.

    Raises
    ------
    DatasetError, ModelError, EngineError, CancelledError, OutputError
        As :func:`napari_cellclass.engine.training.train.train` does.
    """
    started = time.perf_counter()
    own = (
        None if params.backbone is None else open_backbone(params.backbone, params.backbone_values, params.backbone_px)
    )
    pixels = load_pixels(data, params, task, None if own is None else own.input_px)
    colour = pixels.spec.channels == 3 and has_colour(data, params)
    features = new_feature_spec(pixels.spec, colour, user_backbone=own)
    parts = _features(pixels, features, params, task, own)
    task.progress("fitting")
    fitting = np.flatnonzero(data.split[pixels.tile_indices] != VALIDATION)
    scaling = _scaling(parts, fitting, features, params)
    z = [scaled.apply(part) for scaled, part in zip(scaling, parts, strict=True)]
    labels = data.labels[pixels.tile_indices].astype(np.int64)
    groups, by_tile = _groups(data, pixels.tile_indices)
    fit = fit_head([part[fitting] for part in z], labels[fitting], groups[fitting], len(data.scheme))
    shape = (*pixels.spec.input_px, pixels.spec.channels)
    built = None if params.standardise == "tile" else build_openvino(features, scaling, fit.head, own)
    classifier: Any
    if own is not None or _waited_for(params):
        classifier = OpenVinoClassifier(built, shape, str(features.backbone))
    else:
        classifier = build_classifier(shape, colour, params.standardise == "tile", scaling, fit.head)
    cross_validated = len(fitting) == len(labels)
    held_out = fit.held_out if cross_validated else fit.head.predict(z)
    run = TrainingRun(classifier, data, pixels, params, task, stopped, started, features=features)
    run.openvino_model = built
    if own is None and _waited_for(params):
        run.stored_head = StoredHead(tuple(scaling), fit.head)
    run.known_features = np.concatenate(z, axis=1)
    curve = _curve([part[fitting] for part in z], labels[fitting], groups[fitting], len(data.scheme), task)
    run.head = _record(fit, labels[fitting], data.groups[pixels.tile_indices[fitting]], by_tile, curve)
    run.val_prob = held_out[run.val]
    if params.with_compact:
        _train_beside(run, held_out)
    else:
        run.history = [_only_row(run, fit.head.predict(z), time.perf_counter() - started)]
        run.epoch_log.write(1, run.history[0])
    run.predict_batch = eager_predictor(run.full_model)
    task.check("cancelled before the model was written; nothing was written")
    task.progress("writing the model")
    return write_model(run, run.choose_epoch(), run.val_prob, out)


def _waited_for(params: TrainParams) -> bool:
    """Whether a labelling session waits for the model: its Keras network is then made when somebody asks for it.

    Importing TensorFlow, and building and writing that network, take longer than all else.
    """
    plain = params.standardise != "tile" and not params.with_compact and params.precision == "f32"
    return params.feature_scale is not None and plain


def _scaling(
    parts: Sequence[NDArray[np.float32]], fitting: NDArray[np.int64], features: FeatureSpec, params: TrainParams
) -> list[Standardisation]:
    """Return how each feature set is standardised: as in a labelling session, or by the tiles that are fitted to."""
    if params.feature_scale is None:
        return [Standardisation.fit(part[fitting]) for part in parts]
    before = read_feature_scale(params.feature_scale)
    if before.spec != features:
        raise ModelError(
            f"{params.feature_scale} is of other features than this program computes of these tiles; leave it out"
        )
    return before.standardisations()[: len(parts)]


def _features(
    pixels: TilePixels, spec: FeatureSpec, params: TrainParams, task: Task, own: UserBackbone | None
) -> list[NDArray[np.float32]]:
    """Compute the features of all tiles, by feature set, float32 (n, D)."""
    one_brightness = params.standardise == "tile"
    raw = not (one_brightness or pixels.preprocessed or pixels.spec.percentiles)
    first = pixels.tiles[:1] if raw else pixels.batch(np.arange(1))
    if not raw:  # what the extractor is given is network input already
        spec = spec.model_copy(update={"preprocess": identity_preprocessing(first.shape[1:])})
    compute = FeatureExtractor(spec, TileFormat.of(first), user_backbone=own)
    count = len(pixels.tile_indices)
    found = []
    for start in range(0, count, _BATCH):
        task.check("cancelled while features were computed; nothing was written")
        task.progress("computing features", start, count)
        rows = np.arange(start, min(start + _BATCH, count))
        if raw:
            found.append(compute(pixels.tiles[rows]))
            continue
        x = pixels.batch(rows)
        found.append(compute(of_one_brightness(x) if one_brightness else x))
    task.progress("computing features", count, count)
    both = np.split(np.concatenate(found), [spec.columns[0]], axis=1)
    return both if params.texture == "auto" else both[:1]


def _groups(data: TileDataset, tile_indices: NDArray[np.int64]) -> tuple[NDArray[np.generic], bool]:
    """Return what is left out together: groups or, where a class has one only, tiles with their rotated copies."""
    groups, labels = data.groups[tile_indices].astype(str), data.labels[tile_indices]
    if all(len(set(groups[labels == label])) > 1 for label in np.unique(labels)):
        return groups, False
    return unrotated_tile_ids(data)[tile_indices], True


def _record(
    fit: HeadFit,
    labels: NDArray[np.int64],
    groups: NDArray[np.object_],
    by_tile: bool,
    curve: Sequence[tuple[int, float]],
) -> HeadRecord:
    names = FEATURE_SETS[: len(fit.penalties)]
    return HeadRecord(
        held_out_by="tile" if by_tile else fit.held_out_by,
        tiles=len(labels),
        groups=len(set(groups.astype(str))),
        penalties=dict(zip(names, fit.penalties, strict=True)),
        accuracies={
            name: balanced_accuracy(prob, labels) for name, prob in zip(names, fit.held_out_parts, strict=True)
        },
        accuracy=balanced_accuracy(fit.held_out, labels),
        curve=tuple(curve),
    )


def _curve(
    z: Sequence[NDArray[np.float32]], labels: NDArray[np.int64], groups: NDArray[np.generic], classes: int, task: Task
) -> list[tuple[int, float]]:
    """Return numbers of tiles and the balanced accuracies of left-out groups with so many, the mean of some draws."""
    names, of_tile = np.unique(groups, return_inverse=True)
    of_class = [np.unique(of_tile[labels == label]) for label in range(classes)]  # so that each class has its share
    counts = [[max(2, round(fraction * len(mine))) for mine in of_class] for fraction in _FRACTIONS]
    points = []
    for taken in dict.fromkeys(map(tuple, counts)):
        found = []
        for draw in range(_DRAWS):
            rng = np.random.default_rng(draw)
            chosen = np.zeros(len(names), bool)
            for mine, count in zip(of_class, taken, strict=True):
                chosen[rng.permutation(mine)[:count]] = True
            rows = np.flatnonzero(chosen[of_tile])
            if len(rows) > _MOST or len(rows) == len(labels):
                continue
            task.check("cancelled while fitting; nothing was written")
            fit = fit_head([part[rows] for part in z], labels[rows], groups[rows], classes)
            found.append((len(rows), balanced_accuracy(fit.held_out, labels[rows])))
        if found:
            tiles, accuracy = np.mean(found, axis=0)
            points.append((round(tiles), round(float(accuracy), 4)))
    return points


def _only_row(run: TrainingRun, fitted: NDArray[np.float32], seconds: float) -> dict[str, float]:
    """Return the only row of the history: how the fit describes its own tiles, and those that it did not see."""
    row = {"epoch": 1, "seconds": seconds}
    for prefix, rows, prob in (("", run.train, fitted[run.train]), ("val_", run.val, run.val_prob)):
        row[f"{prefix}loss"] = cross_entropy(prob, run.one_hot[rows])
        row[f"{prefix}accuracy"] = float((prob.argmax(axis=1) == run.one_hot[rows].argmax(axis=1)).mean())
    return {name: row[name] for name in HISTORY}


def _train_beside(run: TrainingRun, held_out: NDArray[np.float32]) -> None:
    """Train the compact network on the tiles of a run, and mix it in where tiles that it did not see support that.

    ``held_out`` are probabilities (n, K) of all tiles by linear models that did not see them.
    """
    import tensorflow as tf

    keras = import_keras()
    keras.utils.set_random_seed(run.params.seed)
    tf.config.experimental.enable_op_determinism()
    data, params, pixels = run.data, run.params, run.pixels
    shape = pixels.spec.input_px
    beside = params.model_copy(update={"network": "compact", "standardise": "tile"})
    split = split_by_group(data, params.val_fraction) if run.cross_validated else data
    network = build_network("compact", shape, data.channels, len(data.scheme), params.seed, "tile")
    training = TrainingRun(network, split, pixels, beside, run.task, run.stopped, run.started)
    training.fit(after_epoch=lambda _: None)
    run.kept_epoch = training.choose_epoch()
    run.history, run.epochs = training.history, training.epochs
    labels = data.labels[pixels.tile_indices[training.val]].astype(np.int64)
    found = decide_network(held_out[training.val], training.val_prob, labels)
    assert run.head is not None
    run.head = run.head.model_copy(update={"network": found})
    if found.joined:
        run.val, run.val_prob = training.val, mix(held_out[training.val], training.val_prob)
        run.full_model, run.openvino_model = mix_network(run.model, network), None
