"""Train from class folders or lists of tiles: read, split by group, train once per seed, test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from napari_cellclass.core.bundle import SUFFIX, ModelBundle
from napari_cellclass.core.check import check_dataset
from napari_cellclass.core.class_images import class_folders
from napari_cellclass.core.contracts import (
    CancelCheck,
    OutputError,
    ParamsError,
    Progress,
    ProgressCallback,
    never_cancelled,
    no_progress,
)
from napari_cellclass.core.dataset import TileDataset
from napari_cellclass.core.files import check_writable, write_json, writing
from napari_cellclass.core.image import SourceImage
from napari_cellclass.core.params import TrainParams
from napari_cellclass.core.split import split_by_group
from napari_cellclass.core.tiles_csv import is_tiles_csv, read_labelled
from napari_cellclass.runs.evaluation import Evaluation, evaluate_folder
from napari_cellclass.runs.labelled import cutter, reader
from napari_cellclass.runs.models import open_engine


@dataclass(frozen=True, eq=False)
class TrainResult:
    """The models of all runs, the first of them, or their ensemble, under the name that was asked for.

    ``warnings`` are those of the data: what would make the figures mislead.
    """

    models: tuple[ModelBundle, ...]
    data: TileDataset
    tests: dict[str, Evaluation]
    warnings: tuple[str, ...] = ()


def train_folders(
    params: TrainParams, progress: ProgressCallback = no_progress, cancelled: CancelCheck = never_cancelled
) -> TrainResult:
    """Train on class folders, or on the tiles that a TILES.csv lists, and write the model.

    With ``runs`` above 1 the further models are written beside the first as ``NAME_run02.cellclass`` …,
    with ``NAME_runs.csv``, one row per run; an ``ensemble`` of them is written as the first model, and every
    run beside it as ``NAME_run01.cellclass`` …. Figures of ``test`` sets go to ``NAME_tests.json``.

    Raises
    ------
    ParamsError, DatasetError, ModelError, OutputError, EngineError
        One line each; see there.
    CancelledError
        ``cancelled`` said so; the models of finished runs are kept.
    """
    from napari_cellclass.engine.training import train

    if params.out.suffix != SUFFIX:
        raise ParamsError(f"--out {str(params.out)!r}: a model's name ends in {SUFFIX}")
    if params.out.is_dir():
        raise OutputError(f"cannot write {params.out}: that is a folder; choose a file name")
    check_writable(params.out)
    read = reader(params)
    data = read_labelled(params.data, cutter(params), params.group_by, read, progress=progress, cancelled=cancelled)
    data = split_by_group(data, params.val_fraction)
    warnings = tuple(finding.text for finding in check_dataset(data) if finding.severity == "warning")
    for folder in params.test:
        if not is_tiles_csv(folder):
            class_folders(folder, data.scheme.names)  # tells now what would be wrong after training
    models, rows = [], []
    for run in range(params.runs):
        path = _run_path(params.out, run, params.ensemble)
        one = params.model_copy(update={"seed": params.seed + run, "out": path})
        model = train(data, one, one.out, progress=_labelled(progress, run, params.runs), cancelled=cancelled)
        models.append(model)
        rows.append({"run": run + 1, "seed": one.seed, "model": one.out.name, **_flat(model.manifest.scores)})
        if params.runs > 1:
            with writing(params.out.with_name(f"{params.out.stem}_runs.csv")) as temporary:
                pd.DataFrame(rows).to_csv(temporary, index=False, lineterminator="\n")
    if params.ensemble:
        from napari_cellclass.engine.ensemble import write_ensemble

        models.insert(0, write_ensemble(models, data, params, params.out, progress=progress, cancelled=cancelled))
    tests = _test(models[0], params, read, progress, cancelled)
    return TrainResult(tuple(models), data, tests, warnings)


def _test(
    model: ModelBundle,
    params: TrainParams,
    read: Callable[[Path], SourceImage],
    progress: ProgressCallback,
    cancelled: CancelCheck,
) -> dict[str, Evaluation]:
    if not params.test:
        return {}
    with open_engine(model) as engine:
        tests = {
            str(folder): evaluate_folder(folder, model, engine, params.group_by, read, progress, cancelled)
            for folder in params.test
        }
    content = {name: evaluation.to_json() for name, evaluation in tests.items()}
    write_json(tests_path(params.out), content)
    return tests


def tests_path(out: Path) -> Path:
    """Where the figures of a model's test sets are written: beside it."""
    return out.with_name(f"{out.stem}_tests.json")


def _run_path(out: Path, run: int, ensemble: bool) -> Path:
    return out if run == 0 and not ensemble else out.with_name(f"{out.stem}_run{run + 1:02d}{out.suffix}")


def _labelled(progress: ProgressCallback, run: int, runs: int) -> ProgressCallback:
    if runs == 1:
        return progress

    def report(update: Progress) -> None:
        progress(replace(update, metrics={"run": run + 1, "runs": runs, **update.metrics}))

    return report


def _flat(scores: dict[str, Any]) -> dict[str, Any]:
    """Keep the plain numbers of a manifest's scores, and the values of its estimates."""
    flat: dict[str, Any] = {}
    for name, value in scores.items():
        if isinstance(value, dict) and "value" in value:
            flat[name] = value["value"]
        elif isinstance(value, int | float | bool | str):
            flat[name] = value
    return flat
