"""Learned or memorised: repeated runs and what they are compared with, saved piece by piece, and a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from napari_cellclass.core.common.files import check_writable, write_json, write_text
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.dataset import TRAIN, TileDataset
from napari_cellclass.core.evaluation.repeats import (
    VALIDATION_SET,
    SetPredictions,
    concatenate_predictions,
    mean_curve_table,
    mean_interval,
    run_row,
)
from napari_cellclass.core.evaluation.verdict import Evidence, Verdict, compare_speed, judge, weakest_class
from napari_cellclass.core.params.experiment import ExperimentParams
from napari_cellclass.core.params.settings_file import SETTINGS_FILE, save_settings
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.stats.intervals import Estimate
from napari_cellclass.core.stats.learning_curve import LearningCurve, fit_learning_curve, learning_curve_advice
from napari_cellclass.engine.training.quantise import check_nncf_installed
from napari_cellclass.runs.train.experiment_plan import ExperimentPlan, plan_experiment
from napari_cellclass.runs.train.parallel import train_in_parallel
from napari_cellclass.runs.train.repeats import RepeatedRuns, Trained, result_tables, train_or_reuse, write_table
from napari_cellclass.runs.train.train import count_runs


@dataclass(frozen=True, eq=False)
class Experiment:
    """The result of an experiment.

    Parameters
    ----------
    verdict
        With its evidence.
    tables
        What was written as CSV, by the files' names.
    data
        The tiles, split as in the first run.
    trainings, reused
        How many trainings it rests on, and how many of them had been trained before.
    notes
        What was left out, and why.
    warnings
        What about the data would make any figure mislead.
    """

    verdict: Verdict
    tables: dict[str, pd.DataFrame]
    data: TileDataset
    trainings: int
    reused: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def run_experiment(params: ExperimentParams, task: Task = NO_TASK) -> Experiment:
    """Train repeatedly, train what it is compared with, and judge; a run that was interrupted is resumed.

    Models go to ``OUT/models``. After every training its tables, and after every part ``verdict.json`` and
    ``verdict.md`` are written to ``OUT``.

    Parameters
    ----------
    params
        What is trained on, how, and which comparisons are made.
    task
        Reports the trainings one by one; metrics ``run`` and ``runs`` count them. Checked once per batch.

    Raises
    ------
    ParamsError, DatasetError, ModelError, OutputError, EngineError, ImageError
        One line each; see there.
    CancelledError
        The task was cancelled; finished trainings are kept.
    """
    check_writable(params.out / "verdict.json")
    check_nncf_installed(params)
    plan = plan_experiment(params, task)
    save_settings(params, params.out / SETTINGS_FILE)
    experiment = _RunningExperiment(plan, task, folds=[RepeatedRuns.of(split, plan.tests) for split in plan.splits])
    experiment.train_in_parallel()
    experiment.run_repeats()
    result = experiment.judge()
    for wanted, compare in (
        (params.null, experiment.compare_shuffled_labels),
        (params.curve, experiment.fit_learning_curve),
        (params.pair, experiment.compare_by_tile),
    ):
        if wanted:
            compare()
            result = experiment.judge()
    return result


@dataclass(eq=False)
class _RunningExperiment:
    """An experiment under way: what has been trained, and what is known so far."""

    plan: ExperimentPlan
    task: Task
    folds: list[RepeatedRuns]
    trainings: int = 0
    reused: int = 0
    trained_in_parallel: frozenset[Path] = frozenset()
    notes: list[str] = field(default_factory=list)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)
    predictions: list[SetPredictions] = field(default_factory=list)

    def train(self, data: TileDataset, params: TrainParams) -> Trained:
        """Train one model, or reuse the one that is there."""
        trained = train_or_reuse(data, params, count_runs(self.task, self.trainings, self.plan.total))
        self.trainings += 1
        self.reused += trained.reused and params.out not in self.trained_in_parallel
        return trained

    def train_in_parallel(self) -> None:
        """Train all models that are missing, several at once, where more than one worker is wanted."""
        workers = self.plan.params.workers
        self.trained_in_parallel = train_in_parallel(list(self.plan.jobs()), workers, self.task)

    def add(self, repeats: RepeatedRuns, trained: Trained, data: TileDataset | None = None) -> None:
        """Test one model."""
        repeats.add(trained, self.task, data)

    def write(self, **tables: pd.DataFrame) -> None:
        """Keep tables, and write each to its file at once."""
        self.tables |= tables
        for name, table in tables.items():
            write_table(table, self.plan.params.out / f"{name}.csv")

    def run_repeats(self) -> None:
        """Train the repeated runs, all folds of one before the next."""
        for run in range(self.plan.params.runs):
            for fold, repeats in enumerate(self.folds):
                self.add(repeats, self.train(*self.plan.run_job(run, fold)))
            self.predictions, runs, history = _joined_folds(self.folds)
            self.write(**result_tables(runs, self.predictions, history))

    def compare_shuffled_labels(self) -> None:
        """Train on shuffled labels."""
        first = self.plan.first
        repeats = RepeatedRuns.of(first)
        for i in range(self.plan.params.repeats):
            data, how = self.plan.shuffled_job(i)
            self.add(repeats, self.train(data, how), data)
            history = repeats.history()
            self.write(null_runs=repeats.runs(), null_histories=history, null_curves=mean_curve_table(history))
        labels = first.labels[first.tile_indices(TRAIN)]
        commonest = float(np.bincount(labels).max() / len(labels))
        self.found["speed"] = compare_speed(self.tables["histories"], self.tables["null_histories"], commonest)
        self.found["shuffled_held_out"] = repeats.predictions()[0].balanced_accuracy()

    def fit_learning_curve(self) -> None:
        """Train on fewer tiles, and fit the learning curve."""
        own = self.folds[0].runs()
        own = own[own["test"] == VALIDATION_SET]
        tiles = self.folds[0].models[0].manifest.data["n_train"]
        rows = [
            {"part": 1.0, "tiles": tiles, "seed": row.seed, "balanced_accuracy": row.balanced_accuracy}
            for row in own.itertuples()
        ]
        for fraction in self.plan.fractions():
            for i in range(self.plan.params.repeats):
                data, how = self.plan.fraction_job(fraction, i)
                repeats = RepeatedRuns.of(data)
                trained = self.train(data, how)
                self.add(repeats, trained)
                about = {"part": fraction, "tiles": trained.model.manifest.data["n_train"]}
                rows.append(about | repeats.runs().iloc[0][["seed", "balanced_accuracy"]].to_dict())
                self.write(learning_points=pd.DataFrame(rows))
        points = pd.DataFrame(rows)
        if points["tiles"].nunique() < 3:
            self.notes.append("too few training tiles for a learning curve: add tiles, or choose other --sizes")
            return
        curve = fit_learning_curve(points)
        extrapolated = np.geomspace(points["tiles"].min(), 4 * points["tiles"].max(), 60)
        self.write(learning_curve=curve.at(extrapolated))
        self.found |= {"advice": self._advice(curve), "curve": curve}

    def compare_by_tile(self) -> None:
        """Hold out tiles at random instead of groups, only to see by how much that overestimates the accuracy."""
        if not self.plan.by_tile_differs():
            self.notes.append("to hold out by tile and by group is the same here, or cannot be done: not compared")
            return
        parts, rows = [], []
        for i in range(self.plan.params.repeats):
            data, how = self.plan.by_tile_job(i)
            repeats = RepeatedRuns.of(data)
            self.add(repeats, self.train(data, how))
            parts += repeats.predictions()
            rows.append(repeats.runs())
            self.write(by_tile_runs=pd.concat(rows, ignore_index=True))
        self.found["by_tile"] = concatenate_predictions(parts, "by tile").balanced_accuracy()

    def judge(self) -> Experiment:
        """Judge by what is known so far, and write it."""
        held = self._held_out()
        runs = self.tables["runs"].drop_duplicates("run")
        more = {name: value for name, value in self.found.items() if name != "curve"}
        verdict = judge(_evidence(held, runs["train_balanced_accuracy"], **more))
        single_runs = [
            _single_run_row(
                judge(_evidence(replace(held, prob=held.prob[i : i + 1]), [run.train_balanced_accuracy])), run
            )
            for i, run in enumerate(runs.itertuples())
        ]
        self.write(verdicts=pd.DataFrame(single_runs))
        result = Experiment(
            verdict,
            dict(self.tables),
            self.plan.first,
            self.trainings,
            self.reused,
            tuple(self.notes),
            self.plan.warnings,
        )
        self._write(result)
        return result

    def _write(self, result: Experiment) -> None:
        params, curve = self.plan.params, self.found.get("curve")
        about = {
            "learning_curve": None if curve is None else curve.to_json(),
            "split": self.plan.first.split_rule if params.folds is None else f"{params.folds} folds of groups",
            "notes": list(self.notes),
            "warnings": list(self.plan.warnings),
            "trainings": self.trainings,
            "settings": params.model_dump(mode="json", exclude={"progress", "quiet", "workers", "ensemble"}),
        }
        text = result.verdict.to_markdown()
        for title, lines in (("Left out", self.notes), ("Warnings", self.plan.warnings)):
            text += "".join([f"\n## {title}\n\n", *(f"- {line}\n" for line in lines)]) if lines else ""
        write_text(params.out / "verdict.md", text)
        write_json(params.out / "verdict.json", result.verdict.to_json() | about)

    def _held_out(self) -> SetPredictions:
        """Return the predictions that are judged: those on the test sets or, without any, on the held-out groups."""
        tests = [one for one in self.predictions if one.name != VALIDATION_SET]
        if not tests:
            return self.predictions[0]
        return concatenate_predictions(tests, " and ".join(one.name for one in tests))

    def _advice(self, curve: LearningCurve) -> str:
        first = self.plan.first
        count = np.bincount(first.labels[first.tile_indices(TRAIN)], minlength=len(first.scheme)).tolist()
        rows = self.predictions[0].ensemble().per_class
        weakest = weakest_class({row["name"]: row["recall"] for row in rows})
        return learning_curve_advice(curve, dict(zip(first.scheme.names, count, strict=True)), weakest)


def _evidence(held: SetPredictions, training: Iterable[float], **more: Any) -> Evidence:
    finite = np.isfinite(held.prob).all(axis=(0, 2))
    return Evidence(
        chance=held.chance,
        training=_clipped(mean_interval(training)),
        held_out=held.balanced_accuracy(),
        groups=len(set(held.groups[finite])),
        tiles=int(finite.sum()),
        where=held.name,
        runs=len(held.prob),
        **more,
    )


def _single_run_row(verdict: Verdict, run: Any) -> dict[str, Any]:
    """Return the row of what one run alone would be judged to be."""
    found = verdict.evidence
    return {
        "run": run.run, "seed": run.seed, "verdict": verdict.word, "training": found.training.value,
        "held_out": found.held_out.value, "lo": found.held_out.lo, "hi": found.held_out.hi, "chance": found.chance,
    }  # fmt: skip


def _clipped(estimate: Estimate) -> Estimate:
    """Cut the interval of a mean of proportions to 0 to 1."""
    if estimate.lo is None or estimate.hi is None:
        return estimate
    return Estimate(estimate.value, max(0.0, estimate.lo), min(1.0, estimate.hi))


def _joined_folds(folds: Sequence[RepeatedRuns]) -> tuple[list[SetPredictions], pd.DataFrame, pd.DataFrame]:
    """Join the folds of cross-validated runs: predictions, a row per run, and mean histories."""
    if len(folds) == 1:
        return folds[0].predictions(), folds[0].runs(), folds[0].history()
    whole = concatenate_predictions([repeats.predictions()[0] for repeats in folds], VALIDATION_SET)
    tables = [repeats.runs() for repeats in folds]
    numbers = ["train_accuracy", "train_balanced_accuracy", "loss", "val_loss"]
    mean = pd.concat(tables).groupby("run")[numbers].mean()
    rows = []
    for run, (seed, prob) in enumerate(zip(tables[0]["seed"], whole.prob, strict=True), 1):
        about = {"run": run, "seed": seed, "model": f"run{run:02d}_fold*.cellclass", **mean.loc[run].to_dict()}
        rows.append(run_row(about, VALIDATION_SET, whole.report(prob)))
    history = pd.concat([repeats.history() for repeats in folds])
    history = history.groupby(["run", "epoch"], as_index=False).mean()
    return [whole], pd.DataFrame(rows), history
