"""Which part of a tile a prediction rests on: patches are occluded one by one, and what that changes becomes a map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, median_filter

_PATCHES_ACROSS = (8, 4, 2)  # patches across the shorter side of a tile, where no size is given
_SMALLEST_PX = 4
_OVERLAP = 2  # patches that cover a pixel, along each axis
_NOISE_SIGMA_PX, _MOST_SD = 1.5, 2.5
_MIN_PROBABILITY = 1e-12


@dataclass(frozen=True)
class Occlusion:
    """Overlapping patches with soft edges that together cover a tile evenly.

    Zeiler & Fergus (ECCV 2014, section 4.2) slide a grey square. Here a patch is replaced by a blurred copy of the
    tile, which keeps the brightness around it, and its edges are soft, so that neither becomes a feature of its own.

    Parameters
    ----------
    tile_px
        (height, width) of a tile.
    patch_px
        Width of a patch at half its height; see :func:`default_patches_px`.
    """

    tile_px: tuple[int, int]
    patch_px: int

    @cached_property
    def profiles(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """float32, shapes (rows, height) and (columns, width): how much of a pixel each row and column takes away."""
        return _profiles(self.tile_px[0], self.patch_px), _profiles(self.tile_px[1], self.patch_px)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns of patches."""
        return len(self.profiles[0]), len(self.profiles[1])

    def __len__(self) -> int:
        return self.shape[0] * self.shape[1]

    def occluded(self, tile: NDArray[Any], batch: int = 64) -> Iterator[NDArray[Any]]:
        """Give copies of a tile, each with one patch occluded, row by row of patches.

        Parameters
        ----------
        tile
            Shape (h, w, C), any dtype; the copies have the same dtype.
        batch
            How many copies are given at once, at most.

        Yields
        ------
        ndarray, shape (n, h, w, C)
        """
        height, width = self.tile_px
        pixels = tile.astype(np.float32)
        difference = without_detail(pixels, self.patch_px) - pixels
        rows, columns = self.profiles
        for start in range(0, len(self), batch):
            number = np.arange(start, min(start + batch, len(self)))
            mask = rows[number // self.shape[1], :, None] * columns[number % self.shape[1], None, :]
            copies = pixels + mask[..., None] * difference
            assert copies.shape[1:3] == (height, width)
            yield copies.round().astype(tile.dtype) if tile.dtype.kind in "ui" else copies.astype(tile.dtype)

    def map_of(self, drops: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Spread one number per patch over the pixels that it covers: the mean of the patches over a pixel.

        Parameters
        ----------
        drops
            Shape (patches,), in the order of :meth:`occluded`.

        Returns
        -------
        ndarray of float32, shape (h, w)
        """
        rows, columns = self.profiles
        values = np.asarray(drops, np.float64).reshape(self.shape)
        weight = rows.sum(axis=0)[:, None] * columns.sum(axis=0)[None, :]
        return np.asarray((rows.T @ values @ columns) / weight, np.float32)


def without_detail(pixels: NDArray[np.float32], patch_px: int) -> NDArray[np.float32]:
    """Return a tile without what stands out in it: its brightness, blurred, with noise like that of the tile itself.

    A patch without noise would be a feature of its own, so that hiding empty background would change predictions. The
    noise is that of other pixels of the tile, all channels of a pixel together, clipped to 2.5 and scaled to the local
    level, which the median of the differences from their surroundings gives: spots do not raise it.

    Parameters
    ----------
    pixels
        Shape (h, w, C).
    patch_px
        Side of a patch.
    """
    blurred = gaussian_filter(pixels, (patch_px / 2, patch_px / 2, 0), mode="nearest")
    detail = pixels - gaussian_filter(pixels, (_NOISE_SIGMA_PX, _NOISE_SIGMA_PX, 0), mode="nearest")
    size = 2 * (patch_px // 2) + 1
    level = 1.4826 * median_filter(np.abs(detail), (size, size, 1), mode="nearest")
    level = np.maximum(level, 1e-6 * (1 + np.abs(blurred)))
    noise = np.clip(detail / level, -_MOST_SD, _MOST_SD).reshape(-1, pixels.shape[2])
    mixed = noise[np.random.default_rng(0).permutation(len(noise))].reshape(pixels.shape)
    return np.asarray(blurred + level * mixed, np.float32)


def default_patches_px(tile_px: tuple[int, int]) -> tuple[int, ...]:
    """Return the sides of patches that are tried: an eighth, a quarter and half of the shorter side, at least 4 px."""
    return tuple(dict.fromkeys(max(_SMALLEST_PX, round(min(tile_px) / across)) for across in _PATCHES_ACROSS))


def _profiles(length: int, patch_px: int) -> NDArray[np.float32]:
    """Return raised cosines of a width at half their height, spaced so that each ends where the next but one begins."""
    count = max(2, round(length / (patch_px / _OVERLAP)) + 1)
    centres = np.linspace(0, length - 1, count)
    distance = np.abs(np.arange(length) - centres[:, None]) / patch_px
    return np.asarray(np.where(distance < 1, 0.5 + 0.5 * np.cos(np.pi * distance), 0.0), np.float32)


def log_odds(prob: NDArray[np.floating[Any]], class_index: int) -> NDArray[np.float64]:
    """Return the natural logarithm of p / (1 - p) of a class, of probabilities (n, K), each clipped at 1e-12."""
    p = prob.astype(np.float64)
    own, others = p[:, class_index], np.delete(p, class_index, axis=1).sum(axis=1)  # 1 - p would lose digits
    return np.asarray(np.log(np.maximum(own, _MIN_PROBABILITY)) - np.log(np.maximum(others, _MIN_PROBABILITY)))
