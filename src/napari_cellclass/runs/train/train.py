"""Train from class folders or lists of tiles: read, split by group, train once per seed, test."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from napari_cellclass.core.common.errors import DatasetError, OutputError, ParamsError
from napari_cellclass.core.common.files import check_writable, write_json
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.dataset import TRAIN, TileDataset
from napari_cellclass.core.datasets.split import split_by_group, train_on_all
from napari_cellclass.core.evaluation.repeats import short_set_names
from napari_cellclass.core.models.bundle import SUFFIX, ModelBundle
from napari_cellclass.core.models.known_models import KnownModels
from napari_cellclass.core.models.paths import evaluations_path, run_model_path, run_table_path
from napari_cellclass.core.params.settings_file import save_settings, settings_beside
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.quality.dataset_check import check_dataset
from napari_cellclass.core.quality.near_duplicates import check_copies_across_split
from napari_cellclass.core.quality.tile_measurements import measure_tiles
from napari_cellclass.engine.training.quantise import check_nncf_installed
from napari_cellclass.runs.common.dataset_opening import (
    grid_maker,
    image_reader,
    resolve_auto_settings,
    resolve_network,
)
from napari_cellclass.runs.common.engine_access import open_engine
from napari_cellclass.runs.common.project_data import open_dataset
from napari_cellclass.runs.evaluate.test_sets import Evaluation, evaluate_dataset, read_test_set
from napari_cellclass.runs.train.parallel import train_in_parallel
from napari_cellclass.runs.train.repeats import RepeatedRuns, repeated_run_tables, train_or_reuse, write_table


@dataclass(frozen=True, eq=False)
class TrainResult:
    """The result of a training.

    Parameters
    ----------
    models
        The models of all runs; the first of them, or their ensemble, has the name that was asked for.
    data
        The tiles and their split.
    tests
        Evaluations by test set.
    warnings
        What about the data would make the figures misleading, a sentence each.
    tables
        Those of several runs, see :func:`~napari_cellclass.runs.train.repeats.repeated_run_tables`.
    reused
        How many of several runs had been trained before.
    about_network
        Why the automatic network is the compact one; empty where it is not.
    """

    models: tuple[ModelBundle, ...]
    data: TileDataset
    tests: dict[str, Evaluation]
    warnings: tuple[str, ...] = ()
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    reused: int = 0
    about_network: str = ""


def train_folders(params: TrainParams, task: Task = NO_TASK) -> TrainResult:
    """Train on class folders, or on the tiles that a TILES.csv lists, and write the model.

    With ``runs`` above 1 the further models are written beside the first as ``NAME_run02.cellclass`` …; an
    ``ensemble`` of them is written as the first model, and every run beside it as ``NAME_run01.cellclass`` …. A run
    whose model was trained to its end before, with equal parameters and data, is reused. Tables of all runs are
    written after each of them: ``NAME_runs.csv``, a row per run and test set, ``NAME_histories.csv``,
    ``NAME_tiles.csv``, ``NAME_spread.csv`` and ``NAME_curves.csv``. The results of ``test`` sets go to
    ``NAME_tests.json``, the parameters to ``NAME_settings.json``.

    Raises
    ------
    ParamsError, DatasetError, ModelError, OutputError, EngineError
        One line each; see there.
    CancelledError
        The task was cancelled; the models of finished runs are kept.
    """
    _check_out(params.out)
    check_nncf_installed(params)
    read = image_reader(params)
    data = open_dataset(params.data, grid_maker(params), params.group_by, read, task=task)
    unresolved = params
    params, about_network = resolve_network(params)
    # Linear models are evaluated by leave-one-group-out cross-validation, and so need no validation tiles.
    data = train_on_all(data) if params.network == "pretrained" else split_by_group(data, params.val_fraction)
    params, about_settings = resolve_auto_settings(params, data, task)
    warnings = (
        *about_settings,
        *(finding.text for finding in check_dataset(data) if finding.severity == "warning"),
    )
    tests = read_tests(params, data, task)
    copies = copies_in_tests(data, tests, task)
    warnings = tuple(dict.fromkeys((*warnings, *copies.values())))
    if params.runs == 1:
        from napari_cellclass.engine.training.train import train

        model = train(data, params, params.out, task=task)
        save_settings(unresolved, settings_beside(params.out))
        KnownModels().remember(model)
        found = _evaluate_tests(model, tests, copies, params, task)
        return TrainResult((model,), data, found, warnings, about_network=about_network)
    if params.network == "pretrained" and not params.with_compact:
        warnings += (
            f"all {params.runs} runs are equal: linear models on features are fitted without chance, so one is enough",
        )
    save_settings(unresolved, settings_beside(params.out))  # now, so that an interrupted series can be resumed with it
    repeats = _train_runs(data, tests, params, task)
    models, names = list(repeats.models), short_set_names(list(tests))
    if params.ensemble:
        from napari_cellclass.engine.training.ensemble import write_ensemble

        models.insert(0, write_ensemble(models, data, params, params.out, task=task))
        found = _evaluate_tests(models[0], tests, copies, params, task)
    else:
        found = {str(folder): repeats.first[name] for folder, name in zip(tests, names, strict=True)}
        _write_test_results(found, copies, params.out)
    for model in models:
        KnownModels().remember(model)
    tables = repeated_run_tables(repeats)
    return TrainResult(tuple(models), data, found, warnings, tables, repeats.reused, about_network)


def _check_out(out: Path) -> None:
    """Refuse a path that no model can be written to, before anything is read."""
    if out.suffix != SUFFIX:
        raise ParamsError(f"--out {str(out)!r}: a model's name ends in {SUFFIX}")
    if out.is_dir():
        raise OutputError(f"cannot write {out}: that is a folder; choose a file name")
    check_writable(out)


def read_tests(params: TrainParams, data: TileDataset, task: Task) -> dict[Path, TileDataset]:
    """Read the test sets, so that an error in one is reported before hours of training."""
    found: dict[Path, TileDataset] = {}
    for folder in params.test:
        found[folder] = read_test_set(
            folder, data.tile_px, data.scheme.names, params.group_by, image_reader(params), task
        )
        if found[folder].channels != data.channels:
            raise DatasetError(
                f"{folder} has {counted(found[folder].channels, 'channel')}, but {params.data} has "
                f"{data.channels}; test on "
                "images like those trained on"
            )
    return found


def copies_in_tests(data: TileDataset, tests: dict[Path, TileDataset], task: Task) -> dict[Path, str]:
    """Warn of test sets that hold near copies of training tiles, a sentence each; every tile is read once."""
    if not tests:
        return {}
    train = data.take(data.tile_indices(TRAIN))
    own = measure_tiles(train, task)
    found = {}
    for folder, test in tests.items():
        other = measure_tiles(test, task)
        finding = check_copies_across_split(
            np.concatenate([own.hashes, other.hashes]),
            np.concatenate([own.thumbnails, other.thumbnails]),
            np.repeat([TRAIN, "test"], [len(train), len(test)]),
            [one.paths[i] for one in (train, test) for i in one.image],
            f"in the test set {folder.name}",
        )
        if finding is not None:
            found[folder] = finding.text
    return found


def _train_runs(
    data: TileDataset,
    tests: dict[Path, TileDataset],
    params: TrainParams,
    task: Task,
) -> RepeatedRuns:
    repeats = RepeatedRuns.of(data, dict(zip(short_set_names(list(tests)), tests.values(), strict=True)))
    each = [
        params.model_copy(update={"seed": params.seed + run, "out": run_model_path(params.out, run, params.ensemble)})
        for run in range(params.runs)
    ]
    trained_now = train_in_parallel([(data, one) for one in each], params.workers, task)
    for run, one in enumerate(each):
        counted = count_runs(task, run, params.runs)
        trained = train_or_reuse(data, one, counted)
        repeats.add(replace(trained, reused=trained.reused and one.out not in trained_now), counted)
        for name, table in repeated_run_tables(repeats).items():
            write_table(table, run_table_path(params.out, name))
    return repeats


def _evaluate_tests(
    model: ModelBundle,
    tests: dict[Path, TileDataset],
    copies: dict[Path, str],
    params: TrainParams,
    task: Task,
) -> dict[str, Evaluation]:
    if not tests:
        return {}
    with open_engine(model) as engine:
        found = {
            str(folder): evaluate_dataset(data, model, engine, task, str(folder)) for folder, data in tests.items()
        }
    _write_test_results(found, copies, params.out)
    return found


def _write_test_results(tests: dict[str, Evaluation], copies: dict[Path, str], out: Path) -> None:
    if tests:
        warnings = {str(folder): text for folder, text in copies.items()}
        content = {
            name: evaluation.to_json() | {"warnings": [warnings[name]] if name in warnings else []}
            for name, evaluation in tests.items()
        }
        write_json(evaluations_path(out), content)


def count_runs(task: Task, run: int, runs: int) -> Task:
    """Add the number of the run, and how many there are, to the metrics of every report."""
    if runs == 1:
        return task
    count = {"run": run + 1, "runs": runs}
    return task.mapped(lambda update: replace(update, metrics={**count, **update.metrics}))
