"""Configuration of a ``.keras`` file, read without Keras; files that could run code are refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.common.limits import LimitName, limit, limit_variable
from napari_cellclass.core.models.bundle import DAMAGED_ZIP

SUFFIX = ".keras"
_MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}
_LIMITS: dict[str, LimitName] = {
    "config.json": "model_text_bytes", "metadata.json": "model_text_bytes", "model.weights.h5": "model_bytes",
}  # fmt: skip
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MODULES = {
    "keras", "keras.layers", "keras.models", "keras.initializers", "keras.regularizers", "keras.constraints",
    "keras.dtype_policies", "keras.src.models.functional", "keras.src.models.sequential",
    "keras.src.engine.functional", "keras.src.engine.sequential",
}  # fmt: skip
_OPERATIONS = "keras.src.ops."
# Values that Keras writes as objects, and that hold only data.
_PLAIN = {"__keras_tensor__", "__tensor__", "__numpy__", "__ellipsis__", "__slice__"}
# Layers that run a function, or read a file that their configuration names.
_REFUSED = {
    "Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer",
    "StringLookup", "IntegerLookup", "TextVectorization",
}  # fmt: skip
_SCALING_LAYERS = {"Rescaling", "Normalization"}
_SCALING_OPERATIONS = {"TrueDivide", "Divide", "Multiply"}
# Layers that keep the number of outputs of the layer before.
_KEEPING = {"Activation", "Softmax", "ReLU", "LeakyReLU", "Dropout", "Flatten", "BatchNormalization"} | {
    f"Global{kind}Pooling2D" for kind in ("Average", "Max")
}


@dataclass(frozen=True)
class KerasFileInfo:
    """Details of a ``.keras`` file that is safe to load.

    Parameters
    ----------
    path
        The file.
    input_shape
        (height, width, channels) of a tile; a side is None where the network takes any size.
    outputs
        Width of the last layer, None where only Keras can determine it. A single sigmoid is 1.
    has_rescaling
        Whether the network rescales grey values itself, so that ``rescale`` is 1.
    activation
        Name of the last activation, None where only Keras can determine it.
    layers
        Names of all layers, including those of nested models.
    """

    path: Path
    input_shape: tuple[int | None, int | None, int]
    outputs: int | None
    has_rescaling: bool
    activation: str | None
    layers: tuple[str, ...]

    @property
    def classes(self) -> int | None:
        """Number of classes of the outputs: a single sigmoid output separates two."""
        return 2 if self.outputs == 1 else self.outputs

    def check_classes(self, classes: tuple[str, ...]) -> None:
        """Raise :class:`ModelError` unless there is one name per class."""
        if self.classes is not None and len(classes) != self.classes:
            raise ModelError(class_count_mismatch(self.path, self.classes, classes))


def class_count_mismatch(path: Path, needed: int, classes: tuple[str, ...]) -> str:
    """Return the message for a network with another number of classes than were named."""
    return (
        f"{path} has {needed} classes, but {len(classes)} were named ({', '.join(classes)}); "
        f"name {needed}, in the order of its outputs"
    )


def inspect_keras_file(path: Path) -> KerasFileInfo:
    """Read a ``.keras`` file's configuration, in this process and without Keras.

    Raises
    ------
    ModelError
        It is not a Keras file, or holds a Lambda layer, a custom object, or anything else that could run
        code when it is loaded; or it is not a network from one image to one row of classes.
    """
    path = Path(path)
    try:
        return _file_info(path, read_checked_config(path))
    except (TypeError, KeyError, AttributeError, IndexError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} describes no network that Keras could build ({type(error).__name__}: {error}); save it again"
        ) from error


def read_checked_config(path: Path, shown_path: Path | None = None) -> dict[str, Any]:
    """Read the configuration of a ``.keras`` file; refuse anything that could run code when it is loaded.

    Parameters
    ----------
    path
        The file.
    shown_path
        Path to quote in errors, where the file was extracted from another one.

    Raises
    ------
    ModelError
        It is not a Keras file, or it is refused.
    """
    config = _config(Path(path), shown_path or path)
    for found in _objects(config):
        _check_object(shown_path or path, found)
    return config


def _file_info(path: Path, config: dict[str, Any]) -> KerasFileInfo:
    layers = list(_layers(config))
    if any(layer["config"].get("data_format") == "channels_first" for layer in layers):
        raise ModelError(f"{path} takes channels first, which CPUs cannot run; save it with channels last")
    names = tuple(str(layer["config"].get("name", layer["class_name"])) for layer in layers)
    outputs, activation = _outputs(config)
    return KerasFileInfo(path, _input_shape(path, config), outputs, _rescales(config, layers), activation, names)


def _config(file: Path, path: Path) -> dict[str, Any]:
    if file.is_dir():
        raise ModelError(f"{path} is a folder; save the model with model.save('NAME.keras') and give that file")
    if not file.is_file():
        raise ModelError(f"there is no model {path}; give a .cellclass or .keras file")
    try:
        with file.open("rb") as stream:
            magic = stream.read(8)
        if magic == _HDF5 or file.suffix.lower() in {".h5", ".hdf5"}:
            raise ModelError(f"{path} is in the old HDF5 format; load it in Keras and save it as NAME.keras")
        with zipfile.ZipFile(file) as archive:
            members = {info.filename: info.file_size for info in archive.infolist()}
            if len(members) != len(archive.infolist()) or set(members) != _MEMBERS:
                unexpected = sorted(set(members) ^ _MEMBERS) or ["a member twice"]
                raise ModelError(
                    f"{path} is refused: {unexpected[0]!r} is unexpected or missing in a Keras file; save it again"
                )
            for name, kind in _LIMITS.items():
                if members[name] > limit(kind):
                    raise ModelError(
                        f"{path} is refused: its {name} claims {members[name]:,} bytes, more than {limit(kind):,}; "
                        f"get it from a trusted source, or raise {limit_variable(kind)}"
                    )
            config = json.loads(archive.read("config.json"))
    except (*DAMAGED_ZIP, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} is not a Keras file ({error}); save the model with model.save('NAME.keras')"
        ) from error
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise ModelError(f"{path} is not a Keras file (it describes no model); save it again")
    # The training configuration is not loaded, and may hold custom functions.
    return {name: value for name, value in config.items() if name != "compile_config"}


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every object that Keras would create, at any depth."""
    waiting = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if "class_name" in item:
                yield item
            waiting += [value for name, value in item.items() if name != "compile_config"]
        elif isinstance(item, list):
            waiting += item


def _check_object(path: Path, found: dict[str, Any]) -> None:
    """Refuse an object that is not one of Keras's own layers, operations or settings."""
    name, module, registered = found["class_name"], found.get("module"), found.get("registered_name")
    if not isinstance(name, str):
        raise ModelError(f"{path} is refused: {str(name)[:60]!r} is not the name of a layer; save it again")
    if name in _REFUSED or name == "__lambda__":
        raise ModelError(
            f"{path} is refused: a {str(name).strip('_')} layer can run any code; "
            "build the model from other Keras layers"
        )
    if name in _PLAIN and module is None:
        return
    known = isinstance(module, str) and (module in _MODULES or module.startswith(_OPERATIONS))
    # Functions are in lower case: keras.utils and others have some that download or unpack files.
    is_class = name.isidentifier() and name[0].isupper()
    if not known or not is_class or (registered is not None and registered != name):
        raise ModelError(
            f"{path} is refused: it needs {module}.{name}, which is not a layer of Keras and can run any code; "
            "build the model from Keras layers only"
        )


def _layers(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the layers, including those of nested models."""
    for layer in config["config"].get("layers", []):
        if isinstance(layer, dict) and isinstance(layer.get("config"), dict):
            yield layer
            yield from _layers(layer)


def _input_shape(path: Path, config: dict[str, Any]) -> tuple[int | None, int | None, int]:
    inputs = [
        layer["config"].get("batch_shape") or layer["config"].get("batch_input_shape")
        for layer in config["config"].get("layers", [])
        if isinstance(layer, dict) and layer.get("class_name") == "InputLayer"
    ]
    build_config = config.get("build_config")
    if not inputs and isinstance(build_config, dict):
        inputs = [build_config.get("input_shape")]
    if len(inputs) != 1:
        raise ModelError(f"{path} has {len(inputs)} inputs; a model that classifies tiles has one")
    shape = inputs[0]
    sides_known = isinstance(shape, list) and len(shape) == 4
    if not sides_known or not all(side is None or isinstance(side, int) for side in shape) or shape[3] is None:
        raise ModelError(
            f"{path} takes input of shape {shape}; a model that classifies tiles takes (any, height, width, channels)"
        )
    return shape[1], shape[2], shape[3]


def _outputs(config: dict[str, Any]) -> tuple[int | None, str | None]:
    """Return the width and the activation of the last layer; None for what cannot be determined."""
    layers = [layer for layer in config["config"].get("layers", []) if isinstance(layer, dict)]
    ends = config["config"].get("output_layers")
    if isinstance(ends, list) and ends:
        first = ends[0] if isinstance(ends[0], list) else ends
        names = [layer.get("name") for layer in layers]
        layers = layers[: names.index(first[0]) + 1] if first[0] in names else []
    activation = None
    for layer in reversed(layers):
        kind, settings = layer["class_name"], layer.get("config", {})
        own = "softmax" if kind == "Softmax" else settings.get("activation")
        if activation is None and isinstance(own, str) and own != "linear":
            activation = own
        if kind == "Dense":
            return settings.get("units"), activation or "linear"
        if kind == "Conv2D":
            return settings.get("filters"), activation or "linear"
        if kind not in _KEEPING:
            return None, activation
    return None, None


def _rescales(config: dict[str, Any], layers: list[dict[str, Any]]) -> bool:
    """Return whether a layer, or the first operation upon the input, rescales grey values."""
    if any(layer["class_name"] in _SCALING_LAYERS for layer in layers):
        return True
    top = config["config"].get("layers", [])
    inputs = {layer.get("name") for layer in top if layer.get("class_name") == "InputLayer"}
    for layer in top:
        if layer.get("class_name") in _SCALING_OPERATIONS:
            sources = [found["config"]["keras_history"][0] for found in _objects(layer.get("inbound_nodes", []))]
            if inputs & set(sources):
                return True
    return False
