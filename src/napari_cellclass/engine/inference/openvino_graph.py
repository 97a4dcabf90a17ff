"""A network compiled by OpenVINO for raw tiles: preprocessing of grey values is part of the graph."""

from __future__ import annotations

import functools
import os
import queue
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.tiles.preprocess import PreprocessSpec, resize_weights
from napari_cellclass.engine.common.environment import import_openvino
from napari_cellclass.engine.common.tile_input import is_finite

# Dtypes that OpenVINO takes; others are converted to float32 first.
_NATIVE = {"uint8": "u8", "uint16": "u16", "int16": "i16", "float32": "f32"}
# One large tile fills a core's cache; small ones share the overhead of a call.
_BATCH_PIXELS, _LARGEST_BATCH = 128 * 128, 8
_REQUESTS, _REQUEST_BYTES = 16, 16 << 20


@functools.cache
def openvino_core() -> Any:
    """Return OpenVINO's runtime core, created once."""
    return import_openvino().Core()


def cpu_count() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_network(xml: bytes, weights: bytes) -> Any:
    """Read the two files of an exported network.

    Raises
    ------
    RuntimeError
        OpenVINO cannot read them.
    """
    return openvino_core().read_model(xml, weights)


@dataclass(frozen=True)
class TileFormat:
    """Format of the raw tiles that a network is compiled for: shape (height, width, channels) and dtype."""

    shape: tuple[int, int, int]
    dtype: str

    @classmethod
    def of(cls, tiles: NDArray[Any]) -> TileFormat:
        """Return the format of tiles (n, h, w, C), float32 where OpenVINO does not take their dtype."""
        name = tiles.dtype.newbyteorder("=").name
        return cls(tuple(tiles.shape[1:]), name if name in _NATIVE else "float32")


def identity_preprocessing(shape: tuple[int, int, int]) -> PreprocessSpec:
    """Return the preprocessing of tiles that are network input (H, W, C) already: none."""
    return PreprocessSpec(channels=shape[2], input_px=shape[:2], low=0.0, high=1.0)


@dataclass(frozen=True, eq=False)
class _Request:
    """An inference request of the compiled network, with its input and output memory as arrays."""

    request: Any
    pixels: NDArray[Any]
    levels: tuple[NDArray[np.float32], ...]
    prob: NDArray[np.float32]


class OpenVinoNetwork:
    """A network compiled for one tile format and a fixed batch size, in float32; threads may share it.

    A tile's prediction does not depend on its position in a batch, on the other tiles in it, or on the streams.

    Parameters
    ----------
    model
        From :func:`read_network`; it is not changed.
    spec
        Preprocessing from raw tiles to network input.
    tile_format
        Format of the tiles to classify.
    threads, streams
        Number of CPU threads, None for all; number of batches that are computed in parallel, which share
        the threads equally, None for one per thread.

    Raises
    ------
    RuntimeError
        OpenVINO cannot compile it.
    """

    def __init__(
        self,
        model: Any,
        spec: PreprocessSpec,
        tile_format: TileFormat,
        threads: int | None = None,
        streams: int | None = None,
    ) -> None:
        self._spec, self.tile_format = spec, tile_format
        self.batch = int(np.clip(_BATCH_PIXELS // (spec.input_px[0] * spec.input_px[1]), 1, _LARGEST_BATCH))
        threads = threads or cpu_count()
        self.streams = min(streams or threads, threads)
        # CPUs with bfloat16 units could otherwise compute with three digits.
        settings = {
            "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": self.streams, "INFERENCE_NUM_THREADS": threads,
            # Otherwise each process pins its threads, all of them to the same, first cores.
            "ENABLE_CPU_PINNING": False,
        }  # fmt: skip
        compiled = openvino_core().compile_model(
            with_preprocessing(model, spec, tile_format, self.batch), "CPU", settings
        )
        self.outputs = int(compiled.output(0).shape[-1])
        self._free: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        # At least two per stream, so that none waits for Python; more, for fewer wake-ups, while they are small.
        batch_bytes = self.batch * int(np.prod(tile_format.shape)) * np.dtype(tile_format.dtype).itemsize
        for _ in range(max(2 * self.streams, min(_REQUESTS // self.batch, _REQUEST_BYTES // batch_bytes))):
            self._free.put(_request(compiled))

    def __call__(self, tiles: NDArray[Any], levels: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        """Map raw tiles (n, h, w, C) in the network's format to probabilities (n, K).

        A row of NaN where a tile holds NaN or infinite pixels; for ``levels`` see
        :func:`napari_cellclass.core.tiles.preprocess.field_levels`.
        """
        prob = np.full((len(tiles), self.outputs), np.nan, np.float32)
        if self._spec.percentiles is not None and tiles.dtype.name not in _NATIVE:
            tiles, levels = self._spec.apply_levels(tiles, levels), self._spec.identity_levels
        self._spec.check_levels(levels)
        if self._spec.percentiles is None:
            levels = self._spec.scaling_levels
        finite = np.flatnonzero(is_finite(tiles))
        running: deque[tuple[_Request, NDArray[np.int64]]] = deque()
        try:
            for start in range(0, len(finite), self.batch):
                indices = finite[start : start + self.batch]
                one = self._next_free(running, prob)
                for slot, index in enumerate(indices.tolist()):
                    np.copyto(one.pixels[slot], tiles[index], casting="unsafe")
                for memory, values in zip(one.levels, level_inputs(levels) if one.levels else (), strict=True):
                    memory[...] = values
                running.append((one, indices))
                one.request.start_async()
        finally:
            running.reverse()  # once the last has ended, the others have, too: one wake-up instead of many
            while running:
                self._collect(running, prob)
        prob[~np.isfinite(prob).all(axis=1)] = np.nan
        return prob

    def _next_free(self, running: deque[tuple[_Request, NDArray[np.int64]]], prob: NDArray[np.float32]) -> _Request:
        """Return a free request; where other threads hold all of them, wait for the oldest of this call."""
        while True:
            try:
                return self._free.get(block=not running)
            except queue.Empty:
                self._collect(running, prob)

    def _collect(self, running: deque[tuple[_Request, NDArray[np.int64]]], prob: NDArray[np.float32]) -> None:
        one, indices = running.popleft()
        try:
            one.request.wait()
            prob[indices] = one.prob[: len(indices)]
        finally:
            self._free.put(one)


def _request(compiled: Any) -> _Request:
    request = compiled.create_infer_request()
    memory = [request.get_input_tensor(i).data for i in range(len(compiled.inputs))]
    for array in memory:
        array[...] = 0  # slots that no tile has filled yet
    return _Request(request, memory[0], tuple(memory[1:]), request.get_output_tensor(0).data)


def level_inputs(levels: NDArray[np.float64] | None) -> tuple[NDArray[np.float64], ...]:
    """Return a field's levels as inputs of the graph: low, its rounding residual in float32, and 1 / (high - low)."""
    assert levels is not None
    low, high = levels.T
    residual = low - low.astype(np.float32)
    return low, residual, 1.0 / (high - low)


def with_preprocessing(model: Any, spec: PreprocessSpec, tile_format: TileFormat, batch: int) -> Any:
    """Prepend the steps of a :class:`PreprocessSpec` to a network.

    Parameters
    ----------
    model
        Takes float32 (n, H, W, C); it is not changed.
    spec, tile_format, batch
        As for :class:`OpenVinoNetwork`.

    Returns
    -------
    openvino.Model
        It takes tiles (batch, h, w, C) and, unless all channels have one range that begins at 0, the three arrays
        of the levels (C,).
    """
    ov = import_openvino()
    import openvino.opset13 as op

    model = model.clone()
    height, width, channels = tile_format.shape
    model.reshape([batch, *spec.input_px, channels])
    raw = op.parameter([batch, *tile_format.shape], getattr(ov.Type, _NATIVE[tile_format.dtype]), name="raw")
    inputs = [raw]
    x = op.convert(raw, "f32")
    if spec.percentiles is not None or spec.channel_ranges is not None or spec.low:
        # Inputs, not constants: OpenVINO would fold those into x * scale - low * scale, which rounds large numbers.
        inputs += [op.parameter([channels], ov.Type.f32, name=name) for name in ("low", "rest", "scale")]
        # In two steps, as 16-bit differences of large offsets would lose digits in float32.
        x = op.multiply(op.subtract(op.subtract(x, inputs[1]), inputs[2]), inputs[3])
    else:
        x = op.multiply(x, np.float32(1.0 / spec.high))
    if (height, width) != spec.input_px:
        x = op.transpose(x, np.array([0, 3, 1, 2]))
        x = _resized(op, _resized(op, x, height, spec.input_px[0], 2), width, spec.input_px[1], 3)
        x = op.transpose(x, np.array([0, 2, 3, 1]))
    old = model.get_parameters()[0]
    for target in list(old.output(0).get_target_inputs()):
        target.replace_source_output(x.output(0))
    return ov.Model(model.get_results(), inputs, "tiles")


def _resized(op: Any, x: Any, before: int, after: int, axis: int) -> Any:
    """Resize (n, C, h, w) along an axis by the weights of :func:`resize_weights`.

    Shrinking by an integer factor is the same filter at every position, so a convolution: at the borders its sum
    lacks what lies outside, and is divided by the sum of the remaining weights.
    """
    if before == after:
        return x
    weights = resize_weights(before, after)
    ratio = before // after
    if before != ratio * after:
        return op.matmul(op.constant(weights), x, False, False) if axis == 2 else op.matmul(x, weights, False, True)
    count, reach = (2 * ratio, ratio // 2) if ratio % 2 == 0 else (2 * ratio - 1, ratio // 2)
    triangle = 1.0 - np.abs(np.arange(count) - (count - 1) / 2) / ratio
    inside = np.pad(np.ones(before), reach)
    coverage = np.array([inside[i * ratio : i * ratio + count] @ triangle for i in range(after)])
    channels = int(x.output(0).shape[1])
    line = [1, 1, 1, -1, 1] if axis == 2 else [1, 1, 1, 1, -1]
    kernel = np.repeat(triangle.reshape(line), channels, axis=0).astype(np.float32)
    stride, pads = ([ratio, 1], [reach, 0]) if axis == 2 else ([1, ratio], [0, reach])
    x = op.group_convolution(x, op.constant(kernel), stride, pads, pads, [1, 1])
    return op.multiply(x, op.constant((1 / coverage).astype(np.float32).reshape(line[1:])))
