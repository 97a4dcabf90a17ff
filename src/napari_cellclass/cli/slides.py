"""``napari-cellclass slides``: pictures of classified fields for the slides of a talk."""

from __future__ import annotations

from napari_cellclass.cli.exit_codes import BAD_INPUT, OK, SOME_FAILED
from napari_cellclass.cli.reporter import Reporter
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.params.slides import SlidesParams


def run_slides(params: SlidesParams, reporter: Reporter) -> int:
    """Draw the pictures, say where they are, and return the exit code.

    Raises
    ------
    CellClassError
        In one line, why nothing was drawn.
    """
    from napari_cellclass.runs.classify.slides import export_slides

    report = export_slides(params, reporter.task)
    for text in report.notes:
        reporter.warn(text)
    for text in report.failed:
        reporter.fail(text)
    reporter.say(f"{counted(len(report.written), 'picture')} in {report.out}")
    reporter.event("done", out=report.out, pictures=len(report.written), failed=len(report.failed))
    if report.failed:
        return SOME_FAILED if report.written else BAD_INPUT
    return OK
