"""Load the Keras network of a bundle without running code from the file, and predict with TensorFlow."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.models.bundle import KERAS_MEMBER, ModelBundle
from napari_cellclass.engine.common.environment import import_keras
from napari_cellclass.engine.networks.config_check import read_checked_config
from napari_cellclass.engine.networks.weights_check import check_weights


def load_network(bundle: ModelBundle) -> Any:
    """Load the Keras model of a bundle, without running any code from the file.

    Raises
    ------
    ModelError
        It could run code or read other files, or Keras cannot load it.
    """
    if KERAS_MEMBER not in bundle.manifest.files:
        raise ModelError(
            f"{bundle.path} is built on a network of {bundle.manifest.training.get('backbone')}, which only OpenVINO "
            "runs; use --engine openvino"
        )
    keras = import_keras()
    with tempfile.TemporaryDirectory(prefix="cellclass-") as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(bundle.member("model.keras"))
        read_checked_config(path, bundle.path)
        check_weights(path, bundle.path)
        try:
            return keras.models.load_model(path, safe_mode=True, compile=False)
        except Exception as error:  # layers raise errors of any type
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            reason = lines[0] if lines else type(error).__name__
            raise ModelError(f"{bundle.path} cannot be loaded by Keras: {reason}; train again") from error


def predictor(model: Any) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return a function from network input (n, H, W, C) to a model's outputs (n, K), run by TensorFlow.

    It is traced once, for any batch size; at most 32 tiles are computed at a time.
    """
    import tensorflow as tf

    shape = tf.TensorSpec(model.input_shape, tf.float32)
    call = tf.function(lambda x: model(x, training=False), input_signature=[shape], autograph=False)

    def predict(x: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = [np.array(call(tf.constant(x[i : i + 32])), np.float32) for i in range(0, len(x), 32)]
        return np.concatenate(parts)

    return predict


def eager_predictor(model: Any) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return the same function as :func:`predictor` without tracing: faster for a few tiles, slower for many."""

    def predict(x: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = [np.array(model(x[i : i + 32], training=False), np.float32) for i in range(0, len(x), 32)]
        return np.concatenate(parts)

    return predict
