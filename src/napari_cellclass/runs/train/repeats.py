"""One training from many seeds: resumed where it was interrupted, and every run tested on every set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.dataset import TRAIN, VALIDATION, TileDataset
from napari_cellclass.core.evaluation.repeats import (
    MEASURES,
    RUN_COLUMNS,
    VALIDATION_SET,
    SetPredictions,
    mean_curve_table,
    run_row,
    spread_table,
)
from napari_cellclass.core.models.bundle import ModelBundle, open_bundle
from napari_cellclass.core.models.known_models import KnownModels
from napari_cellclass.core.params.shared import BackboneParams
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.stats.metrics import accuracies, confusion_matrix
from napari_cellclass.runs.common.engine_access import open_engine
from napari_cellclass.runs.evaluate.test_sets import Evaluation, evaluate_dataset, evaluate_predictions, predict_dataset

# Parameters in a model's manifest that do not decide its weights.
_IRRELEVANT = set(BackboneParams.model_fields) | {
    "data", "out", "test", "progress", "quiet", "runs", "workers", "ensemble", "logdir",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Trained:
    """A model, and whether it had been trained before."""

    model: ModelBundle
    reused: bool


def train_or_reuse(
    data: TileDataset,
    params: TrainParams,
    task: Task = NO_TASK,
) -> Trained:
    """Reuse the model at ``params.out`` if it is what this training would give, else train.

    Parameters
    ----------
    data
        Tiles that have been split.
    params
        How to train; ``seed`` and ``out`` are this run's.

    Raises
    ------
    CellClassError
        See :func:`napari_cellclass.engine.training.train.train`.
    """
    from napari_cellclass.engine.training.train import train

    model = finished_model(data, params)
    if model is not None:
        return Trained(model, True)
    model = train(data, params, params.out, task=task)
    KnownModels().remember(model)
    return Trained(model, False)


def finished_model(data: TileDataset, params: TrainParams) -> ModelBundle | None:
    """Return the model at ``params.out`` if it was trained to its end with equal parameters and data; else None.

    Settings, seed and the hash of tiles, labels and split must be equal, and every part of the file must be as it
    was written. A training that starts from another model, learns from one, or is built on a user's backbone, is never
    reused, as that file may have changed.
    """
    from napari_cellclass.engine.networks.architectures import peak_learning_rate
    from napari_cellclass.engine.training.training_run import default_epochs

    if (
        any(other is not None for other in (params.initial, params.teacher, params.backbone))
        or not params.out.is_file()
    ):
        return None
    try:
        bundle = open_bundle(params.out)
        if not bundle.has_keras:
            return None
        for name in bundle.manifest.files:
            bundle.member(name)
    except ModelError:
        return None  # truncated or damaged: train again
    before = {"precision": "f32", "texture": "off", "with_compact": False, "colour": "auto", "unlabelled": []}
    trained, known = before | bundle.manifest.training, bundle.manifest.data  # older models lack some
    asked = params.model_dump(mode="json", include=set(TrainParams.model_fields) - _IRRELEVANT)
    asked["epochs"] = params.epochs or default_epochs(known.get("n_train", 0), params.network)
    if params.network == "pretrained":
        asked |= {"epochs": params.epochs or trained.get("epochs"), "learning_rate": trained.get("learning_rate")}
    else:
        asked["learning_rate"] = peak_learning_rate(params.network, params.learning_rate, params.as_published)
    same = all(trained.get(name) == value for name, value in asked.items())
    whole = trained.get("epochs_trained") == trained.get("epoch_kept") == asked["epochs"]
    return bundle if same and whole and known.get("hash") == data.data_hash else None


@dataclass(eq=False)
class RepeatedRuns:
    """What is known of the runs so far: their models, and their predictions on every test set.

    Parameters
    ----------
    data
        The split data set that they were trained on.
    sets
        Test sets by name, the first the tiles held out from the training data; where the split holds nothing out, all
        tiles, each with its prediction by a fit without it.
    models
        In the order of the runs.
    reused
        How many of them had been trained before.
    first
        The first run evaluated on every set.
    rows
        A row per run and set, see :data:`~napari_cellclass.core.evaluation.repeats.RUN_COLUMNS`.
    histories
        A table of epochs per run.
    prob
        Probabilities by set, float32 (N, K) per run.
    """

    data: TileDataset
    sets: dict[str, TileDataset]
    models: list[ModelBundle] = field(default_factory=list)
    reused: int = 0
    first: dict[str, Evaluation] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    histories: list[pd.DataFrame] = field(default_factory=list)
    prob: dict[str, list[NDArray[np.float32]]] = field(default_factory=dict)

    @classmethod
    def of(cls, data: TileDataset, tests: Mapping[str, TileDataset] | None = None) -> RepeatedRuns:
        """Begin, with the data's own held-out tiles as the first set."""
        held_out = data.take(_held_out_indices(data)).without_rotated_copies()
        return cls(data, {VALIDATION_SET: held_out, **(tests or {})})

    def add(
        self,
        trained: Trained,
        task: Task = NO_TASK,
        data: TileDataset | None = None,
    ) -> None:
        """Test one more run on every set, and on what it was trained on, where that is not ``self.data``.

        Raises
        ------
        ImageError
            A file has become unreadable.
        CancelledError
            The task was cancelled.
        """
        model, number = trained.model, len(self.models) + 1
        trained_on = self.data if data is None else data
        own = trained_on.take(trained_on.tile_indices(TRAIN)).without_rotated_copies()
        with open_engine(model) as engine:
            own_prob = predict_dataset(own, engine, task, model.preprocess)
            found = {
                name: (name == VALIDATION_SET and self._left_out(model))
                or evaluate_dataset(one, model, engine, task, name)
                for name, one in self.sets.items()
            }
        scores = model.manifest.scores
        about = {
            "run": number, "seed": model.manifest.training["seed"], "model": model.path.name,
            "train_accuracy": scores["train_accuracy"], "loss": scores["loss"], "val_loss": scores["val_loss"],
            "train_balanced_accuracy": balanced_accuracy(own_prob, own),
        }  # fmt: skip
        self.rows += [run_row(about, name, evaluation.report) for name, evaluation in found.items()]
        history = model.table("history.csv")[["epoch", *MEASURES]]
        history.insert(0, "run", number)
        self.histories.append(history)
        for name, evaluation in found.items():
            self.prob.setdefault(name, []).append(model.uncalibrated(evaluation.prob))
        self.first = self.first or found
        self.models.append(model)
        self.reused += trained.reused

    def _left_out(self, model: ModelBundle) -> Evaluation | None:
        """Evaluate the predictions of a model's own tiles by fits without them, if it holds some."""
        prob = model.left_out()
        if prob is None or len(prob) != len(self.data):
            return None
        rotated = None if self.data.provenance is None else self.data.provenance.rotated
        kept = prob if rotated is None else prob[~rotated]
        return evaluate_predictions(self.sets[VALIDATION_SET], model.calibrated(kept), name=VALIDATION_SET)

    def runs(self) -> pd.DataFrame:
        """One row per run and test set."""
        return pd.DataFrame(self.rows, columns=RUN_COLUMNS)

    def history(self) -> pd.DataFrame:
        """One row per run and epoch: run, epoch, loss, accuracy, val_loss, val_accuracy."""
        return pd.concat(self.histories, ignore_index=True)

    def predictions(self) -> list[SetPredictions]:
        """Return the predictions of all runs, set by set."""
        return [
            SetPredictions(
                name, one.frame()[["path", "y0", "x0", "y1", "x1"]], one.labels, one.groups, one.scheme.names,
                np.stack(self.prob[name]),
            )
            for name, one in self.sets.items()
        ]  # fmt: skip


def _held_out_indices(data: TileDataset) -> NDArray[np.int64]:
    held_out = data.tile_indices(VALIDATION)
    return held_out if len(held_out) else np.arange(len(data))


def balanced_accuracy(prob: NDArray[Any], data: TileDataset) -> float:
    """Return the balanced accuracy of predictions (N, K); tiles without finite pixels are left out."""
    finite = np.isfinite(prob).all(axis=1)
    confusion = confusion_matrix(data.labels[finite], prob[finite].argmax(axis=1), len(data.scheme))
    return float(accuracies(confusion)[1])


def repeated_run_tables(repeats: RepeatedRuns) -> dict[str, pd.DataFrame]:
    """Return the tables of finished runs by the end of a file's name: runs, histories, tiles, spread and curves."""
    return result_tables(repeats.runs(), repeats.predictions(), repeats.history())


def result_tables(
    runs: pd.DataFrame, predictions: Sequence[SetPredictions], history: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Add spread, tiles and mean curves to the tables of runs and epochs."""
    return {
        "runs": runs,
        "histories": history,
        "tiles": pd.concat([one.tile_table() for one in predictions], ignore_index=True),
        "spread": spread_table(runs, predictions),
        "curves": mean_curve_table(history),
    }


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, whole or not at all.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    with atomic_write(path) as temporary:
        escape_formulas(frame).to_csv(temporary, index=False, lineterminator="\n", errors="backslashreplace")
