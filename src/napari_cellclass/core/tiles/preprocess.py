"""Preprocessing from an image's pixels to a network's input, the same for training and prediction."""

from __future__ import annotations

import functools
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.source import SourceImage

NormalisationName = Literal["range", "percentiles"]
DEFAULT_PERCENTILES = (0.2, 99.8)
# Of a field, per channel: enough for a 99.8th percentile, whatever the field's size.
_SAMPLED_PIXELS = 4_000_000
_SQUARES = 16  # along each axis
_CHUNK_PX = 256  # of most tiled files; squares that begin with a chunk touch fewest of them


class PreprocessSpec(BaseModel):
    """What is done to the pixels of a tile, stated in the model's manifest.

    Attributes
    ----------
    channels
        How many channels a tile has.
    input_px
        (height, width) of the network's input in px; tiles of another size are resized.
    normalisation
        ``"range"``: the fixed range ``low`` to ``high`` is scaled to 0..1. ``"percentiles"``: every field
        and channel is scaled by its own two ``percentiles``, see :func:`field_levels`; ``low`` and ``high`` are 0 and
        1 then. Values past the range are not clipped.
    low, high
        The fixed range, in grey values.
    channel_ranges
        A fixed range of its own, (low, high), for each channel; ``low`` and ``high`` are 0 and 1 then. None where
        all channels share one.
    percentiles
        Which ones, 0 to 100, None for a fixed range.
    resize
        ``"antialias"``: a triangle filter as wide as the shrinkage, so that fine texture does not
        turn into moiré; it interpolates linearly when enlarging.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int = Field(ge=1)
    input_px: tuple[int, int]
    normalisation: NormalisationName = "range"
    low: float = 0.0
    high: float = 255.0
    channel_ranges: tuple[tuple[float, float], ...] | None = None
    percentiles: tuple[float, float] | None = None
    resize: Literal["antialias"] = "antialias"

    @model_validator(mode="after")
    def _range_is_open(self) -> PreprocessSpec:
        if not np.isfinite([self.low, self.high]).all() or not self.high > self.low:
            raise ValueError(f"the grey-value range {self.low}..{self.high} is empty")
        if min(self.input_px) < 1:
            raise ValueError(f"the input size {self.input_px} is not possible")
        if self.normalisation == "range":
            if self.percentiles is not None:
                raise ValueError("percentiles are given, but the range is fixed")
        elif self.percentiles is None or not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError(f"{self.percentiles} are no two percentiles")
        elif (self.low, self.high) != (0.0, 1.0):
            raise ValueError("percentiles are scaled to 0..1, so that low and high are 0 and 1")
        if self.channel_ranges is not None:
            self._check_channel_ranges(self.channel_ranges)
        return self

    def _check_channel_ranges(self, ranges: tuple[tuple[float, float], ...]) -> None:
        if self.percentiles is not None or (self.low, self.high) != (0.0, 1.0):
            raise ValueError("each channel has a range, so that low and high are 0 and 1, and there are no percentiles")
        if len(ranges) != self.channels:
            raise ValueError(f"{len(ranges)} ranges do not fit {counted(self.channels, 'channel')}")
        for low, high in ranges:
            if not np.isfinite([low, high]).all() or not high > low:
                raise ValueError(f"the grey-value range {low}..{high} of a channel is empty")

    @model_serializer(mode="wrap")
    def _without_unused_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out ``channel_ranges`` where there are none: a model of before keeps its text, and so its id."""
        values: dict[str, Any] = handler(self)
        if self.channel_ranges is None:
            values.pop("channel_ranges", None)
        return values

    @property
    def scaling_levels(self) -> NDArray[np.float64]:
        """What :meth:`apply` scales to 0 and 1 in each channel, float64 of shape (C, 2); with percentiles 0 and 1."""
        return np.array(self.channel_ranges or [(self.low, self.high)] * self.channels, np.float64)

    @property
    def whole_range(self) -> tuple[float, float]:
        """The least low and the greatest high of all channels; 0 and 1 where every field has its own."""
        if self.channel_ranges is None:
            return self.low, self.high
        return min(low for low, _ in self.channel_ranges), max(high for _, high in self.channel_ranges)

    def describe(self) -> str:
        """Describe in a few words which grey values become 0 and 1."""
        if self.channel_ranges is not None:
            ranges = ", ".join(f"{low:g} to {high:g}" for low, high in self.channel_ranges)
            return f"grey values {ranges} of {counted(self.channels, 'channel')} as 0 to 1"
        if self.percentiles is None:
            return f"grey values {self.low:g} to {self.high:g} as 0 to 1"
        return f"percentiles {self.percentiles[0]:g} to {self.percentiles[1]:g} of each field as 0 to 1"

    def apply_levels(self, tiles: NDArray[Any], levels: NDArray[np.float64] | None) -> NDArray[Any]:
        """Scale raw tiles of a field by the field's own percentiles, where the model does that.

        Parameters
        ----------
        tiles
            Shape (..., C).
        levels
            What :func:`field_levels` returned for the field; not needed with a fixed range.

        Returns
        -------
        ndarray
            ``tiles`` as they are with a fixed range, otherwise float32 of the same shape.

        Raises
        ------
        ModelError
            The field's percentiles are needed, but were not given.
        """
        if self.percentiles is None:
            return tiles
        self.check_levels(levels)
        low, high = np.asarray(levels).T
        # In float64 first: 16-bit differences of large offsets would lose digits in float32.
        return ((tiles - low) / (high - low)).astype(np.float32)

    def check_levels(self, levels: NDArray[np.float64] | None) -> None:
        """Raise :class:`ModelError` where a field's levels are needed, but were not given."""
        if self.percentiles is not None and levels is None:
            raise ModelError(
                "the model scales each field by its own percentiles, so that tiles without their field cannot be "
                "classified; give whole fields"
            )

    @property
    def identity_levels(self) -> NDArray[np.float64] | None:
        """The levels that leave tiles unchanged: of those that :meth:`apply_levels` has been applied to already."""
        return None if self.percentiles is None else np.tile([0.0, 1.0], (self.channels, 1))

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
        return resize_tiles(self.scale(tiles), self.input_px)

    def scale(self, tiles: NDArray[Any]) -> NDArray[np.float32]:
        """Scale the range to 0..1 as :meth:`apply` does, but keep the tiles' size."""
        if tiles.shape[-1] != self.channels:
            raise ModelError(channel_mismatch(self.channels, tiles.shape[-1]))
        x = tiles.astype(np.float32)
        if self.channel_ranges is not None:
            low, high = np.array(self.channel_ranges).T
            # In two steps, as differences of large offsets would lose digits in float32.
            x -= low.astype(np.float32)
            x -= (low - low.astype(np.float32)).astype(np.float32)
            x *= (1.0 / (high - low)).astype(np.float32)
            return x
        if self.low:
            x -= np.float32(self.low)
        x *= np.float32(1.0 / (self.high - self.low))
        return x


def field_levels(spec: PreprocessSpec, source: SourceImage, task: Task = NO_TASK) -> NDArray[np.float64] | None:
    """Measure the grey values of a field that become 0 and 1.

    Of a field of more than 4 million pixels 16 x 16 evenly spaced squares are read, 4 million pixels in all, so
    that this costs the same for any field. NaN and infinite pixels do not count.

    Parameters
    ----------
    spec
        Has the percentiles, if any.
    source
        The field: the whole image, whichever of its tiles are used.
    task
        Checked once per square.

    Returns
    -------
    ndarray of float64, shape (C, 2), or None
        Low and high per channel, high above low also in a flat field; None with a fixed range.

    Raises
    ------
    ImageError
        The pixels cannot be read.
    CancelledError
        The task was cancelled.
    """
    if spec.percentiles is None:
        return None
    sample = sample_pixels(source, task)
    return np.array([_two_percentiles(sample[:, c], spec.percentiles) for c in range(source.channels)])


def sample_pixels(source: SourceImage, task: Task = NO_TASK) -> NDArray[Any]:
    """Read the pixels that :func:`field_levels` measures, shape (n, C), at most 4 million.

    Raises
    ------
    ImageError
        The pixels cannot be read.
    CancelledError
        The task was cancelled.
    """
    parts = []
    for y0, y1, x0, x1 in _sampled_boxes(source.shape):
        task.check("cancelled while the field's range was measured")
        parts.append(source.read(y0, x0, y1, x1).reshape(-1, source.channels).copy())
    return np.concatenate(parts)


def _sampled_boxes(shape: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Return the boxes y0, y1, x0, x1 of a field that its levels are measured in; they never overlap."""
    if shape[0] * shape[1] <= _SAMPLED_PIXELS:
        return [(0, shape[0], 0, shape[1])]
    # The shorter axis may be shorter than the squares together; then the longer one makes up for it.
    short = min(shape[0], shape[1], round(_SAMPLED_PIXELS**0.5))
    lengths = [short if n == min(shape) else min(n, _SAMPLED_PIXELS // short) for n in shape]
    spans = []
    for n, whole in zip(shape, lengths, strict=True):
        each, room = whole // _SQUARES, n // _SQUARES
        if each == 0 or n == whole:
            spans.append([(0, whole)])
            continue
        starts = [i * room + (room - each) // 2 for i in range(_SQUARES)]
        if room >= each + _CHUNK_PX:
            starts = [start // _CHUNK_PX * _CHUNK_PX for start in starts]
        spans.append([(start, start + each) for start in starts])
    return [(*y, *x) for y in spans[0] for x in spans[1]]


def _two_percentiles(values: NDArray[Any], percentiles: tuple[float, float]) -> tuple[float, float]:
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    low, high = map(float, np.percentile(values, percentiles)) if values.size else (0.0, 1.0)
    return low, high if high > low else low + 1.0


def channel_mismatch(model: int, image: int) -> str:
    """Describe that an image has the wrong number of channels for a model, and what to do."""
    advice = "pick the channels it was trained on (of one layer: right-click it, Split Stack)"
    if model > image:
        advice = "pick one layer per channel"
    trained = counted(model, "channel")
    return f"the model was trained on {trained}, but the image has {image}; {advice} or use another model"


def grey_range(dtype: np.dtype, sample: NDArray[Any] | None = None) -> tuple[float, float]:
    """Choose the fixed grey-value range of a new model.

    8-bit images use their whole range, 0..255. Deeper images fill only a part of theirs
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
    low, high = _two_percentiles(np.ravel(np.asarray(sample)), DEFAULT_PERCENTILES)
    low = min(0.0, low)
    return low, high if high > low else low + 1.0


def channel_ranges(
    sample: NDArray[Any], percentiles: tuple[float, float] = DEFAULT_PERCENTILES
) -> tuple[tuple[float, float], ...]:
    """Choose a fixed grey-value range for each channel: two percentiles of training pixels.

    Parameters
    ----------
    sample
        Some training pixels (..., C); NaN and infinite ones do not count.
    percentiles
        Which ones, 0 to 100.

    Returns
    -------
    tuple of (low, high)
        C pairs, high above low also where a channel is flat: ``channel_ranges`` of a :class:`PreprocessSpec`.
    """
    values = np.asarray(sample)
    return tuple(_two_percentiles(values[..., c].ravel(), percentiles) for c in range(values.shape[-1]))


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
        Rows sum to 1. Centres are aligned: output i is centred at ``(i + 0.5) n_in / n_out - 0.5``, and
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
