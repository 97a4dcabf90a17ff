"""Varied views of training tiles: mirrored, turned a little, brighter and darker."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.params import AugmentName
from napari_cellclass.engine.pixels import TilePixels

MOST_DEGREES = 5.0  # as in the article
_GAIN = 0.2  # the logarithm of the largest gain
_OFFSET = 0.05  # of the grey-value range


def training_batch(
    pixels: TilePixels, rows: NDArray[np.int64], kind: AugmentName, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Give network input of some tiles as training shows them.

    Parameters
    ----------
    pixels
        The tiles.
    rows
        Which of them, shape (n,).
    kind
        ``"none"``, ``"flips"`` (the dihedral views) or ``"full"``: also turned by up to 5 degrees, and
        with another gain and offset.
    rng
        Decides the views; the same state gives the same ones.

    Returns
    -------
    ndarray of float32, shape (n, H, W, C)
    """
    if kind == "none":
        return pixels.batch(rows)
    x = pixels.batch(rows, rng.integers(0, pixels.views, len(rows)))
    if kind == "flips":
        return x
    # After the resizing, where there are fewer pixels to turn; both are linear.
    x = turned(x, rng.uniform(-MOST_DEGREES, MOST_DEGREES, len(rows)))
    gain = np.exp(rng.uniform(-_GAIN, _GAIN, len(rows))).astype(np.float32)
    offset = rng.uniform(-_OFFSET, _OFFSET, len(rows)).astype(np.float32)
    return x * gain[:, None, None, None] + offset[:, None, None, None]


def turned(x: NDArray[np.float32], degrees: NDArray[np.float64]) -> NDArray[np.float32]:
    """Turn tiles (n, H, W, C) about their centres, bilinearly, with a reflected border."""
    height, width, channels = x.shape[1:]
    down = np.arange(height, dtype=np.float32)[:, None] - (height - 1) / 2
    right = np.arange(width, dtype=np.float32)[None, :] - (width - 1) / 2
    result = np.empty_like(x)
    for i, angle in enumerate(np.deg2rad(degrees).astype(np.float32)):
        sin, cos = np.sin(angle), np.cos(angle)
        y, fy = _split(cos * down - sin * right + (height - 1) / 2, height)
        z, fz = _split(sin * down + cos * right + (width - 1) / 2, width)
        flat = x[i].reshape(-1, channels)
        below, beside = np.minimum(y + 1, height - 1), np.minimum(z + 1, width - 1)
        top = flat[y * width + z] * (1 - fz) + flat[y * width + beside] * fz
        bottom = flat[below * width + z] * (1 - fz) + flat[below * width + beside] * fz
        result[i] = top * (1 - fy) + bottom * fy
    return result


def _split(place: NDArray[np.float32], size: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Reflect positions into 0 .. size - 1; give their whole part and, with an axis more, the rest."""
    last = max(1, size - 1)
    place = np.minimum(np.abs(last - np.abs(last - np.abs(place))), np.float32(size - 1))
    whole = place.astype(np.int64)
    return whole, (place - whole).astype(np.float32)[..., None]
