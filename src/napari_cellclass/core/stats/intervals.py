"""95 % confidence intervals: of a proportion, and of any figure of a table by resampling whole groups."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import scipy  # its parts are imported when they are used: half a second
from numpy.typing import NDArray

_DRAWS_AT_ONCE = 500_000
_SAMPLES = 2000
_Z = NormalDist().inv_cdf(0.975)

Statistic = Callable[[NDArray[Any]], NDArray[np.float64]]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % confidence interval; bounds are None where none can be given."""

    value: float
    lo: float | None
    hi: float | None

    def __str__(self) -> str:
        if self.lo is None or self.hi is None:
            return f"{self.value:.3f} (no interval)"
        return f"{self.value:.3f} (95 % confidence interval {self.lo:.3f} to {self.hi:.3f})"


def wilson(successes: float, n: float, critical: float = _Z) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson, JASA 22:209, 1927).

    Parameters
    ----------
    successes, n
        Need not be whole: ``n`` may be an effective sample size.
    critical
        The normal quantile, or one of Student's t where the variance was estimated.
    """
    z, p = critical, successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At 0 and 1 the bound is exact, and rounding must not leave the value outside its interval.
    return min(p, max(0.0, float(centre - half))), max(p, min(1.0, float(centre + half)))


class GroupBootstrap:
    """Confidence intervals of metrics of a table, its groups (wells, fields) resampled with replacement.

    The variance of a metric comes from 2 000 samples by the bootstrap of Rao & Wu (JASA 83:231, 1988): of the n
    groups of a stratum n - 1 are drawn and weighted by n / (n - 1), which makes the variance unbiased where groups are
    few. Strata are groups that fill the same rows of the table, so that no class gets lost, unless such a stratum
    has one group only, which has no variance; then all groups are one stratum. The interval is
    Wilson's with the effective sample size that has this variance, and Student's t with as many degrees of freedom
    as there are groups less strata (Korn & Graubard, Surv. Methodol. 24:193, 1998; Dean & Pagano, JSSAM 3:484,
    2015). Percentiles of the bootstrap itself, which are too narrow for few groups, are not used.

    Simulated with wells that differ (beta-binomial, intraclass correlation up to 0.09), the interval of an accuracy
    of 0.5 to 0.9 covered the true value in 92 to 98 % of experiments for 6 to 40 groups. With 2 to 5 groups it is wide
    rather than narrow (up to 99 %).

    Parameters
    ----------
    per_group
        int, shape (G, R, C): a table of counts for each of two or more groups; rows make the strata.
    seed
        Of the samples.
    """

    def __init__(self, per_group: NDArray[np.int64], seed: int = 0) -> None:
        self.per_group = per_group
        self.total = per_group.sum(axis=0)
        self.strata = np.unique(per_group.sum(axis=2) > 0, axis=0, return_inverse=True)[1].ravel()
        if np.bincount(self.strata).min() < 2:
            self.strata = np.zeros_like(self.strata)
        self._samples = self._draw(seed)

    def _draw(self, seed: int) -> NDArray[np.float64]:
        total = np.zeros((_SAMPLES, *self.per_group.shape[1:]))
        for stratum in np.unique(self.strata).tolist():
            members = np.flatnonzero(self.strata == stratum)
            n = len(members)
            chunk = max(1, _DRAWS_AT_ONCE // n)
            flat = self.per_group[members].reshape(n, -1).astype(float)
            for start in range(0, _SAMPLES, chunk):
                size = min(chunk, _SAMPLES - start)
                total[start : start + size] += (_weights(n, size, (seed, stratum, start)) @ flat).reshape(
                    size, *total.shape[1:]
                )
        return total

    def estimate(
        self, statistic: Statistic, lowest: float = 0.0, involved: NDArray[np.bool_] | None = None
    ) -> Estimate | None:
        """Return a metric with its confidence interval, None where the metric itself is not defined.

        Parameters
        ----------
        statistic
            Returns the metric, at most 1, of tables of shape (..., R, C); NaN where it is not defined.
        lowest
            The smallest possible value: 0 of a proportion, -1 of a kappa or a difference.
        involved
            bool, shape (G,): the groups that the metric depends on; all when None. One alone gives no interval.
        """
        value = float(statistic(self.total))
        if not np.isfinite(value):
            return None
        strata = self.strata if involved is None else self.strata[involved]
        groups, freedom = len(strata), len(strata) - len(np.unique(strata))
        samples = statistic(self._samples)
        samples = samples[np.isfinite(samples)]
        if freedom < 1 or len(samples) < _SAMPLES // 2:
            return Estimate(value, None, None)
        width = 1.0 - lowest
        p, spread = min(1.0, max(0.0, (value - lowest) / width)), float(samples.std()) / width
        if spread < 1e-9:  # all groups equal, as when everything is correct: a group is one observation
            lo, hi = wilson(p * groups, groups)
        else:
            n = max(p * (1 - p), 1e-12) / spread**2
            lo, hi = wilson(p * n, n, float(scipy.special.stdtrit(freedom, 0.975)))
        return Estimate(value, min(value, lowest + width * lo), max(value, lowest + width * hi))


@functools.lru_cache(maxsize=8)
def _weights(n: int, size: int, seed: tuple[int, ...]) -> NDArray[np.float64]:
    """Weights of n groups in some samples, shape (size, n); cached, as one test set needs many metrics."""
    drawn = np.random.default_rng(seed).multinomial(n - 1, np.full(n, 1 / n), size=size)
    weights = np.asarray(drawn * (n / (n - 1)), np.float64)
    weights.setflags(write=False)
    return weights
