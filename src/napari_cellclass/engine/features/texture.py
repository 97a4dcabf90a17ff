"""Texture features of tiles as graphs of OpenVINO and of Keras, by the same formulas as for arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_cellclass.core.tiles import texture_formulas
from napari_cellclass.core.tiles.texture_formulas import SMALLEST_PX, TEXTURE_VERSION, texture_names
from napari_cellclass.engine.common.environment import import_keras, import_openvino

__all__ = ["SMALLEST_PX", "TEXTURE_VERSION", "build_keras", "build_openvino", "texture_columns", "texture_names"]


def texture_columns(channels: int, input_px: tuple[int, int]) -> int:
    """Return the number F of texture features of tiles with so many channels and (height, width) in px."""
    return len(texture_names(channels, input_px))


def build_openvino(tiles: Any) -> Any:
    """Add texture features to an OpenVINO graph.

    Parameters
    ----------
    tiles
        A node of float32, shape (n, H, W, C): network input, 0 to 1. The batch size may be dynamic, the others not;
        sides of at least :data:`SMALLEST_PX`.

    Returns
    -------
    openvino.Node
        float32, shape (n, F), see :func:`napari_cellclass.core.tiles.texture_formulas.texture`.
    """
    return texture_formulas.texture(_OpenVinoOps(), _Node(tiles))


def build_keras(tiles: Any) -> Any:
    """Add the same to a Keras graph, from a tensor (n, H, W, C) to a tensor (n, F); it has no weights.

    Slices are summed, as convolutions of one channel take OpenVINO four times as long. Maps keep the shape
    (n, H, W, C), so that a slice is copied in long pieces, and are not reshaped: in an int8 network OpenVINO follows
    every path from a reshape back to the tiles, of which blurs have millions.
    """
    return texture_formulas.texture(_KerasOps(), tiles)


class _KerasOps:
    """:class:`~napari_cellclass.core.tiles.texture_formulas.TextureOps` on Keras tensors."""

    def __init__(self) -> None:
        self._ops = import_keras().ops

    def sides(self, x: Any) -> tuple[int, int]:
        return int(x.shape[1]), int(x.shape[2])

    def part(self, x: Any, axis: int, start: int, stop: int, step: int = 1) -> Any:
        return x[(slice(None),) * axis + (slice(start, stop, step),)]

    def mirror(self, x: Any, px: int) -> Any:
        return self._ops.pad(x, ((0, 0), (px, px), (px, px), (0, 0)), mode="reflect")

    def mean(self, x: Any, axis: int) -> Any:
        return self._ops.mean(x, axis=axis, keepdims=True)

    def along_rows(self, values: Any, width: int) -> Any:
        return self._ops.tile(values, (1, 1, width, 1))

    def clip(self, x: Any, low: float, high: float) -> Any:
        return self._ops.clip(x, low, high)

    def absolute(self, x: Any) -> Any:
        return self._ops.abs(x)

    def sqrt(self, x: Any) -> Any:
        return self._ops.sqrt(x)

    def log(self, x: Any) -> Any:
        return self._ops.log(x)

    def columns(self, features: Sequence[Any]) -> Any:
        return self._ops.squeeze(self._ops.concatenate(list(features), axis=-1), (1, 2))


class _Node:
    """An OpenVINO node that takes numbers as float32 beside it; ``node * 2.0`` of OpenVINO itself has float64."""

    def __init__(self, node: Any) -> None:
        self.node = node

    def __add__(self, other: _Node | float) -> _Node:
        return _Node(self.node + _operand(other))

    def __sub__(self, other: _Node | float) -> _Node:
        return _Node(self.node - _operand(other))

    def __rsub__(self, other: float) -> _Node:
        return _Node(_operand(other) - self.node)

    def __mul__(self, other: _Node | float) -> _Node:
        return _Node(self.node * _operand(other))

    def __truediv__(self, other: _Node | float) -> _Node:
        return _Node(self.node / _operand(other))

    def __rtruediv__(self, other: float) -> _Node:
        return _Node(_operand(other) / self.node)


def _operand(value: _Node | float) -> Any:
    return value.node if isinstance(value, _Node) else import_openvino().opset13.constant(np.array([value], np.float32))


class _OpenVinoOps:
    """:class:`~napari_cellclass.core.tiles.texture_formulas.TextureOps` on OpenVINO nodes."""

    def __init__(self) -> None:
        import_openvino()
        import openvino.opset13 as op

        self._op = op

    def sides(self, x: _Node) -> tuple[int, int]:
        shape = x.node.output(0).partial_shape
        return shape[1].get_length(), shape[2].get_length()

    def part(self, x: _Node, axis: int, start: int, stop: int, step: int = 1) -> _Node:
        return _Node(self._op.slice(x.node, *(np.array([value]) for value in (start, stop, step, axis))))

    def mirror(self, x: _Node, px: int) -> _Node:
        pads = np.array([0, px, px, 0])
        return _Node(self._op.pad(x.node, pads, pads, "reflect"))

    def mean(self, x: _Node, axis: int) -> _Node:
        return _Node(self._op.reduce_mean(x.node, np.array([axis]), True))

    def along_rows(self, values: _Node, width: int) -> _Node:
        return _Node(self._op.tile(values.node, np.array([1, 1, width, 1])))

    def clip(self, x: _Node, low: float, high: float) -> _Node:
        return _Node(self._op.clamp(x.node, low, high))

    def absolute(self, x: _Node) -> _Node:
        return _Node(self._op.absolute(x.node))

    def sqrt(self, x: _Node) -> _Node:
        return _Node(self._op.sqrt(x.node))

    def log(self, x: _Node) -> _Node:
        return _Node(self._op.log(x.node))

    def columns(self, features: Sequence[_Node]) -> Any:
        return self._op.squeeze(self._op.concat([one.node for one in features], -1), np.array([1, 2]))
