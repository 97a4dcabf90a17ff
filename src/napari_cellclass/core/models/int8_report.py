"""Cost of int8 quantisation: metrics of the int8 and the float32 network on the same held-out tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.stats.agreement import compare_paired
from napari_cellclass.core.stats.calibration import Calibration
from napari_cellclass.core.stats.intervals import Estimate, GroupBootstrap
from napari_cellclass.core.stats.metrics import EvalReport, evaluate

_BINS = 15  # of the expected calibration error
_UNITS = 1_000_000  # confidences as integers, for tables of counts
_SIGNIFICANT = 0.05


class MetricPair(BaseModel):
    """A metric of both networks.

    Attributes
    ----------
    name
        Name of the metric, with the class where it is that of one class.
    f32, lo, hi
        Value in float32, with its 95 % confidence interval; None where there is none.
    int8
        Value in int8.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    f32: float
    lo: float | None
    hi: float | None
    int8: float

    @property
    def is_worse(self) -> bool:
        """Whether int8 is worse than the interval: a higher calibration error, or a lower value of any other metric."""
        if self.name == ECE:
            return self.hi is not None and self.int8 > self.hi
        return self.lo is not None and self.int8 < self.lo

    @property
    def in_interval(self) -> bool:
        """Whether the int8 value lies in the interval, or there is none."""
        return self.lo is None or self.hi is None or self.lo <= self.int8 <= self.hi

    def __str__(self) -> str:
        known = self.lo is not None and self.hi is not None
        bounds = f" (95 % confidence interval {self.lo:.3f} to {self.hi:.3f})" if known else ""
        return f"{self.name} {self.int8:.3f}, in f32 {self.f32:.3f}{bounds}"


ECE = "calibration error"


class Int8Report(BaseModel):
    """Result of the int8 quantisation of a network; stored in a model's manifest.

    Attributes
    ----------
    kept
        Whether the model holds the int8 network.
    why
        Reason why not; empty where it does.
    nncf
        Version of NNCF, which quantised it.
    tiles
        Number of training tiles from which the quantisation ranges were measured.
    compared, changed, lost, gained
        Numbers of held-out tiles that both networks classified; that got another class in int8; that were correct
        in float32 only; and in int8 only.
    p
        P-value of McNemar's exact test of lost and gained.
    largest_difference, mean_difference
        Absolute differences of the probabilities of these tiles.
    figures
        Metrics: accuracies, kappa, recall, precision and F1 of the classes, and the calibration error of confidences,
        both scaled by the temperature of the float32 network.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kept: bool
    why: str = ""
    nncf: str = ""
    tiles: int = Field(default=0, ge=0)
    compared: int = Field(default=0, ge=0)
    changed: int = Field(default=0, ge=0)
    lost: int = Field(default=0, ge=0)
    gained: int = Field(default=0, ge=0)
    p: float = 1.0
    largest_difference: float = 0.0
    mean_difference: float = 0.0
    figures: tuple[MetricPair, ...] = ()

    @classmethod
    def not_stored(cls, why: str) -> Int8Report:
        """Return the report of a model without an int8 network."""
        return cls(kept=False, why=why)

    @property
    def warning(self) -> str:
        """Reason why the model has no int8 network; empty where it has one."""
        return "" if self.kept else f"no int8 network was stored, only the one in f32: {self.why}"

    def describe(self) -> Iterator[str]:
        """Yield lines that describe the int8 network and its cost."""
        if not self.kept:
            yield f"none: {self.why}"
        else:
            yield f"inside, by NNCF {self.nncf} from {counted(self.tiles, 'training tile')}; classify --precision int8"
        if self.compared:
            yield (
                f"{self.changed} of {counted(self.compared, 'held-out tile')} get another class ({self.lost} correct "
                f"in f32 only, {self.gained} in int8 only); probabilities differ by at most "
                f"{self.largest_difference:.2g}, {self.mean_difference:.2g} in the mean"
            )
            yield from map(str, self.figures)


def compare_int8(
    f32: NDArray[np.float32],
    int8: NDArray[np.float32],
    truth: NDArray[Any],
    groups: Sequence[str],
    classes: Sequence[str],
    calibration: Calibration | None = None,
) -> Int8Report:
    """Compare both networks on the same held-out tiles, and decide whether the int8 network is stored.

    It is unless a metric is worse than the 95 % confidence interval of the float32 network, or it classifies
    significantly fewer tiles correctly (McNemar's exact test). The test matters with few groups, whose intervals are
    wide: it is paired, so that only tiles whose class changed count.

    Parameters
    ----------
    f32, int8
        Softmax outputs (N, K) of both networks.
    truth, groups, classes
        As for :func:`~napari_cellclass.core.stats.metrics.evaluate`.
    calibration
        Calibration of the float32 network; applied to both.
    """
    finite = np.isfinite(f32).all(axis=1)
    f32, int8, truth = f32[finite], int8[finite], np.asarray(truth)[finite]
    groups = np.asarray(groups, str)[finite].tolist()
    if not np.isfinite(int8).all():
        return Int8Report.not_stored("it predicts NaN for held-out tiles")
    difference = np.abs(f32 - int8)
    if calibration is not None:
        f32, int8 = calibration.apply(f32), calibration.apply(int8)
    figures = tuple(_figures(f32, int8, truth, groups, classes))
    paired = compare_paired(f32.argmax(axis=1) == truth, int8.argmax(axis=1) == truth, groups)
    why = next((f"{figure}" for figure in figures if figure.is_worse), "")
    if not why and paired.only_a > paired.only_b and paired.p < _SIGNIFICANT:
        why = f"{paired.only_a} held-out tiles are correct in f32 only, {paired.only_b} in int8 only (p {paired.p:.2g})"
    return Int8Report(
        kept=not why,
        why=why,
        compared=len(f32),
        changed=int((f32.argmax(axis=1) != int8.argmax(axis=1)).sum()),
        lost=paired.only_a,
        gained=paired.only_b,
        p=paired.p,
        largest_difference=float(difference.max(initial=0.0)),
        mean_difference=float(difference.mean()) if difference.size else 0.0,
        figures=figures,
    )


def _figures(
    f32: NDArray[np.float32],
    int8: NDArray[np.float32],
    truth: NDArray[Any],
    groups: Sequence[str],
    classes: Sequence[str],
) -> Iterator[MetricPair]:
    before, after = (evaluate(prob, truth, groups, classes) for prob in (f32, int8))
    for name, one, other in _estimates(before, after):
        yield MetricPair(name=name, f32=one.value, lo=one.lo, hi=one.hi, int8=other.value)
    for row, now in zip(before.per_class, after.per_class, strict=True):
        for name in ("recall", "precision", "f1"):
            if row[f"{name}_interval"] is not None and now[name] is not None:
                lo, hi = row[f"{name}_interval"]
                yield MetricPair(name=f"{name} of {row['name']}", f32=row[name], lo=lo, hi=hi, int8=now[name])
    error = _calibration_error(f32, truth, groups)
    yield MetricPair(name=ECE, f32=before.ece, lo=error.lo, hi=error.hi, int8=after.ece)


def _estimates(before: EvalReport, after: EvalReport) -> Iterator[tuple[str, Estimate, Estimate]]:
    yield "accuracy", before.accuracy, after.accuracy
    yield "balanced accuracy", before.balanced_accuracy, after.balanced_accuracy
    if before.kappa is not None and after.kappa is not None:
        yield "kappa", before.kappa, after.kappa


def _calibration_error(prob: NDArray[np.float32], truth: NDArray[Any], groups: Sequence[str]) -> Estimate:
    """Return the expected calibration error with its confidence interval over groups; none for one group."""
    names, group = np.unique(np.asarray(groups, str), return_inverse=True)
    confidence = prob.max(axis=1).astype(float)
    cell = group * _BINS + np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    correct = prob.argmax(axis=1) == truth
    sums = [np.bincount(cell, weights, len(names) * _BINS) for weights in (None, correct * _UNITS, confidence * _UNITS)]
    table = np.round(np.stack(sums, axis=1)).astype(np.int64).reshape(len(names), _BINS, 3)
    value = float(_error_of(table.sum(axis=0)))
    estimate = GroupBootstrap(table).estimate(_error_of) if len(names) >= 2 else None
    return estimate or Estimate(value, None, None)


def _error_of(table: NDArray[Any]) -> NDArray[np.float64]:
    """Return the expected calibration error of tables (..., bins, 3): tiles, correct ones, summed confidences."""
    gaps = np.abs(table[..., 1] - table[..., 2]).sum(axis=-1) / _UNITS
    return np.asarray(gaps / table[..., 0].sum(axis=-1), float)
