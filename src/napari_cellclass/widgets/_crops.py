"""Pictures of tiles for people to look at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.image import SourceImage
from napari_cellclass.core.picture import as_rgb, stretched


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
