"""``napari-cellclass explain``: where in a tile a prediction comes from, and tiles from one class to the other."""

from __future__ import annotations

from napari_cellclass.cli.exit_codes import OK
from napari_cellclass.cli.reporter import Reporter
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.params.explain import ExplainParams


def run_explain(params: ExplainParams, reporter: Reporter) -> int:
    """Write maps and sheets, and return the exit code.

    Raises
    ------
    CellClassError
        In one line, why nothing was written.
    """
    from napari_cellclass.core.models.known_models import KnownModels
    from napari_cellclass.runs.common.engine_access import KerasDetails, load_model
    from napari_cellclass.runs.explain.files import MAPS_SHEET, SPECTRUM_SHEET, explain_image

    model = load_model(params.model, KerasDetails.of(params))
    KnownModels().announce_new(model, reporter.say)
    report = explain_image(params, model, reporter.task)
    reporter.say(f"{counted(len(report.maps), 'tile')} mapped by {params.method}; {MAPS_SHEET} is in {params.out}")
    if report.in_spectrum:
        reporter.say(f"{counted(report.in_spectrum, 'tile')} by probability in {SPECTRUM_SHEET}")
    reporter.event("done", out=params.out, tiles=len(report.maps), spectrum=report.in_spectrum)
    return OK
