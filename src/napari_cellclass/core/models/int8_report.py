"""What a network of 8-bit whole numbers costs: its figures beside those in float32, on the same held-out tiles."""

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
_UNITS = 1_000_000  # a confidence as a whole number, for tables of counts
_SIGNIFICANT = 0.05


class MetricPair(BaseModel):
    """A figure of both networks.

    Attributes
    ----------
    name
        What it is; the name of a class where it is one's.
    f32, lo, hi
        In float32, with its 95 % confidence interval, None where none can be given.
    int8
        In 8-bit whole numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    f32: float
    lo: float | None
    hi: float | None
    int8: float

    @property
    def lost(self) -> bool:
        """Whether it is worse than the interval; the calibration error by being higher, all others lower."""
        if self.name == ECE:
            return self.hi is not None and self.int8 > self.hi
        return self.lo is not None and self.int8 < self.lo

    @property
    def inside(self) -> bool:
        """Whether it lies in the interval, or there is none."""
        return self.lo is None or self.hi is None or self.lo <= self.int8 <= self.hi

    def __str__(self) -> str:
        known = self.lo is not None and self.hi is not None
        bounds = f" (95 % confidence interval {self.lo:.3f} to {self.hi:.3f})" if known else ""
        return f"{self.name} {self.int8:.3f}, in f32 {self.f32:.3f}{bounds}"


ECE = "calibration error"


class Int8Report(BaseModel):
    """What came of making a network of 8-bit whole numbers; stored in a model's manifest.

    Attributes
    ----------
    kept
        Whether the model holds that network.
    why
        Why not; empty where it is kept.
    nncf
        Version of NNCF, which made it.
    tiles
        Training tiles that the ranges of its numbers were taken from.
    compared, changed, lost, gained
        Held-out tiles that both networks answered; those of another class, those that were right in float32 only, and
        in whole numbers only.
    p
        Of McNemar's exact test of lost and gained.
    largest_difference, mean_difference
        Of a probability of these tiles.
    figures
        Accuracies, kappa, recall, precision and F1 of the classes, and the calibration error of confidences, both
        scaled by the temperature of the network in float32.
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
        """Say that there is no such network, and why."""
        return cls(kept=False, why=why)

    @property
    def warning(self) -> str:
        """Say why the model has no such network; empty where it has one."""
        return "" if self.kept else f"no int8 network was stored, only the one in f32: {self.why}"

    def describe(self) -> Iterator[str]:
        """Tell what it costs, a line each."""
        if not self.kept:
            yield f"none: {self.why}"
        else:
            yield f"inside, by NNCF {self.nncf} from {counted(self.tiles, 'training tile')}; classify --precision int8"
        if self.compared:
            yield (
                f"{self.changed} of {counted(self.compared, 'held-out tile')} get another class ({self.lost} right in "
                f"f32 only, {self.gained} in int8 only); a probability differs by {self.largest_difference:.2g} at "
                f"most, {self.mean_difference:.2g} in the mean"
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
    """Compare two networks on the same held-out tiles, and say whether the second may be kept.

    It may unless a figure is worse than the 95 % confidence interval of the network in float32, or its class is right
    for significantly fewer tiles (McNemar's exact test). The second matters with few groups, whose intervals are wide:
    both answer the same tiles, so that only the tiles that changed count.

    Parameters
    ----------
    f32, int8
        Softmax outputs (N, K) in float32 and in 8-bit whole numbers.
    truth, groups, classes
        As for :func:`~napari_cellclass.core.stats.metrics.evaluate`.
    calibration
        That of the network in float32; applied to both.
    """
    finite = np.isfinite(f32).all(axis=1)
    f32, int8, truth = f32[finite], int8[finite], np.asarray(truth)[finite]
    groups = np.asarray(groups, str)[finite].tolist()
    if not np.isfinite(int8).all():
        return Int8Report.not_stored("it answers NaN to held-out tiles")
    difference = np.abs(f32 - int8)
    if calibration is not None:
        f32, int8 = calibration.apply(f32), calibration.apply(int8)
    figures = tuple(_figures(f32, int8, truth, groups, classes))
    paired = compare_paired(f32.argmax(axis=1) == truth, int8.argmax(axis=1) == truth, groups)
    why = next((f"{figure}" for figure in figures if figure.lost), "")
    if not why and paired.only_a > paired.only_b and paired.p < _SIGNIFICANT:
        why = f"{paired.only_a} held-out tiles are right in f32 only, {paired.only_b} in int8 only (p {paired.p:.2g})"
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
    """Give the expected calibration error with its interval over groups; of one group there is none."""
    names, group = np.unique(np.asarray(groups, str), return_inverse=True)
    confidence = prob.max(axis=1).astype(float)
    cell = group * _BINS + np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    right = prob.argmax(axis=1) == truth
    sums = [np.bincount(cell, weights, len(names) * _BINS) for weights in (None, right * _UNITS, confidence * _UNITS)]
    table = np.round(np.stack(sums, axis=1)).astype(np.int64).reshape(len(names), _BINS, 3)
    value = float(_error_of(table.sum(axis=0)))
    estimate = GroupBootstrap(table).estimate(_error_of) if len(names) >= 2 else None
    return estimate or Estimate(value, None, None)


def _error_of(table: NDArray[Any]) -> NDArray[np.float64]:
    """Give the expected calibration error of tables (..., bins, 3): tiles, right ones and confidences in units."""
    gaps = np.abs(table[..., 1] - table[..., 2]).sum(axis=-1) / _UNITS
    return np.asarray(gaps / table[..., 0].sum(axis=-1), float)
