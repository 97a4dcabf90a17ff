"""``napari-cellclass slice``: cut images into tiles, rotate or number them."""

from __future__ import annotations

import sys

from napari_cellclass.cli.exit_codes import BAD_INPUT, OK, SOME_FAILED
from napari_cellclass.cli.reporter import Reporter
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.params.prepare import SliceParams


def run_slice(params: SliceParams, reporter: Reporter) -> int:
    """Cut images into tiles, number them, or undo the numbering; return the exit code."""
    if params.rename or params.undo:
        return _rename(params, reporter)
    from napari_cellclass.runs.prepare.slicing import slice_images

    report = slice_images(params, reporter.task)
    reporter.close()
    for note in report.notes:
        reporter.warn(note)
    for outcome in report.failed:
        print(f"napari-cellclass: {outcome.error}", file=sys.stderr)
    reporter.say(report.summary())
    reporter.event("done", out=report.out, images=len(report.outcomes), failed=len(report.failed))
    if report.failed:
        return SOME_FAILED if len(report.failed) < len(report.outcomes) else BAD_INPUT
    return OK


def _rename(params: SliceParams, reporter: Reporter) -> int:
    from napari_cellclass.core.datasets.renaming import rename_images, undo_renaming

    folder = params.images[0]
    if params.undo:
        done = undo_renaming(folder, reporter.task)
        reporter.say(f"{counted(len(done.moves), 'previous name')} restored in {folder}")
    else:
        done = rename_images(folder, params.prefix, reporter.task)
        text = "; slice FOLDER --undo restores the old names" if done.moves else ""
        reporter.say(f"{counted(len(done.moves), 'file')} of {folder} renamed{text}")
    reporter.event("done", renamed=len(done.moves))
    return OK
