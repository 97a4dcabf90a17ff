"""Texture features of tiles as arrays: the same as a model's graph computes, for a linear model beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.tiles.texture_formulas import SMALLEST_PX, texture, texture_names

# Tiles at once: few enough that the maps of one step stay in a processor's cache.
_CHUNK_PIXELS = 1 << 16
_LARGE_PX = (1024, 1024)  # has all octaves

FEATURE_NAMES = texture_names(1, _LARGE_PX)
"""Names of the features of one channel, in order."""


def feature_names(channels: int) -> tuple[str, ...]:
    """Name the columns of :func:`texture_features` for tiles of so many channels."""
    return texture_names(channels, _LARGE_PX)


def texture_features(tiles: NDArray[Any]) -> NDArray[np.float32]:
    """Compute texture features of raw tiles, without any learning.

    Those of :func:`~napari_cellclass.core.tiles.texture_formulas.texture`, of tiles brought to one brightness and
    contrast before: they do not depend on exposure, nor on the range of grey values.

    Parameters
    ----------
    tiles
        Shape (N, h, w, C), any numeric dtype, sides of at least 1 px.

    Returns
    -------
    ndarray of float32, shape (N, F)
        F is ``len(FEATURE_NAMES)`` times C, in the order of :func:`feature_names`; columns for which tiles are too
        small are 0. A row of NaN where a tile holds NaN or infinite pixels.
    """
    n, height, width, channels = tiles.shape
    padding = [(0, max(0, SMALLEST_PX - side)) for side in (height, width)]
    columns = np.isin(FEATURE_NAMES, texture_names(1, (height + padding[0][1], width + padding[1][1])))
    features = np.zeros((n, len(FEATURE_NAMES), channels), np.float32)
    step = max(1, _CHUNK_PIXELS // (height * width * channels))
    for start in range(0, n, step):
        # Channel by channel: rows of one channel are added many times as fast as pixels of three.
        pixels = tiles[start : start + step].transpose(0, 3, 1, 2).astype(np.float64)
        bad = ~np.isfinite(pixels).all(axis=(1, 2, 3))
        pixels[bad] = 0.0
        x = np.pad(_standardised(pixels).reshape(-1, height, width), ((0, 0), *padding), mode="edge")
        found = texture(ArrayOps(), x[..., None]).reshape(len(pixels), channels, -1)
        features[start : start + step, columns] = found.swapaxes(1, 2)
        features[start : start + step][bad] = np.nan
    return features.reshape(n, -1)


def _standardised(pixels: NDArray[np.float64]) -> NDArray[np.float32]:
    """Bring channels (n, C, h, w) of tiles to mean 0 and sd 1, flat ones to 0."""
    mean, sd = pixels.mean(axis=(2, 3), keepdims=True), pixels.std(axis=(2, 3), keepdims=True)
    # Rounding alone makes a sd of about 1e-16 of the mean in a flat tile.
    flat = sd <= 1e-9 * np.maximum(1.0, np.abs(mean))
    return np.where(flat, 0.0, (pixels - mean) / np.where(flat, 1.0, sd)).astype(np.float32)


class ArrayOps:
    """:class:`~napari_cellclass.core.tiles.texture_formulas.TextureOps` on arrays."""

    def sides(self, x: NDArray[np.float32]) -> tuple[int, int]:
        """Return height and width of maps in px."""
        return x.shape[1], x.shape[2]

    def part(self, x: NDArray[np.float32], axis: int, start: int, stop: int, step: int = 1) -> NDArray[np.float32]:
        """Return ``x[start:stop:step]`` along an axis."""
        return x[(slice(None),) * axis + (slice(start, stop, step),)]

    def mirror(self, x: NDArray[np.float32], px: int) -> NDArray[np.float32]:
        """Pad maps on all sides by mirrored pixels."""
        return np.pad(x, ((0, 0), (px, px), (px, px), (0, 0)), mode="reflect")

    def mean(self, x: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
        """Average along an axis, which stays, of length 1."""
        return np.asarray(x.mean(axis=axis, keepdims=True))

    def along_rows(self, values: NDArray[np.float32], width: int) -> NDArray[np.float32]:
        """Return the values as they are, as arrays broadcast them."""
        return values

    def clip(self, x: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
        """Limit values to a range."""
        return np.clip(x, low, high)

    def absolute(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return values without their signs."""
        return np.abs(x)

    def sqrt(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return square roots."""
        return np.sqrt(x)

    def log(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return natural logarithms."""
        return np.log(x)

    def columns(self, features: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Put features (n, 1, 1, C) beside one another: (n, F)."""
        return np.concatenate(features, axis=-1)[:, 0, 0]
