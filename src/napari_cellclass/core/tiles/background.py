"""Background tiles of a field: a foreground score per tile, and a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.streaming import iterate_tile_rows

BackgroundRule = Literal["none", "mean", "variance", "otsu", "focus"]

DEFAULT_LIMIT: dict[str, float] = {"mean": 0.05, "variance": 0.0025, "otsu": 0.1}
"""Smallest score of a foreground tile, per rule; ``focus`` has a limit relative to the field."""

# A blurred tile has less than this fraction of the field's median sharpness.
_FOCUS_FRACTION = 0.25
_SAMPLE_ROWS, _SAMPLE_COLUMNS = 64, 4096


@dataclass(frozen=True)
class BackgroundLevels:
    """Grey values of a field, from an evenly spaced sample of its pixels; grey is the mean of the channels.

    Parameters
    ----------
    background
        The commonest grey value.
    span
        From the 0.1st to the 99.9th percentile; at least a tiny positive number.
    otsu
        The threshold between background and tissue by Otsu's method (IEEE Trans. SMC 9, 62, 1979).
    """

    background: float
    span: float
    otsu: float

    @classmethod
    def of(cls, source: SourceImage) -> BackgroundLevels:
        """Measure a field; at most 64 rows of 4096 values are sampled.

        Raises
        ------
        ImageError
            The pixels cannot be read.
        """
        from skimage.filters import threshold_otsu

        height, width = source.shape
        rows = np.unique(np.linspace(0, height - 1, min(height, _SAMPLE_ROWS)).astype(int))
        step = -(-width // _SAMPLE_COLUMNS)
        parts = [_grey(source.read(int(y), 0, int(y) + 1, width)[:, ::step]) for y in rows]
        sample = np.concatenate([part.ravel() for part in parts])
        sample = sample[np.isfinite(sample)]
        if not len(sample) or sample.min() == sample.max():
            level = float(sample[0]) if len(sample) else 0.0
            return cls(level, 1.0, level)
        low, high = (float(v) for v in np.percentile(sample, (0.1, 99.9)))
        if low == high:
            low, high = float(sample.min()), float(sample.max())
        counts, edges = np.histogram(sample, bins=256, range=(low, high))
        mode = int(counts.argmax())
        return cls(
            float(edges[mode] + edges[mode + 1]) / 2, high - low, float(threshold_otsu(np.clip(sample, low, high)))
        )


def background_scores(
    source: SourceImage,
    grid: TileGrid,
    rule: BackgroundRule,
    task: Task = NO_TASK,
) -> NDArray[np.float32]:
    """Score every tile; foreground scores higher than background.

    Parameters
    ----------
    source, grid
        The field and its tiles; it is read by rows of tiles.
    rule
        ``mean``: distance of the tile's mean grey from the field's background, as a fraction of the field's span.
        ``variance``: variance of grey, in units of the squared span.
        ``otsu``: fraction of the tile's pixels, 0 to 1, on the tissue's side of the field's Otsu threshold.
        ``focus``: variance of the Laplacian (Pech-Pacheco et al., ICPR 2000) divided by the mean, which
        makes up for brightness (Sun, Duthaler and Nelson, Microsc. Res. Tech. 65, 139, 2004).
        ``none``: 1 for every tile.
    task
        Reports and is checked once per row of tiles.

    Returns
    -------
    ndarray of float32, shape (N,)
        NaN where a tile holds NaN or infinite pixels.

    Raises
    ------
    ImageError
        The pixels cannot be read.
    CancelledError
        The task was cancelled.
    """
    scores = np.ones(len(grid), np.float32)
    if rule == "none" or len(grid) == 0:
        return scores
    score = _scorer(rule, BackgroundLevels.of(source))
    rows = len(np.unique(grid.boxes[:, 0]))
    for tile_indices, tiles in task.track(iterate_tile_rows(source, grid), "measuring background", rows):
        for index, tile in zip(tile_indices, tiles, strict=True):
            scores[index] = score(_grey(tile))
    return scores


def foreground_tiles(
    scores: NDArray[np.float32], rule: BackgroundRule, limit: float | None = None
) -> NDArray[np.bool_]:
    """Return which tiles are foreground: those whose score reaches the limit.

    Parameters
    ----------
    scores
        float32, shape (N,), of :func:`background_scores`. A tile with NaN counts as foreground: it is reported
        elsewhere.
    rule
        The rule they were computed with; with ``none`` all are foreground.
    limit
        None: the rule's default, mean 0.05, variance 0.0025, otsu 0.1, and for focus a quarter of
        the median score of the field.

    Returns
    -------
    ndarray of bool, shape (N,)

    Raises
    ------
    ParamsError
        There is no such rule.
    """
    if rule not in get_args(BackgroundRule):
        raise ParamsError(f"unknown background rule {rule!r}; use one of {', '.join(get_args(BackgroundRule))}")
    if rule == "none":
        return np.ones(len(scores), bool)
    return ~(np.asarray(scores) < default_limit(scores, rule) if limit is None else np.asarray(scores) < limit)


def default_limit(scores: NDArray[np.float32], rule: BackgroundRule) -> float:
    """Return the limit that :func:`foreground_tiles` uses where none is given."""
    if rule == "focus":
        finite = scores[np.isfinite(scores)]
        return _FOCUS_FRACTION * float(np.median(finite)) if len(finite) else 0.0
    return DEFAULT_LIMIT.get(rule, 0.0)


def _grey(pixels: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(pixels.mean(axis=2, dtype=np.float32))


def _scorer(rule: BackgroundRule, levels: BackgroundLevels) -> Callable[[NDArray[np.float32]], float]:
    if rule == "mean":
        return lambda grey: abs(float(grey.mean(dtype=np.float64)) - levels.background) / levels.span
    if rule == "variance":
        return lambda grey: float(grey.var(dtype=np.float64)) / levels.span**2
    if rule == "otsu":
        bright = levels.background <= levels.otsu
        return lambda grey: _tissue_fraction(grey, grey > levels.otsu if bright else grey <= levels.otsu)
    if rule == "focus":
        return _focus
    raise ParamsError(f"unknown background rule {rule!r}; use one of {', '.join(get_args(BackgroundRule))}")


def _tissue_fraction(grey: NDArray[np.float32], tissue: NDArray[np.bool_]) -> float:
    return float(tissue.mean()) if np.isfinite(grey).all() else float("nan")


def _focus(grey: NDArray[np.float32]) -> float:
    from scipy.ndimage import laplace

    mean = abs(float(grey.mean(dtype=np.float64)))
    return float(laplace(grey.astype(np.float64), mode="reflect").var()) / max(mean, 1e-12)
