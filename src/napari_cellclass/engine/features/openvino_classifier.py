"""A classifier that only OpenVINO runs: on a user's backbone, which Keras may not run, or written without Keras."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.engine.features.user_backbone import OPENVINO_ERRORS
from napari_cellclass.engine.inference.openvino_graph import OpenVinoNetwork, TileFormat, identity_preprocessing


class OpenVinoClassifier:
    """What training asks of a Keras model, of an OpenVINO model from network input to probabilities.

    Parameters
    ----------
    model
        The OpenVINO model.
    shape
        (H, W, C) of the network input.
    backbone
        Its name, for messages and the table of layers.

    Raises
    ------
    ModelError
        OpenVINO cannot compile it.
    """

    name = "pretrained"

    def __init__(self, model: Any, shape: tuple[int, int, int], backbone: str) -> None:
        self.model, self.input_shape, self._backbone = model, (None, *shape), backbone
        try:
            self._network = OpenVinoNetwork(model, identity_preprocessing(shape), TileFormat(shape, "float32"))
        except OPENVINO_ERRORS as error:
            reason = (str(error).strip() or "no reason given").splitlines()[-1][:200]
            raise ModelError(f"OpenVINO cannot run {backbone} ({reason}); use another backbone") from error

    def __call__(self, x: NDArray[np.float32], training: bool = False) -> NDArray[np.float32]:
        """Predict probabilities (n, K) of network input (n, H, W, C)."""
        assert not training
        return self._network(x)

    def count_params(self) -> int:
        """Return how many numbers the network holds."""
        constants = (op for op in self.model.get_ops() if op.get_type_name() == "Constant")
        return sum(math.prod(op.output(0).shape) for op in constants if op.output(0).element_type.is_real())

    @property
    def layer_rows(self) -> list[dict[str, Any]]:
        """The parts of the network as rows of the table of layers."""
        row = {"name": self._backbone, "type": "OpenVINO", "output": [self._network.outputs]}
        return [row | {"parameters": self.count_params()}]
