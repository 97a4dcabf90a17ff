"""Augmentation of training tiles: mirroring, zoom, rotation, gamma, blurring and sharpening, noise."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.params.train import AugmentName
from napari_cellclass.core.tiles.preprocess import resize_tiles
from napari_cellclass.engine.training.tile_pixels import TilePixels

_ZOOM, _ZOOM_PROBABILITY = 0.2, 0.7  # logarithm of the largest zoom
_GAMMA = 0.3  # logarithm of the largest exponent
_BLUR, _BLUR_PROBABILITY = (-0.35, 0.7), 0.5  # from sharpening to blurring
_NOISE = 0.05  # largest sd, as a fraction of a channel's mean
_BANK = 1 << 22  # random numbers; to draw new ones for every tile would double the time
# Tiles larger than this times the input are shrunk before augmentation, to save time.
_LARGEST_RATIO = 2


def augmented_batch(
    pixels: TilePixels,
    rows: NDArray[np.int64],
    kind: AugmentName,
    rng: np.random.Generator,
    degrees: tuple[float, float] | None = None,
    keep_brightness: bool = False,
) -> NDArray[np.float32]:
    """Return augmented network input for some tiles.

    Parameters
    ----------
    pixels
        The tiles.
    rows
        Their indices in ``pixels``, shape (n,).
    kind
        ``"none"``, ``"flips"`` (the dihedral views) or ``"full"``: also zoom by exp(U(-0.2, 0.2)), gamma of
        exp(U(-0.3, 0.3)), blurring or sharpening by U(-0.35, 0.7) of the effect of a 1 2 1 blur, and Gaussian noise
        with an sd of U(0, 0.05) of each channel's mean.
    rng
        Random state; the same state gives the same batch.
    degrees
        Range of a random rotation.
    keep_brightness
        Whether to omit gamma, for classes that differ in brightness.

    Returns
    -------
    ndarray of float32, shape (n, H, W, C)
        Augmented in the tiles' own size, then resized.
    """
    n = len(rows)
    if kind == "none" and degrees is None:
        return pixels.batch(rows)
    views = np.zeros(n, np.int64) if kind == "none" else rng.integers(0, pixels.views, n)
    x = pixels.scaled(rows, views)
    if max(x.shape[1:3]) > _LARGEST_RATIO * max(pixels.spec.input_px):
        x = resize_tiles(x, pixels.spec.input_px)
    if kind == "full":
        factors = np.exp(rng.uniform(-_ZOOM, _ZOOM, n)).astype(np.float32)
        some = np.flatnonzero(rng.random(n) < _ZOOM_PROBABILITY)
        x = np.ascontiguousarray(x)
        scratch = scratch_memory(x)
        for i in some.tolist():  # one tile at a time stays in a core's cache, here and below
            zoom_tile(x[i], float(factors[i]), scratch)
    if degrees is not None:
        x = rotate_tiles(x, rng.uniform(*degrees, n))
    if kind == "full":
        _change_appearance(x, rng, keep_brightness)
    return resize_tiles(x, pixels.spec.input_px)


def _change_appearance(x: NDArray[np.float32], rng: np.random.Generator, keep_brightness: bool) -> None:
    """Change gamma, sharpness and noise in place; values below 0 are exempt from gamma."""
    n, (height, width, channels) = len(x), x.shape[1:]
    gamma = np.exp(rng.uniform(-_GAMMA, _GAMMA, n)).astype(np.float32)
    amount = rng.uniform(_BLUR[0], _BLUR[1], n).astype(np.float32)
    some = rng.random(n) < _BLUR_PROBABILITY
    strength = rng.uniform(0, _NOISE, n).astype(np.float32)
    scratch = scratch_memory(x)
    for i, tile in enumerate(x):
        if not keep_brightness:
            _apply_gamma(tile, gamma[i])
        if some[i]:
            blurred = blur_tile(tile, scratch)
            blurred *= amount[i]
            np.add(np.multiply(tile, 1 - amount[i], out=tile), blurred, out=tile)
        rows = tile.reshape(height, width * channels)  # summing over a channel axis of three is slow
        mean = rows.sum(axis=0).reshape(width, channels).mean(axis=0) / height
        noise, scaled = (values.reshape(height, width * channels) for values in (_noise(rng, tile.size), scratch[0]))
        rows += np.multiply(noise, np.tile(strength[i] * np.abs(mean), width), out=scaled)


def _apply_gamma(tile: NDArray[np.float32], gamma: np.float32) -> None:
    """Raise a tile to a power in place; log and exp take NumPy two thirds of the time of ``power``."""
    below = np.minimum(tile, 0) if tile.min() < 0 else None
    if below is not None:
        np.maximum(tile, 0, out=tile)
    with np.errstate(divide="ignore"):  # black stays black
        np.log(tile, out=tile)
    tile *= gamma
    np.exp(tile, out=tile)
    if below is not None:
        tile += below


@functools.cache
def _noise_bank() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(_BANK, np.float32)


def _noise(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Return standard normal numbers: a random slice of a precomputed array."""
    if count > _BANK // 4:
        return rng.standard_normal(count, np.float32)
    start = int(rng.integers(0, _BANK - count))
    return _noise_bank()[start : start + count]


def scratch_memory(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Allocate memory for two tiles of (n, H, W, C), shape (2, H W C), to be reused for all tiles of a batch."""
    return np.empty((2, x[0].size), np.float32)


def zoom_tile(tile: NDArray[np.float32], factor: float, scratch: NDArray[np.float32]) -> None:
    """Enlarge a tile (H, W, C) about its centre, bilinearly, in place; below 1, with a reflected border."""
    height, width, channels = tile.shape
    rows, one, other = (memory.reshape(height, width * channels) for memory in (tile, *scratch))
    low, high, fraction = _zoomed_positions(height, factor)
    _interpolate(rows.take(low, 0, one, "clip"), rows.take(high, 0, other, "clip"), fraction[:, None])
    # Single values are gathered, which is faster than pixels of three channels.
    low, high, fraction = _zoomed_positions(width, factor)
    channel = np.arange(channels)
    low, high = ((positions[:, None] * channels + channel).ravel() for positions in (low, high))
    _interpolate(one.take(low, 1, rows, "clip"), one.take(high, 1, other, "clip"), np.repeat(fraction, channels))


def _zoomed_positions(size: int, factor: float) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return for each position of a zoomed axis its two source positions, and the distance from the first."""
    middle = np.float32((size - 1) / 2)
    low, fraction = _reflect((np.arange(size, dtype=np.float32) - middle) / np.float32(factor) + middle, size)
    return low, np.minimum(low + 1, size - 1), fraction[:, 0]


def _interpolate(low: NDArray[np.float32], high: NDArray[np.float32], fraction: NDArray[np.float32]) -> None:
    """Interpolate linearly; the result replaces ``low``."""
    high -= low
    high *= fraction
    low += high


def blur_tile(tile: NDArray[np.float32], scratch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blur a tile (H, W, C) with 1 2 1 along both axes; border pixels are repeated."""
    rows, one, other = (memory.reshape(len(tile), -1) for memory in (tile, *scratch))
    _add_neighbours(rows, 1, one)
    _add_neighbours(one.T, tile.shape[2], other.T)
    other /= 16
    return other.reshape(tile.shape)


def _add_neighbours(x: NDArray[np.float32], step: int, out: NDArray[np.float32]) -> None:
    """Write twice each value plus its neighbours ``step`` before and after along the first axis to ``out``."""
    np.multiply(x, 2, out=out)
    out[step:] += x[:-step]
    out[:-step] += x[step:]
    out[:step] += x[:step]
    out[-step:] += x[-step:]


def rotate_tiles(x: NDArray[np.float32], degrees: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rotate tiles (n, H, W, C) about their centres, bilinearly, with a reflected border."""
    height, width, channels = x.shape[1:]
    down = np.arange(height, dtype=np.float32)[:, None] - (height - 1) / 2
    right = np.arange(width, dtype=np.float32)[None, :] - (width - 1) / 2
    result = np.empty_like(x)
    for i, angle in enumerate(np.deg2rad(degrees).astype(np.float32)):
        sin, cos = np.sin(angle), np.cos(angle)
        y, fy = _reflect(cos * down - sin * right + (height - 1) / 2, height)
        z, fz = _reflect(sin * down + cos * right + (width - 1) / 2, width)
        flat = x[i].reshape(-1, channels)
        below, beside = np.minimum(y + 1, height - 1), np.minimum(z + 1, width - 1)
        top = flat[y * width + z] * (1 - fz) + flat[y * width + beside] * fz
        bottom = flat[below * width + z] * (1 - fz) + flat[below * width + beside] * fz
        result[i] = top * (1 - fy) + bottom * fy
    return result


def _reflect(position: NDArray[np.float32], size: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Reflect positions into 0 .. size - 1; return their integer part and, with an additional axis, the fraction."""
    last = size - 1
    if last == 0:
        position = np.zeros_like(position)
    else:
        position = np.abs(position) % np.float32(2 * last)
        position = np.minimum(last - np.abs(last - position), np.float32(last))
    whole = position.astype(np.int64)
    return whole, (position - whole).astype(np.float32)[..., None]
