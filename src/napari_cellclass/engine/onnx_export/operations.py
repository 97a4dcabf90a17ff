"""How each operation of OpenVINO is written in ONNX, with those operations that OpenCV's DNN module has, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.engine.onnx_export.arrangement import (
    ARRANGEMENTS,
    Inputs,
    Writer,
    computed,
    flag,
    values_of,
    whole_numbers,
    with_axes,
)
from napari_cellclass.engine.onnx_export.graph import GraphWriter, NotConvertibleError, Tensor

_UNARY = {
    "Relu": "Relu", "Sqrt": "Sqrt", "Log": "Log", "Exp": "Exp", "Abs": "Abs", "Negative": "Neg", "Sigmoid": "Sigmoid",
    "Tanh": "Tanh", "Erf": "Erf", "SoftPlus": "Softplus", "Floor": "Floor",
}  # fmt: skip
_BINARY = {"Add": "Add", "Subtract": "Sub", "Multiply": "Mul", "Divide": "Div", "Maximum": "Max", "Minimum": "Min"}
_FOLDED = {
    "Add": np.add, "Subtract": np.subtract, "Multiply": np.multiply, "Divide": np.divide, "Maximum": np.maximum,
    "Minimum": np.minimum,
}  # fmt: skip


def _unary(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    x = inputs[0]
    return writer.like(x, writer.add(_UNARY[op.get_type_name()], [writer.stored(x, x.order, whole=False)]))


def _clamp(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    x, limits = inputs[0], op.get_attributes()
    low, high = (writer.weight(np.float32(limits[name])) for name in ("min", "max"))
    return writer.like(x, writer.add("Clip", [x.name, low, high]))


def _binary(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    kind = op.get_type_name()
    return _elementwise(writer, kind, inputs[0], inputs[1], _takes_bias(op))


def _takes_bias(op: Any) -> bool:
    """Tell whether the convolution before an addition is used by nothing else."""
    source = op.input_value(0)
    while source.get_node().get_type_name() == "Transpose" and len(source.get_target_inputs()) == 1:
        source = source.get_node().input_value(0)
    return op.get_type_name() == "Add" and len(source.get_target_inputs()) == 1


def _elementwise(writer: GraphWriter, kind: str, a: Tensor, b: Tensor, bias: bool = False) -> Tensor:
    if a.values is not None and b.values is not None:
        return Tensor.constant(_FOLDED[kind](a.values, b.values))
    rank = max(len(a.shape), len(b.shape))
    a, b = (_of_rank(one, rank) for one in (a, b))
    first = a if a.values is None else b
    if b.values is None and a.values is None and np.prod(b.stored_shape) > np.prod(a.stored_shape):
        first = b  # the larger one is not transposed
    order = first.order
    if bias and b.values is not None and writer.add_bias(a.name, np.asarray(b.values).transpose(order)):
        return writer.like(a, a.name)
    shape = tuple(np.broadcast_shapes(a.shape, b.shape))
    spread = frozenset(
        axis for axis in range(rank)
        if shape[axis] > 1 and all(axis in one.spread or one.shape[axis] == 1 for one in (a, b))
    )  # fmt: skip
    names = [writer.stored(one, order, whole=False) for one in (a, b)]
    if kind == "Subtract" and a.values is not None:  # OpenCV subtracts from no constant
        negative = writer.add("Neg", [names[1]])
        name = writer.add("Add", [negative, names[0]])
    else:
        name = writer.add(_BINARY[kind], names)
    return Tensor(name, shape, order, spread)


def _of_rank(tensor: Tensor, rank: int) -> Tensor:
    """Give a constant as many axes as the other operand has."""
    missing = rank - len(tensor.shape)
    if missing == 0:
        return tensor
    if tensor.values is None:
        raise NotConvertibleError("two parts of the network have different numbers of axes where they are joined")
    return Tensor.constant(tensor.values.reshape((1,) * missing + tensor.shape))


def _squared_difference(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    difference = _elementwise(writer, "Subtract", inputs[0], inputs[1])
    return writer.like(difference, writer.add("Mul", [difference.name, difference.name]))


def _power(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    x, exponent = inputs[0], float(values_of(inputs[1], "a power").reshape(-1)[0])
    if exponent == 2:
        return writer.like(x, writer.add("Mul", [x.name, x.name]))
    if exponent == 0.5:
        return writer.like(x, writer.add("Sqrt", [x.name]))
    return writer.like(x, writer.add("Pow", [x.name, writer.weight(np.float32(exponent))]))


def _convert(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    return inputs[0]  # constants are written as float32, and the network computes in nothing else


def _window(op: Any, x: Tensor, kernel: Sequence[int]) -> dict[str, Any]:
    """Return strides, dilations and padding of a convolution or pooling as ONNX writes them."""
    attributes = op.get_attributes()
    strides = [int(value) for value in attributes["strides"]]
    dilations = [int(value) for value in attributes.get("dilations", [1] * len(kernel))]
    begin, end = ([int(value) for value in attributes[name]] for name in ("pads_begin", "pads_end"))
    automatic = str(attributes.get("auto_pad", "explicit")).lower()
    if automatic.startswith("same"):
        begin, end = [], []
        for side, size, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
            whole = max(0, (-(-side // stride) - 1) * stride + (size - 1) * dilation + 1 - side)
            less = whole // 2
            begin.append(less if automatic == "same_upper" else whole - less)
            end.append(whole - begin[-1])
    elif automatic == "valid":
        begin, end = [0] * len(kernel), [0] * len(kernel)
    return {"strides": strides, "dilations": dilations, "pads": [*begin, *end], "kernel_shape": list(kernel)}


def _convolution(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    x, kernel = inputs[0], np.asarray(values_of(inputs[1], "the kernel of a convolution"), np.float32)
    groups = 1
    if op.get_type_name() == "GroupConvolution":
        groups = kernel.shape[0]
        kernel = kernel.reshape(-1, *kernel.shape[2:])
    if kernel.ndim != 4:
        raise NotConvertibleError(f"a convolution along {kernel.ndim - 2} axes cannot be written for OpenCV")
    settings = _window(op, x, kernel.shape[2:])
    name = writer.add("Conv", [writer.stored(x), writer.weight(kernel)], group=groups, **settings)
    writer.shares_bias(name, writer.nodes[-1], len(kernel))
    return computed(op, name)


def _pool(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    x, attributes = inputs[0], op.get_attributes()
    settings = _window(op, x, [int(value) for value in attributes["kernel"]])
    del settings["dilations"]
    if any(int(value) != 1 for value in attributes.get("dilations", [])):
        raise NotConvertibleError("a pooling with gaps cannot be written for OpenCV")
    settings["ceil_mode"] = int(str(attributes.get("rounding_type", "floor")).lower() != "floor")
    if op.get_type_name() == "MaxPool":
        return computed(op, writer.add("MaxPool", [writer.stored(x)], **settings))
    settings["count_include_pad"] = int(not flag(op, "exclude-pad"))
    return computed(op, writer.add("AveragePool", [writer.stored(x)], **settings))


def _matmul(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    flags = ("transpose_a", "transpose_b")
    a, b = (_with_last_axes_swapped(one) if flag(op, name) else one for one, name in zip(inputs, flags, strict=True))
    if b.values is not None and b.values.ndim == 2 and a.values is None:
        return _times_weights(writer, op, a, b.values, len(a.shape) - 1)
    if a.values is not None and a.values.ndim == 2 and b.values is None:
        return _times_weights(writer, op, b, a.values.T, len(b.shape) - 2)
    return computed(op, writer.add("MatMul", [writer.stored(a), writer.stored(b)]))


def _with_last_axes_swapped(x: Tensor) -> Tensor:
    rank = len(x.shape)
    return with_axes(x, [*range(rank - 2), rank - 1, rank - 2])


def _times_weights(writer: GraphWriter, op: Any, x: Tensor, weights: NDArray[Any], axis: int) -> Tensor:
    """Multiply by weights (before, after) along an axis, which is stored last for that."""
    shape = tuple(int(side) for side in op.output(0).shape)
    order = x.order if x.order[-1] == axis else (*(one for one in x.order if one != axis), axis)
    weights = np.asarray(weights, np.float32)
    return Tensor(writer.add("MatMul", [writer.stored(x, order), writer.weight(weights)]), shape, order)


def _reduce(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    x = inputs[0]
    rank = len(x.shape)
    axes = sorted(axis % rank for axis in whole_numbers(inputs[1], "the axes of a mean"))
    keep, kind = flag(op, "keep_dims"), op.get_type_name()
    name = writer.stored(x, x.order)
    places = sorted(x.place(axis) for axis in axes)
    if places == [2, 3] and rank == 4 and kind in ("ReduceMean", "ReduceMax"):
        name = writer.add({"ReduceMean": "GlobalAveragePool", "ReduceMax": "GlobalMaxPool"}[kind], [name])
    elif kind == "ReduceSum":
        name = writer.add(kind, [name, writer.numbers(places)], keepdims=1)
    else:
        name = writer.add(kind, [name], axes=places, keepdims=1)
    kept = Tensor(name, tuple(1 if i in axes else side for i, side in enumerate(x.shape)), x.order)
    if keep:
        return kept
    left = [axis for axis in kept.order if axis not in axes]
    shape = tuple(kept.shape[axis] for axis in range(rank) if axis not in axes)
    name = writer.reshaped(name, [kept.shape[axis] for axis in left])
    return Tensor(name, shape, tuple(sorted(left).index(axis) for axis in left))


def _softmax(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    x, axis = inputs[0], int(op.get_attributes()["axis"]) % len(inputs[0].shape)
    return writer.like(x, writer.add("Softmax", [writer.stored(x, x.order)], axis=x.place(axis)), spread=frozenset())


def _batch_norm(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    x = inputs[0]
    gamma, beta, mean, variance = (values_of(one, "a normalisation").astype(np.float64) for one in inputs[1:5])
    factor = gamma / np.sqrt(variance + float(op.get_attributes()["epsilon"]))
    shape = (1, -1, *(1,) * (len(x.shape) - 2))
    scale, shift = (Tensor.constant(one.reshape(shape).astype(np.float32)) for one in (factor, beta - mean * factor))
    return _elementwise(writer, "Add", _elementwise(writer, "Multiply", x, scale), shift)


def _reversed(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    """Turn an axis round by a matrix of zeros and ones, which is exact: OpenCV has no operation for it."""
    x, axis = inputs[0], int(op.get_attributes()["seq_axis"]) % len(inputs[0].shape)
    side = x.shape[axis]
    if set(whole_numbers(inputs[1], "a length")) != {side}:
        raise NotConvertibleError("a part of an axis is reversed, which cannot be written for OpenCV")
    return _times_weights(writer, op, x, np.eye(side)[::-1], axis)


WRITERS: dict[str, Writer] = {
    **ARRANGEMENTS,
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(_BINARY, _binary),
    "SquaredDifference": _squared_difference,
    "Power": _power,
    "Clamp": _clamp,
    "Convert": _convert,
    "Convolution": _convolution,
    "GroupConvolution": _convolution,
    "MaxPool": _pool,
    "AvgPool": _pool,
    "MatMul": _matmul,
    **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum"), _reduce),
    "ReverseSequence": _reversed,
    "Softmax": _softmax,
    "BatchNormInference": _batch_norm,
}
"""By the name that OpenVINO gives an operation. Any other is refused by its name."""
