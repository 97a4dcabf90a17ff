"""Pixels for people to look at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_PERCENTILES = (0.5, 99.8)
_CHANNELS = {1: [0, 0, 0], 2: [0, 1, 0]}


def stretched(pixels: NDArray[Any], together: bool) -> NDArray[np.uint8]:
    """Stretch a tile over its own range of grey values, percentiles 0.5 to 99.8.

    Parameters
    ----------
    pixels
        Shape (h, w, C), any dtype; NaN and infinity count as 0.
    together
        Stretch all channels by one range, which keeps the hue of RGB images; else each by its own.

    Returns
    -------
    ndarray of uint8, shape (h, w, C)
    """
    x = np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = np.percentile(x, _PERCENTILES, axis=None if together else (0, 1))
    return (255 * np.clip((x - low) / np.maximum(high - low, 1e-9), 0, 1)).astype(np.uint8)


def as_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give the channels of (h, w, C) as RGB: one grey, two magenta and green, of more the first three."""
    return np.ascontiguousarray(pixels[..., _CHANNELS.get(pixels.shape[2], [0, 1, 2])])
