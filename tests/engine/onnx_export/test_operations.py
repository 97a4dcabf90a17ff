"""Each operation that is written in ONNX computes what OpenVINO does, in ONNX Runtime and in OpenCV."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from napari_cellclass.engine.common.environment import import_openvino
from napari_cellclass.engine.onnx_export.graph import GraphWriter, NotConvertibleError, Tensor
from napari_cellclass.engine.onnx_export.model import INPUT, convert, finished
from napari_cellclass.engine.onnx_export.operations import WRITERS
from napari_cellclass.engine.onnx_export.replay import OnnxRuntimeModel, OpenCvModel

import_openvino()
import openvino as ov  # noqa: E402 - after its telemetry is off
import openvino.opset13 as op  # noqa: E402

_RNG = np.random.default_rng(0)
Build = Callable[[Any], Any]


def _weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(0, 1, shape).astype(np.float32)


def _flat(x: Any) -> Any:
    """Put all values of a tile beside one another, as the graph's output has to be."""
    source = x if isinstance(x, ov.Output) else x.output(0)
    return op.reshape(source, np.array([1, int(np.prod(source.shape))]), False)


def _axes(*values: int) -> np.ndarray:
    return np.array(values)


def _standardised(x: Any) -> Any:
    """Subtract column means that are repeated along rows, as networks that standardise tiles do."""
    rows = op.reshape(x, _axes(1, 8, 27), False)
    columns = op.reshape(op.reduce_mean(rows, _axes(1), False), _axes(1, 9, 3), False)
    means = op.tile(op.reduce_mean(columns, _axes(1), False), _axes(1, 9))
    return op.subtract(rows, op.reshape(means, _axes(1, 1, 27), False))


# By name: a network of tiles (1, 8, 9, 3).
NETWORKS: dict[str, Build] = {
    "Add": lambda x: op.add(x, _weights(1, 1, 1, 3)),
    "Subtract": lambda x: op.subtract(np.float32(2), x),
    "Multiply": lambda x: op.multiply(x, op.multiply(x, _weights(1, 8, 1, 1))),
    "Divide": lambda x: op.divide(_weights(1, 1, 1, 3), op.add(op.absolute(x), np.float32(1))),
    "Maximum": lambda x: op.maximum(x, np.float32(0.25)),
    "Minimum": lambda x: op.minimum(x, _weights(1, 1, 1, 3)),
    "SquaredDifference": lambda x: op.squared_difference(x, op.reduce_mean(x, _axes(1, 2), True)),
    "Power": lambda x: op.add(op.power(x, np.float32(2)), op.power(op.absolute(x), np.float32(0.5))),
    "Relu": op.relu,
    "Sqrt": lambda x: op.sqrt(op.absolute(x)),
    "Log": lambda x: op.log(op.add(op.absolute(x), np.float32(1e-3))),
    "Exp": op.exp,
    "Abs": op.absolute,
    "Negative": op.negative,
    "Sigmoid": op.sigmoid,
    "Tanh": op.tanh,
    "Clamp": lambda x: op.clamp(x, -0.5, 1.5),
    "Convolution": lambda x: op.add(
        op.convolution(
            op.transpose(x, _axes(0, 3, 1, 2)), _weights(5, 3, 3, 3), [2, 2], [0, 0], [0, 0], [1, 1], "same_upper"
        ),
        _weights(1, 5, 1, 1),
    ),
    "Convolution with gaps": lambda x: op.convolution(
        op.transpose(x, _axes(0, 3, 1, 2)), _weights(2, 3, 3, 3), [1, 1], [1, 2], [2, 1], [2, 2]
    ),
    "Convolution used twice": lambda x: _used_twice(
        op.convolution(op.transpose(x, _axes(0, 3, 1, 2)), _weights(2, 3, 3, 3), [1, 1], [0, 0], [0, 0], [1, 1])
    ),
    "GroupConvolution": lambda x: op.group_convolution(
        op.transpose(x, _axes(0, 3, 1, 2)), _weights(3, 1, 1, 5, 5), [2, 1], [0, 0], [0, 0], [1, 1], "same_upper"
    ),
    "MaxPool": lambda x: op.max_pool(
        op.transpose(x, _axes(0, 3, 1, 2)), [2, 2], [1, 1], [0, 0], [0, 0], [3, 2], "floor", "valid"
    ).output(0),
    "AvgPool": lambda x: op.avg_pool(
        op.transpose(x, _axes(0, 3, 1, 2)), [2, 2], [1, 1], [1, 1], [3, 3], True, "floor", "explicit"
    ),
    "MatMul": lambda x: op.matmul(x, _weights(3, 4), False, False),
    "MatMul of weights transposed": lambda x: op.matmul(_flat(x), _weights(6, 216), False, True),
    "MatMul along rows": lambda x: op.matmul(
        op.constant(_weights(5, 8)), op.transpose(x, _axes(0, 3, 1, 2)), False, False
    ),
    "MatMul of two parts": lambda x: op.matmul(
        op.reshape(x, _axes(1, 72, 3), False), op.reshape(x, _axes(1, 72, 3), False), True, False
    ),
    "ReduceMean": lambda x: op.reduce_mean(x, _axes(1, 2), False),
    "ReduceMean of columns": lambda x: op.reduce_mean(op.reduce_mean(x, _axes(1), True), _axes(2), True),
    "ReduceMax": lambda x: op.reduce_max(x, _axes(1, 2), False),
    "ReduceMin": lambda x: op.reduce_min(x, _axes(2), True),
    "ReduceSum": lambda x: op.reduce_sum(x, _axes(3), False),
    "Reshape": lambda x: op.reshape(x, _axes(3, 1, 8, 9), False),
    "Squeeze": lambda x: op.squeeze(op.reduce_mean(x, _axes(1), True), _axes(1)),
    "Unsqueeze": lambda x: op.unsqueeze(x, _axes(1)),
    "Transpose": lambda x: op.transpose(x, _axes(0, 2, 1, 3)),
    "Concat": lambda x: op.concat([x, op.transpose(op.transpose(x, _axes(0, 2, 1, 3)), _axes(0, 2, 1, 3))], 2),
    "Slice": lambda x: op.slice(x, _axes(1, -8), _axes(8, 100), _axes(2, 1), _axes(1, 2)),
    "StridedSlice": lambda x: op.strided_slice(
        x, _axes(0, 1, 2, 1), _axes(0, 0, 8, 2), _axes(1, 1, 3, 1), [1, 0, 0, 0], [1, 1, 0, 0], [], [0, 0, 0, 1], []
    ),
    "Pad": lambda x: op.pad(x, _axes(0, 2, 1, 0), _axes(0, 1, 2, 0), "reflect"),
    "Pad of what has its channels last": lambda x: op.pad(
        op.reshape(op.reshape(x, _axes(1, 72, 3), False), _axes(1, 8, 9, 3), False),
        _axes(0, 2, 1, 0), _axes(0, 1, 2, 0), "reflect",
    ),
    "Pad with a value": lambda x: op.pad(x, _axes(0, 2, 1, 0), _axes(0, 1, 2, 0), "constant", np.float32(0.5)),
    "Tile": lambda x: op.subtract(x, op.tile(op.reduce_mean(x, _axes(1, 2), True), _axes(1, 1, 9, 1))),
    "Tile to the output": lambda x: op.tile(op.reduce_mean(x, _axes(1, 2), True), _axes(1, 1, 9, 1)),
    "Tile of rows": _standardised,
    "Broadcast": lambda x: op.broadcast(op.reduce_mean(x, _axes(3), True), _axes(1, 8, 9, 4)),
    "ReverseSequence": lambda x: op.reverse_sequence(x, _axes(9), 0, 2),
    "Softmax": lambda x: op.softmax(x, 3),
    "BatchNormInference": lambda x: op.batch_norm_inference(
        op.transpose(x, _axes(0, 3, 1, 2)), _weights(3), _weights(3) * 2, _weights(3) * 3, np.abs(_weights(3)), 1e-3
    ),
}  # fmt: skip
# Only in networks of users, none of ours: ONNX Runtime alone is asked.
_UNUSED = {"Erf", "SoftPlus", "Floor", "Convert"}


def _used_twice(x: Any) -> Any:
    return op.multiply(op.add(x, _weights(1, 2, 1, 1)), x)


def _graph(build: Build) -> tuple[Any, bytes]:
    """Build a network, and return it as an OpenVINO model and as the bytes of an ONNX file."""
    entrance = op.parameter([1, 8, 9, 3], np.float32, name="raw")
    model = ov.Model([_flat(build(entrance))], [entrance], "test")
    writer = GraphWriter()
    raw = Tensor(INPUT, (1, 8, 9, 3), (0, 3, 1, 2))
    found = convert(writer, model, {"raw": raw})
    return model, finished(writer, writer.stored(found), raw, int(model.outputs[0].shape[1]), {})


@pytest.mark.parametrize("name", NETWORKS)
def test_an_operation_gives_what_openvino_gives(name: str) -> None:
    model, content = _graph(NETWORKS[name])
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    tiles = _RNG.normal(0.3, 1, (3, 8, 9, 3)).astype(np.float32)
    expected = np.concatenate([compiled([tile[None]])[0] for tile in tiles])
    blob = np.ascontiguousarray(tiles.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(OpenCvModel(content)(blob), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(OnnxRuntimeModel(content)(blob), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.startswith("Pad")])
def test_margins_are_of_the_last_two_places_as_opencv_4_needs_them(name: str) -> None:
    graph = onnx.load_from_string(_graph(NETWORKS[name])[1]).graph
    (pad,) = [node for node in graph.node if node.op_type == "Pad"]
    pads = next(numpy_helper.to_array(one) for one in graph.initializer if one.name == pad.input[1])
    assert [place for place in range(4) if pads[place] or pads[place + 4]] == [2, 3]


def test_every_operation_is_compared() -> None:
    assert {name.split()[0] for name in NETWORKS} >= WRITERS.keys() - _UNUSED


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda x: op.cum_sum(x, np.int64(1)), "CumSum"),
        (lambda x: op.slice(x, _axes(7), _axes(-9), _axes(-1), _axes(1)), "reverse"),
        (lambda x: op.pad(x, _axes(0, 2, 1, 0), _axes(0, 1, 2, 0), "symmetric"), "symmetric"),
        (lambda x: op.tile(x, _axes(1, 2, 1, 1)), "repeated"),
    ],
)
def test_what_cannot_be_written_is_refused_by_its_name(build: Build, reason: str) -> None:
    with pytest.raises(NotConvertibleError, match=reason):
        _graph(build)
