"""An evaluation as files: the figures of each test set, and a kit of figures, tables and methods for a paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.files import atomic_write, write_json, write_text
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.evaluation.example_tiles import (
    TILES_PER_PAGE,
    PanelChoice,
    panel_table,
    panel_tile_indices,
    read_panel,
)
from napari_cellclass.core.evaluation.results import EvaluatedSet, summary_table, write_evaluation
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.models.head_record import HeadRecord
from napari_cellclass.report.curves import FigureStyle, curves_figure, label_curve_figure
from napari_cellclass.report.evaluation_figures import save_evaluation_figures
from napari_cellclass.report.figures import save_with_table
from napari_cellclass.report.methods import methods_text
from napari_cellclass.report.panel import panel_figure
from napari_cellclass.report.trust_figures import save_trust

KIT_PANEL = PanelChoice(2 * TILES_PER_PAGE, "random")
"""Example tiles drawn at random, as a paper should show them."""


def save_evaluated_sets(sets: Sequence[EvaluatedSet], out: Path, panel: PanelChoice, task: Task = NO_TASK) -> None:
    """Write figures and tables: of one test set to ``out``, of several to a folder each, and a summary.

    Parameters
    ----------
    sets
        One or more; their names become folders.
    out
        The folder.
    panel
        Which example tiles are drawn, and how many.
    task
        Checked between figures.

    Raises
    ------
    OutputError, ImageError
        A file cannot be written; an image has become unreadable.
    CancelledError
        The task was cancelled; finished figures stay.
    """
    for one in sets:
        save_evaluated_set(one, out if len(sets) == 1 else out / one.name, panel, task)
    if len(sets) > 1:
        _save_summary(sets, out)


def save_evaluated_set(one: EvaluatedSet, out: Path, panel: PanelChoice, task: Task = NO_TASK) -> None:
    """Write the figures of a test set, each as PNG, SVG and CSV, ``tiles.csv`` and, last, ``evaluation.json``."""
    task.check("cancelled while the figures were written")
    save_evaluation_figures(one.report, out)
    save_trust(one.shortcuts, one.robustness, len(one.report.classes), out)
    if panel.count:
        tile_indices = panel_tile_indices(one.evaluation, panel.order, panel.seed)
        save_panel(one, tile_indices[: panel.count], out, task)
    write_evaluation(one.evaluation, out, one.alarms)


def save_panel(one: EvaluatedSet, tile_indices: NDArray[np.int64], out: Path, task: Task) -> None:
    """Write example tiles as ``panel_01.png``, ``.svg`` and ``.csv`` and so on, 25 per page."""
    frame = panel_table(one.evaluation, tile_indices)
    for page, start in enumerate(range(0, len(tile_indices), TILES_PER_PAGE), 1):
        tiles = read_panel(one.evaluation, tile_indices[start : start + TILES_PER_PAGE], task)
        save_with_table(panel_figure(tiles), frame.iloc[start : start + TILES_PER_PAGE], out / f"panel_{page:02d}")


def save_kit(
    bundle: ModelBundle,
    sets: Sequence[EvaluatedSet],
    out: Path,
    panel: PanelChoice = KIT_PANEL,
    task: Task = NO_TASK,
) -> None:
    """Write what a paper needs: figures, tables, the model's manifest, curves and split, and ``methods.md`` last.

    Raises
    ------
    OutputError, ImageError, CancelledError
        See :func:`save_evaluated_sets`.
    ModelError
        The model's file has changed or is gone.
    """
    save_evaluated_sets(sets, out, panel if panel.count else KIT_PANEL, task)
    _save_summary(sets, out)
    history, head = bundle.table("history.csv"), HeadRecord.of(bundle.manifest.training)
    if head is not None and head.network is None:
        curve = pd.DataFrame(head.points, columns=["tiles", "balanced_accuracy"])
        chance = 1 / len(bundle.scheme)
        save_with_table(label_curve_figure(head.points, FigureStyle(700, 500), chance), curve, out / "curves")
    elif len(history):
        rows: list[dict[str, Any]] = history.to_dict("records")
        save_with_table(curves_figure(rows, len(rows), FigureStyle(700, 500)), history, out / "curves")
    split = bundle.table("split.csv")
    if len(split):
        _save_table(split, out / "split.csv")
    write_text(out / "model.json", bundle.manifest.model_dump_json(indent=2) + "\n")
    write_text(out / "methods.md", methods_text(bundle, sets))


def _save_summary(sets: Sequence[EvaluatedSet], out: Path) -> None:
    _save_table(summary_table(sets), out / "summary.csv")
    content = {one.name: {"path": str(one.path), **_content(one)} for one in sets}
    write_json(out / "summary.json", content)


def _content(one: EvaluatedSet) -> dict[str, Any]:
    return one.evaluation.to_json() | {"alarms": [alarm.to_json() for alarm in one.alarms]}


def _save_table(table: pd.DataFrame, path: Path) -> None:
    with atomic_write(path) as temporary:
        escape_formulas(table).to_csv(temporary, index=False, lineterminator="\n", errors="backslashreplace")
