"""Learned or memorised: repeated runs and what they are compared with, saved piece by piece, and a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from napari_cellclass.core.common.files import check_writable, write_json, write_text
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.dataset import TRAIN, TileDataset
from napari_cellclass.core.datasets.split import split_by_group, split_by_tile, split_fold
from napari_cellclass.core.datasets.subsampling import fewer_tiles, shuffled_labels
from napari_cellclass.core.datasets.tiles_csv import read_labelled
from napari_cellclass.core.evaluation.repeats import (
    VALIDATION_SET,
    SetAnswers,
    curve_table,
    joined,
    mean_interval,
    run_row,
    set_names,
)
from napari_cellclass.core.evaluation.verdict import Evidence, Verdict, compare_speed, judge, weakest_class
from napari_cellclass.core.params.experiment import ExperimentParams
from napari_cellclass.core.params.settings_file import SETTINGS_FILE, save_settings
from napari_cellclass.core.params.verbs import TrainParams
from napari_cellclass.core.quality.dataset_check import check_dataset
from napari_cellclass.core.stats.intervals import Estimate
from napari_cellclass.core.stats.learning_curve import LearningCurve, advice, fit_learning_curve
from napari_cellclass.engine.training.quantise import check_quantiser
from napari_cellclass.runs.common.dataset_opening import grid_maker, image_reader, resolve_auto_settings
from napari_cellclass.runs.train.parallel import Job, train_in_parallel
from napari_cellclass.runs.train.repeats import RepeatedRuns, Trained, result_tables, train_or_reuse, write_table
from napari_cellclass.runs.train.train import copies_in_tests, count_runs, read_tests

_MOST_EPOCHS = 4  # times those asked for, on few tiles
_FEWEST_TILES = 2  # of a class, on a learning curve


@dataclass(frozen=True, eq=False)
class Experiment:
    """What an experiment has found.

    Parameters
    ----------
    verdict
        With its evidence.
    tables
        What was written as CSV, by the files' names.
    data
        The tiles, split as in the first run.
    trainings, reused
        How many trainings it rests on, and how many of them were there already.
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
    """Train repeatedly, train what it is compared with, and judge; called again, go on where it was left.

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
    check_quantiser(params)
    work = _Work(params, task)
    save_settings(params, params.out / SETTINGS_FILE)
    work.train_in_parallel()
    work.repeat()
    result = work.judge()
    for wanted, part in ((params.null, work.shuffle), (params.curve, work.shrink), (params.pair, work.by_tile)):
        if wanted:
            part()
            result = work.judge()
    return result


@dataclass(eq=False)
class _Work:
    """An experiment under way: its splits, what is trained, and what is known so far."""

    params: ExperimentParams
    task: Task
    trainings: int = 0
    reused: int = 0
    made: frozenset[Path] = frozenset()
    notes: list[str] = field(default_factory=list)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        params, self.how = self.params, self.params.training()
        self.data = read_labelled(
            params.data, grid_maker(params), params.group_by, image_reader(params), None, self.task
        )
        if params.folds is None:
            splits = [split_by_group(self.data, params.val_fraction)]
        else:
            splits = [split_fold(self.data, fold, params.folds) for fold in range(params.folds)]
        tests = read_tests(params, self.data, self.task)
        self.how, told = resolve_auto_settings(self.how, self.data, self.task)
        self.warnings = (
            *told,
            *(one.text for one in check_dataset(splits[0]) if one.severity == "warning"),
            *copies_in_tests(splits[0], tests, self.task).values(),
        )
        named = dict(zip(set_names(list(tests)), tests.values(), strict=True))
        self.folds = [RepeatedRuns.of(split, named) for split in splits]
        self.first = splits[0]
        self.total = params.runs * len(splits) + params.repeats * (
            params.null + params.curve * len(self._parts()) + (params.pair and self._pairable())
        )

    def how_to(self, name: str, seed: int, **changes: Any) -> TrainParams:
        """Say how one model is trained, and where to."""
        out = self.params.out / "models" / f"{name}.cellclass"
        return self.how.model_copy(update={"seed": self.params.seed + seed, "out": out, **changes})

    def train(self, data: TileDataset, name: str, seed: int, **changes: Any) -> Trained:
        """Train or take one model."""
        how = self.how_to(name, seed, **changes)
        told = count_runs(self.task, self.trainings, self.total)
        trained = train_or_reuse(data, how, told)
        self.trainings += 1
        self.reused += trained.reused and how.out not in self.made
        return trained

    def train_in_parallel(self) -> None:
        """Train what will be asked for, several at once, where that is wanted."""
        self.made = train_in_parallel(list(self._jobs()), self.params.workers, self.task)

    def _jobs(self) -> Iterator[Job]:
        """Give all trainings, named and seeded as the parts below ask for them."""
        params = self.params
        for run in range(params.runs):
            for number, repeats in enumerate(self.folds, 1):
                yield repeats.data, self.how_to(self._run_name(run, number), run)
        for i in range(params.repeats):
            if params.null:
                yield shuffled_labels(self.first, params.seed + i), self.how_to(f"shuffled{i + 1:02d}", i)
            for part in self._parts() if params.curve else ():
                how = self.how_to(f"part{part:g}_{i + 1:02d}", i, epochs=self._epochs(part))
                yield fewer_tiles(self.first, part, params.seed + i), how
            if params.pair and self._pairable():
                yield (
                    split_by_tile(self.data, self._tile_fraction(), params.seed + i),
                    self.how_to(f"bytile{i + 1:02d}", i),
                )

    def _run_name(self, run: int, fold: int) -> str:
        return f"run{run + 1:02d}" + (f"_fold{fold}" if len(self.folds) > 1 else "")

    def _tile_fraction(self) -> float:
        return self.params.val_fraction if self.params.folds is None else 1 / self.params.folds

    def add(self, repeats: RepeatedRuns, trained: Trained, data: TileDataset | None = None) -> None:
        """Test one model."""
        repeats.add(trained, self.task, data)

    def write(self, **tables: pd.DataFrame) -> None:
        """Keep tables, and write them at once."""
        self.tables |= tables
        for name, table in tables.items():
            write_table(table, self.params.out / f"{name}.csv")

    def repeat(self) -> None:
        """Train the repeated runs, all folds of one before the next."""
        for run in range(self.params.runs):
            for number, repeats in enumerate(self.folds, 1):
                self.add(repeats, self.train(repeats.data, self._run_name(run, number), run))
            self.answers, runs, history = _together(self.folds)
            self.write(**result_tables(runs, self.answers, history))

    def shuffle(self) -> None:
        """Train on shuffled labels."""
        repeats = RepeatedRuns.of(self.first)
        for i in range(self.params.repeats):
            data = shuffled_labels(self.first, self.params.seed + i)
            self.add(repeats, self.train(data, f"shuffled{i + 1:02d}", i), data)
            history = repeats.history()
            self.write(null_runs=repeats.runs(), null_histories=history, null_curves=curve_table(history))
        labels = self.first.labels[self.first.where(TRAIN)]
        commonest = float(np.bincount(labels).max() / len(labels))
        self.found["speed"] = compare_speed(self.tables["histories"], self.tables["null_histories"], commonest)
        self.found["shuffled_held_out"] = repeats.answers()[0].balanced_accuracy()

    def shrink(self) -> None:
        """Train on fewer tiles, and fit the learning curve."""
        own = self.folds[0].runs()
        own = own[own["test"] == VALIDATION_SET]
        tiles = self.folds[0].models[0].manifest.data["n_train"]
        rows = [
            {"part": 1.0, "tiles": tiles, "seed": row.seed, "balanced_accuracy": row.balanced_accuracy}
            for row in own.itertuples()
        ]
        for part in self._parts():
            for i in range(self.params.repeats):
                data = fewer_tiles(self.first, part, self.params.seed + i)
                repeats = RepeatedRuns.of(data)
                trained = self.train(data, f"part{part:g}_{i + 1:02d}", i, epochs=self._epochs(part))
                self.add(repeats, trained)
                about = {"part": part, "tiles": trained.model.manifest.data["n_train"]}
                rows.append(about | repeats.runs().iloc[0][["seed", "balanced_accuracy"]].to_dict())
                self.write(learning_points=pd.DataFrame(rows))
        points = pd.DataFrame(rows)
        if points["tiles"].nunique() < 3:
            self.notes.append("too few training tiles for a learning curve: add tiles, or choose other --sizes")
            return
        curve = fit_learning_curve(points)
        ahead = np.geomspace(points["tiles"].min(), 4 * points["tiles"].max(), 60)
        self.write(learning_curve=curve.at(ahead))
        self.found |= {"advice": self._advice(curve), "curve": curve}

    def by_tile(self) -> None:
        """Hold out tiles at random instead of groups, only to see how much that flatters."""
        if not self._pairable():
            self.notes.append("to hold out by tile and by group is the same here, or cannot be done: not compared")
            return
        parts, rows = [], []
        for i in range(self.params.repeats):
            data = split_by_tile(self.data, self._tile_fraction(), self.params.seed + i)
            repeats = RepeatedRuns.of(data)
            self.add(repeats, self.train(data, f"bytile{i + 1:02d}", i))
            parts += repeats.answers()
            rows.append(repeats.runs())
            self.write(by_tile_runs=pd.concat(rows, ignore_index=True))
        self.found["by_tile"] = joined(parts, "by tile").balanced_accuracy()

    def judge(self) -> Experiment:
        """Judge by what is known so far, and write it."""
        held = self._held_out()
        runs = self.tables["runs"].drop_duplicates("run")
        more = {name: value for name, value in self.found.items() if name != "curve"}
        verdict = judge(_evidence(held, runs["train_balanced_accuracy"], **more))
        alone = [
            _alone(judge(_evidence(replace(held, prob=held.prob[i : i + 1]), [run.train_balanced_accuracy])), run)
            for i, run in enumerate(runs.itertuples())
        ]
        self.write(verdicts=pd.DataFrame(alone))
        result = Experiment(
            verdict, dict(self.tables), self.first, self.trainings, self.reused, tuple(self.notes), self.warnings
        )
        self._write(result)
        return result

    def _write(self, result: Experiment) -> None:
        curve: LearningCurve | None = self.found.get("curve")
        about = {
            "learning_curve": None if curve is None else curve.to_json(),
            "split": self.first.split_rule if self.params.folds is None else f"{self.params.folds} folds of groups",
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "trainings": self.trainings,
            "settings": self.params.model_dump(mode="json", exclude={"progress", "quiet", "workers", "ensemble"}),
        }
        text = result.verdict.to_markdown()
        for title, lines in (("Left out", self.notes), ("Before you believe it", self.warnings)):
            text += "".join([f"\n## {title}\n\n", *(f"- {line}\n" for line in lines)]) if lines else ""
        write_text(self.params.out / "verdict.md", text)
        write_json(self.params.out / "verdict.json", result.verdict.to_json() | about)

    def _held_out(self) -> SetAnswers:
        """Give the answers that are judged: those to the test sets, or, without any, to the held-out groups."""
        tests = [one for one in self.answers if one.name != VALIDATION_SET]
        if not tests:
            return self.answers[0]
        return joined(tests, " and ".join(one.name for one in tests))

    def _advice(self, curve: LearningCurve) -> str:
        names, train = self.first.scheme.names, self.first.where(TRAIN)
        counts = dict(zip(names, np.bincount(self.first.labels[train], minlength=len(names)).tolist(), strict=True))
        rows = self.answers[0].ensemble().per_class
        return advice(curve, counts, weakest_class({row["name"]: row["recall"] for row in rows}))

    def _parts(self) -> list[float]:
        fewest = min(np.bincount(self.first.labels[self.first.where(TRAIN)], minlength=len(self.first.scheme)))
        return [part for part in self.params.parts if round(part * fewest) >= _FEWEST_TILES]

    def _epochs(self, part: float) -> int | None:
        """Show as many tiles as the whole training does, or the curve would be one of training time."""
        epochs = self.how.epochs
        return None if epochs is None else round(epochs * min(_MOST_EPOCHS, 1 / part))

    def _pairable(self) -> bool:
        groups = [
            {str(group) for group in self.data.groups[self.data.labels == k]} for k in range(len(self.data.scheme))
        ]
        return min(map(len, groups)) > 1 and len(set().union(*groups)) < len(self.data)


def _evidence(held: SetAnswers, training: Iterable[float], **more: Any) -> Evidence:
    finite = np.isfinite(held.prob).all(axis=(0, 2))
    return Evidence(
        chance=held.chance,
        training=_within(mean_interval(training)),
        held_out=held.balanced_accuracy(),
        groups=len(set(held.groups[finite])),
        tiles=int(finite.sum()),
        where=held.name,
        runs=len(held.prob),
        **more,
    )


def _alone(verdict: Verdict, run: Any) -> dict[str, Any]:
    """Give a row for what one run alone would be judged by."""
    found = verdict.evidence
    return {
        "run": run.run, "seed": run.seed, "verdict": verdict.word, "training": found.training.value,
        "held_out": found.held_out.value, "lo": found.held_out.lo, "hi": found.held_out.hi, "chance": found.chance,
    }  # fmt: skip


def _within(estimate: Estimate) -> Estimate:
    """Cut the interval of a mean of proportions to 0 to 1."""
    if estimate.lo is None or estimate.hi is None:
        return estimate
    return Estimate(estimate.value, max(0.0, estimate.lo), min(1.0, estimate.hi))


def _together(folds: Sequence[RepeatedRuns]) -> tuple[list[SetAnswers], pd.DataFrame, pd.DataFrame]:
    """Put the folds of cross-validated runs together: answers, a row per run, and mean histories."""
    if len(folds) == 1:
        return folds[0].answers(), folds[0].runs(), folds[0].history()
    whole = joined([repeats.answers()[0] for repeats in folds], VALIDATION_SET)
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
