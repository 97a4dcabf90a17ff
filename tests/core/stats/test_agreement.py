from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.contingency_tables import mcnemar as sm_mcnemar
from statsmodels.stats.inter_rater import cohens_kappa

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.stats.agreement import (
    cohen_kappa,
    compare_paired,
    kappa_estimate,
    kappa_variance,
    mcnemar,
    newcombe_paired,
)

tables_of_counts = st.integers(2, 5).flatmap(lambda k: arrays(np.int64, (k, k), elements=st.integers(0, 60)))


@settings(max_examples=60, deadline=None)
@given(tables_of_counts)
def test_kappa_and_its_variance_agree_with_scikit_learn_and_statsmodels(table: np.ndarray) -> None:
    rows, columns = np.nonzero(table)
    times = table[rows, columns]
    a, b = np.repeat(rows, times), np.repeat(columns, times)
    value = float(cohen_kappa(table))
    if len(set(a) | set(b)) < 2:
        assert np.isnan(value)
        return
    assert value == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)
    with np.errstate(invalid="ignore"):  # its z value, and a variance that rounding made negative
        reference = cohens_kappa(table)
    assert value == pytest.approx(reference.kappa, abs=1e-12)
    assert kappa_variance(table) == pytest.approx(reference.var_kappa, abs=1e-12)
    ours = kappa_estimate(a, b, ["one"] * len(a), len(table))
    assert ours is not None
    if ours.lo is not None:
        assert ours.lo == pytest.approx(max(-1, reference.kappa_low), abs=1e-9)
        assert ours.hi == pytest.approx(min(1, reference.kappa_upp), abs=1e-9)


@given(st.integers(0, 80), st.integers(0, 80))
def test_mcnemar_agrees_with_statsmodels_and_scipy(only_a: int, only_b: int) -> None:
    table = [[5, only_a], [only_b, 7]]
    assert mcnemar(only_a, only_b) == pytest.approx(sm_mcnemar(table, exact=True).pvalue, abs=1e-12)
    if only_a + only_b:
        expected = binomtest(only_a, only_a + only_b).pvalue
        assert mcnemar(only_a, only_b) == pytest.approx(expected)


def test_newcombe_gives_the_published_examples() -> None:
    cavo = newcombe_paired(59, 6, 16, 80)  # Fagerland, Lydersen & Laake 2017, ch. 8
    assert (cavo.value, cavo.lo, cavo.hi) == pytest.approx((-0.0621, -0.1186, -0.0046), abs=5e-5)
    thallium = newcombe_paired(14, 5, 0, 22)  # Altman et al., Statistics with Confidence, 2000
    assert (thallium.lo, thallium.hi) == pytest.approx((0.011, 0.226), abs=5e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9))
def test_a_comparison_reversed_is_the_same_with_the_other_sign(seed: int, groups: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 50)) < 0.7
    names = [f"{i}" for i in rng.integers(0, groups, 50)]
    one, other = compare_paired(a, b, names), compare_paired(b, a, names)
    assert (one.only_a, one.only_b, one.p) == (other.only_b, other.only_a, pytest.approx(other.p))
    assert one.both + one.only_a + one.only_b + one.neither == one.n == 50
    assert one.difference.value == pytest.approx(a.mean() - b.mean())
    assert one.difference.lo <= one.difference.value <= one.difference.hi
    if one.groups == 1:
        assert one.difference.lo == pytest.approx(-other.difference.hi)


def test_no_tile_cannot_be_compared() -> None:
    with pytest.raises(DatasetError, match="no tile"):
        compare_paired(np.zeros(0, bool), np.zeros(0, bool), [])


@pytest.mark.parametrize("groups", [6, 12, 40])
def test_intervals_of_differences_and_kappas_cover_the_truth(groups: int) -> None:
    rng = np.random.default_rng(groups)
    trials, tiles = 500, 12
    names = np.repeat([f"{i:02d}" for i in range(groups)], tiles)
    truth = np.tile(np.arange(2), groups * tiles // 2)
    hits = {"difference": 0, "kappa": 0}
    for _ in range(trials):
        hard = np.repeat(rng.beta(4, 4, groups), tiles)  # of mean 0.5: what a and b find hard they share
        a_right = rng.random(len(truth)) < 0.6 + 0.4 * (1 - hard)
        b_right = rng.random(len(truth)) < 0.5 + 0.4 * (1 - hard)
        found = compare_paired(a_right, b_right, names).difference
        hits["difference"] += found.lo <= 0.1 <= found.hi
        kappa = kappa_estimate(truth, np.where(a_right, truth, 1 - truth), names, 2)
        hits["kappa"] += kappa.lo <= 0.6 <= kappa.hi  # two equal classes, 80 % right by either class
    covered = {name: n / trials for name, n in hits.items()}
    assert all(0.92 <= part <= 0.98 for part in covered.values()), covered


@pytest.mark.parametrize(
    ("n", "p"), [(60, (0.6, 0.2, 0.1, 0.1)), (30, (0.8, 0.1, 0.05, 0.05)), (200, (0.5, 0.1, 0.1, 0.3))]
)
def test_newcombes_interval_covers_the_truth(n: int, p: tuple[float, ...]) -> None:
    rng = np.random.default_rng(n)
    cells, times = np.unique(rng.multinomial(n, p, 4000), axis=0, return_counts=True)
    found = [newcombe_paired(*map(int, cell)) for cell in cells]
    covered = sum(t for e, t in zip(found, times, strict=True) if e.lo <= p[1] - p[2] <= e.hi) / 4000
    assert 0.92 <= covered <= 0.98
