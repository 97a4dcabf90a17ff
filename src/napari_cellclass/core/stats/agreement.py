"""Agreement of two labellings of the same tiles: Cohen's kappa, McNemar's test, difference of accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy  # its parts are imported when they are used: half a second
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.stats.intervals import Estimate, GroupBootstrap, wilson


def contingency_tables(
    rows: NDArray[Any], columns: NDArray[Any], groups: Sequence[str] | NDArray[Any], k: int
) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Count pairs of classes per group.

    Parameters
    ----------
    rows, columns
        int, shape (N,): classes from 0 to k - 1.
    groups
        N names.

    Returns
    -------
    per_group
        int64, shape (G, k, k).
    names
        The G names, sorted.
    """
    names, group = np.unique(np.asarray(groups, str), return_inverse=True)
    cell = (group.astype(np.int64) * k + np.asarray(rows, np.int64)) * k + np.asarray(columns, np.int64)
    return np.bincount(cell, minlength=len(names) * k * k).reshape(len(names), k, k), names


def cohen_kappa(table: NDArray[Any]) -> NDArray[np.float64]:
    """Agreement beyond chance of tables of shape (..., K, K) (Cohen, Educ. Psychol. Meas. 20:37, 1960).

    NaN where the class frequencies alone give full agreement, as when both use one class only.
    """
    n = table.sum(axis=(-2, -1)).astype(float)
    same = np.trace(table, axis1=-2, axis2=-1)
    chance = (table.sum(axis=-1).astype(float) * table.sum(axis=-2)).sum(axis=-1)
    left = n * n - chance
    return np.divide(n * same - chance, left, out=np.full(np.shape(left), np.nan), where=left > 1e-9 * n * n)


def kappa_variance(table: NDArray[Any]) -> float:
    """Large-sample variance of Cohen's kappa, tiles independent (Fleiss, Cohen & Everitt, Psychol. Bull. 72:323, 1969).

    NaN where kappa is not defined.
    """
    p = table / table.sum()
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    same, chance = float(np.trace(p)), float(rows @ columns)
    if chance >= 1:
        return float("nan")
    kappa = (same - chance) / (1 - chance)
    on = (np.diag(p) * (1 - (rows + columns) * (1 - kappa)) ** 2).sum()
    apart = p * (rows[None, :] + columns[:, None]) ** 2
    off = (1 - kappa) ** 2 * (apart.sum() - np.trace(apart))
    return float((on + off - (kappa - chance * (1 - kappa)) ** 2) / ((1 - chance) ** 2 * table.sum()))


def kappa_estimate(
    a: NDArray[Any], b: NDArray[Any], groups: Sequence[str] | NDArray[Any], k: int, seed: int = 0
) -> Estimate | None:
    """Cohen's kappa of two readings of the same tiles, None where it is not defined.

    The interval is by group, see :class:`GroupBootstrap`; with one group it is that of a large sample of independent
    tiles, which is too narrow where tiles are correlated, and has no width, so is not given, at full agreement.
    """
    per_group, names = contingency_tables(a, b, groups, k)
    if len(names) >= 2:
        return GroupBootstrap(per_group, seed).estimate(cohen_kappa, lowest=-1.0)
    return kappa_of_one_group(per_group[0])


def kappa_of_one_group(table: NDArray[Any]) -> Estimate | None:
    """Cohen's kappa of a table (K, K) with its large-sample interval."""
    value, variance = float(cohen_kappa(table)), kappa_variance(table)
    if not np.isfinite(value):
        return None
    if not variance > 1e-12:
        return Estimate(value, None, None)
    half = float(scipy.special.ndtri(0.975)) * variance**0.5
    return Estimate(value, max(-1.0, value - half), min(1.0, value + half))


@dataclass(frozen=True)
class PairedComparison:
    """Two readers, or a reader and the network, on the same tiles.

    Parameters
    ----------
    n, groups
        Tiles, and groups they come from.
    both, only_a, only_b, neither
        Tiles that both, one, or none of them classified correctly.
    difference
        Accuracy of a less that of b, by group (see :class:`GroupBootstrap`), or Newcombe's with one group.
    p
        Two-sided p of McNemar's exact test; it assumes independent tiles, so where tiles of a group are
        correlated, rather use the interval of the difference.
    """

    n: int
    groups: int
    both: int
    only_a: int
    only_b: int
    neither: int
    difference: Estimate
    p: float

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
        return asdict(self)


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p of McNemar's exact test (Psychometrika 12:153, 1947): binomial over the discordant tiles."""
    from scipy.stats import binomtest

    discordant = only_a + only_b
    return float(binomtest(only_a, discordant, 0.5).pvalue) if discordant else 1.0


def compare_paired(
    a_correct: NDArray[Any], b_correct: NDArray[Any], groups: Sequence[str] | NDArray[Any], seed: int = 0
) -> PairedComparison:
    """Compare two accuracies on the same tiles.

    Parameters
    ----------
    a_correct, b_correct
        bool, shape (N,): whether each classified the tile correctly.
    groups
        N names of wells, fields or regions.

    Raises
    ------
    DatasetError
        There is no tile.
    """
    if len(a_correct) == 0:
        raise DatasetError("two readings of no tile cannot be compared; give both the same tiles")
    per_group, names = contingency_tables(np.asarray(a_correct, bool), np.asarray(b_correct, bool), groups, 2)
    (neither, only_b), (only_a, both) = per_group.sum(axis=0).tolist()
    if len(names) >= 2:
        difference = GroupBootstrap(per_group, seed).estimate(_difference, lowest=-1.0)
        assert difference is not None  # a fraction of n tiles is always defined
    else:
        difference = newcombe_paired(both, only_a, only_b, neither)
    return PairedComparison(
        len(a_correct), len(names), both, only_a, only_b, neither, difference, mcnemar(only_a, only_b)
    )


def _difference(table: NDArray[Any]) -> NDArray[np.float64]:
    return (table[..., 1, 0] - table[..., 0, 1]) / table.sum(axis=(-2, -1))


def newcombe_paired(both: int, only_a: int, only_b: int, neither: int) -> Estimate:
    """Difference of two paired proportions with its 95 % confidence interval.

    Newcombe, Stat. Med. 17:2635, 1998, method 10.
    """
    n = both + only_a + only_b + neither
    a, b = both + only_a, both + only_b
    (low_a, high_a), (low_b, high_b) = wilson(a, n), wilson(b, n)
    margins = float(a) * (n - a) * b * (n - b)
    excess = float(both * neither - only_a * only_b)
    excess = max(excess - n / 2, 0.0) if excess > 0 else excess
    phi = excess / margins**0.5 if margins else 0.0
    difference = (a - b) / n
    below, above = (a / n - low_a, high_b - b / n), (high_a - a / n, b / n - low_b)
    low, high = (float(np.sqrt(max(0.0, u * u - 2 * phi * u * v + v * v))) for u, v in (below, above))
    return Estimate(difference, max(-1.0, difference - low), min(1.0, difference + high))
