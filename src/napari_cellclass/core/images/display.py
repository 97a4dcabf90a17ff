"""Pixels as they are shown on the screen: contrast, colours, and overviews of large images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.images.source import SourceImage

_PERCENTILES = (0.5, 99.8)
_CHANNELS = {1: [0, 0, 0], 2: [0, 1, 0]}
# Of larger images every n-th pixel is shown.
_SHOWN_PX = 16_000_000


@dataclass(frozen=True, eq=False)
class DisplayImage:
    """An image and the pixels of it to be shown.

    Parameters
    ----------
    source
        The image.
    pixels
        Every ``step``-th pixel, (y, x) or (y, x, 3) where it is RGB, else (C, y, x).
    step
        Above 1 for very large images.
    """

    source: SourceImage
    pixels: NDArray[Any]
    step: int


def read_display_image(source: SourceImage) -> DisplayImage:
    """Read the pixels of an image to be shown, at most about 16 million."""
    height, width = source.shape
    step = max(1, round((height * width / _SHOWN_PX) ** 0.5))
    pixels = source.read(0, 0, height, width) if step == 1 else np.asarray(source.data[::step, ::step])
    if not source.rgb:
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else np.moveaxis(pixels, -1, 0)
    return DisplayImage(source, pixels, step)


def stretch_contrast(pixels: NDArray[Any], jointly: bool) -> NDArray[np.uint8]:
    """Stretch a tile over its own range of grey values, percentiles 0.5 to 99.8.

    Parameters
    ----------
    pixels
        Shape (h, w, C), any dtype; NaN and infinity count as 0.
    jointly
        Stretch all channels by one range, which keeps the hue of RGB images; else each by its own.

    Returns
    -------
    ndarray of uint8, shape (h, w, C)
    """
    x = np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = np.percentile(x, _PERCENTILES, axis=None if jointly else (0, 1))
    return (255 * np.clip((x - low) / np.maximum(high - low, 1e-9), 0, 1)).astype(np.uint8)


def to_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the channels of (h, w, C) as RGB: one grey, two magenta and green, of more the first three."""
    return np.ascontiguousarray(pixels[..., _CHANNELS.get(pixels.shape[2], [0, 1, 2])])


def read_tile_rgb(source: SourceImage, box: NDArray[Any]) -> NDArray[np.uint8]:
    """Read a tile as RGB for the screen.

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
        return to_rgb(pixels)
    return to_rgb(stretch_contrast(pixels, jointly=False))
