"""Varied views of training tiles: mirrored, zoomed, turned, brighter and darker, blurred and sharpened, with noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.params import AugmentName
from napari_cellclass.core.preprocess import resize_tiles
from napari_cellclass.engine.pixels import TilePixels

_ZOOM, _ZOOMED = 0.2, 0.7  # logarithm of the largest zoom; part of the tiles
_GAMMA = 0.3  # logarithm of the largest exponent
_BLUR, _BLURRED = (-0.25, 0.5), 0.5  # from sharpened to blurred; part of the tiles
_NOISE = 0.05  # of a channel's mean
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
        x[some] = zoomed(x[some], factors[some])
    if degrees is not None:
        x = turned(x, rng.uniform(*degrees, n))
    if kind == "full":
        x = _other_light(x, rng, keep_brightness)
    return resize_tiles(x, pixels.spec.input_px)


def _other_light(x: NDArray[np.float32], rng: np.random.Generator, keep_brightness: bool) -> NDArray[np.float32]:
    """Change gamma, sharpness and noise; what is below 0 keeps its value, as it has no power."""
    n, channels = len(x), x.shape[3]
    if not keep_brightness:
        gamma = np.exp(rng.uniform(-_GAMMA, _GAMMA, n)).astype(np.float32)[:, None, None, None]
        x = np.power(np.maximum(x, 0), gamma) + np.minimum(x, 0)
    share = rng.uniform(*_BLUR, n).astype(np.float32)[:, None, None, None]
    some = np.flatnonzero(rng.random(n) < _BLURRED)
    x[some] += share[some] * (blurred(x[some]) - x[some])
    strength = rng.uniform(0, _NOISE, (n, 1, 1, 1)).astype(np.float32)
    sd = strength * np.abs(x.mean(axis=(1, 2), keepdims=True)).reshape(n, 1, 1, channels)
    x += sd * rng.standard_normal(x.shape, np.float32)
    return x


def zoomed(x: NDArray[np.float32], factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Enlarge tiles (n, H, W, C) about their centres, bilinearly; where that is below 1, with a reflected border."""
    for _ in range(2):  # rows, then columns
        size = x.shape[1]
        place = (np.arange(size, dtype=np.float32) - (size - 1) / 2) / factors[:, None] + np.float32((size - 1) / 2)
        low, part = _split(place, size)
        part = part[..., None]
        tile = np.arange(len(x))[:, None]
        lower = x[tile, low]
        x = (lower + part * (x[tile, np.minimum(low + 1, size - 1)] - lower)).swapaxes(1, 2)
    return np.ascontiguousarray(x)


def blurred(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blur tiles (n, H, W, C) by a Gaussian of 1 px, cut at 3 px, with a mirrored border."""
    reach = len(_KERNEL) - 1
    for axis in (1, 2):
        size = x.shape[axis]
        pads = [(reach, reach) if i == axis else (0, 0) for i in range(4)]
        wide = np.pad(x, pads, mode="symmetric").swapaxes(0, axis)
        result = wide[reach : reach + size] * _KERNEL[0]
        for i in range(1, reach + 1):
            result += _KERNEL[i] * (wide[reach - i : reach - i + size] + wide[reach + i : reach + i + size])
        x = result.swapaxes(0, axis)
    return x


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
