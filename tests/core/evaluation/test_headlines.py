"""The first line of an evaluation and of an experiment."""

from __future__ import annotations

import numpy as np

from napari_cellclass.core.common.findings import Finding
from napari_cellclass.core.evaluation.headlines import evaluation_headline, verdict_headline
from napari_cellclass.core.stats.metrics import EvalReport, evaluate


def report(tiles: int, groups: int) -> EvalReport:
    """Two classes, alternately, of which every tenth tile is incorrectly classified."""
    truth = np.arange(tiles) % 2
    said = np.where(np.arange(tiles) % 10 == 0, 1 - truth, truth)
    return evaluate(np.eye(2)[said] * 0.8 + 0.1, truth, [f"w{i // 2 % groups}" for i in range(tiles)], ("a", "b"))


def test_a_warning_counts_more_than_few_groups_and_these_more_than_a_note() -> None:
    few = report(80, 4)
    note, warning = Finding("note", "held-out", "a note"), Finding("warning", "trained-on", "a warning; do something")
    assert evaluation_headline(few, [note, warning]).endswith("n = 80 tiles of 4 groups); but a warning.")
    assert "; but only 4 groups were measured" in evaluation_headline(few, [note])
    many = report(400, 20)
    assert evaluation_headline(many, [note]).endswith("; but a note.")
    assert evaluation_headline(many, []).startswith("Balanced accuracy 0.90 (95 % CI 0.")
    assert "but" not in evaluation_headline(many, [])


def test_a_verdict_stands_with_its_figure_and_its_caveat() -> None:
    numbers = {"held_out": {"value": 0.9, "lo": 0.8, "hi": 0.95}, "tiles": 200, "groups": 10, "runs": 12}
    content = {"verdict": "learned", "numbers": numbers, "warnings": []}
    figure = "Verdict: learned, balanced accuracy 0.90 (95 % CI 0.80–0.95, n = 200 held-out tiles of 10 groups)"
    assert verdict_headline(content) == f"{figure}."
    assert verdict_headline(content | {"warnings": ["class and folder go together; add"]}) == (
        f"{figure}; but class and folder go together."
    )
    assert "; but it rests on a single training" in verdict_headline(content | {"numbers": numbers | {"runs": 1}})
