"""Copies of a tile rotated by any angle, and the range of angles as users write it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ParamsError

_LARGEST_ANGLE = 180


def parse_angles(text: str | None) -> tuple[int, ...]:
    """Read ``"-5:5"`` as the whole degrees from -5 to 5, without 0, which is the tile itself.

    Parameters
    ----------
    text
        ``LO:HI``, both within -180 to 180; None or empty means no angle.

    Raises
    ------
    ParamsError
        It is no such range, or holds no angle but 0.
    """
    if not text:
        return ()
    match = re.fullmatch(r"\s*([+-]?\d{1,3})\s*:\s*([+-]?\d{1,3})\s*", text)
    if match is None:
        raise ParamsError(f"{text!r} is no range of whole degrees; write LO:HI, e.g. -5:5")
    low, high = int(match[1]), int(match[2])
    if low > high:
        raise ParamsError(f"{text!r} runs backwards; write {high}:{low}")
    if max(-low, high) > _LARGEST_ANGLE:
        raise ParamsError(f"{text!r} goes beyond 180 degrees; angles lie within -180:180")
    angles = tuple(angle for angle in range(low, high + 1) if angle)
    if not angles:
        raise ParamsError(f"{text!r} holds only 0, which is the tile itself; write e.g. -5:5")
    return angles


def rotate_tile(tile: NDArray[Any], angle: float) -> NDArray[Any]:
    """Rotate a tile about its centre, bilinearly; its corners are filled by reflection of the tile.

    Parameters
    ----------
    tile
        Shape (h, w, C).
    angle
        Degrees, counter-clockwise as seen on the screen, where y points down.

    Returns
    -------
    ndarray, shape (h, w, C)
        In the tile's dtype, integers rounded to the nearest.
    """
    from scipy import ndimage  # slow to import, and only needed for these copies

    # SciPy supports neither dtype; the detour over another one is lossless.
    through = {"b1": np.uint8, "f2": np.float32}.get(tile.dtype.str[1:])
    pixels = tile.astype(through) if through else tile.astype(tile.dtype.newbyteorder("="), copy=False)
    rotated = np.stack(
        [ndimage.rotate(pixels[..., c], angle, reshape=False, order=1, mode="reflect") for c in range(tile.shape[2])],
        axis=2,
    )
    return rotated.astype(tile.dtype, copy=False)
