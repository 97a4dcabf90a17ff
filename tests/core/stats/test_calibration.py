"""Temperature and prediction sets: what they promise, in simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.core.stats.calibration import (
    ERROR_RATES,
    Calibration,
    calibrate,
    conformal_threshold,
    fit_temperature,
    prediction_sets,
    scale_by_temperature,
)
from napari_cellclass.core.stats.metrics import ece, reliability


def tiles(n: int, k: int, too_sure: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of a network whose logits are too large by a factor, and classes drawn as the true ones say."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((n, k))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (rng.random(n)[:, None] > true.cumsum(axis=1)).sum(axis=1).clip(0, k - 1)
    sure = np.exp(too_sure * logits)
    return (sure / sure.sum(axis=1, keepdims=True)).astype(np.float32), truth


@given(st.floats(0.5, 5), st.integers(2, 6), st.integers(0, 100))
def test_the_temperature_undoes_what_made_a_network_too_sure(too_sure: float, k: int, seed: int) -> None:
    prob, truth = tiles(4000, k, too_sure, seed)
    assert fit_temperature(prob, truth) == pytest.approx(too_sure, rel=0.15)


@given(st.floats(0.2, 20), st.integers(0, 100))
def test_a_temperature_changes_no_class(temperature: float, seed: int) -> None:
    prob, _ = tiles(200, 3, 1, seed)
    prob[0] = np.nan
    scaled = scale_by_temperature(prob, temperature)
    np.testing.assert_array_equal(scaled[1:].argmax(axis=1), prob[1:].argmax(axis=1))
    np.testing.assert_allclose(scaled[1:].sum(axis=1), 1, atol=1e-5)
    assert np.isnan(scaled[0]).all()


def test_few_tiles_that_are_all_correct_do_not_make_a_network_overconfident() -> None:
    prob = np.full((12, 2), (0.8, 0.2), np.float32)
    assert 0.3 < fit_temperature(prob, np.zeros(12, int)) < 1


@pytest.mark.parametrize("rate", ERROR_RATES)
def test_prediction_sets_hold_the_true_class_as_often_as_they_promise(rate: float) -> None:
    held = [tiles(150, 4, 1.7, seed) for seed in range(200)]
    new = [tiles(150, 4, 1.7, 1000 + seed) for seed in range(200)]
    covered = []
    for (p, t), (q, u) in zip(held, new, strict=True):
        scores = np.sort(1 - p.astype(float)[np.arange(150), t])
        covered.append(prediction_sets(q, conformal_threshold(scores, rate))[np.arange(150), u].mean())
    assert np.mean(covered) == pytest.approx(1 - rate, abs=0.01)


def test_too_few_scores_rule_nothing_out() -> None:
    prob, _ = tiles(10, 3, 1, 0)
    assert prediction_sets(prob, conformal_threshold(np.array([0.1, 0.2, 0.3]), 0.1)).all()


def test_calibration_is_measured_on_other_groups_than_it_is_made_from() -> None:
    prob, truth = tiles(3000, 3, 3, 0)
    groups = [f"well {i % 30}" for i in range(3000)]
    found = calibrate(prob, truth, groups)
    assert found is not None
    assert (found.n, found.groups, found.cross_fitted) == (3000, 30, True)
    assert found.ece_before == pytest.approx(ece(prob, truth))
    assert found.ece_before > 0.1
    assert found.ece_after < 0.03
    for rate in ERROR_RATES:
        assert found.coverage[f"{rate:g}"] == pytest.approx(1 - rate, abs=0.03)
    assert Calibration.model_validate_json(found.model_dump_json()) == found
    assert f"from 3,000 held-out tiles of 30 groups; expected calibration error {found.ece_before:.3f} before" in (
        found.describe()
    )
    np.testing.assert_allclose(found.undo(found.apply(prob)), prob, atol=1e-5)
    new, _ = tiles(3000, 3, 3, 1)
    sets = prediction_sets(found.apply(new), found.threshold(0.1))
    assert sets.any(axis=1).mean() > 0.9


def test_one_group_is_said_to_be_its_own_judge() -> None:
    prob, truth = tiles(100, 2, 2, 0)
    found = calibrate(prob, truth, ["only"] * 100)
    assert found is not None
    assert not found.cross_fitted
    assert found.coverage == {}


def test_the_order_of_tiles_does_not_matter_and_nothing_finite_is_nothing() -> None:
    prob, truth = tiles(300, 2, 2, 0)
    groups = np.array([f"w{i % 7}" for i in range(300)])
    order = np.random.default_rng(0).permutation(300)
    a, b = calibrate(prob, truth, list(groups)), calibrate(prob[order], truth[order], list(groups[order]))
    assert a is not None
    assert b is not None
    assert a.temperature == pytest.approx(b.temperature, rel=1e-4)
    assert a.coverage == b.coverage
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-4)
    assert calibrate(np.full((3, 2), np.nan, np.float32), np.zeros(3, int), ["a"] * 3) is None


def test_the_reliability_after_is_that_of_each_group_scaled_by_the_other_groups() -> None:
    prob, truth = tiles(400, 3, 3, 0)
    groups = np.array([f"w{i % 4}" for i in range(400)])
    found = calibrate(prob, truth, list(groups))
    assert found is not None
    fair = np.empty_like(prob)
    for name in set(groups):
        own = groups == name
        fair[own] = scale_by_temperature(prob[own], fit_temperature(prob[~own], truth[~own]))
    for rows, probabilities, error in (
        (found.reliability_before, prob, found.ece_before), (found.reliability_after, fair, found.ece_after)
    ):  # fmt: skip
        expected = reliability(probabilities, truth)
        assert [row["n"] for row in rows] == [row["n"] for row in expected]
        full = [(row["accuracy"], row["confidence"], row["n"]) for row in rows if row["n"]]
        assert sum(n * abs(accuracy - confidence) for accuracy, confidence, n in full) / 400 == pytest.approx(
            error, abs=1e-5
        )
    lines = found.reliability_lines()
    assert len(lines) > 3
    assert all(f"{row['confidence']:.3f}   {row['accuracy']:.3f}" in "\n".join(lines)
               for row in found.reliability_after if row["n"])  # fmt: skip


def test_a_group_unlike_the_others_is_not_flattered_by_its_own_temperature() -> None:
    prob, truth = tiles(600, 3, 1, 0)
    odd = np.arange(600) >= 400
    prob[odd] = scale_by_temperature(prob[odd], 0.2)  # far too sure
    groups = ["odd" if yes else f"w{i % 2}" for i, yes in enumerate(odd)]
    found = calibrate(prob, truth, groups)
    assert found is not None
    naive = ece(scale_by_temperature(prob, found.temperature), truth)
    assert found.ece_after > naive
