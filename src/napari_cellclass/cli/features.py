"""``napari-cellclass features``: features of the tiles of images, as a file for other programs."""

from __future__ import annotations

from napari_cellclass.cli.exit_codes import OK, SOME_FAILED
from napari_cellclass.cli.reporter import Reporter
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.params.features import FeaturesParams


def run_features(params: FeaturesParams, reporter: Reporter) -> int:
    """Compute and write features, and return the exit code.

    Raises
    ------
    CellClassError
        In one line, why nothing was written.
    """
    from napari_cellclass.runs.features.files import write_features

    report = write_features(params, reporter.task)
    for text in report.warnings:
        reporter.warn(text)
    for text in report.failed:
        reporter.fail(text)
    table = report.table
    network, texture = table.spec.columns
    kinds = [f"{counted(network, 'feature')} of {table.spec.backbone}"] if network else []
    kinds.append(f"{counted(texture, 'feature')} of texture")
    tiles, images = counted(len(table.features), "tile"), counted(len(table.images), "image")
    reporter.say(f"{tiles} of {images}: {' and '.join(kinds)}, in {params.out}")
    reporter.event(
        "done", out=params.out, images=len(table.images), failed=len(report.failed), tiles=len(table.features),
        columns=len(table.names),
    )  # fmt: skip
    return SOME_FAILED if report.failed else OK
