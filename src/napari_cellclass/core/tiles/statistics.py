"""Measurements of tiles' pixels: brightness, contrast, saturation, and a fingerprint that finds copies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.tiles.preprocess import resize_tiles

THUMBNAIL_PX = 16
_CHUNK_TILES = 32
_SAMPLED_ROWS = 32


def _shading() -> NDArray[np.float64]:
    """Orthonormal surfaces of third degree over a thumbnail, shape (256, 10): a model of uneven illumination."""
    y, x = np.mgrid[-1 : 1 : THUMBNAIL_PX * 1j, -1 : 1 : THUMBNAIL_PX * 1j].reshape(2, -1)
    terms = [y**i * x**j for i in range(4) for j in range(4 - i)]
    return np.asarray(np.linalg.qr(np.stack(terms, axis=1))[0])


_SHADING = _shading()
# Largest values of cameras and converters: 8, 10, 12, 14 and 16 bits.
_SATURATION_LEVELS = (255, 1023, 4095, 16383, 65535)


def channel_stats(tiles: NDArray[Any]) -> NDArray[np.float64]:
    """Return mean and sd of every channel of tiles (n, h, w, C) in grey values: float64, shape (n, 2, C).

    NaN where a tile holds NaN or infinite pixels.
    """
    stats = np.empty((len(tiles), 2, tiles.shape[3]))
    for start in range(0, len(tiles), _CHUNK_TILES):  # all of a training set would need its memory eight times
        x = tiles[start : start + _CHUNK_TILES].astype(np.float64)
        if tiles.dtype.kind == "f":
            x[~np.isfinite(x).all(axis=(1, 2, 3))] = np.nan
        stats[start : start + _CHUNK_TILES] = np.stack([x.mean(axis=(1, 2)), x.std(axis=(1, 2))], axis=1)
    return stats


def sampled_stats(tiles: NDArray[Any]) -> NDArray[np.float64]:
    """Approximate :func:`channel_stats` from 32 to 63 rows of each tile, in a fraction of the time."""
    every = max(1, tiles.shape[1] // _SAMPLED_ROWS)
    x = tiles[:, ::every].astype(np.float32)
    n, rows, width, channels = x.shape
    x = x.reshape(n, rows, width * channels)  # loops over three channels would take most of the time
    mean = _channel_means(x, channels)
    x -= np.tile(mean.astype(np.float32), width)[:, None]
    rest = _channel_means(x, channels)
    np.square(x, out=x)
    return np.stack([mean + rest, np.sqrt(np.maximum(_channel_means(x, channels) - rest**2, 0))], axis=1)


def _channel_means(x: NDArray[np.float32], channels: int) -> NDArray[np.float64]:
    """Mean of (n, h, w * C) per channel; by rows first, which is fast and keeps sums of float32 short."""
    by_column = x.sum(axis=1).reshape(len(x), -1, channels)
    return np.asarray(by_column.mean(axis=1, dtype=np.float64) / x.shape[1])


def saturated_fraction(tile: NDArray[Any]) -> float:
    """Return the fraction of a tile's values that lie at the top of a camera's range, such as 255 or 4095."""
    if tile.dtype.kind != "u" or int(tile.max()) not in _SATURATION_LEVELS:
        return 0.0
    return float((tile == tile.max()).mean())


def tile_fingerprint(tile: NDArray[Any]) -> tuple[np.uint64, NDArray[np.int8]]:
    """Return difference hash and detail thumbnail of a tile (h, w, C), by which copies of it are found."""
    grey = np.nan_to_num(tile.astype(np.float32).mean(axis=2), posinf=0, neginf=0)
    return difference_hash(grey), detail_thumbnail(grey)


def difference_hash(grey: NDArray[np.float32]) -> np.uint64:
    """Return an image's difference hash of 64 bits: which of 9 x 8 px are brighter than the one to their left.

    Copies in another format, size or exposure differ in few bits (N. Krawetz, "Kind of like that", The Hacker
    Factor Blog, 2013).

    Parameters
    ----------
    grey
        Shape (h, w).
    """
    small = resize_tiles(grey[None, ..., None].astype(np.float32), (8, 9))[0, ..., 0]
    bits = np.packbits(small[:, 1:] > small[:, :-1])
    return np.uint64(int.from_bytes(bits.tobytes(), "big"))


def detail_thumbnail(grey: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return 16 x 16 px of the structure finer than a tile's shading, standardised: int8, shape (256,), 32 for one sd.

    A surface of third degree is subtracted, as two empty tiles from the same corner of two fields share their shading.
    """
    small = resize_tiles(grey[None, ..., None].astype(np.float32), (THUMBNAIL_PX, THUMBNAIL_PX))[0, ..., 0]
    fine = small.ravel() - _SHADING @ (_SHADING.T @ small.ravel())
    sd = float(fine.std())
    if sd < 1e-6 * max(1.0, float(np.abs(small).max())):
        return np.zeros(THUMBNAIL_PX * THUMBNAIL_PX, np.int8)
    return np.clip(np.rint(32 * fine / sd), -127, 127).astype(np.int8)
