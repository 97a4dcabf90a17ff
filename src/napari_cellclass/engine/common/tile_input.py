"""Raw tiles as input of a network: checks, batches of one fixed size, and the difference of two results."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.tiles.preprocess import PreprocessSpec, channel_mismatch

TOLERANCE = 1e-4
"""Largest difference of a probability between engines, and between machines and the time of training."""


def is_finite(tiles: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return for each tile (n, h, w, C) whether all its pixels are finite, also as float32: bool, shape (n,)."""
    if tiles.dtype.kind != "f":
        return np.ones(len(tiles), bool)
    with np.errstate(over="ignore"):
        return np.asarray(np.isfinite(tiles.astype(np.float32, copy=False)).all(axis=(1, 2, 3)))


def check_tiles(tiles: NDArray[np.generic], spec: PreprocessSpec) -> None:
    """Raise :class:`ModelError` unless an array holds numeric tiles (n, h, w, C) with the model's channels."""
    if tiles.ndim != 4 or tiles.dtype.kind not in "buif":
        raise ModelError(f"expected tiles (n, h, w, C) of numbers, but got {tiles.dtype} of shape {tiles.shape}")
    if tiles.shape[-1] != spec.channels:
        raise ModelError(channel_mismatch(spec.channels, tiles.shape[-1]))


def predict_in_batches(
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    spec: PreprocessSpec,
    tiles: NDArray[np.generic],
    classes: int,
    size: int,
    levels: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """Send raw tiles through a network in batches of one fixed size.

    Kernels choose their order of summation by the batch's shape; with one shape a tile's prediction does
    not depend on the other tiles of its batch.

    Parameters
    ----------
    run
        Maps float32 (size, H, W, C) to float32 (size, K).
    spec
        Preprocessing from raw tiles to network input.
    tiles
        Shape (n, h, w, C), n may be 0.
    classes, size
        K and the batch size.
    levels
        Grey levels of the tiles' field, where ``spec`` needs them.

    Returns
    -------
    ndarray of float32, shape (n, K)
        A row of NaN where a tile holds NaN or infinite pixels.

    Raises
    ------
    ModelError
        The array holds no tiles, they have another number of channels than the model, or their levels are missing.
    """
    tiles = np.asarray(tiles)
    check_tiles(tiles, spec)
    prob = np.full((len(tiles), classes), np.nan, np.float32)
    for start in range(0, len(tiles), size):
        batch = tiles[start : start + size]
        rows = np.flatnonzero(is_finite(batch))
        if len(rows) == 0:
            continue
        # Non-finite tiles stay zero: one NaN can spread over a whole batch in a blocked matrix product.
        x = np.zeros((size, *spec.input_px, spec.channels), np.float32)
        x[rows] = spec.apply(spec.apply_levels(batch[rows], levels))
        found = run(x)[rows]
        found[~np.isfinite(found).all(axis=1)] = np.nan
        prob[start + rows] = found
    return prob


def largest_difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the largest absolute difference of two arrays, infinite where only one of them is NaN."""
    if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
        return float("inf")
    return float(np.nanmax(np.abs(a - b), initial=0.0))
