"""A graph of ONNX that is written operation by operation; transposes are postponed until an operation needs one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ModelError

OPSET, IR_VERSION = 13, 8
"""Of the file: what OpenCV's DNN module of 2023, and every later library, reads."""


class NotConvertibleError(ModelError):
    """A network cannot be written as ONNX."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the network.

    Parameters
    ----------
    name
        Its name in the ONNX graph; empty for a constant.
    shape
        As the network has it, with one tile in the batch, the first axis.
    order
        Which of these axes is stored at each place: an image (n, H, W, C) stored as (n, C, H, W) has (0, 3, 1, 2).
    spread
        Axes along which one stored value stands for all of them.
    values
        The values of a constant, in the shape of ``shape``.
    """

    name: str
    shape: tuple[int, ...]
    order: tuple[int, ...]
    spread: frozenset[int] = frozenset()
    values: NDArray[Any] | None = None

    @classmethod
    def constant(cls, values: NDArray[Any]) -> Tensor:
        """Return a constant."""
        return cls("", tuple(values.shape), tuple(range(values.ndim)), values=values)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape in the order in which it is stored."""
        return tuple(1 if axis in self.spread else self.shape[axis] for axis in self.order)

    def place(self, axis: int) -> int:
        """Return where an axis of the network is stored."""
        return self.order.index(axis % len(self.shape))


@dataclass
class GraphWriter:
    """Nodes and weights of a graph that grows; the nodes are ONNX's, not checked yet."""

    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)
    _known: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _biased: dict[str, Any] = field(default_factory=dict)

    def add(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        from onnx import helper

        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, values: NDArray[Any] | np.floating[Any]) -> str:
        """Add a constant, or find an equal one, and return its name."""
        from onnx import numpy_helper

        values = np.asarray(values, order="C")
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._known:
            self._known[key] = f"weight_{len(self.weights)}"
            self.weights.append(numpy_helper.from_array(values, self._known[key]))
        return self._known[key]

    def numbers(self, values: Sequence[int]) -> str:
        """Add a constant of whole numbers, such as axes."""
        return self.weight(np.asarray(values, np.int64))

    def stored(self, tensor: Tensor, order: Sequence[int] | None = None, whole: bool = True) -> str:
        """Return the name of a tensor that is stored in an order of axes, as in the network when not given.

        Parameters
        ----------
        whole
            Whether values that stand for many along an axis are repeated.
        """
        order = tuple(range(len(tensor.shape)) if order is None else order)
        if tensor.values is not None:
            return self.weight(np.asarray(tensor.values, np.float32).transpose(order))
        name = tensor.name
        if order != tensor.order:
            places = [tensor.order.index(axis) for axis in order]
            name = self._reordered(name, tensor.stored_shape, places)
        if whole and tensor.spread:
            shape = [tensor.shape[axis] if axis in tensor.spread else 1 for axis in order]
            name = self.add("Mul", [name, self.weight(np.ones(shape, np.float32))])
        return name

    def _reordered(self, name: str, shape: tuple[int, ...], places: list[int]) -> str:
        """Transpose, or reshape where only axes of length 1 move; the batch is never one of these."""
        moving = [place for place in places if place == 0 or shape[place] > 1]
        if moving == sorted(moving) and places[0] == 0:
            return self.reshaped(name, [shape[place] for place in places])
        return self.add("Transpose", [name], perm=places)

    def reshaped(self, name: str, shape: Sequence[int]) -> str:
        """Reshape a stored tensor; the first axis is the batch, or that times something."""
        return self.add("Reshape", [name, self.numbers([-1, *shape[1:]])])

    def like(self, tensor: Tensor, name: str, **changes: Any) -> Tensor:
        """Return the tensor that an operation has made of another, stored as that."""
        return replace(tensor, name=name, values=None, **changes)

    def shares_bias(self, name: str, node: Any, channels: int) -> None:
        """Note that a convolution takes a bias where it is added next."""
        self._biased[name] = (node, channels)

    def add_bias(self, name: str, bias: NDArray[Any]) -> bool:
        """Give a convolution that has none a bias (1, O, 1, 1); whether that was possible."""
        node, channels = self._biased.pop(name, (None, 0))
        fits = bias.ndim == 4 and bias.shape[1] in (1, channels) and bias.size == bias.shape[1]
        if node is None or not fits:
            return False
        whole = np.broadcast_to(bias.reshape(-1), (channels,)).astype(np.float32)
        node.input.append(self.weight(whole))
        return True


def size_of(shape: Sequence[int]) -> int:
    """Return how many values a tensor of a shape has."""
    return math.prod(shape)
