"""Models trained on labelled tiles, and compared with them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_cellclass.api.images import Model, open_model
from napari_cellclass.api.settings import checked
from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.evaluation.results import EvaluatedSet
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.evaluate import EvaluateParams
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.runs.common.engine_access import choose_precision, load_model, open_engine
from napari_cellclass.runs.evaluate.named_sets import evaluate_model, parse_test_sets
from napari_cellclass.runs.evaluate.test_sets import evaluate_dataset
from napari_cellclass.runs.evaluate.trust import run_trust_checks
from napari_cellclass.runs.train.annotated_fields import (
    AnnotatedField,
    TrainRequest,
    annotated_dataset,
    data_on_disk,
)
from napari_cellclass.runs.train.child import train_in_child

_REGION_TILES = 4  # side of the regions of one field that are the groups of cross-validation


def train(
    data: str | os.PathLike[str] | AnnotatedField | Sequence[AnnotatedField],
    out: str | os.PathLike[str],
    *,
    task: Task = NO_TASK,
    **settings: Any,
) -> ModelBundle:
    """Train a model and write it, in a process of its own, as ``napari-cellclass train`` does.

    Parameters
    ----------
    data
        A folder with a sub-folder per class, a list of tiles ``TILES.csv``, a project, or what :func:`label` returned,
        of one field or of several.
    out
        The model to write, ``NAME.cellclass``.
    task
        Reports progress and may be cancelled.
    **settings
        The other flags of ``napari-cellclass train`` by their names, e.g. ``tile_px=64``, ``group_by="^(...)"``.

    Returns
    -------
    ModelBundle
        ``evaluation()`` says how it does on held-out groups, with 95 % confidence intervals.

    Raises
    ------
    CellClassError
        The data cannot be trained on, a setting is wrong, or the training has failed.

    Examples
    --------
    >>> import napari_cellclass as cc
    >>> model = cc.train("plate", "plate.cellclass", tile_px=128, group_by="^(...)")  # doctest: +SKIP
    >>> model.evaluation()["validation"]["balanced_accuracy"]  # doctest: +SKIP
    """
    fields = _fields(data)
    path = Path() if fields else Path(str(data))
    params = checked(TrainParams, settings, data=path, out=Path(out))
    if len(fields) == 1 and params.group_by is None:
        fields = (_with_regions(fields[0]),)
    with data_on_disk(TrainRequest(params.absolute(), fields), task) as on_disk:
        return load_model(train_in_child(on_disk, task))


def evaluate(
    data: str | os.PathLike[str] | AnnotatedField | Sequence[AnnotatedField],
    model: Model,
    *,
    task: Task = NO_TASK,
    **settings: Any,
) -> EvaluatedSet:
    """Compare a model with labelled tiles that it was not trained on; nothing is written.

    Parameters
    ----------
    data
        As for :func:`train`.
    model
        The model.
    task
        Reports progress and may be cancelled.
    **settings
        Other flags of ``napari-cellclass evaluate`` by their names, e.g. ``group_by``, ``stress=True``.

    Returns
    -------
    EvaluatedSet
        ``report`` has the metrics with their 95 % confidence intervals, ``evaluation.frame()`` is a row per tile,
        ``alarms`` are what to know before the figures are trusted.

    Raises
    ------
    CellClassError
        The tiles cannot be read, or do not fit the model.

    Examples
    --------
    >>> import napari_cellclass as cc
    >>> result = cc.evaluate("held-out", "plate.cellclass")  # doctest: +SKIP
    >>> print(result.report.balanced_accuracy)  # doctest: +SKIP
    """
    bundle, fields = open_model(model), _fields(data)
    words = ["fields"] if fields else [str(data)]
    params = checked(EvaluateParams, settings, data=words, model=bundle.path, out=Path())
    if not fields:
        found = evaluate_model(params, parse_test_sets(params.data), bundle, task)
        if found.warning:
            warnings.warn(found.warning, stacklevel=2)
        return found.sets[0]
    used, warning = choose_precision(bundle, params.precision, params.engine)
    if warning:
        warnings.warn(warning, stacklevel=2)
    dataset = annotated_dataset(fields, params.group_by, task, bundle.scheme.names)
    with open_engine(bundle, params.engine, precision=used) as engine:
        result = evaluate_dataset(dataset, bundle, engine, task, fields[0].name)
        trust = run_trust_checks(result, bundle, engine, params.shortcuts, params.stress, task)
    return EvaluatedSet(fields[0].name, Path(), result, trust.alarms, trust.shortcuts, trust.stress)


def _fields(data: Any) -> tuple[AnnotatedField, ...]:
    if isinstance(data, AnnotatedField):
        return (data,)
    if isinstance(data, str | os.PathLike):
        return ()
    fields = tuple(data)
    if not fields or not all(isinstance(one, AnnotatedField) for one in fields):
        raise ParamsError("give a folder or file of labelled tiles, or what napari_cellclass.label returned")
    return fields


def _with_regions(field: AnnotatedField) -> AnnotatedField:
    """Make the regions of the only field the groups of cross-validation, unless a group was named."""
    if "group" in field.tiles or "row" not in field.tiles:
        return field
    blocks = field.tiles[["row", "col"]].to_numpy(int) // _REGION_TILES
    own = field.tiles.assign(group=[f"{field.name} region {row},{col}" for row, col in blocks.tolist()])
    return replace(field, tiles=own)
