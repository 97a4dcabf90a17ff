"""Train a network on labelled tiles and write it as a bundle."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import napari_cellclass
from napari_cellclass.core.bundle import Manifest, ModelBundle, write_bundle
from napari_cellclass.core.contracts import (
    CancelCheck,
    CancelledError,
    EngineError,
    Progress,
    ProgressCallback,
    never_cancelled,
    no_progress,
)
from napari_cellclass.core.dataset import TRAIN, VALIDATION, TileDataset
from napari_cellclass.core.metrics import EvalReport, evaluate
from napari_cellclass.core.params import TrainParams
from napari_cellclass.engine.environment import import_keras
from napari_cellclass.engine.export import CHECKED_TILES, check_export, forward, network_members, versions
from napari_cellclass.engine.networks import build, layer_table, learning_rate_of, optimizer
from napari_cellclass.engine.pixels import TilePixels, load_pixels

_REPORT_EVERY_S = 0.25
_COLUMNS = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"]
Step = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float64]]
# Where training started: an untrained net of K classes has a loss near ln K.
_COLLAPSED = 0.95


def default_epochs(n_train: int) -> int:
    """Give more passes to small sets: 9000 tiles shown in all, within 25 to 60 epochs."""
    return int(np.clip(round(9000 / max(1, n_train)), 25, 60))


def train(
    data: TileDataset,
    params: TrainParams,
    out: Path,
    *,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> ModelBundle:
    """Train a network once and write its bundle.

    The same data, parameters and seed give the same weights on the same machine. This imports
    TensorFlow, so it belongs into a process of its own.

    Parameters
    ----------
    data
        Tiles that have been split.
    params
        How to train; ``seed`` is this run's, ``runs`` is not looked at.
    out
        The ``.cellclass`` file to write.
    progress
        Told ``"reading tiles"``, then ``"training"`` once per epoch with loss, accuracy, val_loss,
        val_accuracy, seconds and seconds_left, and ``"epoch"`` within epochs.
    cancelled
        Asked once per batch.

    Raises
    ------
    DatasetError
        A class has no usable tile in a split.
    ModelError
        The tiles are too small for the network.
    EngineError
        The loss is no longer a number, or the export answers differently from Keras.
    CancelledError
        ``cancelled`` said so; nothing was written.
    OutputError
        The bundle cannot be written.
    """
    start = time.perf_counter()
    pixels = load_pixels(data, params.input_px, progress, cancelled)
    keras = import_keras()
    import tensorflow as tf

    keras.backend.clear_session()
    tf.config.experimental.enable_op_determinism()
    model = build(params.network, pixels.spec.input_px, data.channels, len(data.scheme), params.seed)
    run = _Run(model, data, pixels, params, progress, cancelled)
    try:
        run.fit()
    except tf.errors.OpError as error:
        reason = str(error).strip().splitlines()[0]
        raise EngineError(f"TensorFlow has failed: {reason}; use a smaller --batch-size or --input-px") from error
    report = evaluate(
        run.val_prob, data.labels[pixels.place[run.val]], data.groups[pixels.place[run.val]].tolist(), data.scheme.names
    )
    members = network_members(model)
    export = check_export(members, *_checked_tiles(run))
    scores = _scores(run, report)
    members |= _tables(run, report, scores)
    if cancelled():
        raise CancelledError("cancelled before the model was written; nothing was written")
    manifest = _manifest(run, scores, export, time.perf_counter() - start)
    return write_bundle(out, manifest, members)


@dataclass(eq=False)
class _Run:
    """One training: the model, its tiles, and what was measured."""

    model: Any
    data: TileDataset
    pixels: TilePixels
    params: TrainParams
    progress: ProgressCallback
    cancelled: CancelCheck
    history: list[dict[str, float]] = field(default_factory=list)
    val_prob: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def __post_init__(self) -> None:
        split = self.data.split[self.pixels.place]
        self.train, self.val = np.flatnonzero(split == TRAIN), np.flatnonzero(split == VALIDATION)
        self.epochs = self.params.epochs or default_epochs(len(self.train))
        self.steps = math.ceil(len(self.train) / self.params.batch_size)
        labels = self.data.labels[self.pixels.place]
        self.one_hot = np.eye(len(self.data.scheme), dtype=np.float32)[labels]
        total = self.epochs * self.steps
        self.optimizer = optimizer(self.params.network, self.params.learning_rate, total)
        self.answers = forward(self.model)

    def fit(self) -> None:
        """Train all epochs; fills ``history`` and ``val_prob``."""
        step = training_step(self.model, self.optimizer)
        rng = np.random.default_rng(self.params.seed)
        begun = time.perf_counter()
        for epoch in range(1, self.epochs + 1):
            start = time.perf_counter()
            loss, accuracy = self._train_epoch(epoch, step, rng)
            self.val_prob = self._predict(self.val)
            val_loss = cross_entropy(self.val_prob, self.one_hot[self.val])
            val_accuracy = float((self.val_prob.argmax(1) == self.one_hot[self.val].argmax(1)).mean())
            self._check_loss(epoch, val_loss)
            now = time.perf_counter()
            row = dict(zip(_COLUMNS, (epoch, loss, accuracy, val_loss, val_accuracy, now - start), strict=True))
            self.history.append(row)
            left = (now - begun) / epoch * (self.epochs - epoch)
            told = {name: row[name] for name in _COLUMNS[1:]} | {"seconds_left": left}
            self.progress(Progress("training", epoch, self.epochs, told))

    def _train_epoch(self, epoch: int, step: Step, rng: np.random.Generator) -> tuple[float, float]:
        told, seen, total = time.perf_counter(), 0, np.zeros(2)
        loss = accuracy = math.nan
        for batch, (x, y) in enumerate(self._batches(rng), 1):
            if self.cancelled():
                raise CancelledError(f"cancelled in epoch {epoch} of {self.epochs}; nothing was written")
            sums = step(x, y)
            self._check_loss(epoch, float(sums.sum()))
            seen += len(x)
            total += sums[:2]
            loss, accuracy = (total / seen).tolist()
            if time.perf_counter() - told > _REPORT_EVERY_S:
                told = time.perf_counter()
                metrics = {"epoch": epoch, "epochs": self.epochs, "loss": loss, "accuracy": accuracy}
                self.progress(Progress("epoch", batch, self.steps, metrics))
        return loss, accuracy

    def _batches(self, rng: np.random.Generator) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        order = rng.permutation(self.train)
        for start in range(0, len(order), self.params.batch_size):
            rows = order[start : start + self.params.batch_size]
            views = None if self.params.augment == "none" else rng.integers(0, self.pixels.views, len(rows))
            yield self.pixels.batch(rows, views), self.one_hot[rows]

    def _predict(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(rows), 32):
            if self.cancelled():
                raise CancelledError("cancelled while validating; nothing was written")
            parts.append(self.answers(self.pixels.batch(rows[start : start + 32])))
        return np.concatenate(parts)

    def _check_loss(self, epoch: int, loss: float) -> None:
        if not math.isfinite(loss):
            rate = learning_rate_of(self.params.network, self.params.learning_rate)
            raise EngineError(
                f"training failed in epoch {epoch}: the loss became {loss}; use a lower --learning-rate than {rate:g}"
            )


def training_step(model: Any, optimizer: Any) -> Step:
    """Make the function that trains on one batch, traced once for batches of any size.

    Returns
    -------
    callable
        From tiles (n, H, W, C) and one-hot classes (n, K) to float64, shape (3,), as it was before the
        step: the batch's sums of cross-entropy and of right answers, and the objective, which holds the
        penalty on weights too and so has no ln K to be compared with.
    """
    keras = import_keras()
    import tensorflow as tf

    variables = model.trainable_variables
    optimizer.build(variables)
    signature = [tf.TensorSpec(shape, tf.float32) for shape in (model.input_shape, model.output_shape)]

    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            prob = model(x, training=True)
            each = keras.losses.categorical_crossentropy(y, prob)
            objective = tf.reduce_mean(each) + tf.add_n([tf.constant(0.0), *model.losses])
        optimizer.apply(tape.gradient(objective, variables), variables)
        right = tf.equal(tf.argmax(prob, axis=1), tf.argmax(y, axis=1))
        return tf.stack([tf.reduce_sum(each), tf.reduce_sum(tf.cast(right, tf.float32)), objective])

    traced = tf.function(step, input_signature=signature, autograph=False)
    return lambda x, y: np.asarray(traced(x, y), np.float64)


def cross_entropy(prob: NDArray[np.float32], one_hot: NDArray[np.float32]) -> float:
    """Give the mean categorical cross-entropy, probabilities clipped to 1e-7 as Keras does."""
    likely = np.clip((prob.astype(np.float64) * one_hot).sum(axis=1), 1e-7, 1.0)
    # NaN passes the clipping and the mean, so that it is noticed.
    return float(-np.log(likely).mean())


def _checked_tiles(run: _Run) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Choose tiles evenly from both splits, and what Keras says of them."""
    count = min(CHECKED_TILES, len(run.pixels.place))
    rows = np.unique(np.linspace(0, len(run.pixels.place) - 1, count).astype(np.int64))
    x = run.pixels.batch(rows)
    return x, run.answers(x)


def _scores(run: _Run, report: EvalReport) -> dict[str, Any]:
    """Give the manifest's scores, with what a user should be warned of."""
    last, k = run.history[-1], len(run.data.scheme)
    predicted = np.unique(run.val_prob.argmax(axis=1))
    warnings = []
    if len(predicted) == 1:
        name = run.data.scheme.names[int(predicted[0])]
        warnings.append(f"the network calls every validation tile {name!r}: it has learned nothing; train again")
    if last["loss"] >= _COLLAPSED * math.log(k):
        warnings.append(
            f"the training loss ended at {last['loss']:.3f}, as for guessing among {k} classes ({math.log(k):.3f}): "
            "the network has learned nothing; train longer, or with another learning rate or seed"
        )
    plain = report.to_json()
    return {
        "accuracy": plain["accuracy"],
        "balanced_accuracy": plain["balanced_accuracy"],
        "ece": report.ece,
        "loss": last["loss"],
        "train_accuracy": last["accuracy"],
        "val_loss": last["val_loss"],
        "interval": report.interval,
        "collapsed": bool(warnings),
        "warnings": warnings,
    }


def _tables(run: _Run, report: EvalReport, scores: dict[str, Any]) -> dict[str, bytes]:
    """Give the members that are tables, as bytes by name."""
    history = pd.DataFrame(run.history, columns=_COLUMNS).astype({"epoch": int})
    split = run.data.split.copy()
    split[run.pixels.nonfinite] = ""
    evaluation = {"validation": report.to_json(), "collapsed": scores["collapsed"], "warnings": scores["warnings"]}
    golden = io.BytesIO()
    prob = run.answers(run.pixels.spec.apply(run.pixels.golden))
    np.savez_compressed(golden, tiles=run.pixels.golden, prob=prob)
    return {
        "history.csv": _csv(history),
        "split.csv": _csv(replace(run.data, split=split).frame()),
        "evaluation.json": json.dumps(evaluation, indent=2, allow_nan=False, ensure_ascii=False).encode(),
        "golden.npz": golden.getvalue(),
    }


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _manifest(run: _Run, scores: dict[str, Any], export: dict[str, float], seconds: float) -> Manifest:
    data, params = run.data, run.params
    asked = params.model_dump(mode="json", exclude={"out", "progress", "quiet", "runs"})
    rate = learning_rate_of(params.network, params.learning_rate)
    return Manifest(
        program=f"napari-cellclass {napari_cellclass.__version__}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        classes=data.scheme.to_json(),
        preprocess=run.pixels.spec,
        tile_px=data.tile_px,
        overlap=params.overlap,
        edge=params.edge,
        pixel_size_um=data.pixel_size_um,
        network=params.network,
        parameters=int(run.model.count_params()),
        layers=layer_table(run.model),
        training=asked
        | {
            "epochs": run.epochs,
            "learning_rate": rate,
            "optimizer": type(run.optimizer).__name__,
            "loss": "categorical_crossentropy",
            "seconds": round(seconds, 3),
        },
        data={
            "n_train": len(run.train),
            "n_validation": len(run.val),
            "nonfinite_tiles": len(run.pixels.nonfinite),
            "counts": data.counts().to_dict("records"),
            "dtype": str(data.dtype.newbyteorder("=")),
            "split_rule": data.split_rule,
            "hash": data.data_hash,
            "images": [
                {"path": str(path), "id": image_id} for path, image_id in zip(data.paths, data.image_ids, strict=True)
            ],
            "skipped": [{"path": str(path), "reason": reason} for path, reason in data.skipped],
        },
        scores=scores,
        export=export,
        versions=versions(),
    )
