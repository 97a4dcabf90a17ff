"""Whether a field is like what a model was trained on, and whether the model sees it at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

STATISTICS = "statistics"
"""Where a manifest's ``data`` keeps what :func:`training_statistics` gives."""
_MARGIN = 0.25  # of the training tiles' range, on either side
_MOST = 0.5
_LEAST_TILES = 9
_SAME = 0.01


def training_statistics(stats: NDArray[np.float64]) -> dict[str, Any]:
    """Sum up the training tiles, to be kept with a model.

    Parameters
    ----------
    stats
        Shape (n, 2, C): means and sds of every tile, see :func:`~napari_cellclass.core.tiles.statistics.channel_stats`.

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
    """Say in which channels most tiles of a field are brighter, darker, of more or less contrast than in training.

    Parameters
    ----------
    stats
        Shape (n, 2, C), as for :func:`training_statistics`, of the field's tiles; rows of NaN do not count.
    trained
        What :func:`training_statistics` gave; None says nothing, as older models do not tell.
    names
        C names of channels, or empty.
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
            if max(above, below) <= _MOST:
                continue
            where = "the field" if stats.shape[2] == 1 else f"channel {names[channel] if names else channel}"
            yield (
                f"{where} is {more if above > below else less} than the training images: the {what} of its tiles is "
                f"{np.median(values):.4g} in the middle, that of the training tiles {low:.4g} to {high:.4g}; "
                "the classes may be wrong"
            )


def constant_output_warnings(prob: NDArray[np.floating]) -> Iterator[str]:
    """Say that a network gives all tiles of a field one answer, which a trained one does for none.

    Probabilities of a confident network are alike, too, but not their logarithms.

    Parameters
    ----------
    prob
        Shape (n, K); rows with NaN do not count.
    """
    finite = prob[np.isfinite(prob).all(axis=1)].astype(np.float64)
    if len(finite) < _LEAST_TILES:
        return
    if np.ptp(np.log(np.maximum(finite, 1e-30)), axis=0).max() < _SAME and finite.min() > 0:
        yield (
            f"the network gives all {len(finite):,} tiles the same answer, whatever they show: its classes mean "
            "nothing here"
        )
