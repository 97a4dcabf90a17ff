"""Varied views of training tiles: mirrored, zoomed, turned, brighter and darker, blurred and sharpened, with noise."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.params.train import AugmentName
from napari_cellclass.core.tiles.preprocess import resize_tiles
from napari_cellclass.engine.training.tile_pixels import TilePixels

_ZOOM, _ZOOMED = 0.2, 0.7  # logarithm of the largest zoom; part of the tiles
_GAMMA = 0.3  # logarithm of the largest exponent
_BLUR, _BLURRED = (-0.35, 0.7), 0.5  # from sharpened to blurred; part of the tiles
_NOISE = 0.05  # of a channel's mean
_BANK = 1 << 22  # numbers; to draw new ones for every tile would take as long as all else here
# Larger tiles are varied after they were shrunk, so that the work does not grow with what is thrown away.
_LARGEST_RATIO = 2


def augmented_batch(
    pixels: TilePixels,
    rows: NDArray[np.int64],
    kind: AugmentName,
    rng: np.random.Generator,
    degrees: tuple[float, float] | None = None,
    keep_brightness: bool = False,
) -> NDArray[np.float32]:
    """Give network input of some tiles as training shows them.

    Parameters
    ----------
    pixels
        The tiles.
    rows
        Which of them, shape (n,).
    kind
        ``"none"``, ``"flips"`` (the dihedral views) or ``"full"``: also zoomed by exp(U(-0.2, 0.2)), with gamma
        exp(U(-0.3, 0.3)), blurred or sharpened by U(-0.35, 0.7) of what a blur by 1 2 1 changes, and
        with noise of U(0, 0.05) of each channel's mean.
    rng
        Decides the views; the same state gives the same ones.
    degrees
        Also turn tiles by an angle from this range.
    keep_brightness
        Without gamma: it would hide what tells classes apart that differ in brightness.

    Returns
    -------
    ndarray of float32, shape (n, H, W, C)
        Varied in the tiles' own size, then resized.
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
        some = np.flatnonzero(rng.random(n) < _ZOOMED)
        x = np.ascontiguousarray(x)
        spare = scratch_memory(x)
        for i in some.tolist():  # a tile at a time stays in a core's cache, here and below
            zoom_tile(x[i], float(factors[i]), spare)
    if degrees is not None:
        x = rotate_tiles(x, rng.uniform(*degrees, n))
    if kind == "full":
        _change_light(x, rng, keep_brightness)
    return resize_tiles(x, pixels.spec.input_px)


def _change_light(x: NDArray[np.float32], rng: np.random.Generator, keep_brightness: bool) -> None:
    """Change gamma, sharpness and noise in place; what is below 0 keeps its value, as it has no power."""
    n, (height, width, channels) = len(x), x.shape[1:]
    gamma = np.exp(rng.uniform(-_GAMMA, _GAMMA, n)).astype(np.float32)
    share = rng.uniform(_BLUR[0], _BLUR[1], n).astype(np.float32)
    some = rng.random(n) < _BLURRED
    strength = rng.uniform(0, _NOISE, n).astype(np.float32)
    spare = scratch_memory(x)
    for i, tile in enumerate(x):
        if not keep_brightness:
            _raise_to(tile, gamma[i])
        if some[i]:
            change = blur_tile(tile, spare)
            change *= share[i]
            np.add(np.multiply(tile, 1 - share[i], out=tile), change, out=tile)
        rows = tile.reshape(height, width * channels)  # sums over three channels would take longer than all the rest
        mean = rows.sum(axis=0).reshape(width, channels).mean(axis=0) / height
        noise, change = (part.reshape(height, width * channels) for part in (_noise(rng, tile.size), spare[0]))
        rows += np.multiply(noise, np.tile(strength[i] * np.abs(mean), width), out=change)


def _raise_to(tile: NDArray[np.float32], gamma: np.float32) -> None:
    """Raise a tile to a power in place; the two steps take NumPy two thirds of the time of one."""
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
    """Give so many numbers of a standard normal distribution: from a random place in a long row of them."""
    if count > _BANK // 4:
        return rng.standard_normal(count, np.float32)
    start = int(rng.integers(0, _BANK - count))
    return _noise_bank()[start : start + count]


def scratch_memory(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make memory for two tiles of (n, H, W, C), shape (2, H W C); to ask for it anew may take longer than the work."""
    return np.empty((2, x[0].size), np.float32)


def zoom_tile(tile: NDArray[np.float32], factor: float, spare: NDArray[np.float32]) -> None:
    """Enlarge a tile (H, W, C) about its centre, bilinearly, in place; below 1, with a reflected border."""
    height, width, channels = tile.shape
    rows, one, other = (part.reshape(height, width * channels) for part in (tile, *spare))
    low, high, part = _zoomed_places(height, factor)
    _between(rows.take(low, 0, one, "clip"), rows.take(high, 0, other, "clip"), part[:, None])
    # Of single numbers, as to gather pixels of three takes longer, and so does their product with one number.
    low, high, part = _zoomed_places(width, factor)
    channel = np.arange(channels)
    low, high = ((places[:, None] * channels + channel).ravel() for places in (low, high))
    _between(one.take(low, 1, rows, "clip"), one.take(high, 1, other, "clip"), np.repeat(part, channels))


def _zoomed_places(size: int, factor: float) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Give the two places that each of a zoomed line lies between, and how far it is from the first."""
    middle = np.float32((size - 1) / 2)
    low, part = _split((np.arange(size, dtype=np.float32) - middle) / np.float32(factor) + middle, size)
    return low, np.minimum(low + 1, size - 1), part[:, 0]


def _between(low: NDArray[np.float32], high: NDArray[np.float32], part: NDArray[np.float32]) -> None:
    high -= low
    high *= part
    low += high


def blur_tile(tile: NDArray[np.float32], spare: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blur a tile (H, W, C) by 1 2 1 along both sides; what lies beyond the border is as the border."""
    rows, one, other = (part.reshape(len(tile), -1) for part in (tile, *spare))
    _add_neighbours(rows, 1, one)
    _add_neighbours(one.T, tile.shape[2], other.T)
    other /= 16
    return other.reshape(tile.shape)


def _add_neighbours(x: NDArray[np.float32], step: int, out: NDArray[np.float32]) -> None:
    """Add what lies so many steps before and behind along the first axis to twice each number."""
    np.multiply(x, 2, out=out)
    out[step:] += x[:-step]
    out[:-step] += x[step:]
    out[:step] += x[:step]
    out[-step:] += x[-step:]


def rotate_tiles(x: NDArray[np.float32], degrees: NDArray[np.float64]) -> NDArray[np.float32]:
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
    """Reflect positions into 0 .. size - 1, however far out; give their whole part and, with an axis more, the rest."""
    last = size - 1
    if last == 0:
        place = np.zeros_like(place)
    else:
        place = np.abs(place) % np.float32(2 * last)
        place = np.minimum(last - np.abs(last - place), np.float32(last))
    whole = place.astype(np.int64)
    return whole, (place - whole).astype(np.float32)[..., None]
