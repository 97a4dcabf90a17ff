"""``napari-cellclass experiment``: the verdict with its figures."""

from __future__ import annotations

from collections.abc import Callable

from napari_cellclass.core.common.task import Task
from napari_cellclass.core.evaluation.repeats import describe_spread
from napari_cellclass.core.params.experiment import ExperimentParams
from napari_cellclass.runs.train.experiment import Experiment, run_experiment


def experiment(
    params: ExperimentParams,
    task: Task,
    say: Callable[[str], None],
) -> Experiment:
    """Run an experiment, write its figures, and print the verdict.

    Raises
    ------
    CellClassError
        In one line, what went wrong; finished trainings are kept.
    """
    from napari_cellclass.report.runs_figures import experiment_figure, save_png_and_svg, save_run_figures

    result = run_experiment(params, task)
    verdict, tables = result.verdict, result.tables
    save_run_figures(tables, {name: params.out / f"{name}.csv" for name in tables})
    title = f"{params.data.name}: {verdict.word}"
    save_png_and_svg(experiment_figure(tables, title, verdict.evidence.chance), params.out / "experiment.png")
    say(f"{result.reused} of {result.trainings} trainings were reused: trained before with the same data and settings")
    say(f"Verdict: {verdict.word}. {verdict.meaning[0].upper()}{verdict.meaning[1:]}.")
    for text in (*verdict.sentences, *describe_spread(tables["spread"])):
        say(f"  - {text}")
    for text in result.notes:
        say(f"  note: {text}")
    for text in result.warnings:
        say(f"  warning: {text}")
    say(f"verdict.md, verdict.json, tables and figures are in {params.out}")
    return result
