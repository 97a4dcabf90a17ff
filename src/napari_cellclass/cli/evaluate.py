"""``napari-cellclass evaluate``: one model, any number of test sets, their figures, and the kit for a paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from napari_cellclass.core.common.task import Task
from napari_cellclass.core.evaluation.results import EvaluatedSet
from napari_cellclass.core.params.evaluate import EvaluateParams


def run_evaluate(params: EvaluateParams, task: Task, say: Callable[[str], None]) -> tuple[EvaluatedSet, ...]:
    """Evaluate as asked for, write what came out, and say it.

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
    from napari_cellclass.runs.common.dataset_opening import image_reader
    from napari_cellclass.runs.common.engine_access import KerasAnswers, load_model, open_engine, usable_precision
    from napari_cellclass.runs.evaluate.named_sets import evaluate_test_sets, parse_test_sets

    paths = parse_test_sets(params.data)
    model = load_model(params.model, KerasAnswers.of(params))
    KnownModels().introduce(model, say)
    for one in paths:
        check_evaluation_folder(
            params.out / one.name if len(paths) > 1 else params.out, [other.path for other in paths]
        )
    check_writable(params.out / "evaluation.json")
    precision, why = usable_precision(model, params.precision, params.engine)
    if why:
        say(f"warning: {why}")
    with open_engine(model, params.engine, precision=precision) as engine:
        sets = evaluate_test_sets(
            paths, model, engine, params.group_by, image_reader(params),
            shortcuts=params.shortcuts, stress=params.stress, task=task,
        )  # fmt: skip
    panel = PanelChoice(params.panel, params.panel_order, params.seed)
    save_evaluated_sets(sets, params.out, panel)
    save_settings(params.model_copy(update={"precision": precision}), params.out / SETTINGS_FILE)
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
        lines += [f"left out: {path}: {reason}" for path, reason in one.evaluation.data.skipped]
        report = one.report
        name = "" if len(sets) == 1 else f"{one.name}: "
        lines.append(f"{name}{report.n} tiles of {report.groups} groups: balanced accuracy {report.balanced_accuracy}")
        lines += [f"  {alarm.severity}: {alarm.text}" for alarm in one.alarms]
    return lines
