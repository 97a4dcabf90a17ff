"""Classic texture features for a linear model: the baseline that a network must beat."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, sobel
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern

_PERCENTILES = (5, 50, 95, 99)
_SIGMAS_PX = (1, 2, 4, 8)
_DISTANCES_PX = (1, 3)
_ANGLES = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
_LEVELS = 16
_NEIGHBOURS = 8
# Standardised values are clipped to this, which also bounds the effect of one hot pixel.
_LIMIT = 8.0

FEATURE_NAMES: tuple[str, ...] = (
    "mean", "sd", "skewness", "kurtosis", "entropy",
    *(f"p{p}" for p in _PERCENTILES),
    "gradient_mean", "gradient_sd",
    *(f"band_{s}px_energy" for s in _SIGMAS_PX),
    *(f"band_{s}px_skewness" for s in _SIGMAS_PX),
    *(f"pattern_{i}" for i in range(_NEIGHBOURS + 2)),
    *(f"pairs_{d}px_{kind}" for d in _DISTANCES_PX for kind in ("contrast", "homogeneity")),
)  # fmt: skip
"""Names of the features of one channel, in order."""


def feature_names(channels: int) -> tuple[str, ...]:
    """Name the columns of :func:`texture_features` for tiles of so many channels."""
    if channels == 1:
        return FEATURE_NAMES
    return tuple(f"channel{c}_{name}" for c in range(channels) for name in FEATURE_NAMES)


def texture_features(tiles: NDArray[Any]) -> NDArray[np.float64]:
    """Compute brightness, contrast and texture features of tiles, without any learning.

    ``mean`` and ``sd`` are in grey values; all others are of the tile standardised to mean 0 and sd 1, so
    that another exposure does not change them: skewness, kurtosis, entropy and percentiles of the
    histogram; strength of the Sobel gradient; energy (log sd) and skewness in four octaves, each a
    difference of Gaussians; the histogram of rotation-invariant uniform local binary patterns (Ojala,
    Pietikäinen and Mäenpää 2002, 8 neighbours at 1 px); contrast and homogeneity of grey-level pairs
    (Haralick, Shanmugam and Dinstein 1973) at 1 and 3 px, averaged over four directions.

    Parameters
    ----------
    tiles
        Shape (N, h, w, C), any numeric dtype, sides of at least 1 px.

    Returns
    -------
    ndarray of float64, shape (N, F)
        F is ``len(FEATURE_NAMES)`` times C, channel by channel, as :func:`feature_names` says. A row of
        NaN where a tile holds NaN or infinite pixels.
    """
    n, _, _, channels = tiles.shape
    features = np.full((n, channels * len(FEATURE_NAMES)), np.nan)
    for i in range(n):
        pixels = tiles[i].astype(np.float64)
        if np.isfinite(pixels).all():
            features[i] = np.concatenate([_of_channel(pixels[..., c]) for c in range(channels)])
    return features


def _of_channel(x: NDArray[np.float64]) -> NDArray[np.float64]:
    mean, sd = float(x.mean()), float(x.std())
    # Rounding alone makes a sd of about 1e-16 of the mean in a flat tile.
    z = (x - mean) / sd if sd > 1e-9 * max(1.0, abs(mean)) else np.zeros_like(x)
    z = np.clip(z, -_LIMIT, _LIMIT)
    cubes = z * z * z  # many times as fast as a power
    fraction = np.histogram(z, bins=32, range=(-4, 4))[0] / z.size
    entropy = -(fraction[fraction > 0] * np.log2(fraction[fraction > 0])).sum()
    gradient = np.hypot(sobel(z, axis=0), sobel(z, axis=1))
    bands = [gaussian_filter(z, s / 2) - gaussian_filter(z, s) for s in _SIGMAS_PX]
    return np.array(
        [
            mean, sd, cubes.mean(), (cubes * z).mean(), entropy, *np.percentile(z, _PERCENTILES),
            gradient.mean(), gradient.std(),
            *(np.log(band.std() + 1e-6) for band in bands),
            *(_skewness(band) for band in bands),
            *_patterns(z), *_pairs(z),
        ]
    )  # fmt: skip


def _skewness(x: NDArray[np.float64]) -> float:
    centred = x - x.mean()
    return float((centred * centred * centred).mean() / (centred.std() ** 3 + 1e-9))


def _patterns(z: NDArray[np.float64]) -> NDArray[np.float64]:
    # Whole numbers: the patterns compare for equality, and interpolation must not decide it by rounding.
    codes = local_binary_pattern(np.round(z * 256).astype(np.int32), _NEIGHBOURS, 1, "uniform").astype(np.int64)
    return np.bincount(codes.ravel(), minlength=_NEIGHBOURS + 2) / codes.size


def _pairs(z: NDArray[np.float64]) -> list[float]:
    levels = np.clip((z + 2) / 4 * _LEVELS, 0, _LEVELS - 1).astype(np.uint8)
    counts = graycomatrix(levels, _DISTANCES_PX, _ANGLES, _LEVELS, symmetric=True, normed=True)
    kinds = [graycoprops(counts, kind).mean(axis=1) for kind in ("contrast", "homogeneity")]
    return [float(kind[d]) for d in range(len(_DISTANCES_PX)) for kind in kinds]
