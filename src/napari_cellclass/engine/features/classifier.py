"""A classifier of linear models on the features of a tile, as one Keras graph; and a network mixed in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.models.feature_spec import FeatureSpec
from napari_cellclass.core.models.head_record import FEATURE_SETS, NETWORK_WEIGHT
from napari_cellclass.core.models.linear_head import MAX_FEATURE, MIN_PROBABILITY, LinearHead, Standardisation
from napari_cellclass.engine.common.environment import import_keras, import_openvino
from napari_cellclass.engine.features import backbone, texture
from napari_cellclass.engine.features.extractor import feature_model
from napari_cellclass.engine.features.openvino_classifier import OpenVinoClassifier
from napari_cellclass.engine.features.user_backbone import UserBackbone
from napari_cellclass.engine.networks.architectures import layer_table, standardisation_model

# Standardised tiles as grey values of the backbone: the mean and the sd of those of photographs, about.
_MEAN, _SD = 0.45, 0.22
_LOWEST, _HIGHEST = -4.0, 8.0
_MIN_SD = 0.002


def build_classifier(
    shape: tuple[int, int, int], colour: bool, standardise: bool, scaling: Sequence[Standardisation], head: LinearHead
) -> Any:
    """Build the network of linear models on features of the pretrained backbone and, as a second set, of texture.

    Parameters
    ----------
    shape
        (H, W, C) of the network input.
    colour
        Whether the channels are red, green and blue.
    standardise
        Whether tiles are brought to one brightness and contrast first.
    scaling
        By feature set, backbone first: how its features are standardised. With one set there is no texture.
    head
        The linear models on them; every class is known.

    Returns
    -------
    keras.Model
        From float32 (n, H, W, C) to probabilities (n, K), those of :meth:`LinearHead.predict`; made of Keras's own
        layers and operations only.

    Raises
    ------
    ModelError
        The weights of the backbone are not installed.
    """
    keras = import_keras()
    ops, layers = keras.ops, keras.layers
    tiles = keras.Input(shape, name="tiles")
    seen = standardisation_model(keras, shape)(tiles) * _SD + _MEAN if standardise else tiles
    found = []
    for name, scaled, weights, intercept in zip(FEATURE_SETS, scaling, head.weights, head.intercepts, strict=False):
        model = _feature_model(keras, name, shape, colour)
        # Not Normalization: a file with that layer would seem to rescale grey values.
        norm = layers.BatchNormalization(epsilon=0.0, trainable=False, name=f"{name}_standardised")
        dense = layers.Dense(weights.shape[1], activation="softmax", kernel_initializer="zeros", name=f"{name}_classes")
        found.append(dense(ops.clip(norm(model(seen)), -MAX_FEATURE, MAX_FEATURE)))
        factor = scaled.factor
        # Of a feature that does not vary the factor is 0.
        norm.set_weights([factor, np.zeros_like(factor), scaled.mean, np.ones_like(factor)])
        dense.set_weights([weights, intercept])
    mean = layers.Average(name="mean")(found) if len(found) > 1 else found[0]
    logarithms = ops.log(ops.maximum(mean, MIN_PROBABILITY)) * (1 / head.temperature)
    return keras.Model(tiles, layers.Softmax(name="classes")(logarithms), name="pretrained")


def _feature_model(keras: Any, name: str, shape: tuple[int, int, int], colour: bool) -> Any:
    tiles = keras.Input(shape)
    features = backbone.build_keras(tiles, colour) if name == "backbone" else texture.build_keras(tiles)
    return keras.Model(tiles, features, name=name)


def build_openvino(
    spec: FeatureSpec, scaling: Sequence[Standardisation], head: LinearHead, user_backbone: UserBackbone | None = None
) -> Any:
    """Build the same network as an OpenVINO model, of tiles as they are; to convert the Keras one takes seconds.

    Parameters
    ----------
    spec
        The features.
    scaling, head
        As for :func:`build_classifier`.
    user_backbone
        The user's backbone, where ``spec`` names one.
    """
    ov = import_openvino()
    import openvino.opset13 as op

    model = feature_model(spec, user_backbone)
    features = model.outputs[0].get_node().input_value(0)
    found, start = [], 0
    parts = zip(spec.columns, scaling, head.weights, head.intercepts, strict=False)
    for columns, scaled, weights, intercept in parts:
        part = op.slice(features, *(np.array([value]) for value in (start, start + columns, 1, 1)))
        z = op.clamp(op.multiply(op.subtract(part, scaled.mean), scaled.factor), -MAX_FEATURE, MAX_FEATURE)
        found.append(op.softmax(op.add(op.matmul(z, weights, False, False), intercept), 1))
        start += columns
    mean = found[0] if len(found) == 1 else op.multiply(op.add(*found), np.float32(0.5))
    logarithms = op.log(op.maximum(mean, np.float32(MIN_PROBABILITY)))
    prob = op.softmax(op.multiply(logarithms, np.float32(1 / head.temperature)), 1)
    return ov.Model([prob], model.get_parameters(), "pretrained")


def of_one_brightness(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring network input (n, H, W, C) to one brightness and contrast, as the classifier that standardises tiles does.

    ``0.45 + 0.22 clip((x - mean) / (sd + 0.002), -4, 8)`` for each tile and channel.
    """
    mean = x.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    sd = x.std(axis=(1, 2), keepdims=True, dtype=np.float64)
    return np.asarray(np.clip((x - mean) / (sd + _MIN_SD), _LOWEST, _HIGHEST) * _SD + _MEAN, np.float32)


def mix_network(classifier: Any, network: Any) -> Any:
    """Mix the probabilities of a classifier and of a network on the same input, at a quarter's weight of the network.

    See :func:`~napari_cellclass.core.models.head_record.mix`.
    """
    keras = import_keras()
    tiles = keras.Input(classifier.input_shape[1:], name="tiles")
    mixed = classifier(tiles) * (1 - NETWORK_WEIGHT) + network(tiles) * NETWORK_WEIGHT
    return keras.Model(tiles, mixed, name=f"{classifier.name}_and_{network.name}")


def classifier_layers(model: Any) -> list[dict[str, Any]]:
    """Describe the layers of a model, those of a mixture one part after the other."""
    if isinstance(model, OpenVinoClassifier):
        return model.layer_rows
    parts = [layer for layer in model.layers if layer.name in {"pretrained", "compact"}]
    return [row for part in parts for row in layer_table(part)] if len(parts) > 1 else layer_table(model)
