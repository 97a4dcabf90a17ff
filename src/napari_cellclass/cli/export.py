"""``napari-cellclass export``: a model for other programs."""

from __future__ import annotations

from napari_cellclass.cli.exit_codes import OK
from napari_cellclass.cli.reporter import Reporter
from napari_cellclass.core.params.export import ExportParams


def run_export(params: ExportParams, reporter: Reporter) -> int:
    """Export a model, say what was written, and return the exit code.

    Raises
    ------
    CellClassError
        In one line, why nothing was written.
    """
    from napari_cellclass.runs.export.exporting import export_model

    for line in export_model(params, reporter.task).lines():
        if not params.quiet:
            print(line)
    return OK
