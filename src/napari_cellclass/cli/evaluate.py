"""``napari-cellclass evaluate``: one model on one or more test sets, with figures and a kit for a paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.evaluation.results import EvaluatedSet
from napari_cellclass.core.params.evaluate import EvaluateParams


def run_evaluate(params: EvaluateParams, task: Task, say: Callable[[str], None]) -> tuple[EvaluatedSet, ...]:
    """Evaluate a model, write and print the results.

    Raises
    ------
    CellClassError
        In one line, what went wrong.
    """
    from napari_cellclass.core.common.files import check_writable
    from napari_cellclass.core.evaluation.example_tiles import PanelChoice
    from napari_cellclass.core.evaluation.results import check_evaluation_folder
    from napari_cellclass.core.models.known_models import KnownModels
    from napari_cellclass.core.params.settings_file import SETTINGS_FILE, save_settings
    from napari_cellclass.report.kit import save_evaluated_sets, save_kit
    from napari_cellclass.runs.common.engine_access import KerasDetails, load_model
    from napari_cellclass.runs.evaluate.named_sets import evaluate_model, parse_test_sets

    paths = parse_test_sets(params.data)
    model = load_model(params.model, KerasDetails.of(params))
    KnownModels().announce_new(model, say)
    for one in paths:
        check_evaluation_folder(
            params.out / one.name if len(paths) > 1 else params.out, [other.path for other in paths]
        )
    check_writable(params.out / "evaluation.json")
    evaluated = evaluate_model(params, paths, model, task)
    sets = evaluated.sets
    if evaluated.warning:
        say(f"warning: {evaluated.warning}")
    panel = PanelChoice(params.panel, params.panel_order, params.seed)
    save_evaluated_sets(sets, params.out, panel)
    save_settings(evaluated.params, params.out / SETTINGS_FILE)
    if params.kit:
        save_kit(model, sets, params.out / "kit", panel)
    for line in _lines(sets):
        say(line)
    say(f"evaluation.json, tiles.csv and figures are in {params.out}{', by name' if len(sets) > 1 else ''}")
    if params.kit:
        say(f"the kit for a paper, with methods.md, is in {params.out / 'kit'}")
    return sets


def _lines(sets: Sequence[EvaluatedSet]) -> list[str]:
    lines = []
    for one in sets:
        lines += [f"skipped: {path}: {reason}" for path, reason in one.evaluation.data.skipped]
        report = one.report
        name = "" if len(sets) == 1 else f"{one.name}: "
        lines.append(
            f"{name}{counted(report.n, 'tile')} of {counted(report.groups, 'group')}: "
            f"balanced accuracy {report.balanced_accuracy}"
        )
        lines += [f"  {alarm.severity}: {alarm.text}" for alarm in one.alarms]
    return lines
