from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_cellclass.core.models.int8_report import ECE, Int8Report, compare_int8
from napari_cellclass.core.stats.calibration import calibrate

CLASSES = ("a", "b")


def answers(right: NDArray[np.bool_], truth: NDArray[np.int64], sure: float = 0.9) -> NDArray[np.float32]:
    """Softmax outputs that are as right as is said."""
    said = np.where(right, truth, 1 - truth)
    prob = np.full((len(truth), 2), 1 - sure, np.float32)
    prob[np.arange(len(truth)), said] = sure
    return prob


@pytest.fixture
def truth() -> NDArray[np.int64]:
    return np.tile([0, 1], 100)


@pytest.fixture
def groups(truth: NDArray[np.int64]) -> list[str]:
    """Twenty groups of ten tiles."""
    return [f"g{i // 10}" for i in range(len(truth))]


@pytest.fixture
def right() -> NDArray[np.bool_]:
    """Nine of ten tiles, not the same number in every group."""
    return np.random.default_rng(0).random(200) < 0.9


def test_a_network_that_answers_alike_is_kept_and_its_figures_are_told(truth, groups, right) -> None:
    f32 = answers(right, truth)
    int8 = f32 + np.float32([[0.004, -0.004]])
    told = compare_int8(f32, int8, truth, groups, CLASSES)
    assert told.kept
    assert not told.warning
    assert (told.compared, told.changed, told.lost, told.gained) == (200, 0, 0, 0)
    assert told.largest_difference == pytest.approx(0.004, abs=1e-6)
    figures = {figure.name: figure for figure in told.figures}
    assert figures["accuracy"].int8 == figures["accuracy"].f32 == pytest.approx(right.mean())
    assert {"balanced accuracy", "kappa", "recall of a", "precision of b", "f1 of b", ECE} <= set(figures)
    assert all(figure.inside and figure.lo < figure.f32 < figure.hi for figure in told.figures)
    assert Int8Report.model_validate_json(told.model_dump_json()) == told


def test_a_network_below_the_interval_is_not_kept_and_the_figure_is_named(truth, groups, right) -> None:
    worse = right & (np.arange(200) % 3 > 0)
    told = compare_int8(answers(right, truth), answers(worse, truth), truth, groups, CLASSES)
    assert not told.kept
    assert told.why.startswith("accuracy 0.")
    assert "in f32 0." in told.why
    assert "95 % confidence interval" in told.why
    assert told.warning == f"no int8 network was stored, only the one in f32: {told.why}"


def test_a_better_network_is_kept(truth, groups, right) -> None:
    told = compare_int8(answers(right, truth, 0.9), answers(right | True, truth, 0.9), truth, groups, CLASSES)
    assert told.gained == int((~right).sum())
    assert not [figure for figure in told.figures if figure.lost and figure.name != ECE]


def test_with_few_groups_whose_interval_is_wide_the_tiles_that_changed_decide(truth) -> None:
    groups = [f"g{i % 2}" for i in range(len(truth))]
    perfect = np.ones(200, bool)
    perfect[:8] = False
    for lost, kept in ((4, True), (12, False)):
        worse = perfect.copy()
        worse[-lost:] = False
        told = compare_int8(answers(perfect, truth), answers(worse, truth), truth, groups, CLASSES)
        assert not [figure for figure in told.figures if figure.lost]
        assert told.kept == kept
    assert "12 held-out tiles are correct in f32 only, 0 in int8 only (p 0.00049)" in told.why


def test_another_confidence_alone_is_a_loss(truth, groups, right) -> None:
    told = compare_int8(answers(right, truth, 0.9), answers(right, truth, 0.6), truth, groups, CLASSES)
    assert not told.kept
    assert told.changed == 0
    assert told.why.startswith(f"{ECE} ")


def test_confidences_are_compared_as_they_are_used(truth, groups, right) -> None:
    f32 = answers(right, truth, 0.999)
    calibration = calibrate(f32, truth, groups)
    assert calibration is not None
    told = compare_int8(f32, f32, truth, groups, CLASSES, calibration)
    (error,) = [figure for figure in told.figures if figure.name == ECE]
    assert error.f32 == error.int8 < 0.05 < calibration.ece_before
    assert told.largest_difference == 0


def test_a_network_that_answers_nan_is_not_kept(truth, groups, right) -> None:
    f32 = answers(right, truth)
    int8 = f32.copy()
    int8[7] = np.nan
    report = compare_int8(f32, int8, truth, groups, CLASSES)
    assert report == Int8Report.not_stored("it predicts NaN for held-out tiles")


def test_tiles_without_an_answer_in_f32_do_not_count(truth, groups, right) -> None:
    f32 = answers(right, truth)
    f32[3] = np.nan
    assert compare_int8(f32, f32, truth, groups, CLASSES).compared == 199


def test_one_group_has_no_interval_of_the_balanced_accuracy_and_is_judged_by_its_tiles(truth, right) -> None:
    told = compare_int8(answers(right, truth), answers(right, truth), truth, ["g"] * 200, CLASSES)
    assert told.kept
    assert {figure.name: figure.lo for figure in told.figures}["balanced accuracy"] is None
