"""Accuracy against the number of training tiles: an inverse power law, its limit, and how many more tiles help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.stats.intervals import Estimate

TARGETS = (0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
_EXPONENTS = np.geomspace(0.1, 2.0, 40)
_SAMPLES = 1000
_SMALLEST_NOISE = 0.005  # trainings that agree by chance do not make a curve certain
_FURTHEST = 20.0  # times the tiles there are: beyond, an extrapolation is a guess


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """``accuracy(n) = limit - scale * n ** -exponent``, fitted to trainings on fewer tiles.

    Parameters
    ----------
    tiles
        The largest number of training tiles.
    now
        The fitted accuracy there.
    limit
        The accuracy with infinitely many tiles.
    scale, exponent
        See above; scale 0 is a flat curve.
    samples
        float64, shape (S, 3): limit, scale and exponent of curves fitted to resampled noise of the trainings.
    """

    tiles: int
    now: Estimate
    limit: Estimate
    scale: float
    exponent: float
    samples: NDArray[np.float64]

    def to_json(self) -> dict[str, Any]:
        """Return the fit as a JSON-able dict."""
        return {name: value for name, value in asdict(self).items() if name != "samples"}

    def at(self, tiles: NDArray[Any]) -> pd.DataFrame:
        """Return the curve with its 95 % confidence band: columns tiles, accuracy, lo, hi."""
        n = np.asarray(tiles, float)
        each = self.samples[:, :1] - self.samples[:, 1:2] * n ** -self.samples[:, 2:]
        value = self.limit.value - self.scale * n**-self.exponent
        lo, hi = np.percentile(each, [2.5, 97.5], axis=0)
        return pd.DataFrame({"tiles": n, "accuracy": value, "lo": np.minimum(lo, value), "hi": np.maximum(hi, value)})

    def target(self) -> float | None:
        """Return the next round accuracy above the present one; None above 0.99."""
        return next((target for target in TARGETS if target > self.now.value + 0.005), None)

    def more_tiles(self, target: float) -> Estimate | None:
        """Return how many more tiles an accuracy needs; None where it lies above the limit.

        ``hi`` is None where more than 2.5 % of the curves never reach it.
        """
        value = float(_tiles_for(target, np.array([self.limit.value, self.scale, self.exponent])))
        if not np.isfinite(value):
            return None
        lo, hi = np.percentile(_tiles_for(target, self.samples), [2.5, 97.5], method="higher")
        more = [max(0.0, float(n) - self.tiles) for n in (value, lo, hi)]
        return Estimate(more[0], min(more[0], more[1]), max(more[0], more[2]) if np.isfinite(hi) else None)


def _tiles_for(target: float, curves: NDArray[np.float64]) -> NDArray[np.float64]:
    limit, scale, exponent = curves[..., 0], curves[..., 1], curves[..., 2]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        log = (np.log(scale) - np.log(limit - target)) / exponent
    reached = np.exp(np.minimum(np.where(np.isnan(log), np.inf, log), 700.0))
    return np.where(limit > target, np.where(log > 40, np.inf, reached), np.inf)


def fit_learning_curve(points: pd.DataFrame, seed: int = 0) -> LearningCurve:
    """Fit the inverse power law to trainings on different numbers of tiles.

    Least squares with 0 <= limit <= 1 and scale >= 0, for each of 40 exponents from 0.1 to 2 (Figueroa et al., BMC
    Med. Inform. Decis. Mak. 12:8, 2012). Intervals come from 1 000 fits to the curve with normal noise of the size of
    the residuals (3 parameters off). They are over trainings on the same held-out tiles, not over wells.

    Parameters
    ----------
    points
        Columns tiles and balanced_accuracy, a row per training.

    Raises
    ------
    DatasetError
        There are fewer than three different numbers of tiles.
    """
    n, y = points["tiles"].to_numpy(float), points["balanced_accuracy"].to_numpy(float)
    if len(np.unique(n)) < 3:
        raise DatasetError(
            f"a learning curve needs trainings on three or more numbers of tiles, but there are {len(np.unique(n))}; "
            "give more --sizes"
        )
    best = _fits(n, y[None])[0]
    fitted = best[0] - best[1] * n ** -best[2]
    noise = max(_SMALLEST_NOISE, float(np.sqrt(((y - fitted) ** 2).sum() / max(1, len(n) - 3))))
    drawn = fitted + np.random.default_rng(seed).normal(0, noise, (_SAMPLES, len(n)))
    samples = _fits(n, drawn)
    most = float(n.max())
    now = best[0] - best[1] * most ** -best[2]
    return LearningCurve(
        int(most),
        _estimate(now, samples[:, 0] - samples[:, 1] * most ** -samples[:, 2]),
        _estimate(best[0], samples[:, 0]),
        float(best[1]),
        float(best[2]),
        samples,
    )


def _estimate(value: float, samples: NDArray[np.float64]) -> Estimate:
    lo, hi = np.percentile(samples, [2.5, 97.5])
    return Estimate(float(value), min(float(value), float(lo)), max(float(value), float(hi)))


def _fits(n: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit every row of y, shape (S, N); give limit, scale and exponent, shape (S, 3)."""
    best, least = np.zeros((len(y), 3)), np.full(len(y), np.inf)
    for exponent in _EXPONENTS:
        x = n**-exponent
        centred = x - x.mean()
        scale = np.maximum(0.0, -(y @ centred) / (centred @ centred))
        limit = y.mean(axis=1) + scale * x.mean()
        over = limit > 1
        # On the border the other parameter has a least-squares solution of its own.
        scale = np.where(over, np.maximum(0.0, ((1 - y) @ x) / (x @ x)), scale)
        limit = np.where(over, 1.0, np.maximum(limit, 0.0))
        error = ((y - limit[:, None] + scale[:, None] * x) ** 2).sum(axis=1)
        better = error < least - 1e-12
        best[better] = np.column_stack([limit, scale, np.full(len(y), exponent)])[better]
        least = np.minimum(least, error)
    return best


def learning_curve_advice(curve: LearningCurve, per_class: Mapping[str, int], weakest: str) -> str:
    """Describe in a sentence whether more tiles would help, and how many.

    Parameters
    ----------
    curve
        The fit.
    per_class
        Training tiles of each class.
    weakest
        The class with the lowest recall.
    """
    target, limit = curve.target(), curve.limit
    if target is None:
        return f"{_percent(curve.now.value)} is reached already: more tiles of this kind cannot help much"
    if limit.hi is not None and limit.hi < target:
        return (
            f"more tiles of this kind would not help: the curve levels off at {_percent(limit.value)} "
            f"({_percent(limit.lo)} to {_percent(limit.hi)})"
        )
    more = curve.more_tiles(target)
    if more is None:
        return (
            f"whether more tiles would help cannot be decided from these trainings: the curve may level off anywhere "
            f"from {_percent(limit.lo)} to {_percent(limit.hi)}"
        )
    if more.value > _FURTHEST * curve.tiles:
        return (
            f"{_percent(target)} would need more than {_FURTHEST:.0f} times the tiles there are; their effect "
            "cannot be extrapolated from these trainings"
        )
    fraction = per_class[weakest] / sum(per_class.values())
    upper = "no upper limit can be given" if more.hi is None else f"at most {_rounded(more.hi)}"
    return (
        f"about {_rounded(more.value)} more tiles for {_percent(target)}, {_rounded(more.value * fraction)} of them of "
        f"{weakest!r}, which has the lowest recall (95 % confidence interval: at least {_rounded(more.lo or 0)}, "
        f"{upper})"
    )


def _percent(value: float | None) -> str:
    return "?" if value is None else f"{100 * value:.0f} %"


def _rounded(tiles: float) -> str:
    """Two digits: an extrapolation has no more."""
    if tiles < 10:
        return f"{round(tiles)}"
    size = 10 ** (int(np.floor(np.log10(tiles))) - 1)
    return f"{int(round(tiles / size) * size):,}"
