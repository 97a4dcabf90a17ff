"""The formulas of texture features, written once for arrays, OpenVINO graphs and Keras graphs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

TEXTURE_VERSION = 2
"""Raised with every change of the features' values, names or order."""

SMALLEST_PX = 3
"""No side of a tile may be smaller."""

_MIN_SD, _Z_RANGE = 0.002, (-4.0, 8.0)
_OCTAVES = 4
_THRESHOLDS = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0)
# Rows and columns of the eight neighbours of the middle of 3 x 3 px, in a ring.
_RING = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
# A neighbour counts as brighter by half where both are equal, wholly from 1/16 sd on, so that noise decides nothing.
_STEP = 1 / 8
_SMALLEST_PATTERN_PX = 2 * SMALLEST_PX
# Added to arguments of logarithms, roots and quotients, to keep them away from 0.
_ENERGY, _GRADIENT, _ROOT = 1e-4, 1e-2, 1e-6


class TextureOps(Protocol):
    """The operations that the formulas are made of, beside ``+ - * /``; maps have shape (n, H, W, C)."""

    def sides(self, x: Any) -> tuple[int, int]:
        """Return height and width of maps in px."""

    def part(self, x: Any, axis: int, start: int, stop: int, step: int = 1) -> Any:
        """Return ``x[start:stop:step]`` along an axis."""

    def mirror(self, x: Any, px: int) -> Any:
        """Pad maps on all sides by mirrored pixels, without repeating those of the border."""

    def mean(self, x: Any, axis: int) -> Any:
        """Average along an axis, which stays, of length 1."""

    def along_rows(self, values: Any, width: int) -> Any:
        """Repeat values (n, 1, 1, C) along a row of maps of this width."""

    def clip(self, x: Any, low: float, high: float) -> Any:
        """Limit values to a range."""

    def absolute(self, x: Any) -> Any:
        """Return values without their signs."""

    def sqrt(self, x: Any) -> Any:
        """Return square roots."""

    def log(self, x: Any) -> Any:
        """Return natural logarithms."""

    def columns(self, features: Sequence[Any]) -> Any:
        """Put features (n, 1, 1, C) beside one another: (n, F)."""


def texture(ops: TextureOps, tiles: Any) -> Any:
    """Compute texture features of tiles (n, H, W, C), 0 to 1: (n, F), named by :func:`texture_names`.

    Every channel of a tile is standardised first, ``clip((x - mean) / (sd + 0.002), -4, 8)``, so that features do not
    depend on exposure. Of each:

    - log mean and log sd of the Sobel gradient magnitude;
    - log energy and skewness of up to four octaves of a Laplacian pyramid (Burt & Adelson, IEEE Trans. Commun.
      31:532, 1983);
    - the histogram of rotation-invariant uniform local binary patterns (Ojala, Pietikäinen & Mäenpää, IEEE Trans.
      Pattern Anal. 24:971, 2002) of pixels of 2 px: the fractions of them with 0 to 8 brighter neighbours, of those
      whose brighter neighbours are side by side, and the fraction of these; soft, as a difference of grey values
      within 1/16 sd makes a neighbour brighter in part;
    - the soft fraction of pixels of every other row above each of eight thresholds.
    """
    z = _standardised(ops, tiles)
    features = _gradient(ops, z)
    octave, patterns = z, []
    for number in range(octaves(ops.sides(z))):
        blurred = _blurred(ops, octave)
        detail = octave - blurred
        detail = detail - _means_along_rows(ops, detail)
        squared = detail * detail
        energy = _means(ops, squared) + _ENERGY
        features += [ops.log(energy), _means(ops, detail * squared) / (energy * ops.sqrt(energy))]
        octave = _halved(ops, blurred)
        if number == 0 and min(ops.sides(octave)) >= SMALLEST_PX:
            patterns = _patterns(ops, octave)
    features += patterns
    rows = ops.part(z, 1, 0, ops.sides(z)[0], 2)
    features += [_means(ops, ops.clip(rows - (threshold - 0.5), 0.0, 1.0)) for threshold in _THRESHOLDS]
    return ops.columns(features)


def octaves(input_px: tuple[int, int]) -> int:
    """Return how many octaves of tiles (height, width) are measured: up to four, none with sides below 3 px."""
    count, side = 0, min(input_px)
    while count < _OCTAVES and side >= SMALLEST_PX:
        count, side = count + 1, side // 2
    return count


def texture_names(channels: int, input_px: tuple[int, int]) -> tuple[str, ...]:
    """Name the columns of :func:`texture`: feature by feature, and in each channel by channel."""
    names = ["gradient_mean", "gradient_sd"]
    names += [f"octave{i}_{kind}" for i in range(1, octaves(input_px) + 1) for kind in ("energy", "skewness")]
    if min(input_px) >= _SMALLEST_PATTERN_PX:
        names += [*(f"pattern_{i}" for i in range(len(_RING) + 1)), "pattern_uniform"]
    names += [f"above_{threshold:g}sd" for threshold in _THRESHOLDS]
    return tuple(name if channels == 1 else f"{name}_channel{c}" for name in names for c in range(channels))


def _means(ops: TextureOps, x: Any) -> Any:
    """Return the means (n, 1, 1, C) of maps, column by column and then across: sums of float32 depend on the order."""
    return ops.mean(ops.mean(x, 1), 2)


def _means_along_rows(ops: TextureOps, x: Any) -> Any:
    """Repeat the means of maps along a row, which OpenVINO subtracts faster than one value per map."""
    return ops.along_rows(_means(ops, x), ops.sides(x)[1])


def _standardised(ops: TextureOps, tiles: Any) -> Any:
    centred = tiles - _means_along_rows(ops, tiles)
    centred = centred - _means_along_rows(ops, centred)  # remove the rounding residual
    scale = 1.0 / (ops.sqrt(_means(ops, centred * centred)) + _MIN_SD)
    return ops.clip(centred * ops.along_rows(scale, ops.sides(tiles)[1]), *_Z_RANGE)


def _gradient(ops: TextureOps, z: Any) -> list[Any]:
    """Return log mean and log sd of the Sobel gradient magnitude of maps."""
    height, width = ops.sides(z)
    above, here, below = (ops.part(z, 1, i, height - 2 + i) for i in range(3))
    across, down = above + here + here + below, below - above
    across = ops.part(across, 2, 2, width) - ops.part(across, 2, 0, width - 2)
    left, here, right = (ops.part(down, 2, i, width - 2 + i) for i in range(3))
    down = left + here + here + right
    magnitude = ops.sqrt((across * across + down * down) * (1 / 64) + _ROOT)
    mean = _means(ops, magnitude)
    rest = magnitude - ops.along_rows(mean, width - 2)
    sd = ops.sqrt(_means(ops, rest * rest) + _ROOT)
    return [ops.log(mean + _GRADIENT), ops.log(sd + _GRADIENT)]


def _patterns(ops: TextureOps, x: Any) -> list[Any]:
    """Return the fractions of pixels with 0 to 8 brighter neighbours side by side, and of all these together."""
    height, width = ops.sides(x)
    rows = [ops.part(x, 1, i, height - 2 + i) for i in range(3)]
    centre = ops.part(rows[1], 2, 1, width - 1)
    ring = [ops.part(rows[i], 2, j, width - 2 + j) - centre for i, j in _RING]
    brighter = [ops.clip(difference * (1 / _STEP) + 0.5, 0.0, 1.0) for difference in ring]
    count, changes = brighter[0], ops.absolute(brighter[0] - brighter[-1])
    for before, after in pairwise(brighter):
        count, changes = count + after, changes + ops.absolute(after - before)
    uniform = ops.clip(2.0 - changes * 0.5, 0.0, 1.0)  # 1 with up to two changes along the ring, 0 with four
    bins = [ops.clip(1.0 - ops.absolute(count - float(i)), 0.0, 1.0) * uniform for i in range(len(_RING) + 1)]
    return [_means(ops, one) for one in (*bins, uniform)]


def _blurred(ops: TextureOps, x: Any) -> Any:
    """Blur maps with 1 4 6 4 1 along both axes, as in Burt & Adelson's pyramid; borders are mirrored."""
    x = ops.mirror(x, 2)
    for axis in (1, 2):
        inner = ops.sides(x)[axis - 1] - 4
        a, b, c, d, e = (ops.part(x, axis, i, inner + i) for i in range(5))
        x = c * (6 / 16) + (b + d) * (4 / 16) + (a + e) * (1 / 16)
    return x


def _halved(ops: TextureOps, x: Any) -> Any:
    """Average 2 x 2 px of maps; an odd last row or column is dropped."""
    for axis in (1, 2):
        side = ops.sides(x)[axis - 1] // 2 * 2
        x = (ops.part(x, axis, 0, side, 2) + ops.part(x, axis, 1, side, 2)) * 0.5
    return x
