"""Metrics of a classification: accuracies with 95 % confidence intervals, confusion matrix, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.stats.agreement import cohen_kappa, contingency_tables, kappa_of_one_group
from napari_cellclass.core.stats.intervals import Estimate, GroupBootstrap, wilson

__all__ = [
    "Estimate",
    "EvalReport",
    "GroupedMetrics",
    "accuracies",
    "confusion_matrix",
    "ece",
    "evaluate",
    "reliability",
    "wilson",
]

_BINS = 15


@dataclass(frozen=True)
class EvalReport:
    """Metrics of one test set.

    Parameters
    ----------
    n, groups
        Tiles, and independent groups (wells, fields) they come from.
    classes
        Class names in the model's order.
    confusion
        Tiles per class: rows are the ground truth, columns the prediction.
    accuracy, balanced_accuracy
        Fraction of correctly classified tiles; mean recall over the classes that occur.
    per_class
        Recall, precision and F1 per class, None where it is not defined, and ``recall_interval`` etc. as [lo, hi].
    ece
        Expected calibration error over 15 bins of equal width (Guo et al., ICML 2017).
    interval
        How the intervals were computed.
    kappa
        Cohen's kappa of ground truth and prediction, None where it is not defined.
    reliability
        See :func:`reliability`.
    fields
        Tiles and accuracy per field: field, n, accuracy, lo, hi (Wilson's interval over its tiles).
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
    kappa: Estimate | None
    reliability: tuple[dict[str, Any], ...]
    fields: tuple[dict[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
        return asdict(self)


def confusion_matrix(truth: NDArray[Any], predicted: NDArray[Any], k: int) -> NDArray[np.int64]:
    """Count tiles, shape (k, k): rows are the ground truth, columns the prediction."""
    return np.bincount(truth.astype(np.int64) * k + predicted.astype(np.int64), minlength=k * k).reshape(k, k)


def accuracies(confusion: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy and balanced accuracy of confusion matrices of shape (..., K, K).

    Balanced accuracy is the mean recall over the classes that occur in the truth.
    """
    correct = np.diagonal(confusion, axis1=-2, axis2=-1)
    truth = confusion.sum(axis=-1)
    recall = np.divide(correct, truth, out=np.full(correct.shape, np.nan), where=truth > 0)
    return correct.sum(-1) / truth.sum(-1), np.nanmean(recall, axis=-1)


def ece(prob: NDArray[Any], truth: NDArray[Any], bins: int = _BINS) -> float:
    """Return the expected calibration error, bins of equal width (Guo et al., ICML 2017, eq. 3)."""
    found = reliability(prob, truth, bins)
    return sum(row["n"] * abs(row["accuracy"] - row["confidence"]) for row in found if row["n"]) / len(prob)


def reliability(prob: NDArray[Any], truth: NDArray[Any], bins: int = _BINS) -> list[dict[str, Any]]:
    """Return the bars of a reliability diagram: the accuracy of tiles by confidence.

    Parameters
    ----------
    prob, truth
        Shape (N, K), finite; indices of the true classes, shape (N,).
    bins
        Number of bins of equal width, ``(lo, hi]``.

    Returns
    -------
    list of dict
        Per bin: lo, hi, n, and the mean confidence and the accuracy of its tiles, None where it is empty.
    """
    confidence = prob.max(axis=1).astype(float)
    correct = prob.argmax(axis=1) == truth
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    sums = [np.bincount(which, weights, bins) for weights in (None, confidence, correct)]
    return [
        {
            "lo": i / bins,
            "hi": (i + 1) / bins,
            "n": int(n),
            "confidence": float(confidences / n) if n else None,
            "accuracy": float(hits / n) if n else None,
        }
        for i, (n, confidences, hits) in enumerate(zip(*sums, strict=True))
    ]


def evaluate(
    prob: NDArray[Any],
    truth: NDArray[Any],
    groups: Sequence[str],
    classes: Sequence[str],
    seed: int = 0,
    fields: Sequence[str] | None = None,
) -> EvalReport:
    """Compare probabilities with the ground truth.

    Intervals come from samples of whole groups, see :class:`~napari_cellclass.core.stats.intervals.GroupBootstrap`.
    A metric that depends on one of several groups, as the recall of a class of one well, has none. With one group
    in all, proportions have Wilson's interval over tiles and kappa that of a large sample, both too narrow where
    tiles are correlated, and balanced accuracy and F1 have none.

    Parameters
    ----------
    prob
        Shape (N, K); rows with NaN are left out.
    truth
        int, shape (N,): class indices, the ground truth.
    groups
        N names of wells, fields or regions.
    classes
        K names.
    seed
        Of the bootstrap.
    fields
        N names of the fields for their table; the groups when not given.

    Raises
    ------
    DatasetError
        There is no tile with finite probabilities.
    """
    finite = np.isfinite(prob).all(axis=1)
    prob, truth = prob[finite], np.asarray(truth)[finite]
    if len(prob) == 0:
        raise DatasetError("there is no tile to evaluate; check that the images are readable and hold finite pixels")
    predicted = prob.argmax(axis=1)
    group = np.asarray(groups, str)[finite]
    per_group, names = contingency_tables(truth, predicted, group, len(classes))
    figures = GroupedMetrics(per_group, seed)
    accuracy, balanced = figures.accuracies()
    return EvalReport(
        n=len(prob),
        groups=len(names),
        classes=tuple(classes),
        confusion=tuple(tuple(int(v) for v in row) for row in figures.total),
        accuracy=accuracy,
        balanced_accuracy=balanced,
        per_class=tuple(figures.per_class(i, name) for i, name in enumerate(classes)),
        ece=ece(prob, truth),
        interval=figures.interval_method(),
        kappa=figures.kappa(),
        reliability=tuple(reliability(prob, truth)),
        fields=_field_table(group if fields is None else np.asarray(fields, str)[finite], predicted == truth),
    )


class GroupedMetrics:
    """Metrics of confusion matrices per group, each with its confidence interval.

    Parameters
    ----------
    per_group
        int64, shape (G, K, K): tiles per group, rows are the ground truth.
    seed
        Of the bootstrap.
    """

    def __init__(self, per_group: NDArray[np.int64], seed: int = 0) -> None:
        self.per_group, self.total = per_group, per_group.sum(axis=0)
        self._by_group = GroupBootstrap(per_group, seed) if len(per_group) >= 2 else None

    def interval_method(self) -> str:
        """Describe how the intervals are computed."""
        if self._by_group is None:
            return "Wilson over tiles of one group: too narrow where tiles are correlated"
        return (
            f"bootstrap over {len(self.per_group)} groups, 2000 samples, Wilson with the effective sample size and "
            "Student's t; Wilson over groups where these are equal"
        )

    def accuracies(self) -> tuple[Estimate, Estimate]:
        """Return accuracy and balanced accuracy."""
        accuracy, balanced = (float(v) for v in accuracies(self.total))
        if self._by_group is None:
            n = int(self.total.sum())
            return Estimate(accuracy, *wilson(float(np.trace(self.total)), n)), Estimate(balanced, None, None)
        first = self._by_group.estimate(lambda table: accuracies(table)[0])
        second = self._by_group.estimate(lambda table: accuracies(table)[1])
        assert first is not None  # both are defined wherever there is a tile
        assert second is not None
        return first, second

    def kappa(self) -> Estimate | None:
        """Return Cohen's kappa of ground truth and prediction, None where it is not defined."""
        if self._by_group is None:
            return kappa_of_one_group(self.total)
        return self._by_group.estimate(cohen_kappa, lowest=-1.0)

    def per_class(self, i: int, name: str) -> dict[str, Any]:
        """Return a class's row: name, n, recall, precision, F1 and their intervals."""
        correct, truth, predicted = (int(v) for v in (self.total[i, i], self.total[i].sum(), self.total[:, i].sum()))
        row: dict[str, Any] = {
            "name": name,
            "n": truth,
            "recall": correct / truth if truth else None,
            "precision": correct / predicted if predicted else None,
            "f1": 2 * correct / (truth + predicted) if truth + predicted else None,
        }
        for figure in ("recall", "precision", "f1"):
            row[f"{figure}_interval"] = None if row[figure] is None else self._class_interval(figure, i)
        return row

    def _class_interval(self, figure: str, i: int) -> list[float] | None:
        """Return [lo, hi] of a class's figure, or None where none can be given."""
        if self._by_group is None:
            n = self.total[i].sum() if figure == "recall" else self.total[:, i].sum()
            return None if figure == "f1" else list(wilson(float(self.total[i, i]), int(n)))
        estimate = self._by_group.estimate(
            lambda table: _class_figure(table, figure, i), involved=_weight(self.per_group, figure, i) > 0
        )
        return None if estimate is None or estimate.lo is None or estimate.hi is None else [estimate.lo, estimate.hi]


def _weight(table: NDArray[Any], figure: str, i: int) -> NDArray[Any]:
    truth, predicted = table[..., i, :].sum(axis=-1), table[..., :, i].sum(axis=-1)
    return {"recall": truth, "precision": predicted, "f1": (truth + predicted) / 2}[figure]


def _class_figure(table: NDArray[Any], figure: str, i: int) -> NDArray[np.float64]:
    weight = np.asarray(_weight(table, figure, i), float)
    return np.divide(table[..., i, i], weight, out=np.full(weight.shape, np.nan), where=weight > 0)


def _field_table(fields: NDArray[np.str_], correct: NDArray[np.bool_]) -> tuple[dict[str, Any], ...]:
    """Return tiles and accuracy of each field; Wilson's interval over its tiles."""
    names, which = np.unique(fields, return_inverse=True)
    counts, hits = np.bincount(which), np.bincount(which, correct)
    rows = []
    for name, n, hit in zip(names, counts, hits, strict=True):
        lo, hi = wilson(float(hit), int(n))
        rows.append({"field": str(name), "n": int(n), "accuracy": float(hit / n), "lo": lo, "hi": hi})
    return tuple(rows)
