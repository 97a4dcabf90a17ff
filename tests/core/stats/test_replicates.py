from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from napari_cellclass.core.stats.replicates import hedges_g, holm, mean_interval, paired_test, welch_test

FRACTIONS = st.floats(0, 1).map(lambda x: round(x, 6))


def groups(fewest: int = 2, most: int = 8) -> st.SearchStrategy[list[float]]:
    return st.lists(FRACTIONS, min_size=fewest, max_size=most)


def varies(values: np.ndarray) -> bool:
    return bool(np.ptp(values) > 1e-5)


@given(groups())
def test_the_interval_of_a_mean_is_that_of_students_t(values: list[float]) -> None:
    found = mean_interval(values)
    if not varies(np.array(values)):
        return
    expected = DescrStatsW(values).tconfint_mean()
    assert (found.lo, found.hi) == pytest.approx(expected, abs=1e-12)
    assert found.value == pytest.approx(np.mean(values))


@pytest.mark.parametrize("values", [[0.3], [0.3, 0.3, 0.3], [0.0, 0.0]])
def test_replicates_that_are_alone_or_equal_have_a_mean_without_an_interval(values: list[float]) -> None:
    found = mean_interval(values)
    assert (found.value, found.lo, found.hi) == (pytest.approx(values[0]), None, None)


@given(groups(), groups())
def test_independent_replicates_are_compared_as_by_welch(first: list[float], second: list[float]) -> None:
    found = welch_test(first, second)
    assert found.difference.value == pytest.approx(np.mean(first) - np.mean(second), abs=1e-12)
    if not varies(np.array(first)) and not varies(np.array(second)):
        return
    expected = stats.ttest_ind(first, second, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert (found.statistic, found.freedom) == pytest.approx((expected.statistic, expected.df), rel=1e-6)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-15)
    assert (found.difference.lo, found.difference.hi) == pytest.approx(
        (interval.low, interval.high), rel=1e-6, abs=1e-9
    )
    assert (found.difference.lo > 0 or found.difference.hi < 0) == (found.p < 0.05) or found.p == pytest.approx(0.05)


@given(st.lists(st.tuples(FRACTIONS, FRACTIONS), min_size=2, max_size=8))
def test_shared_replicates_are_compared_within_each(pairs: list[tuple[float, float]]) -> None:
    first, second = np.array(pairs).T
    found = paired_test(first, second)
    if not varies(first - second):
        return
    expected = stats.ttest_rel(first, second)
    interval = expected.confidence_interval(0.95)
    assert (found.statistic, found.freedom) == pytest.approx((expected.statistic, expected.df), rel=1e-6)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-15)
    assert (found.difference.lo, found.difference.hi) == pytest.approx(
        (interval.low, interval.high), rel=1e-6, abs=1e-9
    )


@given(groups(), groups())
def test_the_order_of_groups_changes_signs_alone(first: list[float], second: list[float]) -> None:
    there, back = welch_test(first, second), welch_test(second, first)
    assert there.p == (None if back.p is None else pytest.approx(back.p))
    assert there.difference.value == pytest.approx(-back.difference.value)
    assert (there.hedges_g is None) == (back.hedges_g is None)
    if there.hedges_g is not None:
        assert there.hedges_g == pytest.approx(-back.hedges_g)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [([0.2], [0.1, 0.3], "fewer than 2"), ([0.2, 0.2], [0.1, 0.1], "do not vary"), ([0.2, 0.3], [0.4], "fewer than 2")],
)
def test_without_replicates_that_vary_there_is_a_difference_but_no_test(
    first: list[float], second: list[float], reason: str
) -> None:
    found = welch_test(first, second)
    assert found.difference.value == pytest.approx(np.mean(first) - np.mean(second))
    assert (found.p, found.statistic, found.difference.lo, found.test) == (None, None, None, "")
    assert reason in found.reason


def test_pairs_that_differ_by_the_same_have_no_test() -> None:
    found = paired_test([0.2, 0.4, 0.5], [0.1, 0.3, 0.4])
    assert (found.p, found.difference.value) == (None, pytest.approx(0.1))
    assert "do not vary" in found.reason
    assert paired_test([0.2], [0.1]).p is None


def test_the_standardised_difference_is_unbiased_for_few_replicates() -> None:
    """Three draws of a normal distribution in each group, 1.5 standard deviations apart."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(np.array([[1.5], [0.0]]), 1, (20_000, 2, 3))
    found = [hedges_g(first, second) for first, second in drawn]
    assert np.mean([g for g in found if g is not None]) == pytest.approx(1.5, abs=0.04)


def test_p_values_are_adjusted_as_by_holm() -> None:
    p_values = np.round(np.random.default_rng(0).uniform(0, 1, 30) ** 4, 2)  # some are equal, some 0
    assert holm(p_values.tolist()) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_adjusted_p_values_are_larger_keep_their_order_and_one_alone_stays(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert (adjusted >= p_values).all()
    assert (adjusted <= 1).all()
    order = np.argsort(p_values)
    assert (np.diff(adjusted[order]) >= 0).all()
    assert len(p_values) != 1 or adjusted[0] == p_values[0]
