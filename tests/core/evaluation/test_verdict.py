from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.core.evaluation.verdict import WORDS, Evidence, Speed, compare_speed, generalised_fraction, judge
from napari_cellclass.core.stats.intervals import Estimate


def evidence(training: float, value: float, lo: float | None, hi: float | None, **more: object) -> Evidence:
    known = {"chance": 0.5, "training": Estimate(training, None, None), "held_out": Estimate(value, lo, hi)}
    return Evidence(**{**known, "groups": 8, "tiles": 96, "runs": 12, **more})


def histories(*runs: list[float]) -> pd.DataFrame:
    rows = [(run, epoch, value) for run, one in enumerate(runs, 1) for epoch, value in enumerate(one, 1)]
    return pd.DataFrame(rows, columns=["run", "epoch", "accuracy"])


def test_what_holds_on_groups_never_seen_is_learned() -> None:
    assert judge(evidence(0.97, 0.95, 0.88, 0.98)).word == "learned"
    assert judge(evidence(0.90, 0.70, 0.62, 0.78)).word == "partly"


@pytest.mark.parametrize("chance", [0.5, 0.25])
@pytest.mark.parametrize("fraction", [0.55, 0.65, 0.75, 0.79, 0.81, 0.9, 1.0])
def test_learned_is_that_of_which_four_fifths_hold_on_groups_never_seen(chance: float, fraction: float) -> None:
    held_out = chance + fraction * (1 - chance)
    found = judge(evidence(1.0, held_out, held_out - 0.02, held_out + 0.02, chance=chance))
    assert found.word == ("learned" if fraction >= 0.8 else "partly")


def test_what_is_known_of_the_training_tiles_only_is_memorised() -> None:
    assert judge(evidence(1.0, 0.52, 0.40, 0.64)).word == "memorised"
    assert judge(evidence(1.0, 0.58, 0.53, 0.63)).word == "memorised"  # above guessing, but hardly anything holds


def test_where_even_the_training_tiles_are_guessed_there_is_nothing_to_learn() -> None:
    assert judge(evidence(0.56, 0.5, 0.4, 0.6)).word == "nothing to learn"


def test_too_few_groups_decide_nothing() -> None:
    assert judge(evidence(1.0, 0.97, 0.4, 1.0)).word == "undecided"
    assert judge(evidence(1.0, 0.97, None, None)).word == "undecided"


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.integers(2, 12))
def test_a_network_not_above_chance_on_new_groups_never_counts_as_learned(
    training: float, value: float, down: float, up: float, classes: int
) -> None:
    lo, hi = value * down, value + (1 - value) * up
    found = judge(evidence(training, value, lo, hi, chance=1 / classes))
    assert found.word in WORDS
    if lo <= 1 / classes:
        assert found.word not in ("learned", "partly")
    if found.word == "learned":
        assert value >= (1 + 1 / classes) / 2
    fraction = generalised_fraction(found.evidence)
    assert fraction is None or 0 <= fraction <= 1


def test_the_sentences_hold_the_numbers() -> None:
    speed = Speed(0.95, 80, 20, 60, 12, 2, 12, 2, 0.97)
    found = judge(
        evidence(0.97, 0.95, 0.88, 0.98, speed=speed, by_tile=Estimate(0.99, 0.96, 1), advice="no more tiles")
    )
    text = found.to_markdown()
    assert text.startswith("# Verdict: learned\n\nThe network has learned")
    for part in ("96 tiles of 8 groups", "95 % (95 % confidence interval 88 to 98)", "chance is 50 %",
                 "96 % of the training accuracy above chance generalises",
                 "took 20 of 80 epochs to 95 %", "2 of 2 trainings on shuffled labels", "no more tiles"):  # fmt: skip
        assert part in text
    assert found.to_json()["numbers"]["held_out"] == {"value": 0.95, "lo": 0.88, "hi": 0.98}


def test_an_accuracy_after_shuffled_labels_above_chance_is_reported() -> None:
    sentences = judge(evidence(1.0, 0.9, 0.8, 0.95, shuffled_held_out=Estimate(0.8, 0.7, 0.9))).sentences
    assert any("which memorisation does not explain: check for copies" in sentence for sentence in sentences)


def test_tiles_held_out_singly_flatter_only_where_that_is_distinguishable_from_chance() -> None:
    sentences = [
        judge(evidence(1.0, 0.7, 0.6, 0.8, by_tile=Estimate(value, value - 0.08, 1))).sentences[-1]
        for value in (0.95, 0.77, 0.7)
    ]
    assert "25 points too high" in sentences[0]
    assert "not significant with so few groups" in sentences[1]
    assert "fields are not recognised by themselves" in sentences[2]


def test_memory_alone_is_compared_at_the_same_training_accuracy() -> None:
    true = histories([0.5, 0.7, 0.9, 1.0], [0.5, 0.9, 0.96, 1.0])
    slow = compare_speed(true, histories([0.5, 0.5, 0.6, 0.6]), 0.5)
    assert slow is not None
    assert math.isclose(slow.accuracy, 0.95)
    assert (slow.true, slow.shuffled, slow.true_reached, slow.shuffled_reached) == (3.5, None, 2, 0)
    fast = compare_speed(true, histories([0.5, 0.97, 0.99, 1.0]), 0.5)
    assert fast is not None
    assert fast.shuffled == 2
    assert "memorisation was as fast" in judge(evidence(1.0, 0.5, 0.4, 0.6, speed=fast)).to_markdown()
    assert "memorisation alone does not explain it" in judge(evidence(1.0, 0.9, 0.8, 1.0, speed=slow)).to_markdown()


def test_without_a_rise_there_is_no_speed_to_compare() -> None:
    flat = histories([0.5] * 4)
    assert compare_speed(flat, flat, 0.5) is None
    fitted = histories([1.0])  # of linear models, which are trained in no epochs
    assert compare_speed(fitted, fitted, 0.5) is None
