"""Prediction with an exported model by ONNX Runtime and by OpenCV's DNN module, which QuPath uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import EngineError, ModelError
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.engine.common.environment import import_onnxruntime, import_opencv, suppress_stderr
from napari_cellclass.engine.common.tile_input import largest_difference
from napari_cellclass.engine.onnx_export.model import INPUT, OUTPUT

TOLERANCE = 1e-3
"""Of a probability, between an exported model and the one it was made from: other libraries round otherwise."""


@dataclass(frozen=True)
class Replay:
    """How far the golden probabilities of an exported model are from those of its training, by library.

    Parameters
    ----------
    tiles
        How many golden tiles there are.
    onnxruntime, opencv
        The largest difference of a probability.
    """

    tiles: int
    onnxruntime: float
    opencv: float


def tile_blob(tiles: NDArray[Any]) -> NDArray[np.float32]:
    """Return tiles (n, h, w, C) as the input of an exported model: float32 (n, C, h, w)."""
    return np.ascontiguousarray(np.asarray(tiles).transpose(0, 3, 1, 2), np.float32)


class OnnxRuntimeModel:
    """An exported model that ONNX Runtime runs on the processor.

    Raises
    ------
    ModelError
        ONNX Runtime cannot load it.
    """

    def __init__(self, content: bytes) -> None:
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common class but this
            raise ModelError(f"ONNX Runtime cannot load the exported model ({_reason(error)})") from error

    def __call__(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map tiles (n, C, h, w) to probabilities (n, K)."""
        found: NDArray[np.float32] = self._session.run([OUTPUT], {INPUT: blob})[0]
        return found


class OpenCvModel:
    """An exported model that OpenCV's DNN module runs, tile by tile, as in QuPath.

    Raises
    ------
    ModelError
        OpenCV cannot load it.
    """

    def __init__(self, content: bytes) -> None:
        self._cv2 = import_opencv()
        try:
            with suppress_stderr():
                self._net = self._cv2.dnn.readNetFromONNX(np.frombuffer(content, np.uint8))
        except self._cv2.error as error:
            raise ModelError(f"OpenCV cannot load the exported model ({_reason(error)})") from error

    def __call__(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map tiles (n, C, h, w) to probabilities (n, K)."""
        found = []
        try:
            for one in blob:
                self._net.setInput(one[None], INPUT)
                found.append(self._net.forward().reshape(-1).copy())
        except self._cv2.error as error:
            raise ModelError(f"OpenCV cannot run the exported model ({_reason(error)})") from error
        return np.array(found, np.float32)


def replay_golden(bundle: ModelBundle, content: bytes) -> Replay:
    """Predict a model's golden tiles with its exported form, and compare with its calibrated probabilities.

    Raises
    ------
    EngineError
        A package is not installed, or a probability differs by more than :data:`TOLERANCE`.
    ModelError
        A library cannot run the model.
    """
    tiles, prob = bundle.golden
    expected, blob = bundle.calibrated(prob), tile_blob(tiles)
    differences = []
    for name, model in (("ONNX Runtime", OnnxRuntimeModel(content)), ("OpenCV", OpenCvModel(content))):
        difference = largest_difference(model(blob), expected)
        if not difference <= TOLERANCE:
            raise EngineError(
                f"{bundle.path} cannot be exported: in {name} its probabilities differ by up to {difference:.2g} from "
                f"those of its training, and at most {TOLERANCE:g} is allowed; nothing was written"
            )
        differences.append(difference)
    return Replay(len(tiles), *differences)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[-300:] or type(error).__name__
