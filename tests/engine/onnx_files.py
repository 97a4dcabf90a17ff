"""Small networks as ONNX files, written field by field: the package onnx is not needed for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, value: int | str | bytes) -> bytes:
    """Give one field of a protocol buffer: a number, or a text or message with its length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _value(name: str, shape: Sequence[int | None]) -> bytes:
    dims = b"".join(_field(1, _field(2, "any") if n is None else _field(1, n)) for n in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, dims)))


def _node(kind: str, inputs: Sequence[str], output: str, **attributes: Sequence[int]) -> bytes:
    names = b"".join(_field(1, name) for name in inputs)
    found = b"".join(
        _field(5, _field(1, name) + b"".join(_field(8, n) for n in numbers) + _field(20, 7))
        for name, numbers in attributes.items()
    )
    return names + _field(2, output) + _field(4, kind) + found


def _tensor(name: str, values: NDArray[np.float32], elsewhere: bool) -> bytes:
    dims = b"".join(_field(1, n) for n in values.shape) + _field(2, 1) + _field(8, name)
    if not elsewhere:
        return dims + _field(9, values.astype("<f4").tobytes())
    return dims + _field(13, _field(1, "location") + _field(2, "../../etc/passwd")) + _field(14, 1)


def write_onnx(
    kernel: NDArray[np.float32],
    shape: Sequence[int | None] = (None, 3, 32, 32),
    vector: bool = False,
    elsewhere: bool = False,
) -> bytes:
    """Give a network of one convolution with a kernel (O, I, h, w).

    Parameters
    ----------
    kernel
        Its weights; there is no bias and no padding.
    shape
        Of its input, None where any size is taken.
    vector
        Whether the means of the maps are its output instead of the maps.
    elsewhere
        Whether the weights are said to be in another file.
    """
    nodes = [_node("Conv", ["x", "k"], "y" if not vector else "maps", kernel_shape=kernel.shape[2:])]
    if vector:
        nodes += [_node("GlobalAveragePool", ["maps"], "means"), _node("Flatten", ["means"], "y")]
    output = (shape[0], len(kernel)) if vector else (shape[0], len(kernel), None, None)
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, "g") + _field(5, _tensor("k", kernel, elsewhere))
    graph += _field(11, _value("x", shape)) + _field(12, _value("y", output))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13))
