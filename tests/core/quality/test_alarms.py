from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellclass.core.quality.alarms import LEARNED_NOTHING, training_alarms
from napari_cellclass.core.stats.metrics import EvalReport, evaluate


def report(correct: float, groups: int = 12, n: int = 240, seed: int = 0, classes: int = 2) -> EvalReport:
    """Figures of tiles of which so many are correct, at random, each group of one class."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) % groups
    truth = group % classes
    predicted = np.where(rng.random(n) < correct, truth, (truth + 1) % classes)
    names = [f"class{k}" for k in range(classes)]
    return evaluate(np.eye(classes)[predicted], truth, [f"g{g}" for g in group], names)


def codes(history: list[dict[str, float]], figures: EvalReport) -> set[str]:
    return {alarm.code for alarm in training_alarms(history, figures)}


def test_a_good_training_raises_no_alarm() -> None:
    assert codes([{"loss": 0.05, "accuracy": 0.99}], report(0.97)) == set()


def test_one_class_for_everything_is_an_alarm() -> None:
    truth = np.arange(40) % 2
    figures = evaluate(np.tile([0.9, 0.1], (40, 1)), truth, [str(i % 8) for i in range(40)], ["a", "b"])
    found = training_alarms([{"loss": 0.4, "accuracy": 0.8}], figures)
    assert found[0].code in LEARNED_NOTHING
    assert "predicts 'a' for every held-out tile" in found[0].text
    assert "nothing-learned" not in {one.code for one in found}, "it is reported once"


@pytest.mark.parametrize("classes", [2, 5])
def test_a_loss_near_that_of_chance_is_an_alarm(classes: int) -> None:
    figures = report(0.97, classes=classes, groups=20)
    assert codes([{"loss": 0.96 * math.log(classes), "accuracy": 0.5}], figures) == {"loss-of-guessing"}
    assert codes([{"loss": 0.9 * math.log(classes), "accuracy": 0.5}], figures) == set()


def test_where_texture_joined_the_loss_of_the_network_alone_is_no_alarm_but_chance_is() -> None:
    row = [{"loss": 0.69, "accuracy": 0.5}]
    assert training_alarms(row, report(0.97), texture_joined=True) == ()
    assert "nothing-learned" in {alarm.code for alarm in training_alarms(row, report(0.5), texture_joined=True)}


@pytest.mark.parametrize("seed", range(5))
def test_labels_without_meaning_are_always_flagged(seed: int) -> None:
    assert codes([{"loss": 0.05, "accuracy": 0.99}], report(0.5, seed=seed)) >= {"memorised", "nothing-learned"}
    assert codes([{"loss": 0.6, "accuracy": 0.6}], report(0.5, seed=seed)) >= {"nothing-learned"}


def test_a_gap_within_the_interval_is_no_alarm() -> None:
    figures = report(0.9, groups=6, n=30)
    assert figures.accuracy.hi is not None
    assert codes([{"loss": 0.05, "accuracy": figures.accuracy.hi + 0.09}], figures) == set()
    assert "memorised" in codes([{"loss": 0.05, "accuracy": figures.accuracy.hi + 0.11}], figures)


def test_two_held_out_groups_that_are_all_correct_are_a_note_and_no_warning() -> None:
    (alarm,) = training_alarms([{"loss": 0.01, "accuracy": 1.0}], report(1.0, groups=2))
    assert (alarm.severity, alarm.code) == ("note", "too-few-groups")
    assert "only 2 groups" in alarm.text


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.integers(1, 20), st.integers(0, 99))
def test_an_interval_that_holds_chance_is_never_left_unreported(correct: float, groups: int, seed: int) -> None:
    figures = report(correct, groups=groups, seed=seed)
    value = figures.balanced_accuracy
    occurring = int(np.count_nonzero(np.sum(figures.confusion, axis=1)))
    unsure = value.lo is None or value.lo <= 1 / max(1, occurring)
    if occurring > 1 and unsure:
        assert training_alarms((), figures)
