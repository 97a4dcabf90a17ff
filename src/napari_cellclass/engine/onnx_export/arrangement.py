"""How operations that move values, and compute none, are written in ONNX; what all operations share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.engine.onnx_export.graph import GraphWriter, NotConvertibleError, Tensor

Inputs = Sequence[Tensor]
Writer = Callable[[GraphWriter, Any, Inputs], Tensor]


def values_of(tensor: Tensor, what: str) -> NDArray[Any]:
    """Return the values of an input that has to be a constant."""
    if tensor.values is None:
        raise NotConvertibleError(f"{what} is computed by the network, which cannot be written as ONNX")
    return tensor.values


def whole_numbers(tensor: Tensor, what: str) -> list[int]:
    """Return the whole numbers of an input that has to be a constant."""
    return [int(value) for value in values_of(tensor, what).reshape(-1)]


def computed(op: Any, name: str) -> Tensor:
    """Return the output of an operation that is stored as the network has it."""
    shape = tuple(int(side) for side in op.output(0).shape)
    return Tensor(name, shape, tuple(range(len(shape))))


def flag(op: Any, name: str) -> bool:
    """Return an attribute that is yes or no."""
    return str(op.get_attributes()[name]).lower() in ("true", "1")


def _reshape(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    x, shape = inputs[0], tuple(int(side) for side in op.output(0).shape)
    if x.values is not None:
        return Tensor.constant(x.values.reshape(shape))
    if shape == x.shape:
        return x
    return computed(op, writer.reshaped(writer.stored(x), shape))


def _transpose(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    return with_axes(inputs[0], whole_numbers(inputs[1], "an order of axes"))


def with_axes(x: Tensor, moved: Sequence[int]) -> Tensor:
    """Transpose a tensor without moving what is stored."""
    if x.values is not None:
        return Tensor.constant(x.values.transpose(moved))
    shape = tuple(x.shape[axis] for axis in moved)
    spread = frozenset(moved.index(axis) for axis in x.spread)
    return Tensor(x.name, shape, tuple(moved.index(axis) for axis in x.order), spread)


def _concat(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    shape = tuple(int(side) for side in op.output(0).shape)
    axis = int(op.get_attributes()["axis"]) % len(shape)
    order = next((one.order for one in inputs if one.values is None), inputs[0].order)
    names = [writer.stored(one, order) for one in inputs]
    return Tensor(writer.add("Concat", names, axis=order.index(axis)), shape, order)


def _sliced(writer: GraphWriter, x: Tensor, parts: Sequence[tuple[int, int, int, int]]) -> Tensor:
    """Cut axes: (axis, start, stop, step) each, in whole numbers from 0."""
    parts = [part for part in parts if part[1:] != (0, x.shape[part[0]], 1)]
    if any(step < 1 for *_, step in parts):
        raise NotConvertibleError("a part of a tensor in reverse order cannot be written for OpenCV")
    if not parts:
        return x
    shape = list(x.shape)
    for axis, start, stop, step in parts:
        shape[axis] = -(-(stop - start) // step)
    stored = [part for part in parts if part[0] not in x.spread]
    name = x.name
    if stored:
        axes = [x.place(axis) for axis, *_ in stored]
        columns = [[part[i] for part in stored] for i in (1, 2, 3)]
        names = [writer.numbers(values) for values in (columns[0], columns[1], axes, columns[2])]
        name = writer.add("Slice", [x.name, *names])
    return Tensor(name, tuple(shape), x.order, x.spread)


def _within(value: int, side: int) -> int:
    return max(0, min(side, value + side if value < 0 else value))


def _slice(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    x = inputs[0]
    starts, stops, steps = (whole_numbers(one, "the place of a part") for one in inputs[1:4])
    axes = whole_numbers(inputs[4], "the axes of a part") if len(inputs) > 4 else list(range(len(starts)))
    parts = [
        (axis % len(x.shape), _within(start, x.shape[axis]), _within(stop, x.shape[axis]), step)
        for axis, start, stop, step in zip(axes, starts, stops, steps, strict=True)
    ]
    return _sliced(writer, x, parts)


def _strided_slice(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    x, attributes = inputs[0], op.get_attributes()
    begin, end = (whole_numbers(one, "the place of a part") for one in inputs[1:3])
    steps = whole_numbers(inputs[3], "a step") if len(inputs) > 3 else [1] * len(begin)
    masks = {name: list(attributes.get(f"{name}_mask") or []) + [0] * len(begin) for name in _MASKS}
    if any(masks["ellipsis"]):
        raise NotConvertibleError("a part of a tensor with an ellipsis cannot be written as ONNX")
    parts, axis = [], 0
    for i, step in enumerate(steps):
        if masks["new_axis"][i]:
            continue
        side = x.shape[axis]
        start = 0 if masks["begin"][i] else _within(begin[i], side)
        stop = side if masks["end"][i] else _within(end[i], side)
        parts.append((axis, start, start + 1, 1) if masks["shrink_axis"][i] else (axis, start, stop, step))
        axis += 1
    cut = _sliced(writer, x, parts)
    shape = tuple(int(side) for side in op.output(0).shape)
    return cut if shape == cut.shape else computed(op, writer.reshaped(writer.stored(cut), shape))


_MASKS = ("begin", "end", "new_axis", "shrink_axis", "ellipsis")


def _pad(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    x = inputs[0]
    begin, end = (whole_numbers(one, "a margin") for one in inputs[1:3])
    mode = str(op.get_attributes()["pad_mode"]).lower()
    names = {"constant": "constant", "reflect": "reflect", "edge": "edge"}
    if mode not in names:
        raise NotConvertibleError(f"a margin of the kind {mode} cannot be written as ONNX")
    # OpenCV 4 mirrors along the last two places only.
    order = tuple(sorted(x.order, key=lambda axis: begin[axis] + end[axis] > 0))
    pads = [begin[axis] for axis in order] + [end[axis] for axis in order]
    given = [writer.stored(x, order), writer.numbers(pads)]
    if mode == "constant" and len(inputs) > 3:
        given.append(writer.weight(np.float32(values_of(inputs[3], "a margin"))))
    shape = tuple(int(side) for side in op.output(0).shape)
    return Tensor(writer.add("Pad", given, mode=names[mode]), shape, order)


def _tile(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    x, counts = inputs[0], whole_numbers(inputs[1], "a number of repeats")
    shape = tuple(int(side) for side in op.output(0).shape)
    if len(shape) != len(x.shape) or x.values is not None:
        raise NotConvertibleError("a constant is repeated in a way that cannot be written as ONNX")
    spread = set(x.spread)
    for axis, count in enumerate(counts):
        if count > 1 and (x.shape[axis] == 1 and axis > 0):
            spread.add(axis)
        elif count > 1:
            return _tiled_whole(writer, x, counts, shape)
    return Tensor(x.name, shape, x.order, frozenset(spread))


def _tiled_whole(writer: GraphWriter, x: Tensor, counts: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """Repeat values along the last axis by a matrix of zeros and ones, which is exact."""
    if any(count > 1 for count in counts[:-1]):
        raise NotConvertibleError("a tensor is repeated in a way that cannot be written for OpenCV")
    weights = np.tile(np.eye(x.shape[-1], dtype=np.float32), (1, counts[-1]))
    return Tensor(writer.add("MatMul", [writer.stored(x), writer.weight(weights)]), shape, tuple(range(len(shape))))


def _broadcast(writer: GraphWriter, op: Any, inputs: Inputs) -> Tensor:
    x, shape = inputs[0], tuple(int(side) for side in op.output(0).shape)
    if x.values is not None:
        return Tensor.constant(np.broadcast_to(x.values, shape))
    if len(shape) != len(x.shape) or shape[0] != x.shape[0]:
        raise NotConvertibleError("a tensor is repeated in a way that cannot be written for OpenCV")
    spread = {axis for axis, side in enumerate(shape) if side > 1 and x.shape[axis] == 1}
    return Tensor(x.name, shape, x.order, frozenset(spread | x.spread))


ARRANGEMENTS: dict[str, Writer] = {
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze"), _reshape),
    "Transpose": _transpose,
    "Concat": _concat,
    "Slice": _slice,
    "StridedSlice": _strided_slice,
    "Pad": _pad,
    "Tile": _tile,
    "Broadcast": _broadcast,
}
"""By the name that OpenVINO gives an operation."""
