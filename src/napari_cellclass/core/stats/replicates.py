"""Means over replicates, and differences of two groups of replicates: intervals, t-tests, Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy  # its parts are imported when they are used: half a second
from numpy.typing import ArrayLike, NDArray

from napari_cellclass.core.stats.intervals import Estimate

TestName = Literal["welch", "paired", ""]
_FEWEST = 2
_ROUNDING = 1e-12  # a spread below it, of values of about 1, is rounding alone


@dataclass(frozen=True)
class Comparison:
    """The difference of two groups of replicates.

    Parameters
    ----------
    difference
        Mean of the first group less that of the second, with its 95 % confidence interval.
    test
        ``"welch"``, ``"paired"``, or empty where none was possible.
    statistic, freedom, p
        Student's t, its degrees of freedom, and the two-sided p-value; None without a test.
    hedges_g
        The difference in standard deviations between replicates; None where these do not vary, or are too few.
    reason
        Why there is no test; empty where there is one.
    """

    difference: Estimate
    test: TestName = ""
    statistic: float | None = None
    freedom: float | None = None
    p: float | None = None
    hedges_g: float | None = None
    reason: str = ""


def mean_interval(values: ArrayLike) -> Estimate:
    """Return the mean of replicates with its 95 % confidence interval by Student's t.

    Parameters
    ----------
    values
        float, shape (n,): one value per replicate; at least one.

    Returns
    -------
    Estimate
        Without bounds where there is one replicate only, or where they do not vary, as when a class is nowhere: that
        they are equal does not make the mean certain.
    """
    x = np.asarray(values, float)
    if len(x) < _FEWEST or float(x.std(ddof=1)) < _ROUNDING:
        return Estimate(float(x.mean()), None, None)
    half = float(scipy.special.stdtrit(len(x) - 1, 0.975)) * float(x.std(ddof=1)) / len(x) ** 0.5
    return Estimate(float(x.mean()), float(x.mean()) - half, float(x.mean()) + half)


def welch_test(first: ArrayLike, second: ArrayLike) -> Comparison:
    """Compare the means of independent replicates, whose variances may differ (Welch, Biometrika 34:28, 1947).

    The degrees of freedom are Satterthwaite's (Biometrics Bull. 2:110, 1946).

    Parameters
    ----------
    first, second
        float, shapes (n,) and (m,): one value per replicate; at least one each.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    value = float(a.mean() - b.mean())
    if min(len(a), len(b)) < _FEWEST:
        return Comparison(Estimate(value, None, None), reason="fewer than 2 replicates")
    parts = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])
    error = float(np.sqrt(parts.sum()))
    if error < _ROUNDING:
        return Comparison(Estimate(value, None, None), reason="the replicates do not vary")
    share = parts / parts.sum()  # not squared themselves, which could underflow
    freedom = float(1 / (share**2 / [len(a) - 1, len(b) - 1]).sum())
    return _tested(value, error, freedom, "welch", hedges_g(a, b))


def paired_test(first: ArrayLike, second: ArrayLike) -> Comparison:
    """Compare two conditions within replicates: Student's t-test of the differences of each replicate.

    Parameters
    ----------
    first, second
        float, both of shape (n,): the values of the same replicates, in the same order; at least one.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    each = a - b
    value = float(each.mean())
    if len(each) < _FEWEST:
        return Comparison(Estimate(value, None, None), reason="fewer than 2 replicates")
    error = float(each.std(ddof=1)) / len(each) ** 0.5
    if error < _ROUNDING:
        return Comparison(Estimate(value, None, None), reason="the differences of the replicates do not vary")
    return _tested(value, error, len(each) - 1, "paired", hedges_g(a, b))


def _tested(value: float, error: float, freedom: float, test: TestName, effect: float | None) -> Comparison:
    half = float(scipy.special.stdtrit(freedom, 0.975)) * error
    statistic = value / error
    p = 2 * float(scipy.special.stdtr(freedom, -abs(statistic)))
    return Comparison(Estimate(value, value - half, value + half), test, statistic, freedom, p, effect)


def hedges_g(first: ArrayLike, second: ArrayLike) -> float | None:
    """Return a difference of means in standard deviations: the root of the mean of both variances.

    That standardiser needs no equal variances (Bonett, Psychol. Methods 13:99, 2008). The factor that makes it
    unbiased for few replicates is Hedges's (J. Educ. Stat. 6:107, 1981), with n + m - 2 degrees of freedom.

    Returns
    -------
    float or None
        None with fewer than 2 replicates in a group, or where they do not vary.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    if min(len(a), len(b)) < _FEWEST:
        return None
    spread = float(np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2))
    if spread < _ROUNDING:
        return None
    m = len(a) + len(b) - 2
    unbiased = float(np.exp(scipy.special.gammaln(m / 2) - scipy.special.gammaln((m - 1) / 2)) / np.sqrt(m / 2))
    return unbiased * float(a.mean() - b.mean()) / spread


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Adjust p-values for their number (Holm, Scand. J. Stat. 6:65, 1979): the chance of any false positive is held.

    Returns
    -------
    ndarray of float64, shape (n,)
        In the order given; each at least as large as it was, at most 1.
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted
