"""Arrays of pixels as images of Qt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtGui import QImage

_FORMATS = {3: QImage.Format.Format_RGB888, 4: QImage.Format.Format_RGBA8888}


def image_of(pixels: NDArray[np.uint8]) -> QImage:
    """Make an image with pixels of its own.

    Qt only points to the bytes that it is given, and so do images and pixmaps made of that one where neither size nor
    format changes; without a copy, they would show memory that is in other use by then.

    Parameters
    ----------
    pixels
        uint8, shape (height, width, 3) or (height, width, 4): RGB or RGBA.
    """
    height, width, channels = pixels.shape
    return QImage(pixels.tobytes(), width, height, channels * width, _FORMATS[channels]).copy()
