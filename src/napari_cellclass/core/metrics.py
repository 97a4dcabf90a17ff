"""How well classes were told apart: accuracies with 95 % intervals, confusion, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from napari_cellclass.core.contracts import DatasetError

_DRAWS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; bounds are None where none can be given."""

    value: float
    lo: float | None
    hi: float | None

    def __str__(self) -> str:
        if self.lo is None or self.hi is None:
            return f"{self.value:.3f} (no interval)"
        return f"{self.value:.3f} (95 % interval {self.lo:.3f} to {self.hi:.3f})"


@dataclass(frozen=True)
class EvalReport:
    """Figures of one test set.

    Parameters
    ----------
    n, groups
        Tiles, and independent groups (wells, fields) they come from.
    classes
        Class names in the model's order.
    confusion
        Tiles per class: rows are the truth, columns the prediction.
    accuracy, balanced_accuracy
        Part of the tiles that is right; the mean of that part over the classes that occur.
    per_class
        Recall, precision and F1 per class, None where it is not defined.
    ece
        Expected calibration error over 15 bins of equal width (Guo et al., ICML 2017).
    interval
        How the intervals were made.
    """

    n: int
    groups: int
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    accuracy: Estimate
    balanced_accuracy: Estimate
    per_class: tuple[dict[str, Any], ...]
    ece: float
    interval: str

    def to_json(self) -> dict[str, Any]:
        """Give a JSON-able dict."""
        return asdict(self)


def confusion_matrix(truth: NDArray[Any], predicted: NDArray[Any], k: int) -> NDArray[np.int64]:
    """Count tiles, shape (k, k): rows are the truth, columns the prediction."""
    return np.bincount(truth.astype(np.int64) * k + predicted.astype(np.int64), minlength=k * k).reshape(k, k)


def accuracies(confusion: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy and balanced accuracy of confusion matrices of shape (..., K, K).

    Balanced accuracy is the mean recall over the classes that occur in the truth.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    truth = confusion.sum(axis=-1)
    recall = np.divide(right, truth, out=np.full(right.shape, np.nan), where=truth > 0)
    return right.sum(-1) / truth.sum(-1), np.nanmean(recall, axis=-1)


def wilson(successes: float, n: int) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson, JASA 22:209, 1927)."""
    z = float(norm.ppf(0.975))
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At 0 and 1 the bound is exact, and rounding must not leave the value outside its interval.
    return min(p, max(0.0, float(centre - half))), max(p, min(1.0, float(centre + half)))


def ece(prob: NDArray[Any], truth: NDArray[Any], bins: int = 15) -> float:
    """Give the expected calibration error, bins of equal width (Guo et al., ICML 2017, eq. 3)."""
    confidence = prob.max(axis=1)
    right = prob.argmax(axis=1) == truth
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    n = np.bincount(which, minlength=bins)
    gap = np.abs(np.bincount(which, right, bins) - np.bincount(which, confidence, bins))
    return float(gap.sum() / n.sum())


def evaluate(
    prob: NDArray[Any], truth: NDArray[Any], groups: Sequence[str], classes: Sequence[str], seed: int = 0
) -> EvalReport:
    """Compare probabilities with the truth.

    Intervals come from 2 000 bootstrap samples of whole groups (percentiles 2.5 and 97.5; Davison &
    Hinkley 1997, ch. 2.4 and 3.8), drawn within strata of groups with the same classes, so that no
    class gets lost, unless a class has one group only, which can say nothing of the spread. Where all
    samples are equal, as when everything is right, it is Wilson's interval with a group counted as one
    observation. With one group, accuracy has Wilson's interval over tiles, which is too narrow where
    tiles are alike, and balanced accuracy has none.

    Parameters
    ----------
    prob
        Shape (N, K); a row with NaN counts as wrong, in no column of its own, and is left out of n.
    truth
        int, shape (N,): places in ``classes``.
    groups
        N names of wells, fields or regions.
    classes
        K names.
    seed
        Of the bootstrap.

    Raises
    ------
    DatasetError
        There is no tile with finite probabilities.
    """
    finite = np.isfinite(prob).all(axis=1)
    prob, truth = prob[finite], np.asarray(truth)[finite]
    names, group = np.unique(np.asarray(groups, str)[finite], return_inverse=True)
    if len(prob) == 0:
        raise DatasetError("there is no tile to evaluate; check that the images are readable and hold finite pixels")
    k = len(classes)
    cell = (group.astype(np.int64) * k + truth) * k + prob.argmax(axis=1)
    per_group = np.bincount(cell, minlength=len(names) * k * k).reshape(len(names), k, k)
    total = per_group.sum(axis=0)
    accuracy, balanced = (float(v) for v in accuracies(total))
    if len(names) >= 2:
        spread = accuracies(_resampled(per_group, seed))
        estimates = [_estimate(v, s, len(names)) for v, s in zip((accuracy, balanced), spread, strict=True)]
        how = f"percentile bootstrap over {len(names)} groups, 2000 samples; Wilson over groups where these are equal"
    else:
        how = "Wilson over tiles of one group: too narrow where tiles are alike"
        estimates = [
            Estimate(accuracy, *wilson(float(np.trace(total)), len(prob))),
            Estimate(balanced, None, None),
        ]
    return EvalReport(
        n=len(prob),
        groups=len(names),
        classes=tuple(classes),
        confusion=tuple(tuple(int(v) for v in row) for row in total),
        accuracy=estimates[0],
        balanced_accuracy=estimates[1],
        per_class=tuple(_per_class(total, i, name) for i, name in enumerate(classes)),
        ece=ece(prob, truth),
        interval=how,
    )


def _estimate(value: float, samples: NDArray[np.float64], groups: int) -> Estimate:
    lo, hi = (float(v) for v in np.percentile(samples, [2.5, 97.5]))
    return Estimate(value, *wilson(value * groups, groups)) if hi - lo < 1e-12 else Estimate(value, lo, hi)


def _resampled(per_group: NDArray[np.int64], seed: int, samples: int = 2000) -> NDArray[np.int64]:
    """Draw groups with replacement, within strata of two or more; give summed confusions (samples, K, K)."""
    rng = np.random.default_rng(seed)
    strata = np.unique(per_group.sum(axis=2) > 0, axis=0, return_inverse=True)[1].ravel()
    if np.bincount(strata).min() < 2:
        strata = np.zeros_like(strata)
    total = np.zeros((samples, *per_group.shape[1:]), np.int64)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        chunk = max(1, _DRAWS_AT_ONCE // len(members))
        for start in range(0, samples, chunk):
            n = min(chunk, samples - start)
            drawn = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=n)
            total[start : start + n] += np.tensordot(drawn, per_group[members], axes=1)
    return total


def _per_class(confusion: NDArray[np.int64], i: int, name: str) -> dict[str, Any]:
    right, truth, said = (int(v) for v in (confusion[i, i], confusion[i].sum(), confusion[:, i].sum()))
    return {
        "name": name,
        "n": truth,
        "recall": right / truth if truth else None,
        "precision": right / said if said else None,
        "f1": 2 * right / (truth + said) if truth + said else None,
    }
