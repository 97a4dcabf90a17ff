"""How the accuracy of live predictions went with the number of labels, and whether it goes on rising."""

from __future__ import annotations

from dataclasses import dataclass

from napari_cellclass.core.stats.intervals import Estimate

_MOST_POINTS = 400


@dataclass(frozen=True)
class CurvePoint:
    """The balanced accuracy that was estimated with some number of labels, with its 95 % confidence interval."""

    n_labels: int
    estimate: Estimate


class AccuracyCurve:
    """The estimates of a session by number of labels; those of labels that were taken back are forgotten."""

    def __init__(self) -> None:
        self._points: list[CurvePoint] = []

    def add(self, n_labels: int, estimate: Estimate | None) -> tuple[CurvePoint, ...]:
        """Take what is estimated now, None where nothing can be, and return the curve to here."""
        self._points = [point for point in self._points if point.n_labels < n_labels]
        if estimate is not None:
            self._points.append(CurvePoint(n_labels, estimate))
        if len(self._points) > _MOST_POINTS:
            newest = _MOST_POINTS // 2
            self._points = self._points[:-newest:2] + self._points[-newest:]
        return tuple(self._points)


def has_settled(curve: tuple[CurvePoint, ...], n_labels: int, over: int) -> bool:
    """Whether the estimate has not moved with the last labels.

    It has not where the one of before lies in the interval of now, and the one of now in the interval of before.

    Parameters
    ----------
    curve
        Of :class:`AccuracyCurve`.
    n_labels
        Labels there are now.
    over
        The last labels that count; False where there was no estimate so many labels ago, or there is none now.
    """
    before = [point.estimate for point in curve if point.n_labels <= n_labels - over]
    if not before or curve[-1].n_labels != n_labels:
        return False
    return _holds(before[-1], curve[-1].estimate.value) and _holds(curve[-1].estimate, before[-1].value)


def _holds(estimate: Estimate, value: float) -> bool:
    return estimate.lo is not None and estimate.hi is not None and estimate.lo <= value <= estimate.hi
