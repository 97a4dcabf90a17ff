"""What an experiment trains: the data, read and split once, and every training with its name and seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.dataset import TRAIN, TileDataset
from napari_cellclass.core.datasets.split import split_by_fold, split_by_group, split_by_tile
from napari_cellclass.core.datasets.subsampling import shuffle_training_labels, subsample_training_tiles
from napari_cellclass.core.evaluation.repeats import short_set_names
from napari_cellclass.core.params.experiment import ExperimentParams
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.quality.dataset_check import check_dataset
from napari_cellclass.runs.common.dataset_opening import grid_maker, image_reader, resolve_auto_settings
from napari_cellclass.runs.common.project_data import open_dataset
from napari_cellclass.runs.train.parallel import Job
from napari_cellclass.runs.train.train import copies_in_tests, read_tests

_MAX_EPOCHS_FACTOR = 4  # times those asked for, on few tiles
_MIN_TILES = 2  # of a class, on a learning curve


@dataclass(frozen=True, eq=False)
class ExperimentPlan:
    """The trainings of an experiment.

    Parameters
    ----------
    params
        As of the command ``experiment``.
    training
        How each network is trained, with all automatic settings resolved.
    data
        All labelled tiles, not split.
    splits
        The tiles split by group: one split, or one per fold.
    tests
        Test sets by name.
    warnings
        What about the data would make any figure mislead.
    """

    params: ExperimentParams
    training: TrainParams
    data: TileDataset
    splits: tuple[TileDataset, ...]
    tests: dict[str, TileDataset]
    warnings: tuple[str, ...]

    @property
    def first(self) -> TileDataset:
        """The split that the comparisons are trained on."""
        return self.splits[0]

    @property
    def total(self) -> int:
        """How many trainings there are."""
        params = self.params
        compared = params.null + params.curve * len(self.fractions()) + (params.pair and self.by_tile_differs())
        return params.runs * len(self.splits) + params.repeats * compared

    def jobs(self) -> Iterator[Job]:
        """Yield all trainings, those of one run one after the other."""
        params = self.params
        for run in range(params.runs):
            for fold in range(len(self.splits)):
                yield self.run_job(run, fold)
        for i in range(params.repeats):
            if params.null:
                yield self.shuffled_job(i)
            for fraction in self.fractions() if params.curve else ():
                yield self.fraction_job(fraction, i)
            if params.pair and self.by_tile_differs():
                yield self.by_tile_job(i)

    def run_job(self, run: int, fold: int) -> Job:
        """Return one of the repeated runs, on one of the splits; both count from 0."""
        name = f"run{run + 1:02d}" + (f"_fold{fold + 1}" if len(self.splits) > 1 else "")
        return self.splits[fold], self._params(name, run)

    def shuffled_job(self, i: int) -> Job:
        """Return a training on shuffled labels."""
        return shuffle_training_labels(self.first, self.params.seed + i), self._params(f"shuffled{i + 1:02d}", i)

    def fraction_job(self, fraction: float, i: int) -> Job:
        """Return a training on a fraction of the training tiles."""
        how = self._params(f"part{fraction:g}_{i + 1:02d}", i, epochs=self._epochs(fraction))
        return subsample_training_tiles(self.first, fraction, self.params.seed + i), how

    def by_tile_job(self, i: int) -> Job:
        """Return a training with single tiles held out rather than groups."""
        held_out = self.params.val_fraction if self.params.folds is None else 1 / self.params.folds
        return split_by_tile(self.data, held_out, self.params.seed + i), self._params(f"bytile{i + 1:02d}", i)

    def fractions(self) -> list[float]:
        """Return the fractions of the training tiles that leave every class enough of them."""
        fewest = min(np.bincount(self.first.labels[self.first.tile_indices(TRAIN)], minlength=len(self.first.scheme)))
        return [fraction for fraction in self.params.fractions if round(fraction * fewest) >= _MIN_TILES]

    def by_tile_differs(self) -> bool:
        """Whether holding out tiles is possible, and another thing than holding out groups."""
        groups = [
            {str(group) for group in self.data.groups[self.data.labels == k]} for k in range(len(self.data.scheme))
        ]
        return min(map(len, groups)) > 1 and len(set().union(*groups)) < len(self.data)

    def _params(self, name: str, seed: int, **changes: Any) -> TrainParams:
        out = self.params.out / "models" / f"{name}.cellclass"
        return self.training.model_copy(update={"seed": self.params.seed + seed, "out": out, **changes})

    def _epochs(self, fraction: float) -> int | None:
        """Show as many tiles as the whole training does, or the curve would be one of training time."""
        epochs = self.training.epochs
        return None if epochs is None else round(epochs * min(_MAX_EPOCHS_FACTOR, 1 / fraction))


def plan_experiment(params: ExperimentParams, task: Task = NO_TASK) -> ExperimentPlan:
    """Read the data and the test sets of an experiment, split them, and resolve the automatic settings.

    Raises
    ------
    ParamsError, DatasetError, ModelError, ImageError
        One line each: why the data cannot be trained on.
    CancelledError
        The task was cancelled.
    """
    data = open_dataset(params.data, grid_maker(params), params.group_by, image_reader(params), None, task)
    if params.folds is None:
        splits = [split_by_group(data, params.val_fraction)]
    else:
        splits = [split_by_fold(data, fold, params.folds) for fold in range(params.folds)]
    tests = read_tests(params, data, task)
    training, about_settings = resolve_auto_settings(params.training(), data, task)
    warnings = (
        *about_settings,
        *(one.text for one in check_dataset(splits[0]) if one.severity == "warning"),
        *copies_in_tests(splits[0], tests, task).values(),
    )
    named = dict(zip(short_set_names(list(tests)), tests.values(), strict=True))
    return ExperimentPlan(params, training, data, tuple(splits), named, warnings)
