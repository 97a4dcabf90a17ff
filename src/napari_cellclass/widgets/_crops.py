"""Pictures of tiles for people to look at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.image import SourceImage


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
    pixels = source.read(*(int(v) for v in box)).astype(np.float32)
    if not (source.rgb and source.dtype == np.uint8):
        pixels = np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0)
        low, high = np.percentile(pixels, [0.5, 99.8], axis=(0, 1))
        pixels = 255 * np.clip((pixels - low) / np.maximum(high - low, 1e-9), 0, 1)
    order = {1: [0, 0, 0], 2: [0, 1, 0]}.get(pixels.shape[2], [0, 1, 2])
    return np.ascontiguousarray(pixels[..., order].astype(np.uint8))
