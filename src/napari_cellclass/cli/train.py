"""``napari-cellclass train``: train networks and print a summary of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.params.train import TrainParams

if TYPE_CHECKING:
    from napari_cellclass.core.models.bundle import ModelBundle

_INT8_LINES = 4  # what it is, what changed, and the accuracies


def run_train(params: TrainParams, task: Task, say: Callable[[str], None]) -> list[Path]:
    """Train networks, write and print the results, and return the models' files.

    Raises
    ------
    CellClassError
        In one line, what went wrong.
    """
    from napari_cellclass.core.evaluation.repeats import describe_spread
    from napari_cellclass.core.models.paths import run_table_path
    from napari_cellclass.engine.common.parent_process import listen_to_parent
    from napari_cellclass.runs.train.train import train_folders

    listen_to_parent()  # before anything long, so that a child ends with its parent from the beginning
    result = train_folders(params, task)
    if result.tables:
        from napari_cellclass.report.runs_figures import save_run_figures

        save_run_figures(result.tables, {name: run_table_path(params.out, name) for name in result.tables})
        say(f"{result.reused} of {params.runs} runs were reused: trained before with the same data and settings")
    for path, reason in result.data.skipped:
        say(f"skipped: {path}: {reason}")
    for model in result.models:
        say(f"wrote {model.path}")
        for line in _lines(model):
            say(f"  {line}")
    for warning in result.warnings:
        say(f"  warning: {warning}")
    if result.about_network:
        say(f"  network: {result.about_network}")
    say(f"  split: {result.data.split_rule}")
    for name, evaluation in result.tests.items():
        say(f"  {name}, {counted(evaluation.report.n, 'tile')}: {_accuracy(evaluation.to_json())}")
    for line in describe_spread(result.tables["spread"]) if result.tables else ():
        say(f"  {line}")
    return [model.path for model in result.models]


def _lines(model: ModelBundle) -> Iterator[str]:
    """Describe a model: its accuracy, what it holds beside the network, and its warnings."""
    from napari_cellclass.core.models.head_record import HeadRecord
    from napari_cellclass.core.models.teacher_record import TeacherRecord
    from napari_cellclass.core.models.texture_decision import TextureHead

    validation = model.evaluation().get("validation", {})
    if validation:
        size = f"{counted(validation['n'], 'tile')} of {counted(validation['groups'], 'group')}"
        held_out = model.evaluation().get("held_out")
        kind = "validation" if held_out is None else str(held_out)
        yield f"{kind}, {size}: {_accuracy(validation)}"
    head = HeadRecord.of(model.manifest.training)
    if head is not None:
        yield head.brief()
    texture = TextureHead.of(model.manifest.training)
    if texture is not None and texture.joined:
        yield texture.brief()
    taught = TeacherRecord.of(model.manifest.training)
    if taught is not None:
        yield taught.brief()
    if model.has_int8 and model.manifest.quantised is not None:
        yield from (f"int8: {line}" for line in list(model.manifest.quantised.describe())[:_INT8_LINES])
    yield from (f"warning: {warning}" for warning in model.manifest.scores.get("warnings", []))


def _accuracy(report: Mapping[str, Any]) -> str:
    value = report["balanced_accuracy"]
    bounds = "" if value["lo"] is None else f", 95 % confidence interval {value['lo']:.3f} to {value['hi']:.3f}"
    return f"balanced accuracy {value['value']:.3f}{bounds}"
