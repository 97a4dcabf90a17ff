"""Calibrated confidence: temperature scaling, and prediction sets at a chosen error rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.stats.metrics import ece

ERROR_RATES = (0.01, 0.05, 0.1, 0.2)
"""Error rates whose coverage is measured and stored."""

_MIN_PROBABILITY = 1e-12
_ROUNDING = 1e-6  # scores are stored with six decimals
# Prior of the temperature: sd of its logarithm. Some dozens of tiles that are all correct would otherwise favour any
# sharpness.
_PRIOR_SD = 0.7
_BOUNDS = (math.log(0.2), math.log(20.0))
_FOLDS = 20
_STORED = 2000


class Calibration(BaseModel):
    """How a model's softmax outputs become confidences; stored in its manifest.

    Attributes
    ----------
    temperature
        Above 1 where the network is overconfident (Guo et al., ICML 2017).
    scores
        Ascending, at most 2 000: 1 - p of the true class of held-out tiles, after the temperature.
    n, groups
        Held-out tiles and groups that this was made from.
    ece_before, ece_after
        Expected calibration error; after: each group by the temperature of the others, where there are others.
    coverage
        By error rate: the fraction of held-out tiles whose true class was in their prediction set, each group by the
        scores of the others; empty with one group.
    cross_fitted
        Whether ``ece_after``, and ``reliability_after``, were measured on other groups than those it was made from.
    reliability_before, reliability_after
        Bars of a reliability diagram, see :func:`~napari_cellclass.core.stats.metrics.reliability`: lo, hi, n,
        confidence, accuracy. After is cross-fitted as ``ece_after`` is: the groups are assigned to at most 20 folds,
        and the tiles of a fold get the temperature fitted to all other folds, so that none is measured with a
        temperature that was fitted to its group.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(gt=0)
    scores: tuple[float, ...]
    n: int = Field(ge=1)
    groups: int = Field(ge=1)
    ece_before: float
    ece_after: float
    coverage: dict[str, float] = Field(default_factory=dict)
    cross_fitted: bool = True
    reliability_before: tuple[dict[str, int | float | None], ...] = ()
    reliability_after: tuple[dict[str, int | float | None], ...] = ()

    def describe(self) -> str:
        """Describe in a few words how confidences are calibrated, and how well that holds."""
        other = "on other groups than those it was made from" if self.cross_fitted else "on the same tiles"
        covered = ", ".join(f"{value:.1%} at {float(rate):.0%}" for rate, value in self.coverage.items())
        text = (
            f"temperature {self.temperature:.3g} from {counted(self.n, 'held-out tile')} of "
            f"{counted(self.groups, 'group')}; expected calibration error {self.ece_before:.3f} before, "
            f"{self.ece_after:.3f} after ({other})"
        )
        return text + (f"; prediction sets hold the true class of {covered} error rate" if covered else "")

    def reliability_lines(self) -> list[str]:
        """Return the reliability table as lines of text; none where a model holds none."""
        if not self.reliability_before:
            return []
        lines = ["confidence       before: tiles, mean confidence, accuracy   after: tiles, mean confidence, accuracy"]
        for before, after in zip(self.reliability_before, self.reliability_after, strict=True):
            if before["n"] or after["n"]:
                lines.append(f"{before['lo']:.2f} to {before['hi']:.2f} {_bar(before):>40s} {_bar(after):>40s}")
        return lines

    def apply(self, prob: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn softmax outputs (N, K) into calibrated ones, float32; the likeliest class stays."""
        return scale_by_temperature(prob, self.temperature)

    def undo(self, prob: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the network's own softmax outputs (N, K) again."""
        return scale_by_temperature(prob, 1 / self.temperature)

    def threshold(self, error_rate: float) -> float:
        """Return the largest 1 - p of a class that is in the set, see :func:`conformal_threshold`."""
        return conformal_threshold(np.asarray(self.scores), error_rate)


def _bar(row: Mapping[str, Any]) -> str:
    return f"{row['n']:,}   {row['confidence']:.3f}   {row['accuracy']:.3f}" if row["n"] else "0       -       -"


def scale_by_temperature(prob: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Divide the logits of softmax outputs (N, K) by a temperature; rows of NaN stay."""
    if temperature == 1.0:
        return prob
    logits = np.log(np.maximum(prob.astype(np.float64), _MIN_PROBABILITY)) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    scaled = np.exp(logits)
    return (scaled / scaled.sum(axis=1, keepdims=True)).astype(np.float32)


def fit_temperature(prob: NDArray[np.float32], truth: NDArray[np.integer[Any]]) -> float:
    """Find the temperature that makes the true classes likeliest, held near 1 by a weak prior.

    Parameters
    ----------
    prob
        Softmax outputs (N, K) of tiles that were not trained on.
    truth
        Shape (N,): their classes.
    """
    from scipy.optimize import minimize_scalar  # takes a third of a second, and who classifies fits nothing

    logits = np.log(np.maximum(prob.astype(np.float64), _MIN_PROBABILITY))
    rows = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        top = scaled.max(axis=1)
        log_sum = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        return float((log_sum - scaled[rows, truth]).sum() + 0.5 * (log_temperature / _PRIOR_SD) ** 2)

    return math.exp(float(minimize_scalar(loss, bounds=_BOUNDS, method="bounded").x))


def conformal_threshold(scores: NDArray[np.float64], error_rate: float) -> float:
    """Return the largest 1 - p with which a class cannot be ruled out, by split conformal prediction.

    It is the ``ceil((n + 1) (1 - error_rate))``-th smallest of the n scores (Sadinle, Lei & Wasserman, JASA
    114:223, 2019; Vovk et al. 2005). The guarantee, that the true class is in the set of a new tile with a
    probability of 1 - ``error_rate``, holds for tiles that are exchangeable with the held-out ones.

    Parameters
    ----------
    scores
        Ascending: 1 - p of the true class of held-out tiles.
    error_rate
        The fraction of tiles, 0 to 1, whose true class may be missing from its set.

    Returns
    -------
    float
        1, so that no class is ruled out, where there are too few scores.
    """
    rank = math.ceil((len(scores) + 1) * (1 - error_rate))
    return 1.0 if rank > len(scores) else float(scores[max(0, rank - 1)])


def prediction_sets(prob: NDArray[np.float32], limit: float) -> NDArray[np.bool_]:
    """Return the prediction sets of calibrated outputs (N, K): bool (N, K); empty in rows of NaN."""
    inside: NDArray[np.bool_] = 1 - prob.astype(np.float64) <= limit + _ROUNDING
    return inside


def nonconformity_scores(prob: NDArray[np.float32], truth: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Ascending 1 - p of the true class."""
    return np.sort(1 - prob.astype(np.float64)[np.arange(len(truth)), truth])


def calibrate(
    prob: NDArray[np.float32], truth: NDArray[np.integer[Any]], groups: Sequence[str], scale: bool = True
) -> Calibration | None:
    """Make a calibration from held-out tiles; None where not a single one has finite outputs.

    The temperature that is stored is made from all of them. What is reported of its quality is not: whole groups are
    assigned to folds, and each fold is scaled by the temperature of the others before ECE and reliability are measured,
    and covered by the scores of the others. With one group they are measured on that group itself, and ``cross_fitted``
    says so.

    Parameters
    ----------
    prob
        Softmax outputs (N, K).
    truth
        Shape (N,): the classes.
    groups
        N names of wells, fields or regions.
    scale
        Whether a temperature is fitted; not where the model has one already, and with a prior.
    """
    fitted = fit_temperature if scale else _no_temperature
    finite = np.isfinite(prob).all(axis=1)
    prob, truth = prob[finite], np.asarray(truth, np.int64)[finite]
    if len(prob) == 0:
        return None
    names, group = np.unique(np.asarray(groups, str)[finite], return_inverse=True)
    temperature = fitted(prob, truth)
    calibrated = scale_by_temperature(prob, temperature)
    fold = group % _FOLDS  # names are sorted, so that folds do not depend on the order of the tiles
    several = len(names) > 1
    cross_fitted = _by_fold(fold, lambda rest, own: scale_by_temperature(prob[own], fitted(prob[rest], truth[rest])))
    coverage = {}
    if several:
        for rate in ERROR_RATES:
            covered = _by_fold(fold, partial(_covered, calibrated, truth, rate))
            coverage[f"{rate:g}"] = float(covered.mean())
    after = cross_fitted if several else calibrated
    scores = nonconformity_scores(calibrated, truth)
    if len(scores) > _STORED:
        scores = scores[np.ceil(np.linspace(0, len(scores) - 1, _STORED)).astype(int)]
    return Calibration(
        temperature=round(temperature, 6),
        scores=tuple(float(v) for v in np.round(scores, 6)),
        n=len(prob),
        groups=len(names),
        ece_before=ece(prob, truth),
        ece_after=ece(after, truth),
        coverage=coverage,
        cross_fitted=several,
        reliability_before=_bars(prob, truth),
        reliability_after=_bars(after, truth),
    )


def _no_temperature(prob: NDArray[np.float32], truth: NDArray[np.integer[Any]]) -> float:
    return 1.0


def _bars(prob: NDArray[np.float32], truth: NDArray[np.int64]) -> tuple[dict[str, int | float | None], ...]:
    from napari_cellclass.core.stats.metrics import reliability

    rows = reliability(prob, truth)
    return tuple(
        {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()} for row in rows
    )


def _by_fold(
    fold: NDArray[np.int64], work: Callable[[NDArray[np.bool_], NDArray[np.bool_]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Apply ``work`` to each fold with the others as its reference; to the only one with itself."""
    results: NDArray[np.float32] | None = None
    for number in np.unique(fold):
        own = fold == number
        result = work(~own if (~own).any() else own, own)
        if results is None:
            results = np.empty((len(fold), *result.shape[1:]), result.dtype)
        results[own] = result
    assert results is not None
    return results


def _covered(
    prob: NDArray[np.float32], truth: NDArray[np.int64], rate: float, rest: NDArray[np.bool_], own: NDArray[np.bool_]
) -> NDArray[np.float32]:
    sets = prediction_sets(prob[own], conformal_threshold(nonconformity_scores(prob[rest], truth[rest]), rate))
    return sets[np.arange(int(own.sum())), truth[own]].astype(np.float32)
