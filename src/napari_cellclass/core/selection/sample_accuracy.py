"""Accuracy of predictions, estimated from a random sample of tiles whose ground truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # its parts are imported when they are used: half a second
from numpy.typing import NDArray

from napari_cellclass.core.stats.intervals import Estimate

_DRAWS = 4000
_PRIOR = 0.5  # Jeffreys' prior of a proportion
_TAIL, _ZERO = 0.025, 1e-9
_CHANCE_TAIL = 0.005  # probability of a claim that predictions are better than chance where they are not


@dataclass(frozen=True)
class SampleAccuracy:
    """Balanced accuracy on the tiles that a sample was drawn from.

    Parameters
    ----------
    estimate
        Balanced accuracy with its 95 % confidence interval; None where too little is known.
    n
        Number of drawn tiles.
    missing
        The classes of which too few tiles were drawn, by index, where there is no estimate.
    above_chance
        Whether it is beyond doubt that predictions are better than chance.
    """

    estimate: Estimate | None
    n: int
    missing: tuple[int, ...] = ()
    above_chance: bool = False


def sample_accuracy(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int, others: int, fewest: int = 2
) -> SampleAccuracy:
    """Estimate balanced accuracy on the tiles without a label, from some of them that were drawn at random.

    Each class's recall has an exact interval (Clopper & Pearson, Biometrika 26:404, 1934); their mean has the one that
    follows from these (MOVER, Zou & Donner, Stat. Med. 27:1693, 2008). As it is the accuracy on ``others`` tiles, not
    on infinitely many, a class of n drawn tiles and m others counts as n m / (n + m) tiles.

    Parameters
    ----------
    truth, predicted
        int, shape (n,): class indices of the drawn tiles, each predicted without its own label.
    n_classes
        Number of classes, each of which has to be among the drawn.
    others
        Number of tiles that have no label.
    fewest
        Drawn tiles of each class, below which there is no estimate.
    """
    counts = np.bincount(truth, minlength=n_classes)
    missing = tuple(np.flatnonzero(counts < fewest).tolist())
    if missing or n_classes < 2:
        return SampleAccuracy(None, len(truth), missing)
    recall = np.bincount(truth[truth == predicted], minlength=n_classes) / counts
    remaining = np.maximum(1.0, others * counts / counts.sum())
    effective = counts * remaining / (counts + remaining)
    value = float(recall.mean())
    lo, hi = _mean_interval(recall, effective, _TAIL)
    doubted, _ = _mean_interval(recall, effective, _CHANCE_TAIL)
    return SampleAccuracy(Estimate(value, lo, hi), len(truth), (), doubted > 1 / n_classes)


def _mean_interval(p: NDArray[np.float64], n: NDArray[np.float64], tail: float) -> tuple[float, float]:
    """Return the interval of the mean of proportions p of n tiles each, with ``tail`` beyond either bound."""
    correct, wrong = p * n, (1 - p) * n
    lower = np.where(correct > _ZERO, scipy.special.betaincinv(np.maximum(correct, _ZERO), wrong + 1, tail), 0.0)
    upper = np.where(wrong > _ZERO, scipy.special.betaincinv(correct + 1, np.maximum(wrong, _ZERO), 1 - tail), 1.0)
    mean = float(p.mean())
    below, above = np.sqrt(np.square(p - lower).sum()) / len(p), np.sqrt(np.square(upper - p).sum()) / len(p)
    return max(0.0, mean - float(below)), min(1.0, mean + float(above))


def sample_fractions(
    shares: NDArray[np.float64], truth: NDArray[np.int64], predicted: NDArray[np.int64], seed: int = 0
) -> tuple[Estimate, ...]:
    """Estimate the fraction of a field's tiles that each class has, from all predictions and a random sample.

    The fraction that is predicted, corrected by how often predictions of the sample were wrong in either direction (a
    difference estimator, Cochran 1977, Sampling Techniques, 7.2); tiles wrongly given and wrongly taken are a
    multinomial with Jeffreys' prior, and the interval holds the central 95 % of 4 000 draws of the corrected fraction.

    Parameters
    ----------
    shares
        Shape (K,): the fraction of the field's tiles that are predicted to be of each class.
    truth, predicted
        int, shape (n,): class indices of the sample, predicted without its own labels; n of at least 1.
    seed
        Of the draws.
    """
    rng = np.random.default_rng(seed)
    found = []
    for k, share in enumerate(shares.tolist()):
        lost = int(((truth == k) & (predicted != k)).sum())
        gained = int(((truth != k) & (predicted == k)).sum())
        posterior = np.array([lost, gained, len(truth) - lost - gained]) + _PRIOR
        draws = rng.dirichlet(posterior, _DRAWS)
        corrected = np.clip(share + draws[:, 0] - draws[:, 1], 0, 1)
        lo, hi = np.quantile(corrected, [0.025, 0.975]).tolist()
        value = float(np.clip(share + (lost - gained) / len(truth), 0, 1))
        found.append(Estimate(value, min(lo, value), max(hi, value)))
    return tuple(found)
