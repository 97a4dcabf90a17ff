"""``napari-cellclass classify``: tables of one image or a whole plate, and a figure of the plate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.params.classify import ClassifyParams

if TYPE_CHECKING:
    from napari_cellclass.runs.classify.batch import RunReport


def run_classify(
    params: ClassifyParams,
    task: Task,
    say: Callable[[str], None],
    warn: Callable[[str], None],
    fail: Callable[[str], None],
) -> RunReport:
    """Classify images, write and print the results; ``fail`` is called for each image without tables.

    Raises
    ------
    CellClassError
        In one line, what went wrong with the run as a whole.
    """
    from napari_cellclass.core.models.known_models import KnownModels
    from napari_cellclass.core.plates.inputs import CONDITIONS_FIGURE, CONDITIONS_TABLE, PLANES_FIGURE, PLATE_FIGURE
    from napari_cellclass.report.conditions import save_conditions
    from napari_cellclass.report.planes import save_planes
    from napari_cellclass.report.plate import save_plate
    from napari_cellclass.runs.common.engine_access import KerasDetails, load_model
    from napari_cellclass.runs.exchange.plate import classify_and_export

    model = load_model(params.model, KerasDetails.of(params))
    KnownModels().announce_new(model, say)
    report = classify_and_export(params, model, task)
    figure = save_plate(report.wells, params.out / PLATE_FIGURE)
    planes = save_planes(report.fields, model.scheme, params.out / PLANES_FIGURE)
    compared = save_conditions(report.conditions, params.out)
    for text in report.warnings:
        warn(text)
    for outcome in report.outcomes:
        for text in outcome.summary.warnings:
            warn(f"{Path(outcome.image).name}: {text}")
    for outcome in report.failed:
        fail(outcome.error)
    done = len(report.outcomes) - len(report.failed)
    reused = f", {report.reused} of them before" if report.reused else ""
    images = counted(len(report.outcomes), "image")
    say(f"{done} of {images} classified{reused}; tables and report.json are in {params.out}")
    if planes:
        say(f"counts of each plane are in fields.csv and {PLANES_FIGURE}")
    if figure:
        say(f"{counted(len(report.wells), 'well')} in wells.csv and {PLATE_FIGURE}")
    if compared and report.conditions is not None:
        for text in report.conditions.sentences():
            say(text)
        say(f"conditions are compared in {CONDITIONS_TABLE} and {CONDITIONS_FIGURE}")
    return report
