"""``napari-cellclass check``: problems of a data set, before it is trained on."""

from __future__ import annotations

from pathlib import Path

from napari_cellclass.cli.exit_codes import BAD_INPUT, OK
from napari_cellclass.cli.reporter import Reporter
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.params.prepare import CheckParams
from napari_cellclass.core.params.settings_file import save_settings, settings_beside


def run_check(params: CheckParams, reporter: Reporter) -> int:
    """Check a data set, print the findings, and return the exit code."""
    from napari_cellclass.core.common.files import check_writable, write_json
    from napari_cellclass.runs.prepare.checking import check_data

    for path in (params.out, params.label_errors):
        if path is not None:
            check_writable(path)
    report = check_data(params, reporter.task)
    for severity, title in (("error", "Errors"), ("warning", "Warnings"), ("note", "Notes")):
        texts = [finding.text for finding in report.findings if finding.severity == severity]
        if texts:
            reporter.say(f"{title}:" + "".join(f"\n  - {text}" for text in texts))
    if report.data is None:
        reporter.say(f"{params.data} cannot be trained on as it is")
    else:
        reporter.say(
            f"{params.data} can be trained on: {counted(len(report.data), 'tile')} of "
            f"{counted(len(report.data.paths), 'image')}"
        )
    if params.out is not None:
        write_json(params.out, report.to_json())
        save_settings(params, settings_beside(params.out))
        reporter.say(f"wrote {params.out}")
    if params.label_errors is not None and report.data is not None:
        _write_label_errors(report.data, params.label_errors, reporter)
    elif params.label_errors is not None:
        reporter.say(f"{params.label_errors} was not written, as there are no tiles to train on")
    reporter.event("done", **report.to_json())
    return OK if report.trainable else BAD_INPUT


def _write_label_errors(data: TileDataset, path: Path, reporter: Reporter) -> None:
    from napari_cellclass.runs.evaluate.label_errors import find_label_errors

    found = find_label_errors(data, reporter.task)
    found.write(path)
    likely = int(found.errors.likely.sum())
    how = "leave-one-group-out" if found.held_out_by == "group" else "leave-one-out"
    why = "" if found.held_out_by == "group" else " (by single tiles, as a class has tiles of one group only)"
    reporter.say(
        f"{counted(likely, 'label')} of {len(found.data):,} {'is' if likely == 1 else 'are'} probably wrong, by "
        f"{how} cross-validation{why}; wrote {path}, the most likely first"
    )
