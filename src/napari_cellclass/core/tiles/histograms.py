"""Grey-value histograms of tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 64


@dataclass(frozen=True, eq=False)
class GreyHistogram:
    """Counts of grey values.

    Parameters
    ----------
    edges
        float64, shape (B + 1,): borders of the bins, in grey values.
    counts
        int64, shape (C, B): pixels per channel and bin.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, tiles: NDArray[Any]) -> GreyHistogram:
        """Count the grey values of tiles (n, h, w, C), from the least to the largest; NaN and infinity are left out."""
        channels = [channel[np.isfinite(channel)] for channel in np.moveaxis(np.asarray(tiles, np.float64), -1, 0)]
        filled = [channel for channel in channels if channel.size]
        low = min((channel.min() for channel in filled), default=0.0)
        high = max((channel.max() for channel in filled), default=1.0)
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        return cls(edges, np.stack([np.histogram(channel, edges)[0] for channel in channels]))
