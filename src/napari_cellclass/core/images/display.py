"""Pixels for people to look at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.images.source import SourceImage

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


def crop_pixels(source: SourceImage, box: NDArray[Any]) -> NDArray[np.uint8]:
    """Cut a tile out as RGB for the screen.

    Parameters
    ----------
    source
        The field.
    box
        y0, x0, y1, x1 in px.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
        RGB images as they are; others stretched, channel by channel, over the tile's own range. Two channels
        are magenta and green; of more than three, the first three.
    """
    pixels = source.read(*(int(v) for v in box))
    if source.rgb and source.dtype == np.uint8:
        return as_rgb(pixels)
    return as_rgb(stretched(pixels, together=False))
