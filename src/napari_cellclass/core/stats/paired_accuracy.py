"""Balanced accuracies of two classifiers on the same tiles, and their difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.stats.agreement import mcnemar
from napari_cellclass.core.stats.intervals import Estimate, GroupBootstrap

FEWEST_GROUPS, FEWEST_TILES = 3, 2
"""Groups, and tiles of each class, below which nothing is compared."""
_LEVEL = 0.05


@dataclass(frozen=True)
class PairedAccuracy:
    """Two classifiers on the same tiles.

    Parameters
    ----------
    n, groups
        Tiles, and groups they come from.
    one, other
        Balanced accuracies.
    difference
        ``one - other`` with its 95 % confidence interval over groups, see :class:`GroupBootstrap`.
    p
        Two-sided p of McNemar's exact test over tiles.
    """

    n: int
    groups: int
    one: float
    other: float
    difference: Estimate
    p: float

    @property
    def one_wins(self) -> bool:
        """Whether the first is better beyond doubt: its interval is above 0, and so says McNemar's test at 5 %."""
        return self.difference.lo is not None and self.difference.lo > 0 and self.p < _LEVEL


def compare_balanced(
    truth: NDArray[np.integer[Any]], one: NDArray[np.bool_], other: NDArray[np.bool_], groups: NDArray[Any]
) -> PairedAccuracy | None:
    """Compare the balanced accuracies of two classifiers on tiles that neither was fitted to.

    Parameters
    ----------
    truth
        Class indices, shape (n,).
    one, other
        Whether each classifier is right, shape (n,).
    groups
        What group each tile belongs to, shape (n,).

    Returns
    -------
    PairedAccuracy or None
        None where there are fewer than three groups, or two tiles of a class, or classes.
    """
    present, compact = np.unique(truth, return_inverse=True)
    names, group = np.unique(np.asarray(groups, str), return_inverse=True)
    few = len(present) < 2 or np.bincount(compact).min() < FEWEST_TILES
    if few or len(names) < FEWEST_GROUPS:
        return None
    one, other = np.asarray(one, bool), np.asarray(other, bool)
    cell = (group * len(present) + compact) * 4 + 2 * one + other
    tables = np.bincount(cell, minlength=len(names) * len(present) * 4).reshape(len(names), len(present), 4)
    difference = GroupBootstrap(tables).estimate(_difference, lowest=-1.0)
    if difference is None:
        return None
    recall = [np.bincount(compact, right) / np.bincount(compact) for right in (one, other)]
    p = mcnemar(int((one & ~other).sum()), int((other & ~one).sum()))
    return PairedAccuracy(len(truth), len(names), float(recall[0].mean()), float(recall[1].mean()), difference, p)


def _difference(table: NDArray[Any]) -> NDArray[np.float64]:
    """Return the difference of balanced accuracies of tables (..., K, 4): neither, other, one, or both right."""
    tiles = table.sum(axis=-1)
    gained = table[..., 2] - table[..., 1]
    return np.asarray(np.divide(gained, tiles, out=np.full(tiles.shape, np.nan), where=tiles > 0)).mean(axis=-1)
