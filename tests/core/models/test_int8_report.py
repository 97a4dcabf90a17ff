from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_cellclass.core.models.int8_report import ECE, Int8Report, compare_int8
from napari_cellclass.core.stats.calibration import calibrate

CLASSES = ("a", "b")


def probabilities(correct: NDArray[np.bool_], truth: NDArray[np.int64], confidence: float = 0.9) -> NDArray[np.float32]:
    """Softmax outputs with the given correct predictions."""
    predicted = np.where(correct, truth, 1 - truth)
    prob = np.full((len(truth), 2), 1 - confidence, np.float32)
    prob[np.arange(len(truth)), predicted] = confidence
    return prob


@pytest.fixture
def truth() -> NDArray[np.int64]:
    return np.tile([0, 1], 100)


@pytest.fixture
def groups(truth: NDArray[np.int64]) -> list[str]:
    """Twenty groups of ten tiles."""
    return [f"g{i // 10}" for i in range(len(truth))]


@pytest.fixture
def correct() -> NDArray[np.bool_]:
    """Nine of ten tiles, not the same number in every group."""
    return np.random.default_rng(0).random(200) < 0.9


def test_a_network_that_predicts_the_same_is_stored_with_its_metrics(truth, groups, correct) -> None:
    f32 = probabilities(correct, truth)
    int8 = f32 + np.float32([[0.004, -0.004]])
    report = compare_int8(f32, int8, truth, groups, CLASSES)
    assert report.kept
    assert not report.warning
    assert (report.compared, report.changed, report.lost, report.gained) == (200, 0, 0, 0)
    assert report.largest_difference == pytest.approx(0.004, abs=1e-6)
    figures = {metric.name: metric for metric in report.figures}
    assert figures["accuracy"].int8 == figures["accuracy"].f32 == pytest.approx(correct.mean())
    assert {"balanced accuracy", "kappa", "recall of a", "precision of b", "f1 of b", ECE} <= set(figures)
    assert all(metric.in_interval and metric.lo < metric.f32 < metric.hi for metric in report.figures)
    assert Int8Report.model_validate_json(report.model_dump_json()) == report


def test_a_network_below_the_interval_is_not_stored_and_the_metric_is_named(truth, groups, correct) -> None:
    worse = correct & (np.arange(200) % 3 > 0)
    report = compare_int8(probabilities(correct, truth), probabilities(worse, truth), truth, groups, CLASSES)
    assert not report.kept
    assert report.why.startswith("accuracy 0.")
    assert "in f32 0." in report.why
    assert "95 % confidence interval" in report.why
    assert report.warning == f"no int8 network was stored, only the one in f32: {report.why}"


def test_a_better_network_is_stored(truth, groups, correct) -> None:
    report = compare_int8(
        probabilities(correct, truth, 0.9), probabilities(correct | True, truth, 0.9), truth, groups, CLASSES
    )
    assert report.gained == int((~correct).sum())
    assert not [metric for metric in report.figures if metric.is_worse and metric.name != ECE]


def test_with_few_groups_whose_interval_is_wide_the_tiles_that_changed_decide(truth) -> None:
    groups = [f"g{i % 2}" for i in range(len(truth))]
    perfect = np.ones(200, bool)
    perfect[:8] = False
    for lost, kept in ((4, True), (12, False)):
        worse = perfect.copy()
        worse[-lost:] = False
        report = compare_int8(probabilities(perfect, truth), probabilities(worse, truth), truth, groups, CLASSES)
        assert not [metric for metric in report.figures if metric.is_worse]
        assert report.kept == kept
    assert "12 held-out tiles are correct in f32 only, 0 in int8 only (p 0.00049)" in report.why


def test_another_confidence_alone_is_a_loss(truth, groups, correct) -> None:
    report = compare_int8(
        probabilities(correct, truth, 0.9), probabilities(correct, truth, 0.6), truth, groups, CLASSES
    )
    assert not report.kept
    assert report.changed == 0
    assert report.why.startswith(f"{ECE} ")


def test_confidences_are_compared_as_they_are_used(truth, groups, correct) -> None:
    f32 = probabilities(correct, truth, 0.999)
    calibration = calibrate(f32, truth, groups)
    assert calibration is not None
    report = compare_int8(f32, f32, truth, groups, CLASSES, calibration)
    (error,) = [metric for metric in report.figures if metric.name == ECE]
    assert error.f32 == error.int8 < 0.05 < calibration.ece_before
    assert report.largest_difference == 0


def test_a_network_that_predicts_nan_is_not_stored(truth, groups, correct) -> None:
    f32 = probabilities(correct, truth)
    int8 = f32.copy()
    int8[7] = np.nan
    report = compare_int8(f32, int8, truth, groups, CLASSES)
    assert report == Int8Report.not_stored("it predicts NaN for held-out tiles")


def test_tiles_without_a_prediction_in_f32_do_not_count(truth, groups, correct) -> None:
    f32 = probabilities(correct, truth)
    f32[3] = np.nan
    assert compare_int8(f32, f32, truth, groups, CLASSES).compared == 199


def test_one_group_has_no_interval_of_the_balanced_accuracy_and_is_judged_by_its_tiles(truth, correct) -> None:
    report = compare_int8(probabilities(correct, truth), probabilities(correct, truth), truth, ["g"] * 200, CLASSES)
    assert report.kept
    assert {metric.name: metric.lo for metric in report.figures}["balanced accuracy"] is None
