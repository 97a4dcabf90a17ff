"""Warnings that a field differs from the training images, or that a network ignores its input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

STATISTICS = "statistics"
"""Key of a manifest's ``data`` that holds the result of :func:`training_statistics`."""
_MARGIN = 0.25  # tolerance on either side, as a fraction of the training tiles' range
_MAX_FRACTION = 0.5  # of a field's tiles outside that range
_MIN_TILES = 9
_SAME = 0.01  # largest difference of log-probabilities that counts as constant


def training_statistics(stats: NDArray[np.float64]) -> dict[str, Any]:
    """Summarise the training tiles, to be stored with a model.

    Parameters
    ----------
    stats
        Shape (n, 2, C): mean and sd of every tile and channel, see
        :func:`~napari_cellclass.core.tiles.statistics.channel_stats`.

    Returns
    -------
    dict
        ``tiles``: n; ``mean`` and ``sd``: per channel the 1st and 99th percentile, in grey values.
    """
    low, high = np.nanpercentile(stats, [1, 99], axis=0)
    spans = np.stack([low, high], axis=-1)
    return {"tiles": len(stats), "mean": spans[0].tolist(), "sd": spans[1].tolist()}


def drift_warnings(
    stats: NDArray[np.float64], trained: Mapping[str, Any] | None, names: tuple[str, ...] = ()
) -> Iterator[str]:
    """Yield a warning for each channel in which most tiles differ from training in brightness or contrast.

    Parameters
    ----------
    stats
        Shape (n, 2, C), as for :func:`training_statistics`, of the field's tiles; rows of NaN are ignored.
    trained
        Result of :func:`training_statistics`; without it, as in older models, nothing is yielded.
    names
        Names of the C channels, or empty.
    """
    stats = stats[np.isfinite(stats).all(axis=(1, 2))]
    if not trained or not len(stats):
        return
    for channel in range(stats.shape[2]):
        for k, (key, what, more, less) in enumerate(
            (
                ("mean", "mean", "brighter", "darker"),
                ("sd", "contrast (sd)", "richer in contrast", "poorer in contrast"),
            )
        ):
            low, high = trained[key][channel]
            margin = _MARGIN * (high - low)
            values = stats[:, k, channel]
            above, below = (values > high + margin).mean(), (values < low - margin).mean()
            if max(above, below) <= _MAX_FRACTION:
                continue
            where = "the field" if stats.shape[2] == 1 else f"channel {names[channel] if names else channel}"
            yield (
                f"{where} is {more if above > below else less} than the training images: the {what} of its tiles is "
                f"{np.median(values):.4g} (median), that of the training tiles {low:.4g} to {high:.4g}; "
                "the classes may be wrong"
            )


def constant_output_warnings(prob: NDArray[np.floating]) -> Iterator[str]:
    """Warn that a network predicts the same probabilities for all tiles, which a trained network never does.

    Probabilities of a confident network are nearly equal, too, but their logarithms are not.

    Parameters
    ----------
    prob
        Shape (n, K); rows with NaN are ignored.
    """
    finite = prob[np.isfinite(prob).all(axis=1)].astype(np.float64)
    if len(finite) < _MIN_TILES:
        return
    if np.ptp(np.log(np.maximum(finite, 1e-30)), axis=0).max() < _SAME and finite.min() > 0:
        yield (
            f"the network predicts the same probabilities for all {len(finite):,} tiles, whatever they show: its "
            "classes are meaningless here"
        )
