"""Varied views of training tiles: mirrored, zoomed, turned, brighter and darker, blurred and sharpened, with noise."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.params import AugmentName
from napari_cellclass.core.preprocess import resize_tiles
from napari_cellclass.engine.pixels import TilePixels

_ZOOM, _ZOOMED = 0.2, 0.7  # logarithm of the largest zoom; part of the tiles
_GAMMA = 0.3  # logarithm of the largest exponent
_BLUR, _BLURRED = (-0.25, 0.5), 0.5  # from sharpened to blurred; part of the tiles
_NOISE = 0.05  # of a channel's mean
_BANK = 1 << 22  # numbers; to draw new ones for every tile would take as long as all else here
_KERNEL = np.exp(-0.5 * np.arange(4, dtype=np.float32) ** 2)  # a Gaussian of 1 px, its right half
_KERNEL /= 2 * _KERNEL.sum() - _KERNEL[0]
# Larger tiles are varied after they were shrunk, so that the work does not grow with what is thrown away.
_LARGEST_RATIO = 2


def training_batch(
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
        exp(U(-0.3, 0.3)), blurred or sharpened by U(-0.25, 0.5) of what a Gaussian of 1 px changes, and
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
        for i in some.tolist():  # a tile at a time stays in a core's cache, here and below
            x[i] = zoomed(x[i], float(factors[i]))
    if degrees is not None:
        x = turned(x, rng.uniform(*degrees, n))
    if kind == "full":
        x = np.ascontiguousarray(x)
        _change_light(x, rng, keep_brightness)
    return resize_tiles(x, pixels.spec.input_px)


def _change_light(x: NDArray[np.float32], rng: np.random.Generator, keep_brightness: bool) -> None:
    """Change gamma, sharpness and noise in place; what is below 0 keeps its value, as it has no power."""
    n, (height, width, channels) = len(x), x.shape[1:]
    gamma = np.exp(rng.uniform(-_GAMMA, _GAMMA, n)).astype(np.float32)
    share = rng.uniform(_BLUR[0], _BLUR[1], n).astype(np.float32)
    some = rng.random(n) < _BLURRED
    strength = rng.uniform(0, _NOISE, n).astype(np.float32)
    for i, tile in enumerate(x):
        if not keep_brightness:
            below = np.minimum(tile, 0) if tile.min() < 0 else None
            np.power(tile if below is None else np.maximum(tile, 0), gamma[i], out=tile)
            if below is not None:
                np.add(tile, below, out=tile)
        if some[i]:
            change = blurred(tile)
            change -= tile
            change *= share[i]
            np.add(tile, change, out=tile)
        rows = tile.reshape(height, width * channels)  # sums over three channels would take longer than all the rest
        mean = rows.sum(axis=0).reshape(width, channels).mean(axis=0) / height
        noise = _noise(rng, tile.size).reshape(height, width * channels)
        rows += noise * np.tile(strength[i] * np.abs(mean), width)


@functools.cache
def _noise_bank() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(_BANK, np.float32)


def _noise(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Give so many numbers of a standard normal distribution: from a random place in a long row of them."""
    if count > _BANK // 4:
        return rng.standard_normal(count, np.float32)
    start = int(rng.integers(0, _BANK - count))
    return _noise_bank()[start : start + count]


def zoomed(tile: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Enlarge a tile (H, W, C) about its centre, bilinearly; where that is below 1, with a reflected border."""
    for axis in (0, 1):
        size = tile.shape[axis]
        place = (np.arange(size, dtype=np.float32) - (size - 1) / 2) / np.float32(factor) + np.float32((size - 1) / 2)
        low, part = _split(place, size)
        lower = tile.take(low, axis, mode="clip")  # none is outside, and so it need not be looked at
        upper = tile.take(np.minimum(low + 1, size - 1), axis, mode="clip")
        upper -= lower
        upper *= part[:, None] if axis == 0 else part
        lower += upper
        tile = lower
    return tile


def blurred(tile: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blur a tile (H, W, C) by a Gaussian of 1 px, cut at 3 px, with a mirrored border."""
    reach = len(_KERNEL) - 1
    height, width, channels = tile.shape
    wide = tile.take(_mirrored(height, reach), 0, mode="clip")
    down = _weighted([wide[i : i + height] for i in range(2 * reach + 1)])
    wide = np.empty((height, width + 2 * reach, channels), np.float32)
    wide[:, reach:-reach] = down
    ends = _mirrored(width, reach)
    wide[:, :reach], wide[:, -reach:] = down[:, ends[:reach]], down[:, ends[-reach:]]
    wide = wide.reshape(height, -1)
    length = width * channels  # a step to the right is one of so many channels
    return _weighted([wide[:, i * channels : i * channels + length] for i in range(2 * reach + 1)]).reshape(tile.shape)


def _mirrored(size: int, reach: int) -> NDArray[np.int64]:
    """Give the places of a line with so many more at both ends, mirrored as by ``symmetric`` of NumPy."""
    place = np.arange(-reach, size + reach) % (2 * size)
    return np.minimum(place, 2 * size - 1 - place)


def _weighted(shifted: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Sum arrays with the weights of the kernel, whose peak belongs to the one in the middle."""
    reach = len(_KERNEL) - 1
    result = shifted[reach] * _KERNEL[0]
    pair = np.empty_like(result)
    for i in range(1, reach + 1):
        np.add(shifted[reach - i], shifted[reach + i], out=pair)
        pair *= _KERNEL[i]
        result += pair
    return result


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
    """Reflect positions into 0 .. size - 1, however far out; give their whole part and, with an axis more, the rest."""
    last = size - 1
    if last == 0:
        place = np.zeros_like(place)
    else:
        place = np.abs(place) % np.float32(2 * last)
        place = np.minimum(last - np.abs(last - place), np.float32(last))
    whole = place.astype(np.int64)
    return whole, (place - whole).astype(np.float32)[..., None]
