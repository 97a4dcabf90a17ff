"""A network pooled with a linear model on texture features, as one Keras graph."""

from __future__ import annotations

from typing import Any

from napari_cellclass.core.models.texture_decision import MAX_FEATURE, MIN_PROBABILITY
from napari_cellclass.core.stats.logistic import LogisticModel
from napari_cellclass.engine.common.environment import import_keras
from napari_cellclass.engine.features.texture import build_keras
from napari_cellclass.engine.networks.architectures import layer_table

_TEXTURE, _HEAD = "texture", "texture_classes"
_FEATURES, _POOL = "features", "pooled_with_texture"
_LAYERS = {_TEXTURE, _FEATURES, _HEAD, _POOL}


def texture_model(shape: tuple[int, int, int]) -> Any:
    """Build the model that computes texture features of tiles, from float32 (n, H, W, C) to float32 (n, F).

    See :func:`~napari_cellclass.engine.features.texture.build_keras`.
    """
    keras = import_keras()
    tiles = keras.Input(shape, name="tiles")
    return keras.Model(tiles, build_keras(tiles), name=_TEXTURE)


def with_texture(model: Any, head: LogisticModel, weight: float) -> Any:
    """Wrap a model so that its probabilities are pooled with the logits of a linear model on texture features.

    Parameters
    ----------
    model
        From tiles (n, H, W, C) to probabilities (n, K); its weights are shared, not copied.
    head
        Linear model on the features of :func:`texture_model`.
    weight
        Weight of the network, see :func:`~napari_cellclass.core.models.texture_decision.network_weight`.

    Returns
    -------
    keras.Model
        ``softmax(weight log p + logits)``, made of Keras's own layers and operations; see
        :func:`~napari_cellclass.core.models.texture_decision.pool_probabilities`.
    """
    keras = import_keras()
    ops = keras.ops
    shape = model.input_shape[1:]
    tiles = keras.Input(shape, name="tiles")
    # Not Normalization: a file with that layer would seem to rescale grey values.
    scaled = keras.layers.BatchNormalization(center=False, scale=False, epsilon=0.0, trainable=False, name=_FEATURES)
    linear = keras.layers.Dense(model.output_shape[-1], kernel_initializer="zeros", name=_HEAD)
    logits = linear(ops.clip(scaled(texture_model(shape)(tiles)), -MAX_FEATURE, MAX_FEATURE))
    scaled.set_weights([head.mean, head.scale**2])
    linear.set_weights([head.weights, head.intercept])
    mixed = weight * ops.log(ops.maximum(model(tiles), MIN_PROBABILITY)) + logits
    return keras.Model(tiles, keras.layers.Softmax(name=_POOL)(mixed), name=f"{model.name}_{_TEXTURE}")


def without_texture(model: Any) -> Any:
    """Return the network inside a model that texture features joined; any other model unchanged."""
    layers = {layer.name: layer for layer in model.layers}
    if _HEAD not in layers:
        return model
    return next(layer for name, layer in layers.items() if name != _TEXTURE and hasattr(layer, "layers"))


def texture_layers(model: Any) -> list[dict[str, Any]]:
    """Describe the layers that texture features added to a model, as :func:`layer_table` does."""
    table = layer_table(model)
    return [row for row in table if row["name"] in _LAYERS] if _HEAD in {row["name"] for row in table} else []
