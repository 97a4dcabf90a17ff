"""How a student and its teacher are compared."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_cellclass.core.models.teacher_record import TeacherRecord, compare_with_teacher

TRUTH = np.array([0] * 30 + [1] * 10)
GROUPS = [f"g{i % 5}" for i in range(40)]
CLASSES = ("plain", "spots")


def probabilities(wrong: list[int]) -> NDArray[np.float32]:
    predicted = TRUTH.copy()
    predicted[wrong] ^= 1
    return np.where(np.eye(2)[predicted] == 1, 0.9, 0.1).astype(np.float32)


def record(student: list[int], teacher: list[int], groups: list[str] = GROUPS, seen: str = "left out") -> TeacherRecord:
    found = compare_with_teacher(probabilities(student), probabilities(teacher), TRUTH, groups, CLASSES)
    return TeacherRecord.model_validate(
        {"name": "t.cellclass", "model_id": "x", "network": "pretrained", "images": 2, "unlabelled": 50, "seen": seen}
        | found
    )


def test_equal_predictions_have_no_difference() -> None:
    same = record([0, 31], [0, 31])
    assert (same.difference.value, same.agreement) == (0.0, 1.0)
    assert same.student == same.teacher
    assert (same.difference.lo, same.difference.hi) == (None, None)  # nothing tells how much it could vary


def test_the_difference_is_that_of_the_balanced_accuracies() -> None:
    one = record([0, 1, 2, 31, 32], [30])
    assert one.student.value == pytest.approx((27 / 30 + 8 / 10) / 2)
    assert one.teacher.value == pytest.approx((1 + 9 / 10) / 2)
    assert one.difference.value == pytest.approx(one.student.value - one.teacher.value)
    assert one.agreement == pytest.approx(34 / 40)


def test_a_difference_in_every_group_is_surer_than_one_in_a_single_group() -> None:
    everywhere, once = record([0, 1, 2, 3, 4, 30], []), record([0, 5, 10, 15, 20, 30], [])
    assert everywhere.difference.value == pytest.approx(once.difference.value)
    assert everywhere.difference.hi is not None
    assert once.difference.hi is not None
    assert everywhere.difference.hi < once.difference.hi


def test_one_group_gives_no_interval_of_the_difference() -> None:
    alone = record([0], [], ["g"] * 40)
    assert (alone.difference.lo, alone.difference.hi) == (None, None)


def test_the_sentence_has_both_accuracies_and_says_what_the_teacher_knew() -> None:
    text = record([0], [], seen="trained on").brief()
    assert "Learned from t.cellclass (pretrained) with 50 unlabelled tiles" in text
    assert "balanced accuracy 0.983 (95 % confidence interval" in text
    assert "the teacher 1.000" in text
    assert "difference -0.017 (-" in text
    assert text.endswith("The teacher was trained on them, so that its accuracy is too good.")
    assert "of fits without the group" in record([0], []).brief()


def test_a_record_survives_the_manifest() -> None:
    one = record([0], [30])
    assert TeacherRecord.of({"taught": one.model_dump(mode="json")}) == one
    assert TeacherRecord.of({}) is None
    assert TeacherRecord.of({"taught": {"name": 3}}) is None
