"""The one way from an image's pixels to a network's input, for training and prediction alike."""

from __future__ import annotations

import functools
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_cellclass.core.contracts import ModelError


class PreprocessSpec(BaseModel):
    """What is done to the pixels of a tile, stated in the model's manifest.

    Attributes
    ----------
    channels
        How many channels a tile has.
    input_px
        (height, width) of the network's input in px; tiles of another size are resized.
    low, high
        The fixed range, in grey values, that is brought to 0..1. Values past it are not clipped.
    resize
        ``"antialias"``: a triangle filter as wide as the shrinkage, so that fine texture does not
        turn into moiré; it interpolates linearly when enlarging.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int = Field(ge=1)
    input_px: tuple[int, int]
    low: float = 0.0
    high: float = 255.0
    resize: Literal["antialias"] = "antialias"

    @model_validator(mode="after")
    def _range_is_open(self) -> PreprocessSpec:
        if not np.isfinite([self.low, self.high]).all() or not self.high > self.low:
            raise ValueError(f"the grey-value range {self.low}..{self.high} is empty")
        if min(self.input_px) < 1:
            raise ValueError(f"the input size {self.input_px} is not possible")
        return self

    def apply(self, tiles: NDArray[Any]) -> NDArray[np.float32]:
        """Turn raw tiles into the network's input.

        Parameters
        ----------
        tiles
            Shape (N, h, w, C) in the image's own dtype.

        Returns
        -------
        ndarray of float32, shape (N, H, W, C)
            ``(x - low) / (high - low)``, resized to the input size.

        Raises
        ------
        ModelError
            The tiles have another number of channels than the model was trained with.
        """
        if tiles.shape[-1] != self.channels:
            raise ModelError(channel_mismatch(self.channels, tiles.shape[-1]))
        x = tiles.astype(np.float32)
        if self.low:
            x -= np.float32(self.low)
        x *= np.float32(1.0 / (self.high - self.low))
        return resize_tiles(x, self.input_px)


def channel_mismatch(model: int, image: int) -> str:
    """Say that an image has the wrong number of channels for a model."""
    advice = "pick one layer per channel" if model > image else "pick the channels it was trained on"
    return f"the model was trained on {model} channel(s), but the image has {image}; {advice} or use another model"


def grey_range(dtype: np.dtype, sample: NDArray[Any] | None = None) -> tuple[float, float]:
    """Choose the fixed grey-value range of a new model.

    8-bit images use their whole range, 0..255. In deeper images only part of the range is filled
    (12 bits in 16, floats in any unit), so the range ends at the 99.8th percentile of the training
    pixels and starts at 0, or at the 0.2th percentile where there are negative values.

    Parameters
    ----------
    dtype
        The images' dtype.
    sample
        Some training pixels, any shape; needed unless ``dtype`` is uint8 or bool.
    """
    if dtype == np.uint8:
        return 0.0, 255.0
    if dtype == np.bool_:
        return 0.0, 1.0
    values = np.asarray(sample, np.float64)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, [0.2, 99.8])
    low = min(0.0, float(low))
    return low, float(high) if high > low else low + 1.0


@functools.lru_cache(maxsize=64)
def resize_weights(n_in: int, n_out: int) -> NDArray[np.float32]:
    """Weights of a 1-D resize with a triangle filter, as Pillow's ``BILINEAR`` defines it.

    Parameters
    ----------
    n_in, n_out
        Lengths before and after.

    Returns
    -------
    ndarray of float32, shape (n_out, n_in)
        Rows sum to 1. Centres are aligned: output i looks at ``(i + 0.5) n_in / n_out - 0.5``, and
        when shrinking the triangle is widened by ``n_in / n_out``.
    """
    scale = n_in / n_out
    width = max(scale, 1.0)
    centre = (np.arange(n_out) + 0.5) * scale
    distance = np.abs(np.arange(n_in) + 0.5 - centre[:, None]) / width
    weights = np.clip(1.0 - distance, 0.0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def resize_tiles(x: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize tiles (N, h, w, C) to (N, H, W, C) as two matrix products; equal sizes pass through."""
    n, h, w, c = x.shape
    if h != size[0]:
        x = (resize_weights(h, size[0]) @ x.reshape(n, h, w * c)).reshape(n, size[0], w, c)
    if w != size[1]:
        x = resize_weights(w, size[1]) @ x  # broadcasts over (N, H): (W, w) @ (w, C)
    return np.ascontiguousarray(x)
