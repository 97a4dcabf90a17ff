"""A user's own network as backbone: any ``.onnx`` or ``.keras`` file from an image to maps, tokens or a vector."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.common.limits import limit, limit_variable
from napari_cellclass.core.params.shared import ScalingName
from napari_cellclass.engine.common.environment import import_openvino
from napari_cellclass.engine.features.backbone import BRIGHTEST, BRIGHTEST_OF_COLOUR
from napari_cellclass.engine.inference.openvino_graph import openvino_core, read_network
from napari_cellclass.engine.inference.tensorflow_client import run_child
from napari_cellclass.engine.networks.config_check import SUFFIX, inspect_keras_file

_ONNX = ".onnx"
_DEFAULT_PX = 224  # of a network that takes any size: what nearly all were trained with
_EXTERNAL = b"\x0a\x08location"  # the key of a tensor's values in another file, as ONNX stores it
OPENVINO_ERRORS = (RuntimeError, ValueError)
"""What OpenVINO raises for a network that it cannot read or compile: the latter where a text in it is no UTF-8."""
_CONVERSION = 1  # increase it when the child process writes something else
# Of red, green and blue over ImageNet, as PyTorch's models take them out.
_IMAGENET_MEAN, _IMAGENET_SD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@dataclass(frozen=True, eq=False)
class UserBackbone:
    """A network that was opened and checked.

    Parameters
    ----------
    path, sha256
        The file, and the hash of its content.
    model
        The OpenVINO model.
    channels, channels_first
        Of its input, and whether they come before height and width.
    input_px
        (height, width) of its input in px.
    scaling
        Which values it takes, see :data:`~napari_cellclass.core.params.shared.ScalingName`.
    outputs
        Number of features of one view.
    """

    path: Path
    sha256: str
    model: Any
    channels: int
    channels_first: bool
    input_px: tuple[int, int]
    scaling: ScalingName
    outputs: int

    def views(self, channels: int, colour: bool) -> int:
        """Return how many views it takes of tiles with so many channels.

        Raises
        ------
        ModelError
            It takes another number of channels.
        """
        if self.channels == channels and (colour or channels != 3):
            return 1
        if self.channels in (1, 3):
            return channels
        raise ModelError(
            f"{self.path.name} takes {self.channels} channels, but the images have {channels}; choose as many channels"
        )

    def names(self, channels: int, colour: bool) -> tuple[str, ...]:
        """Name the features in their order: view by view."""
        one = [f"backbone_{i:04d}" for i in range(self.outputs)]
        views = self.views(channels, colour)
        return tuple(one) if views == 1 else tuple(f"{name}_channel{c}" for c in range(views) for name in one)

    def build_openvino(self, tiles: Any, colour: bool) -> Any:
        """Add the network to an OpenVINO graph, from a node (n, H, W, C), 0 to 1, to a node (n, F)."""
        import_openvino()
        import openvino.opset13 as op

        height, width, channels = (tiles.output(0).partial_shape[axis].get_length() for axis in (1, 2, 3))
        views = self.views(channels, colour)
        x = op.clamp(tiles, 0.0, BRIGHTEST_OF_COLOUR if colour else BRIGHTEST)
        x = op.transpose(x, np.array([0, 3, 1, 2]))
        if views > 1:
            x = op.reshape(x, np.array([-1, 1, height, width]), False)
        if self.channels == 3 and (views > 1 or channels == 1):
            x = op.concat([x, x, x], 1)
        factor, offset = _scaling(self.scaling, self.channels)
        x = op.add(op.multiply(x, op.constant(factor)), op.constant(offset))
        if not self.channels_first:
            x = op.transpose(x, np.array([0, 2, 3, 1]))
        inner = self.model.clone()
        entrance = inner.get_parameters()[0]
        inner.reshape([-1, *entrance.get_partial_shape()[1:]])
        x = op.convert(x, entrance.get_element_type())
        for target in list(entrance.output(0).get_target_inputs()):
            target.replace_source_output(x.output(0))
        y = op.convert(inner.get_results()[0].input_value(0), "f32")
        rank = len(inner.outputs[0].partial_shape)
        if rank == 4:
            y = op.reduce_mean(y, np.array([2, 3] if self.channels_first else [1, 2]), False)
        elif rank == 3:
            y = op.reduce_mean(y, np.array([1]), False)
        return op.reshape(y, np.array([-1, views * self.outputs]), False)


def _scaling(name: ScalingName, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return factor and offset (1, channels, 1, 1) from 0..1 to what a network takes."""
    factor, offset = np.ones(channels), np.zeros(channels)
    if name == "byte":
        factor = factor * 255
    elif name == "imagenet":
        mean = _IMAGENET_MEAN if channels == 3 else np.full(channels, _IMAGENET_MEAN.mean())
        sd = _IMAGENET_SD if channels == 3 else np.full(channels, _IMAGENET_SD.mean())
        factor, offset = 1 / sd, -mean / sd
    shape = (1, channels, 1, 1)
    return factor.astype(np.float32).reshape(shape), offset.astype(np.float32).reshape(shape)


def open_backbone(path: Path, scaling: ScalingName | None = None, input_px: int | None = None) -> UserBackbone:
    """Open a user's network; a ``.keras`` file is converted once, in a child process.

    Parameters
    ----------
    path
        A ``.onnx`` or ``.keras`` file.
    scaling
        Which values it takes. By default 0 to 255 where a Keras network rescales them itself, 0 to 1 for any other of
        Keras, and ImageNet's mean and standard deviation taken out for ONNX.
    input_px
        Side of its input in px, where it takes any size; 224 when not given.

    Raises
    ------
    ModelError
        It is missing, damaged or refused, or is not a network from one image to maps, tokens or a vector.
    EngineError
        The conversion failed.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in {_ONNX, SUFFIX}:
        raise ModelError(f"{path} is no network that can be a backbone; give a .onnx or .keras file")
    content = _content(path)
    digest = hashlib.sha256(content).hexdigest()
    if suffix == SUFFIX:
        model, default = _converted(path, digest, input_px)
    else:
        model, default = _read_onnx(path, content), "imagenet"
    return _checked(path, digest, model, scaling or default, input_px, suffix == _ONNX)


def _content(path: Path) -> bytes:
    try:
        if (size := path.stat().st_size) > (most := limit("model_bytes")):
            raise ModelError(
                f"{path} is refused: it has {size:,} bytes, more than {most:,}; get it from a trusted source, or raise "
                f"{limit_variable('model_bytes')}"
            )
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot open the backbone {path}: {error.strerror or error}; choose another file") from error


def _read_onnx(path: Path, content: bytes) -> Any:
    if _EXTERNAL in content:
        raise ModelError(f"{path} is refused: its weights are in other files; save it as one file, up to 2 GB")
    try:
        return openvino_core().read_model(content, b"")
    except OPENVINO_ERRORS as error:
        raise ModelError(f"{path} cannot be read as ONNX ({_reason(error)}); export it again") from error


def _converted(path: Path, digest: str, input_px: int | None) -> tuple[Any, ScalingName]:
    info = inspect_keras_file(path)
    height, width, channels = info.input_shape
    shape = [height or input_px or _DEFAULT_PX, width or input_px or _DEFAULT_PX, channels]
    key = json.dumps([digest, shape, _CONVERSION, version("keras"), version("openvino")])
    cache = Path(platformdirs.user_cache_dir("napari-cellclass", appauthor=False)) / "models"
    folder = cache / f"{path.stem[:60]}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.backbone"
    if not folder.is_dir():
        job = {"path": str(path.absolute()), "sha256": digest, "shape": shape, "out": str(folder)}
        run_child("convert_backbone", job)
    try:
        model = read_network((folder / "model.xml").read_bytes(), (folder / "model.bin").read_bytes())
    except (OSError, *OPENVINO_ERRORS) as error:
        raise ModelError(f"the converted backbone {folder} is damaged; delete that folder and try again") from error
    return model, "byte" if info.has_rescaling else "unit"


def _checked(
    path: Path, digest: str, model: Any, scaling: ScalingName, input_px: int | None, channels_first: bool
) -> UserBackbone:
    """Check that a network takes one image, and how many features it gives."""
    if len(model.inputs) != 1 or len(model.inputs[0].partial_shape) != 4:
        raise ModelError(f"{path} has {len(model.inputs)} inputs, or none that is an image; a backbone takes one image")
    shape = [None if side.is_dynamic else side.get_length() for side in model.inputs[0].partial_shape]
    channels_first = channels_first and (shape[1] is None or shape[3] not in (1, 3) or shape[1] in (1, 3))
    channels, sides = (shape[1], shape[2:]) if channels_first else (shape[3], shape[1:3])
    height, width = (side or input_px or _DEFAULT_PX for side in sides)
    channels = channels or 3
    if input_px is not None and {height, width} != {input_px}:
        raise ModelError(f"{path} takes {width} x {height} px, not {input_px}; leave --backbone-px out")
    fixed = [1, channels, height, width] if channels_first else [1, height, width, channels]
    try:
        model.reshape(fixed)
        output = model.outputs[0].partial_shape
    except OPENVINO_ERRORS as error:
        raise ModelError(
            f"{path} cannot take {width} x {height} px ({_reason(error)}); give another --backbone-px"
        ) from error
    axis = 1 if len(output) == 4 and channels_first else len(output) - 1
    if len(output) not in (2, 3, 4) or output[axis].is_dynamic:
        raise ModelError(f"{path} outputs {output}; a backbone outputs maps, tokens or a vector of each image")
    return UserBackbone(
        path, digest, model, channels, channels_first, (height, width), scaling, int(output[axis].get_length())
    )


def _reason(error: Exception) -> str:
    return (str(error).strip() or "no reason given").splitlines()[-1][:200]
