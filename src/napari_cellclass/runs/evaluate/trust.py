"""Whether an evaluated model can be trusted: alarms, shortcuts, and robustness to perturbations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.findings import Finding
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.dataset import TRAIN, VALIDATION, TileDataset
from napari_cellclass.core.datasets.tile_provenance import TileOrigins
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.models.head_record import HeadRecord
from napari_cellclass.core.quality.alarms import check_memorised, training_alarms
from napari_cellclass.core.quality.shortcuts import (
    MAX_TILES,
    evaluate_shortcuts,
    evenly_spaced,
    shortcut_alarms,
    shortcut_features,
    shortcut_table,
)
from napari_cellclass.core.stats.metrics import EvalReport, evaluate
from napari_cellclass.core.tiles.perturbations import PERTURBATIONS, GreyRange, Perturbation
from napari_cellclass.core.tiles.preprocess import PreprocessSpec
from napari_cellclass.runs.classify.field import Predictor
from napari_cellclass.runs.evaluate.test_sets import Evaluation, predict_dataset

# Every tile is classified about 20 times.
MAX_PERTURBED_TILES = 1000


@dataclass(frozen=True, eq=False)
class TrustChecks:
    """Whether an evaluated model can be trusted.

    Parameters
    ----------
    alarms
        Findings that make its figures doubtful.
    shortcuts
        See :func:`~napari_cellclass.core.quality.shortcuts.shortcut_table`; None where not asked for.
    stress
        See :func:`measure_robustness`; None where not asked for.
    """

    alarms: tuple[Finding, ...]
    shortcuts: pd.DataFrame | None
    stress: pd.DataFrame | None


def run_trust_checks(
    evaluation: Evaluation,
    bundle: ModelBundle,
    engine: Predictor,
    shortcuts: bool = False,
    stress: bool = False,
    task: Task = NO_TASK,
) -> TrustChecks:
    """Find the alarms of an evaluation and, where asked for, test shortcuts and robustness to perturbations.

    A warning names the images that the model was trained on. Where all tiles are from its own data set, they are split
    as in its training, and shortcuts and robustness are measured on the held-out ones.

    Raises
    ------
    ImageError
        A file has become unreadable.
    CancelledError
        The task was cancelled.
    """
    data = split_as_trained(evaluation.data, bundle)
    held_out = data.tile_indices(VALIDATION) if (data.split != "").any() else np.arange(len(data))
    report = _report(evaluation, held_out)
    alarms = [*_trained_on(data, bundle), *training_alarms((), report, data)]
    # A linear model on hundreds of features describes its own tiles without an error, which says nothing.
    if len(data.tile_indices(TRAIN)) and HeadRecord.of(bundle.manifest.training) is None:
        alarms += check_memorised(_report(evaluation, data.tile_indices(TRAIN)).accuracy.value, report)
    shortcuts_found = robustness = None
    if shortcuts:
        sample = data.take(evenly_spaced(len(data), MAX_TILES))
        found = evaluate_shortcuts(sample, shortcut_features(sample, task))
        alarms += shortcut_alarms(found, report.balanced_accuracy)
        shortcuts_found = shortcut_table(found, report.balanced_accuracy)
    if stress:
        spec = bundle.preprocess
        sample = data.take(held_out[evenly_spaced(len(held_out), MAX_PERTURBED_TILES)])
        robustness = measure_robustness(sample, engine, GreyRange(*spec.whole_range), task, spec)
    return TrustChecks(tuple(alarms), shortcuts_found, robustness)


def split_as_trained(data: TileDataset, bundle: ModelBundle) -> TileDataset:
    """Split the tiles as in the training of a model, if all of them were there, by image hash and box."""
    table = bundle.table("split.csv")
    ids = {one["path"]: one["id"] for one in bundle.manifest.data.get("images", ())}
    if table.empty or not ids:
        return data
    boxes = table[["y0", "x0", "y1", "x1"]].to_numpy().tolist()
    names = table["split"].fillna("")
    known = {(ids.get(path), *box): split for path, box, split in zip(table["path"], boxes, names, strict=True)}
    keys = [(data.image_ids[i], *box) for i, box in zip(data.image, data.boxes.tolist(), strict=True)]
    found = [known.get(key) for key in keys]
    if None in found or VALIDATION not in found:
        return data
    return replace(data, split=np.array(found, object), split_rule="as in the training of the model")


def _report(evaluation: Evaluation, tile_indices: NDArray[np.int64]) -> EvalReport:
    """Evaluate some of the tiles only."""
    if len(tile_indices) == len(evaluation.data):
        return evaluation.report
    data = evaluation.data.take(tile_indices)
    return evaluate(evaluation.prob[tile_indices], data.labels, data.groups.tolist(), data.scheme.names)


def training_images_in(data: TileDataset, bundle: ModelBundle) -> tuple[Path, ...]:
    """Return the images that a model was trained on: of equal pixels, or cut from a field that it saw tiles of."""
    images = bundle.manifest.data.get("images", ())
    ids, trained = {one["id"] for one in images}, _fields([Path(one["path"]) for one in images])
    cut, whole = {field for field, was_cut in trained if was_cut}, {field for field, _ in trained}
    return tuple(
        path
        for path, image_id, (field, was_cut) in zip(data.paths, data.image_ids, _fields(data.paths), strict=True)
        if image_id in ids or field in (whole if was_cut else cut)
    )


def _fields(paths: Sequence[Path]) -> list[tuple[str, bool]]:
    """Return the field of each image (itself, or what its list of tiles names) and whether it was cut from it."""
    try:
        origins = TileOrigins({folder for path in paths for folder in (path.parent, path.parent.parent)})
    except DatasetError:  # a damaged list names no field
        origins = TileOrigins()
    found = [origins.find(path) for path in paths]
    return [
        (str(Path(one.source if one else path).resolve()), one is not None)
        for path, one in zip(paths, found, strict=True)
    ]


def _trained_on(data: TileDataset, bundle: ModelBundle) -> Iterator[Finding]:
    trained = training_images_in(data, bundle)
    held_out = _held_out_ids(bundle)
    if trained and all(data.image_ids[data.paths.index(path)] in held_out for path in trained):
        text = (
            f"{len(trained)} of {len(data.paths)} images were held out of the training of the model: it has not "
            "learned from them, but its epoch and its calibration were chosen by them"
        )
        yield Finding("note", "held-out", text, trained)
    elif trained:
        text = (
            f"{len(trained)} of {len(data.paths)} images are from the training of the model, so the accuracy over all "
        )
        text += "of them says nothing about new fields"
        if (data.split != "").any():
            text += "; alarms, shortcuts and robustness are measured on the held-out tiles only"
        elif (head := HeadRecord.of(bundle.manifest.training)) is not None:
            text += f"; in {head.held_out}, its balanced accuracy was {head.accuracy:.3f}"
        yield Finding("warning", "trained-on", text, trained)


def _held_out_ids(bundle: ModelBundle) -> set[str]:
    """Return the content hashes of the images of a training that it validated on alone."""
    table = bundle.table("split.csv")
    if table.empty:
        return set()
    ids = {str(one["path"]): str(one["id"]) for one in bundle.manifest.data.get("images", ())}
    trained = set(table["path"][table["split"] == TRAIN].astype(str))
    return {ids[path] for path in set(table["path"].astype(str)) - trained if path in ids}


def measure_robustness(
    data: TileDataset,
    engine: Predictor,
    scale: GreyRange,
    task: Task = NO_TASK,
    spec: PreprocessSpec | None = None,
) -> pd.DataFrame:
    """Classify tiles under every perturbation and level of :data:`PERTURBATIONS`.

    Parameters
    ----------
    data
        Tiles that the network was not trained on.
    engine
        What runs the network on raw tiles.
    scale
        Grey values for black and white.
    spec
        Preprocessing of a model that scales each field to its own range: tiles are changed after that.
    task
        Reports once per level, and is checked once per tile.

    Returns
    -------
    DataFrame
        Columns perturbation, unit, level, balanced_accuracy, lo, hi; the first row, ``none``, is of unchanged tiles.

    Raises
    ------
    ImageError
        A file has become unreadable.
    CancelledError
        The task was cancelled.
    """
    steps = [(one, level) for one in PERTURBATIONS for level in one.levels if level != one.neutral]

    def measured(done: int, change: Any) -> dict[str, float | None]:
        prob = predict_dataset(data, engine, task.silent(), spec=spec, change=change)
        task.progress("stress test", done, len(steps) + 1)
        value = evaluate(prob, data.labels, list(data.groups), data.scheme.names).balanced_accuracy
        return {"balanced_accuracy": value.value, "lo": value.lo, "hi": value.hi}

    clean = measured(1, None)
    found = {
        (one.name, level): measured(done, partial(_perturbed, one, level, scale))
        for done, (one, level) in enumerate(steps, 2)
    }
    rows: list[dict[str, Any]] = [{"perturbation": "none", "unit": "", "level": 0.0} | clean]
    for one in PERTURBATIONS:
        for level in one.levels:
            row = {"perturbation": one.name, "unit": one.unit, "level": level}
            rows.append(row | found.get((one.name, level), clean))
    return pd.DataFrame(rows)


def _perturbed(one: Perturbation, level: float, scale: GreyRange, tile_index: int, tile: NDArray[Any]) -> NDArray[Any]:
    return one.apply(tile, level, scale, (tile_index,))
