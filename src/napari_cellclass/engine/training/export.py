"""Export of a Keras model as the bytes of its files, and comparison of OpenVINO's predictions with those of Keras."""

from __future__ import annotations

import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import EngineError
from napari_cellclass.core.models.bundle import KERAS_MEMBER
from napari_cellclass.engine.common.environment import import_openvino, suppress_stderr
from napari_cellclass.engine.common.tile_input import TOLERANCE, largest_difference
from napari_cellclass.engine.features.openvino_classifier import OpenVinoClassifier
from napari_cellclass.engine.inference.openvino_graph import (
    OpenVinoNetwork,
    TileFormat,
    identity_preprocessing,
    read_network,
)

CHECKED_TILES = 64


def export_network(model: Any, built: Any = None) -> dict[str, bytes]:
    """Save a Keras model and export it to OpenVINO in float32; return the bundle's members by name.

    ``built`` is the same network as an OpenVINO model, where there is one; else the Keras model is converted. Of
    linear models that only OpenVINO runs there is no Keras model.
    """
    import_openvino()  # before Keras does, so that telemetry is off
    with tempfile.TemporaryDirectory(prefix="cellclass-") as folder:
        path = Path(folder)
        if not isinstance(model, OpenVinoClassifier):
            model.save(path / KERAS_MEMBER)
        with suppress_stderr():
            if built is None:
                _export_openvino(model, path / "model.xml")
            else:
                import_openvino().serialize(built, path / "model.xml")
        return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def _export_openvino(model: Any, path: Path) -> None:
    """Write what ``model.export(path, format="openvino")`` writes, without its search of all layers for lookup tables.

    That search traces functions for hundreds of objects, which takes most of the time, to save what OpenVINO ignores.
    """
    import tensorflow as tf

    openvino = import_openvino()
    signature = [tf.TensorSpec(tensor.shape, tensor.dtype, tensor.name) for tensor in model.inputs]
    network = openvino.convert_model(tf.function(model.__call__, input_signature=signature, autograph=False))
    for tensor, spec in zip(network.inputs, signature, strict=True):
        tensor.get_node().set_friendly_name(spec.name)
        tensor.tensor.set_names({spec.name})
    openvino.serialize(network, path)


def check_export(members: dict[str, bytes], x: NDArray[np.float32], expected: NDArray[np.float32]) -> dict[str, float]:
    """Compare the predictions of the exported network with those of Keras.

    Parameters
    ----------
    members
        From :func:`export_network`.
    x
        float32, shape (n, H, W, C): network input.
    expected
        float32, shape (n, K): probabilities predicted by Keras.

    Returns
    -------
    dict
        ``max_abs_difference`` and ``tiles``, for the manifest.

    Raises
    ------
    EngineError
        They differ by more than 1e-4, or OpenVINO cannot run the network.
    """
    try:
        model = read_network(members["model.xml"], members["model.bin"])
        network = OpenVinoNetwork(model, identity_preprocessing(x.shape[1:]), TileFormat.of(x))
    except RuntimeError as error:
        reason = (str(error).strip() or "no reason given").splitlines()[-1]
        raise EngineError(f"OpenVINO cannot run this network ({reason}); use layers that it supports") from error
    difference = largest_difference(network(x), expected)
    if not difference <= TOLERANCE:
        raise EngineError(
            f"the model that was exported to OpenVINO does not predict as Keras does (largest difference "
            f"{difference:.2g}, at most {TOLERANCE:g} is allowed); nothing was written"
        )
    return {"max_abs_difference": difference, "tiles": float(len(x))}


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that determine predictions, and the type of machine."""
    packages = ("keras", "tensorflow", "openvino", "numpy")
    machine = f"{platform.system()} {platform.machine()}"
    return {"python": platform.python_version(), "machine": machine} | {name: version(name) for name in packages}
