"""Texture features as a Keras graph, and a network pooled with a linear model on them."""

from __future__ import annotations

from typing import Any

from napari_cellclass.core.models.texture_decision import MAX_FEATURE, MIN_PROBABILITY
from napari_cellclass.core.stats.logistic import LogisticModel
from napari_cellclass.engine.common.environment import import_keras
from napari_cellclass.engine.networks.architectures import layer_table, standardisation_model

_TEXTURE, _HEAD = "texture", "texture_classes"
_FEATURES, _POOL = "features", "pooled_with_texture"
_LAYERS = {_TEXTURE, _FEATURES, _HEAD, _POOL}
_OCTAVES = 4
_THRESHOLDS = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0)
# Added to arguments of logarithms, roots and quotients, to keep them away from 0.
_ENERGY, _GRADIENT, _ROOT = 1e-4, 1e-2, 1e-6
SMALLEST_PX = 3


def texture_model(shape: tuple[int, int, int]) -> Any:
    """Build the model that computes texture features of tiles, from float32 (n, H, W, C) to float32 (n, F).

    For each standardised tile and channel: log mean and log sd of the Sobel gradient magnitude; log energy and skewness
    of up to four octaves of a Laplacian pyramid; and the soft fraction of pixels of every other row above each of eight
    thresholds. They do not depend on exposure. F is 18 C, 2 C less for each octave with sides below 3 px; no side of a
    tile may be that small.

    It has no weights: slices are summed, as convolutions of one channel take OpenVINO four times as long. Maps keep the
    shape (n, H, W, C), so that a slice is copied in long pieces, and are not reshaped: in an int8 network OpenVINO
    follows every path from a reshape back to the tiles, of which blurs have millions.
    """
    keras = import_keras()
    ops = keras.ops
    tiles = keras.Input(shape, name="tiles")
    z = standardisation_model(keras, shape)(tiles)
    features = _gradient(ops, z)
    octave = z
    for _ in range(_OCTAVES):
        if min(octave.shape[1:3]) < SMALLEST_PX:
            break
        blurred = _blurred(ops, octave)
        detail = octave - blurred
        detail = detail - _along_rows(ops, _means(ops, detail), detail)
        energy = _means(ops, ops.square(detail)) + _ENERGY
        features += [ops.log(energy), _means(ops, detail * ops.square(detail)) / (energy * ops.sqrt(energy))]
        octave = _halved(blurred)
    rows = z[:, ::2]
    features += [_means(ops, ops.clip(rows - (threshold - 0.5), 0.0, 1.0)) for threshold in _THRESHOLDS]
    joined = ops.concatenate(features, axis=-1)
    return keras.Model(tiles, ops.squeeze(joined, (1, 2)), name=_TEXTURE)


def _means(ops: Any, x: Any) -> Any:
    """Return the means (n, 1, 1, C) of maps (n, H, W, C), column by column and then across."""
    return ops.mean(ops.mean(x, axis=1, keepdims=True), axis=2, keepdims=True)


def _along_rows(ops: Any, values: Any, x: Any) -> Any:
    """Repeat values (n, 1, 1, C) along a row of maps (n, H, W, C), which is faster than broadcasting them."""
    return ops.tile(values, (1, 1, x.shape[2], 1))


def _gradient(ops: Any, z: Any) -> list[Any]:
    """Return log mean and log sd of the Sobel gradient magnitude of maps (n, H, W, C)."""
    above, here, below = z[:, :-2], z[:, 1:-1], z[:, 2:]
    across, down = above + 2 * here + below, below - above
    across = across[:, :, 2:] - across[:, :, :-2]
    down = down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]
    magnitude = ops.sqrt(ops.square(across / 8) + ops.square(down / 8) + _ROOT)
    mean = _means(ops, magnitude)
    sd = ops.sqrt(_means(ops, ops.square(magnitude - _along_rows(ops, mean, magnitude))) + _ROOT)
    return [ops.log(mean + _GRADIENT), ops.log(sd + _GRADIENT)]


def _blurred(ops: Any, x: Any) -> Any:
    """Blur maps (n, H, W, C) with 1 4 6 4 1 along both axes, as in Burt & Adelson's pyramid; borders are mirrored."""
    x = ops.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    x = (6 * x[:, 2:-2] + 4 * (x[:, 1:-3] + x[:, 3:-1]) + (x[:, :-4] + x[:, 4:])) / 16
    inner, outer = x[:, :, 1:-3] + x[:, :, 3:-1], x[:, :, :-4] + x[:, :, 4:]
    return (6 * x[:, :, 2:-2] + 4 * inner + outer) / 16


def _halved(x: Any) -> Any:
    """Average 2 x 2 px of maps (n, H, W, C); an odd last row or column is dropped."""
    height, width = (side // 2 * 2 for side in x.shape[1:3])
    x = (x[:, 0:height:2] + x[:, 1:height:2]) / 2
    return (x[:, :, 0:width:2] + x[:, :, 1:width:2]) / 2


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
