"""The jobs of the Train widget, without Qt: train in a child process, read the result, and save the curves."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.models.bundle import ModelBundle, open_bundle
from napari_cellclass.core.models.head_record import HeadRecord
from napari_cellclass.core.models.paths import evaluations_path, free_model_path
from napari_cellclass.core.params.shared import PlaneParams, TileParams
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.report.curves import save_curves, save_label_curve
from napari_cellclass.runs.train.annotated_fields import TrainRequest, data_on_disk, unique_file_names
from napari_cellclass.runs.train.child import train_in_child


@dataclass(frozen=True, eq=False)
class Trained:
    """A model that has been trained: its epochs, validation metrics, held-out tiles and test sets."""

    model: ModelBundle
    history: tuple[dict[str, float], ...]
    validation: dict[str, Any]
    held_out: frozenset[tuple[Any, ...]]
    tests: Mapping[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    @property
    def label_curve(self) -> tuple[tuple[int, float], ...]:
        """Numbers of tiles and accuracies, of a model that was not trained in epochs; else empty."""
        head = HeadRecord.of(self.model.manifest.training)
        return head.points if head is not None and head.network is None else ()

    @property
    def chance(self) -> float:
        """The balanced accuracy of a model that knows nothing."""
        return 1 / len(self.model.scheme)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of the balanced accuracy, None where there are too few groups."""
        value = self.validation["balanced_accuracy"]
        return None if value["lo"] is None else (value["lo"], value["hi"])

    @classmethod
    def opened(cls, path: Path, tested: bool = False) -> Trained:
        """Read the record of a model's training, and the metrics of its test sets, if any."""
        model = open_bundle(path)
        split = model.table("split.csv")
        cross_validated = "held_out" in split
        held = split[split["held_out"].notna()] if cross_validated else split[split["split"] == "validation"]
        names = [Path(text).name for text in held["path"]]
        boxes = held[["y0", "x0", "y1", "x1"]].itertuples(index=False)
        tiles = frozenset((name, *box) for name, box in zip(names, boxes, strict=True))
        history = tuple(model.table("history.csv").to_dict("records"))
        tests = json.loads(evaluations_path(path).read_text(encoding="utf-8")) if tested else {}
        return cls(model, history, model.evaluation()["validation"], tiles, tests)


def train(request: TrainRequest, stopped: Callable[[], bool], task: Task) -> Trained:
    """Train in a child process.

    Raises
    ------
    CellClassError
        In one line, what the user can correct.
    CancelledError
        The task was cancelled; the child process has ended.
    """
    with data_on_disk(request, task) as params:
        return Trained.opened(train_in_child(params, task, stopped), bool(params.test))


def copy_request(request: TrainRequest, teacher: Path, out: Path) -> TrainRequest:
    """Ask for the compact network to learn from the model of an earlier request, with the same tiles.

    Raises
    ------
    ParamsError
        The settings of the request do not go with a teacher.
    """
    kept = ("data", "group_by", "val_fraction", "seed", "test", "normalisation", *TileParams.model_fields)
    values = {name: getattr(request.params, name) for name in (*kept, *PlaneParams.model_fields)}
    values |= {"network": "compact", "teacher": teacher, "out": out}
    return replace(request, params=TrainParams.checked(**values))


def save_history(trained: Trained, path: Path, task: Task) -> list[Path]:
    """Write the curves beside each other as PNG and CSV.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    picture, table = path.with_suffix(".png"), path.with_suffix(".csv")
    frame = pd.DataFrame(trained.history)
    if trained.label_curve:
        save_label_curve(trained.label_curve, picture, trained.chance, trained.interval)
        frame = pd.DataFrame(trained.label_curve, columns=["tiles", "balanced_accuracy"])
    else:
        training = trained.model.manifest.training
        save_curves(trained.history, training["epochs"], picture, training["epoch_kept"])
    with atomic_write(table) as temporary:
        escape_formulas(frame).to_csv(temporary, index=False, lineterminator="\n")
    return [picture, table]


def suggest_out(name: str, folder: Path) -> str:
    """Give a path for a new model that is not there yet."""
    plain = unique_file_names([Path(name).stem or "model"])[0]
    return str(free_model_path(folder, plain))
