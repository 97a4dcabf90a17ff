"""The first line of an evaluation and of an experiment: the figure or the verdict, and the worst caveat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from napari_cellclass.core.common.findings import Finding
from napari_cellclass.core.stats.headlines import estimate_text, headline, ranked, sample_caveats, sample_text
from napari_cellclass.core.stats.intervals import Estimate
from napari_cellclass.core.stats.metrics import EvalReport


def evaluation_headline(report: EvalReport, findings: Sequence[Finding]) -> str:
    """Describe a test set in one sentence: balanced accuracy with its interval and n, and the worst caveat."""
    found = ranked(findings)
    caveats = [one.text for one in found if one.severity != "note"]
    caveats += sample_caveats([sum(row) for row in report.confusion], report.groups)
    caveats += [one.text for one in found if one.severity == "note"]
    figure = estimate_text(report.balanced_accuracy, sample_text(report.n, report.groups))
    return headline(f"balanced accuracy {figure}", caveats)


def verdict_headline(content: Mapping[str, Any]) -> str:
    """Describe an experiment in one sentence: the verdict, held-out balanced accuracy with its interval, worst caveat.

    Parameters
    ----------
    content
        Of ``verdict.json``.
    """
    numbers = content["numbers"]
    held_out = Estimate(**numbers["held_out"])
    figure = estimate_text(held_out, sample_text(numbers["tiles"], numbers["groups"], "held-out"))
    caveats = [*content["warnings"], *sample_caveats((), numbers["groups"])]
    if numbers["runs"] < 2:
        caveats.append("it rests on a single training, so that its spread is unknown")
    return headline(f"verdict: {content['verdict']}, balanced accuracy {figure}", caveats)
