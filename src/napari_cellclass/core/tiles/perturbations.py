"""Perturbations of raw tiles as between imaging sessions, to measure a network's robustness."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, rotate


@dataclass(frozen=True)
class GreyRange:
    """Grey values of black and white: the range that the model scales to 0..1."""

    black: float
    white: float


ChangeTileFunction = Callable[[NDArray[np.float64], float, GreyRange, np.random.Generator], NDArray[np.float64]]


@dataclass(frozen=True)
class Perturbation:
    """One way to change a tile.

    Parameters
    ----------
    name, unit
        What is changed, and the unit of its level.
    levels
        From one end to the other; at ``neutral`` nothing is changed.
    neutral
        The level that leaves a tile unchanged, None where there is none.
    change
        From a tile (h, w, C) in grey values, a level, the scale and a generator to the changed tile.
    """

    name: str
    unit: str
    levels: tuple[float, ...]
    neutral: float | None
    change: ChangeTileFunction

    def apply(self, tile: NDArray[Any], level: float, scale: GreyRange, seed: tuple[int, ...] = (0,)) -> NDArray[Any]:
        """Change a tile.

        Parameters
        ----------
        tile
            Shape (h, w, C), any numeric dtype.
        level
            How much.
        scale
            Black and white.
        seed
            The same seed gives the same noise.

        Returns
        -------
        ndarray, shape (h, w, C)
            In the tile's dtype; integers are rounded, and clipped to their range, as by a camera.
        """
        if level == self.neutral:
            return tile
        changed = self.change(tile.astype(np.float64), level, scale, np.random.default_rng(seed))
        if tile.dtype.kind == "f":
            return changed.astype(tile.dtype)
        if tile.dtype == np.bool_:
            return changed >= 0.5
        limits = np.iinfo(tile.dtype)
        return np.clip(np.rint(changed), limits.min, limits.max).astype(tile.dtype)


def _gain(x: NDArray[np.float64], level: float, scale: GreyRange, rng: np.random.Generator) -> NDArray[np.float64]:
    return scale.black + level * (x - scale.black)


def _offset(x: NDArray[np.float64], level: float, scale: GreyRange, rng: np.random.Generator) -> NDArray[np.float64]:
    return x + level * (scale.white - scale.black)


def _blur(x: NDArray[np.float64], level: float, scale: GreyRange, rng: np.random.Generator) -> NDArray[np.float64]:
    return np.asarray(gaussian_filter(x, (level, level, 0)))


def _noise(x: NDArray[np.float64], level: float, scale: GreyRange, rng: np.random.Generator) -> NDArray[np.float64]:
    return x + rng.normal(0, 1, x.shape) * level * (x.mean(axis=(0, 1)) - scale.black)


def _rotation(x: NDArray[np.float64], level: float, scale: GreyRange, rng: np.random.Generator) -> NDArray[np.float64]:
    return np.asarray(rotate(x, level, axes=(0, 1), reshape=False, order=1, mode="reflect"))


def _jpeg(x: NDArray[np.float64], level: float, scale: GreyRange, rng: np.random.Generator) -> NDArray[np.float64]:
    span = scale.white - scale.black
    grey = np.clip(np.rint(255 * (x - scale.black) / span), 0, 255).astype(np.uint8)
    parts = [grey] if grey.shape[2] == 3 else [grey[..., c] for c in range(grey.shape[2])]
    decoded = []
    for part in parts:
        stream = io.BytesIO()
        Image.fromarray(part).save(stream, "JPEG", quality=int(level))
        decoded.append(np.asarray(Image.open(stream)).reshape(*grey.shape[:2], -1))
    return scale.black + np.concatenate(decoded, axis=2).astype(np.float64) * span / 255


PERTURBATIONS = (
    Perturbation("gain", "times as bright", (0.5, 0.7, 1.0, 1.4, 2.0), 1.0, _gain),
    Perturbation("offset", "fraction of the range", (-0.1, -0.05, 0.0, 0.05, 0.1), 0.0, _offset),
    Perturbation("blur", "sigma in px", (0.0, 0.5, 1.0, 2.0), 0.0, _blur),
    Perturbation("noise", "sd / mean", (0.0, 0.05, 0.1, 0.2), 0.0, _noise),
    Perturbation("jpeg", "quality", (20, 40, 70, 90), None, _jpeg),
    Perturbation("rotation", "degrees", (0.0, 5.0, 15.0, 45.0, 90.0), 0.0, _rotation),
)
