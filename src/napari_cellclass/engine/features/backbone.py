"""The pretrained backbone: the first five stages of EfficientNet-Lite0, as graphs of OpenVINO and of Keras.

One table of blocks and one list of convolutions with their weights serve both. Tan & Le, EfficientNet: Rethinking Model
Scaling for Convolutional Neural Networks, 2019, arXiv:1905.11946; the Lite variants, without squeeze-and-excitation
and with ReLU6, by R. Liu, 2020, https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.engine.common.environment import import_keras, import_openvino
from napari_cellclass.engine.features.weights import pretrained_weights

__all__ = ["BLOCKS", "COLUMNS", "backbone_columns", "backbone_names", "build_keras", "build_openvino"]

BRIGHTEST, BRIGHTEST_OF_COLOUR = 1.2, 1.0
"""Network input is cut off at 0 and at these values, where 1 is the upper end of the grey-value range."""
_WHITE, _MEAN, _SCALE = 255.0, 127.0, 128.0
_EPSILON = 1e-3
_STEM_CHANNELS = 32


@dataclass(frozen=True)
class Block:
    """One inverted residual block (MBConv).

    Parameters
    ----------
    kernel, stride
        Of its depthwise convolution.
    expansion
        How many times the input channels that convolution has; at 1 it has no pointwise convolution before it.
    inputs, outputs
        Channels.
    ends_stage
        Whether the next block belongs to another stage; the means of its output are features then.
    """

    kernel: int
    stride: int
    expansion: int
    inputs: int
    outputs: int
    ends_stage: bool

    @property
    def residual(self) -> bool:
        """Whether the block's input is added to its output."""
        return self.stride == 1 and self.inputs == self.outputs


def _blocks(stages: tuple[tuple[int, int, int, int, int], ...]) -> Iterator[Block]:
    inputs = _STEM_CHANNELS
    for repeats, kernel, stride, expansion, outputs in stages:
        for i in range(repeats):
            yield Block(kernel, 1 if i else stride, expansion, inputs, outputs, i == repeats - 1)
            inputs = outputs


# Blocks, kernel, stride of the first block, expansion, output channels.
BLOCKS = tuple(_blocks(((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112))))
COLUMNS = sum(block.outputs for block in BLOCKS if block.ends_stage)
"""Features of one view: means of 16, 24, 40, 80 and 112 maps."""


@dataclass(frozen=True, eq=False)
class _Convolution:
    """A convolution with its batch normalisation folded in: kernel (O, I, h, w), I = 1 if depthwise, and bias (O,)."""

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: int
    depthwise: bool
    relu6: bool


@dataclass(frozen=True, eq=False)
class _Step:
    """Convolutions of the stem or of one block; whether their input is added, and whether the means are features."""

    convolutions: tuple[_Convolution, ...]
    residual: bool = False
    ends_stage: bool = False


def backbone_columns(channels: int, colour: bool) -> int:
    """Return the number of features of tiles: of one view of the colours, or of one view for each channel."""
    return COLUMNS * (1 if colour else channels)


def backbone_names(channels: int, colour: bool) -> tuple[str, ...]:
    """Name the features in their order: by channel, unless there is one view, then by stage and map."""
    means = [block.outputs for block in BLOCKS if block.ends_stage]
    one = [f"stage{stage}_{i:03d}" for stage, count in enumerate(means, 1) for i in range(count)]
    if colour or channels == 1:
        return tuple(one)
    return tuple(f"{name}_channel{c}" for c in range(channels) for name in one)


@functools.cache
def _steps(colour: bool) -> tuple[_Step, ...]:
    return tuple(fold_weights(pretrained_weights(), colour))


def fold_weights(weights: Mapping[str, NDArray[Any]], colour: bool) -> Iterator[_Step]:
    """Give the stem and then the blocks, with batch normalisation folded into the convolutions.

    A grey view has the same pixels in red, green and blue, so that its stem takes one channel with the sum of the
    kernels of all three.
    """

    def folded(
        convolution: str, norm: str, stride: int = 1, depthwise: bool = False, relu6: bool = True
    ) -> _Convolution:
        gamma, beta, mean, variance = (
            weights[f"{norm}.{name}"].astype(np.float64) for name in ("weight", "bias", "running_mean", "running_var")
        )
        factor = gamma / np.sqrt(variance + _EPSILON)
        kernel = weights[f"{convolution}.weight"].astype(np.float64) * factor[:, None, None, None]
        if convolution == "_conv_stem" and not colour:
            kernel = kernel.sum(axis=1, keepdims=True)
        return _Convolution(
            kernel.astype(np.float32), (beta - mean * factor).astype(np.float32), stride, depthwise, relu6
        )

    yield _Step((folded("_conv_stem", "_bn0", 2),))
    for number, block in enumerate(BLOCKS):
        name = f"_blocks.{number}."
        wide = [folded(f"{name}_expand_conv", f"{name}_bn0")] if block.expansion > 1 else []
        depthwise = folded(f"{name}_depthwise_conv", f"{name}_bn1", block.stride, depthwise=True)
        narrow = folded(f"{name}_project_conv", f"{name}_bn2", relu6=False)
        yield _Step((*wide, depthwise, narrow), block.residual, block.ends_stage)


def build_openvino(tiles: Any, colour: bool) -> Any:
    """Add the backbone to an OpenVINO graph.

    Parameters
    ----------
    tiles
        A node of float32, shape (n, H, W, C), 0 to 1 over the grey-value range. The batch size may be dynamic, the
        others not.
    colour
        Whether C = 3 channels are red, green and blue, one view together. Otherwise each channel is a grey view.

    Returns
    -------
    openvino.Node
        float32, shape (n, F): of each view the spatial means of the outputs of the five stages.

    Raises
    ------
    ModelError
        The weights are not installed.
    """
    import_openvino()
    import openvino.opset13 as op

    height, width, channels = (tiles.output(0).partial_shape[axis].get_length() for axis in (1, 2, 3))
    x = op.clamp(tiles, 0.0, BRIGHTEST_OF_COLOUR if colour else BRIGHTEST)
    x = op.divide(op.subtract(op.multiply(x, np.float32(_WHITE)), np.float32(_MEAN)), np.float32(_SCALE))
    x = op.transpose(x, np.array([0, 3, 1, 2]))
    if not colour:
        x = op.reshape(x, np.array([-1, 1, height, width]), False)
    means = []
    for step in _steps(colour):
        before = x
        for layer in step.convolutions:
            x = _convolved(op, x, layer)
        if step.residual:
            x = op.add(x, before)
        if step.ends_stage:
            means.append(op.reduce_mean(x, np.array([2, 3]), False))
    return op.reshape(op.concat(means, 1), np.array([-1, backbone_columns(channels, colour)]), False)


def _convolved(op: Any, x: Any, layer: _Convolution) -> Any:
    pads, strides = [0, 0], [layer.stride, layer.stride]
    if layer.depthwise:
        x = op.group_convolution(x, op.constant(layer.kernel[:, None]), strides, pads, pads, [1, 1], "same_upper")
    else:
        x = op.convolution(x, op.constant(layer.kernel), strides, pads, pads, [1, 1], "same_upper")
    x = op.add(x, op.constant(layer.bias[None, :, None, None]))
    return op.clamp(x, 0.0, 6.0) if layer.relu6 else x


def build_keras(tiles: Any, colour: bool) -> Any:
    """Add the same to a Keras graph, from a tensor (n, H, W, C) to a tensor (n, F); its weights are not trained.

    Raises
    ------
    ModelError
        The weights are not installed.
    """
    keras = import_keras()
    ops, layers = keras.ops, keras.layers
    height, width, channels = tiles.shape[1:]
    x = ops.clip(tiles, 0.0, BRIGHTEST_OF_COLOUR if colour else BRIGHTEST)
    x = (x * _WHITE - _MEAN) / _SCALE
    if not colour and channels > 1:
        x = ops.reshape(ops.transpose(x, (0, 3, 1, 2)), (-1, height, width, 1))
    means = []
    for number, step in enumerate(_steps(colour)):
        before = x
        for place, convolution in enumerate(step.convolutions):
            x = _keras_layer(layers, convolution, f"backbone_{number}_{place}")(x)
            x = ops.relu6(x) if convolution.relu6 else x
        if step.residual:
            x = x + before
        if step.ends_stage:
            means.append(ops.mean(x, axis=(1, 2)))
    return ops.reshape(ops.concatenate(means, axis=-1), (-1, backbone_columns(channels, colour)))


def _keras_layer(layers: Any, layer: _Convolution, name: str) -> Any:
    size = layer.kernel.shape[2:]
    settings = {"strides": layer.stride, "padding": "same", "trainable": False, "name": name}
    if layer.depthwise:
        made, kernel = layers.DepthwiseConv2D(size, **settings), layer.kernel.transpose(2, 3, 0, 1)
    else:
        made, kernel = layers.Conv2D(len(layer.kernel), size, **settings), layer.kernel.transpose(2, 3, 1, 0)
    made.build((None, None, None, kernel.shape[2]))
    made.set_weights([kernel, layer.bias])
    return made
