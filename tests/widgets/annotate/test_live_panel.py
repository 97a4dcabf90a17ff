"""What the panel says of live predictions: no more than the labels support."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_cellclass.core.selection.sample_accuracy import SampleAccuracy
from napari_cellclass.core.stats.intervals import Estimate
from napari_cellclass.runs.live.accuracy_curve import CurvePoint
from napari_cellclass.runs.live.session import LivePrediction
from napari_cellclass.widgets.annotate.live_panel import describe_accuracy, describe_change

KNOWN = SampleAccuracy(Estimate(0.9, 0.8, 0.95), 40, above_chance=True)
WORKSPACE: Any = SimpleNamespace(scheme=SimpleNamespace(names=("a", "b")))


def prediction(**values: Any) -> LivePrediction:
    return LivePrediction("field", 1, np.zeros((4, 2), np.float32), (30, 30), **({"accuracy": KNOWN} | values))


@pytest.mark.parametrize(
    ("n_groups", "words"),
    [(1, "on other fields not known yet"), (2, "two groups only: on others not known yet"), (5, "needs random tiles")],
)
def test_without_three_groups_nothing_is_said_of_others(n_groups: int, words: str) -> None:
    text = describe_accuracy(prediction(n_groups=n_groups), WORKSPACE)
    assert "0.90 (0.80 to 0.95) on the other tiles, from 40 random tiles" in text
    assert words in text


def test_without_random_tiles_of_each_class_there_is_no_figure() -> None:
    assert "Not known" in describe_accuracy(prediction(accuracy=SampleAccuracy(None, 0)), WORKSPACE)
    text = describe_accuracy(prediction(accuracy=SampleAccuracy(None, 5, (1,))), WORKSPACE)
    assert text.startswith("5 random tiles: too few of b")


def test_more_labels_are_said_to_help_little_only_where_the_figure_is_known() -> None:
    still = (CurvePoint(40, KNOWN.estimate or Estimate(0, 0, 0)), CurvePoint(60, KNOWN.estimate or Estimate(0, 0, 0)))
    assert describe_change(prediction()) == ""
    assert describe_change(prediction(changed=0.0)) == "; the last 20 changed 0% of the tiles"
    assert "help little" in describe_change(prediction(changed=0.0, curve=still))
    assert "help little" not in describe_change(prediction(changed=0.05, curve=still))
