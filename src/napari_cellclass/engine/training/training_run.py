"""One training: the network, its tiles, the loop over its epochs, and the metrics of each epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import EngineError
from napari_cellclass.core.common.findings import Finding
from napari_cellclass.core.common.prefetch import prefetch
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.datasets.dataset import TRAIN, VALIDATION, TileDataset
from napari_cellclass.core.models.feature_spec import FeatureSpec
from napari_cellclass.core.models.head_record import HeadRecord
from napari_cellclass.core.models.stored_head import StoredHead
from napari_cellclass.core.models.teacher_record import TeacherRecord
from napari_cellclass.core.models.texture_decision import TextureHead
from napari_cellclass.core.params.train import NetworkName, TrainParams
from napari_cellclass.core.quality.near_duplicates import check_copies_across_split
from napari_cellclass.engine.common.environment import import_keras
from napari_cellclass.engine.features.openvino_classifier import OpenVinoClassifier
from napari_cellclass.engine.networks.architectures import average_views, make_optimizer, peak_learning_rate
from napari_cellclass.engine.networks.loading import eager_predictor, predictor
from napari_cellclass.engine.training.augment import augmented_batch
from napari_cellclass.engine.training.epoch_log import EpochLog
from napari_cellclass.engine.training.tile_pixels import TilePixels

HISTORY = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"]
_REPORT_EVERY_S = 0.25
# From tiles (n, H, W, C), one-hot classes (n, K) and weights (n,) to the sums over a batch.
Step = Callable[[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]], NDArray[np.float64]]


def default_epochs(n_train: int, network: NetworkName) -> int:
    """Return more epochs for fewer training tiles: about 9000 tiles in total in 25 to 200 epochs.

    The networks of the article get 18 000 tiles in 25 to 60 epochs, linear models on features none: one row of figures.
    """
    if network in ("auto", "pretrained"):
        return 1
    total, highest = (9000, 200) if network in ("compact", "mobilenet") else (18000, 60)
    return int(np.clip(round(total / max(1, n_train)), 25, highest))


@dataclass(frozen=True, eq=False)
class BestEpoch:
    """The epoch of the lowest validation loss so far."""

    epoch: int
    val_loss: float
    weights: list[NDArray[Any]]
    val_prob: NDArray[np.float32]


@dataclass(eq=False)
class TrainingRun:
    """State of one training: the network, its tiles, and the metrics so far.

    ``full_model`` is the model that is written: the network, or a model around it that averages several views or pools
    it with texture features, see ``texture``. ``members`` describes the members of an ensemble, ``head`` the linear
    models of a classifier on features, ``kept_epoch`` the epoch of its network, if there is one, ``features`` its
    features and ``openvino_model`` what OpenVINO runs, unless the Keras model is to be converted.
    ``stored_head`` is written in the place of a Keras network.
    ``known_features`` are what its layer of classes takes of all tiles (n, F), where that is known already.
    ``seconds_left`` is the estimated time of the epochs to come. Where the split holds nothing out, ``val`` are all
    tiles: each is predicted by a fit without its group.
    """

    model: Any
    data: TileDataset
    pixels: TilePixels
    params: TrainParams
    task: Task
    stopped: Callable[[], bool]
    started: float
    seconds_left: float = math.inf
    best: BestEpoch | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    val_prob: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    members: list[dict[str, Any]] = field(default_factory=list)
    texture: TextureHead | None = None
    head: HeadRecord | None = None
    kept_epoch: int | None = None
    features: FeatureSpec | None = None
    openvino_model: Any = None
    taught: TeacherRecord | None = None
    known_features: NDArray[np.float32] | None = None
    stored_head: StoredHead | None = None

    def __post_init__(self) -> None:
        split = self.data.split[self.pixels.tile_indices]
        self.train, self.val = np.flatnonzero(split == TRAIN), np.flatnonzero(split == VALIDATION)
        self.cross_validated = not len(self.val)
        if self.cross_validated:
            known = self.data.provenance
            rotated = np.zeros(len(self.data), bool) if known is None else known.rotated
            self.val = np.flatnonzero(~rotated[self.pixels.tile_indices])
        self.epochs = self.params.epochs or self._default_epochs()
        self.steps = math.ceil(len(self.learned) / self.params.batch_size)
        labels = self.data.labels[self.pixels.tile_indices]
        self.one_hot = np.eye(len(self.data.scheme), dtype=np.float32)[labels]
        counts = self.one_hot[self.train].sum(axis=0)
        balance = len(self.train) / (len(counts) * counts) if self.params.class_weights else np.ones_like(counts)
        self.tile_weights = balance.astype(np.float32)[labels]
        # The members of an ensemble average their views already.
        self.full_model = self.model if self.members else average_views(self.model, self.params.views)
        without_keras = isinstance(self.full_model, OpenVinoClassifier)  # TensorFlow is not needed for it
        self.predict_batch = (eager_predictor if without_keras else predictor)(self.full_model)

    @property
    def learned(self) -> NDArray[np.int64]:
        """Rows of the tiles that an epoch shows the network."""
        return self.train

    def _default_epochs(self) -> int:
        return default_epochs(len(self.train), self.params.network)

    @cached_property
    def epoch_log(self) -> EpochLog:
        """Where metrics go for TensorBoard."""
        return EpochLog(self.params)

    @cached_property
    def optimizer(self) -> Any:
        """What changes the weights after each step."""
        params = self.params
        return make_optimizer(params.network, params.learning_rate, self.epochs * self.steps, params.as_published)

    @cached_property
    def duplicate_warning(self) -> Finding | None:
        """A warning of near-duplicate tiles in training and validation; None where there are none."""
        indices, data = self.pixels.tile_indices, self.data
        paths = [data.paths[i] for i in data.image[indices]]
        return check_copies_across_split(self.pixels.hashes, self.pixels.thumbnails, data.split[indices], paths)

    def fit(self, after_epoch: Callable[[TrainingRun], None]) -> None:
        """Train all epochs, or until stopped; fills ``history``, ``val_prob`` and ``best``.

        ``after_epoch`` is called with this run after each epoch but the last.
        """
        step = training_step(self.model, self.optimizer)
        rng = np.random.default_rng(self.params.seed)
        training_start = time.perf_counter()
        for epoch in range(1, self.epochs + 1):
            start = time.perf_counter()
            loss, accuracy = self._train_epoch(epoch, step, rng)
            self.val_prob = self.predict(self.val)
            val_loss = cross_entropy(self.val_prob, self.one_hot[self.val])
            val_accuracy = float((self.val_prob.argmax(1) == self.one_hot[self.val].argmax(1)).mean())
            self._check_loss(epoch, val_loss)
            now = time.perf_counter()
            row = dict(zip(HISTORY, (epoch, loss, accuracy, val_loss, val_accuracy, now - start), strict=True))
            self.history.append(row)
            self.epoch_log.write(epoch, row)
            left = self.seconds_left = (now - training_start) / epoch * (self.epochs - epoch)
            self.task.progress(
                "training", epoch, self.epochs, **{name: row[name] for name in HISTORY[1:]}, seconds_left=left
            )
            if self.best is None or val_loss < self.best.val_loss:
                self.best = BestEpoch(epoch, val_loss, self.model.get_weights(), self.val_prob)
            if epoch == self.epochs or self.stopped():
                break
            after_epoch(self)

    def choose_epoch(self) -> int:
        """Choose the epoch whose weights are kept: the last one, or the best one if training was stopped early."""
        last = len(self.history)
        if self.kept_epoch is not None:
            return self.kept_epoch
        if last == self.epochs or self.best is None:
            return last
        self.model.set_weights(self.best.weights)
        self.val_prob = self.best.val_prob
        return self.best.epoch

    def _train_epoch(self, epoch: int, step: Step, rng: np.random.Generator) -> tuple[float, float]:
        reported, seen, total = time.perf_counter(), 0, np.zeros(2)
        loss = accuracy = math.nan
        with prefetch(self._batches(rng), 1) as batches:  # tiles are augmented during the step before
            for batch, (x, y, weights) in enumerate(batches, 1):
                self.task.check(f"cancelled in epoch {epoch} of {self.epochs}; nothing was written")
                sums = step(x, y, weights)
                self._check_loss(epoch, float(sums.sum()))
                seen += len(x)
                total += sums[:2]
                loss, accuracy = (total / seen).tolist()
                if time.perf_counter() - reported > _REPORT_EVERY_S:
                    reported = time.perf_counter()
                    metrics = {"epoch": epoch, "epochs": self.epochs, "loss": loss, "accuracy": accuracy}
                    self.task.progress("epoch", batch, self.steps, **metrics)
        return loss, accuracy

    def _batches(
        self, rng: np.random.Generator
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]]:
        order = rng.permutation(self.train)
        for start in range(0, len(order), self.params.batch_size):
            rows = order[start : start + self.params.batch_size]
            params = self.params
            x = augmented_batch(self.pixels, rows, params.augment, rng, params.degrees, params.standardise == "none")
            yield x, self.one_hot[rows], self.tile_weights[rows]

    def predict(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the probabilities (n, K) for some tiles."""
        parts = []
        for start in range(0, len(rows), 32):
            self.task.check("cancelled while validating; nothing was written")
            parts.append(self.predict_batch(self.pixels.batch(rows[start : start + 32])))
        return np.concatenate(parts)

    def _check_loss(self, epoch: int, loss: float) -> None:
        if not math.isfinite(loss):
            rate = peak_learning_rate(self.params.network, self.params.learning_rate, self.params.as_published)
            raise EngineError(
                f"training failed in epoch {epoch}: the loss became {loss}; use a lower --learning-rate than {rate:g}"
            )


def training_step(model: Any, optimizer: Any) -> Step:
    """Return the function that trains on one batch, traced once for batches of any size.

    Returns
    -------
    callable
        From tiles (n, H, W, C), one-hot classes (n, K) and tile weights (n,) to float64, shape (3,), before the
        step: the batch's unweighted sums of cross-entropy and of correct predictions, and the objective, which
        includes the penalty on weights and so cannot be compared with ln K, the loss of chance.
    """
    keras = import_keras()
    import tensorflow as tf

    variables = model.trainable_variables
    optimizer.build(variables)
    signature = [tf.TensorSpec(shape, tf.float32) for shape in (model.input_shape, model.output_shape, (None,))]

    def step(x: Any, y: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            prob = model(x, training=True)
            each = keras.losses.categorical_crossentropy(y, prob)
            objective = tf.reduce_mean(each * weights) + tf.add_n([tf.constant(0.0), *model.losses])
        optimizer.apply(tape.gradient(objective, variables), variables)
        correct = tf.equal(tf.argmax(prob, axis=1), tf.argmax(y, axis=1))
        return tf.stack([tf.reduce_sum(each), tf.reduce_sum(tf.cast(correct, tf.float32)), objective])

    traced = tf.function(step, input_signature=signature, autograph=False)
    return lambda x, y, weights: np.asarray(traced(x, y, weights), np.float64)


def cross_entropy(prob: NDArray[np.float32], one_hot: NDArray[np.float32]) -> float:
    """Return the mean categorical cross-entropy, probabilities clipped to 1e-7 as Keras does."""
    likelihood = np.clip((prob.astype(np.float64) * one_hot).sum(axis=1), 1e-7, 1.0)
    # NaN passes the clipping and the mean, so that it is detected.
    return float(-np.log(likelihood).mean())
