"""Grad-CAM of a network with global pooling, computed by OpenVINO in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.tiles.occlusion import log_odds
from napari_cellclass.core.tiles.preprocess import PreprocessSpec
from napari_cellclass.engine.common.environment import import_openvino
from napari_cellclass.engine.inference.openvino_graph import openvino_core, read_network

_POOLINGS = {"ReduceMean", "ReduceMax"}
_STEP = 0.02  # of the largest pooled value: the half-width of a difference quotient
_BATCH = 64


class ActivationMaps:
    """Where the last maps of a network before its global pooling support a class.

    Grad-CAM (Selvaraju et al., ICCV 2017): the maps, each weighted by the gradient of the class's log-odds with respect
    to its mean. What follows the pooling is small, so that this gradient is taken as central differences of the pooled
    values: exact up to rounding where what follows is linear in the log-odds, as one dense layer is for two classes.

    Parameters
    ----------
    model
        An OpenVINO model of network input (n, H, W, C); it is not changed.
    spec
        Preprocessing from raw tiles to network input.
    name
        Of the model, for messages.

    Raises
    ------
    ModelError
        It has no global pooling.
    """

    def __init__(self, model: Any, spec: PreprocessSpec, name: str) -> None:
        ov = import_openvino()
        self._spec = spec
        found, self._sees_tile = _last_poolings(model)
        if not found:
            raise ModelError(f"{name} has no global pooling of its maps, so Grad-CAM does not apply; use occlusion")
        self._axes = [tuple(node.input_value(1).get_node().get_data().ravel().tolist()) for node in found]
        maps = [node.input_value(0) for node in found]
        pooled = [node.output(0) for node in found]
        outputs = [op.output(0) for op in (model.get_results()[0].input_value(0).get_node(),)]
        shape = [1, *self._spec.input_px, self._spec.channels]
        first = ov.Model([*maps, *pooled, *outputs], model.get_parameters(), "maps")
        first = first.clone()
        first.reshape(shape)
        self._count = len(found)
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        core = openvino_core()
        self._maps = core.compile_model(first, "CPU", settings)
        self._rest = core.compile_model(
            self._after_pooling(model, [n.get_friendly_name() for n in found]), "CPU", settings
        )

    @classmethod
    def of(cls, bundle: ModelBundle) -> ActivationMaps:
        """Open those of a model.

        Raises
        ------
        ModelError
            It has no global pooling, averages mirrored views, or cannot be loaded.
        """
        if int(bundle.manifest.training.get("views", 1)) > 1:
            raise ModelError(f"{bundle.path.name} averages mirrored views, so Grad-CAM does not apply; use occlusion")
        try:
            model = read_network(bundle.member("model.xml"), bundle.member("model.bin"))
        except RuntimeError as error:
            raise ModelError(f"{bundle.path} cannot be loaded by OpenVINO; get a fresh copy or train again") from error
        return cls(model, bundle.preprocess, bundle.path.name)

    def _after_pooling(self, model: Any, names: list[str]) -> Any:
        """Return the part of the network after its pooling, which takes pooled values in the place of maps."""
        ov = import_openvino()
        import openvino.opset13 as op

        rest = model.clone()
        nodes = {node.get_friendly_name(): node for node in rest.get_ordered_ops()}
        inputs = []
        for name in names:
            node = nodes[name]
            width = node.output(0).partial_shape
            width[0] = ov.Dimension(-1)
            parameter = op.parameter(width, np.float32)
            for target in list(node.output(0).get_target_inputs()):
                target.replace_source_output(parameter.output(0))
            inputs.append(parameter)
        if self._sees_tile:
            tiles = rest.get_parameters()[0]
            inputs.append(tiles)
        return ov.Model(rest.get_results(), inputs, "rest")

    def __call__(
        self, tile: NDArray[Any], class_index: int, levels: NDArray[np.float64] | None = None
    ) -> NDArray[np.float32]:
        """Map the evidence for a class in a raw tile.

        Parameters
        ----------
        tile
            Shape (h, w, C) in the image's dtype.
        class_index
            The class.
        levels
            Of its field, where the model's preprocessing needs them.

        Returns
        -------
        ndarray of float32, shape (h, w)
            At least 0, in log-odds per pixel of the last map, to which each map is scaled up.
        """
        x = self._spec.apply(self._spec.apply_levels(tile[None], levels))
        out = self._maps(x)
        values = [np.asarray(out[i]) for i in range(2 * self._count)]
        maps, pooled = values[: self._count], values[self._count :]
        shape = int(tile.shape[0]), int(tile.shape[1])
        total = np.zeros(shape)
        for number, (one, axes) in enumerate(zip(maps, self._axes, strict=True)):
            gradient = self._gradient(x, pooled, number, class_index)
            last = np.moveaxis(one, axes, (0, 1))  # (h, w, views, channels)
            weighted = (last * gradient.reshape(last.shape[2:])).sum(axis=(2, 3)) / (last.shape[0] * last.shape[1])
            total += _enlarged(weighted, shape)
        return np.asarray(np.maximum(total, 0), np.float32)

    def _gradient(
        self, x: NDArray[np.float32], pooled: list[NDArray[np.float32]], number: int, class_index: int
    ) -> NDArray[np.float64]:
        """Return the gradient of a class's log-odds with respect to the pooled values of one pooling, as they lie."""
        values = pooled[number].ravel()
        step = max(_STEP * float(np.abs(values).max()), 1e-6)
        found = []
        for rows in _batches(values.size):
            both = []
            for sign in (1, -1):
                changed = np.repeat(values[None], len(rows), axis=0)
                changed[np.arange(len(rows)), rows] += sign * step
                both.append(log_odds(self._after(x, pooled, number, changed), class_index))
            found.append((both[0] - both[1]) / (2 * step))
        return np.concatenate(found)

    def _after(
        self, x: NDArray[np.float32], pooled: list[NDArray[np.float32]], number: int, changed: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        count = len(changed)
        inputs = [
            (changed if i == number else np.repeat(one.ravel()[None], count, axis=0)).reshape(-1, *one.shape[1:])
            for i, one in enumerate(pooled)
        ]
        if self._sees_tile:
            inputs.append(np.repeat(x, count, axis=0))
        return np.asarray(self._rest(inputs)[0])


def _batches(count: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, count, _BATCH):
        yield np.arange(start, min(start + _BATCH, count))


def _last_poolings(model: Any) -> tuple[list[Any], bool]:
    """Return the global poolings nearest to the output, and whether a path without one leads to the tile."""
    found: dict[str, Any] = {}
    sees_tile = False
    todo, seen = [model.get_results()[0]], set()
    while todo:
        node = todo.pop()
        if node.get_friendly_name() in seen:
            continue
        seen.add(node.get_friendly_name())
        if _is_pooling(node):
            found[node.get_friendly_name()] = node
            continue
        sees_tile |= node.get_type_name() == "Parameter"
        todo += [node.input_value(i).get_node() for i in range(node.get_input_size())]
    order = [node.get_friendly_name() for node in model.get_ordered_ops()]
    return sorted(found.values(), key=lambda node: order.index(node.get_friendly_name())), sees_tile


def _is_pooling(node: Any) -> bool:
    """Tell whether a node reduces maps (n, h, w, C) or (n, C, h, w), of more than one pixel, to numbers."""
    if node.get_type_name() not in _POOLINGS:
        return False
    shape, axes = node.input_value(0).get_partial_shape(), node.input_value(1).get_node()
    if shape.rank.get_length() != 4 or axes.get_type_name() != "Constant":
        return False
    chosen = sorted(int(axis) % 4 for axis in axes.get_data().ravel())
    return chosen in ([1, 2], [2, 3])


def _enlarged(values: NDArray[np.floating[Any]], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Scale a map up to a tile by bilinear interpolation, pixel areas on pixel areas."""
    y, x = ((np.arange(n) + 0.5) * old / n - 0.5 for n, old in zip(shape, values.shape, strict=True))
    grid = np.meshgrid(y, x, indexing="ij")
    return np.asarray(map_coordinates(values.astype(np.float64), grid, order=1, mode="nearest"))
