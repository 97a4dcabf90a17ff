from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.stats.agreement import contingency_tables
from napari_cellclass.core.stats.metrics import GroupedMetrics, ece, evaluate, reliability, wilson


def random_case(seed: int, n: int = 60, k: int = 3) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    prob = rng.dirichlet(np.ones(k) * 0.5, n).astype(np.float32)
    truth = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    return prob, truth, [f"g{i}" for i in rng.integers(0, 8, n)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_figures_agree_with_scikit_learn(seed: int, k: int) -> None:
    prob, truth, groups = random_case(seed, k=k)
    report = evaluate(prob, truth, groups, [f"c{i}" for i in range(k)])
    predicted = prob.argmax(1)
    assert (np.array(report.confusion) == sk.confusion_matrix(truth, predicted)).all()
    assert report.accuracy.value == pytest.approx(sk.accuracy_score(truth, predicted))
    assert report.balanced_accuracy.value == pytest.approx(sk.balanced_accuracy_score(truth, predicted))
    precision, recall, f1, n = sk.precision_recall_fscore_support(truth, predicted, zero_division=np.nan)
    for i, row in enumerate(report.per_class):
        assert row["n"] == n[i]
        assert row["recall"] == pytest.approx(recall[i])
        assert row["f1"] == pytest.approx(f1[i])
        if row["precision"] is not None:
            assert row["precision"] == pytest.approx(precision[i])


@given(st.integers(1, 400), st.floats(0, 1))
def test_wilson_agrees_with_scipy(n: int, part: float) -> None:
    k = round(part * n)
    expected = binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_ece_of_a_hand_made_table() -> None:
    prob = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    truth = np.array([0, 1, 0, 0])
    # bins: two tiles at 0.9, half correct: gap 0.4; two at 0.6, all correct: gap 0.4
    assert ece(prob, truth) == pytest.approx(0.4)


def test_intervals_widen_when_tiles_of_a_group_are_correlated() -> None:
    rng = np.random.default_rng(1)
    correct = np.repeat(rng.random(12) < 0.7, 20)
    truth = np.repeat(np.arange(12) % 2, 20)
    predicted = np.where(correct, truth, 1 - truth)
    prob = np.eye(2)[predicted]
    by_group = evaluate(prob, truth, [str(i // 20) for i in range(240)], ["a", "b"]).accuracy
    by_tile = evaluate(prob, truth, [str(i) for i in range(240)], ["a", "b"]).accuracy
    assert by_group.value == by_tile.value
    assert by_group.hi - by_group.lo > 2 * (by_tile.hi - by_tile.lo)


def test_the_group_bootstrap_covers_the_truth() -> None:
    rng = np.random.default_rng(2)
    hits, trials = 0, 150
    for _ in range(trials):
        rates = rng.beta(8, 2, 40)  # accuracy differs between wells; mean 0.8
        correct = rng.random((40, 10)) < rates[:, None]
        truth = np.tile(np.arange(2), 200)
        prob = np.eye(2)[np.where(correct.ravel(), truth, 1 - truth)]
        estimate = evaluate(prob, truth, [str(i // 10) for i in range(400)], ["a", "b"]).accuracy
        hits += estimate.lo <= 0.8 <= estimate.hi
    assert 0.88 <= hits / trials <= 0.99


@pytest.mark.parametrize("correct", [0, 1])
def test_an_interval_never_has_no_width(correct: int) -> None:
    truth = np.repeat([0, 1], 40)
    prob = np.eye(2)[truth if correct else 1 - truth]
    for groups in (2, 4, 10):
        report = evaluate(prob, truth, [str(i * groups // 80) for i in range(80)], ["a", "b"])
        for estimate in (report.accuracy, report.balanced_accuracy):
            assert estimate.value == correct
            assert estimate.hi - estimate.lo > 0.2  # a few wells never prove perfection
            assert estimate.lo <= estimate.value <= estimate.hi


def test_a_class_with_one_group_does_not_make_the_interval_narrow() -> None:
    truth = np.repeat([0, 1, 2], 20)
    prob = np.eye(3)[np.concatenate([truth[:30], (truth[30:] + 1) % 3])]
    report = evaluate(prob, truth, [f"field {t}" for t in truth], ["a", "b", "c"])
    assert report.balanced_accuracy.hi - report.balanced_accuracy.lo > 0.3


def test_one_group_gets_wilson_and_says_so() -> None:
    prob, truth, _ = random_case(3)
    report = evaluate(prob, truth, ["only"] * 60, ["a", "b", "c"])
    assert "Wilson" in report.interval
    assert report.balanced_accuracy.lo is None


def test_tiles_without_probabilities_are_left_out_of_n() -> None:
    prob, truth, groups = random_case(4)
    prob[:5] = np.nan
    assert evaluate(prob, truth, groups, ["a", "b", "c"]).n == 55
    with pytest.raises(DatasetError, match="no tile to evaluate"):
        evaluate(np.full_like(prob, np.nan), truth, groups, ["a", "b", "c"])


def test_every_figure_has_its_interval_and_old_keys_stay() -> None:
    prob, truth, groups = random_case(5, n=200)
    content = evaluate(prob, truth, groups, ["a", "b", "c"]).to_json()
    old = {"n", "groups", "classes", "confusion", "accuracy", "balanced_accuracy", "per_class", "ece", "interval"}
    assert old <= set(content)
    assert content["kappa"]["value"] == pytest.approx(sk.cohen_kappa_score(truth, prob.argmax(1)))
    for figures in (content["accuracy"], content["balanced_accuracy"], content["kappa"]):
        assert figures["lo"] < figures["value"] < figures["hi"]
    for row in content["per_class"]:
        for figure in ("recall", "precision", "f1"):
            lo, hi = row[f"{figure}_interval"]
            assert lo < row[figure] < hi
    assert [row["field"] for row in content["fields"]] == sorted(set(groups))
    assert sum(row["n"] * row["accuracy"] for row in content["fields"]) == pytest.approx(
        (prob.argmax(1) == truth).sum()
    )


@given(st.integers(0, 10_000), st.integers(2, 4))
def test_reliability_agrees_with_scikit_learn(seed: int, k: int) -> None:
    prob, truth, _ = random_case(seed, k=k)
    rows = [row for row in reliability(prob, truth) if row["n"]]
    correct = prob.argmax(1) == truth
    accuracy, confidence = calibration_curve(correct, prob.max(1).astype(float), n_bins=15)
    np.testing.assert_allclose([row["accuracy"] for row in rows], accuracy)
    np.testing.assert_allclose([row["confidence"] for row in rows], confidence)


@pytest.mark.parametrize("groups", [6, 12, 40])
def test_intervals_cover_the_truth_in_95_of_100_experiments(groups: int) -> None:
    rng = np.random.default_rng(groups)
    trials, tiles = 500, rng.integers(8, 25, groups)
    labels = np.repeat(np.arange(groups) % 2, tiles)  # wells of one class each
    names = np.repeat([f"{i:02d}" for i in range(groups)], tiles)
    truths = {"accuracy": np.average([0.9, 0.7], weights=np.bincount(labels)), "balanced": 0.8, "recall": 0.9}
    hits = dict.fromkeys(truths, 0)
    for _ in range(trials):
        means = np.where(np.arange(groups) % 2, 0.7, 0.9)
        rates = np.repeat(rng.beta(20 * means, 20 * (1 - means)), tiles)  # wells differ, tiles of a well are alike
        predicted = np.where(rng.random(len(labels)) < rates, labels, 1 - labels)
        figures = GroupedMetrics(contingency_tables(labels, predicted, names, 2)[0], 0)
        accuracy, balanced = figures.accuracies()
        recall = figures._class_interval("recall", 0)
        found = {"accuracy": (accuracy.lo, accuracy.hi), "balanced": (balanced.lo, balanced.hi), "recall": recall}
        for name, (lo, hi) in found.items():
            hits[name] += lo <= truths[name] <= hi
    covered = {name: n / trials for name, n in hits.items()}
    if groups == 6:
        assert covered.pop("recall") >= 0.92, "of three wells: wide rather than narrow"
    assert all(0.92 <= part <= 0.98 for part in covered.values()), covered
