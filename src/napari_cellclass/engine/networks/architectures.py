"""Network architectures by name, each for any number of classes and channels and any possible input size."""

from __future__ import annotations

from typing import Any

from napari_cellclass.core.common.errors import ModelError, ParamsError
from napari_cellclass.core.params.train import NetworkName, StandardiseName
from napari_cellclass.engine.common.environment import import_keras
from napari_cellclass.engine.networks.transfer import mobilenet_layers

_COMPACT_FILTERS = (16, 32, 32, 64, 64)
_COMPACT_POOLINGS = 4
_DEEP_FILTERS = (16, 16, 16, 32, 32, 32, 64, 64, 64)
# 67 px leave 15 after the first convolution, and 7, 3 and 1 after the three poolings.
ALEXNET_SMALLEST_PX = 67
_L2 = 0.0005
# Standardised tiles: a constant tile becomes 0, and a hot pixel does not dominate the others.
_MIN_SD, _Z_RANGE = 0.002, (-4.0, 8.0)
_WEIGHT_DECAY, _CLIPNORM, _WARMUP = 1e-4, 1.0, 0.1
_RATES: dict[NetworkName, float] = {"compact": 2e-3, "deep-50": 1e-3, "deep": 1e-3, "alexnet": 3e-4, "mobilenet": 2e-3}
_PUBLISHED_RATES: dict[NetworkName, float] = {"deep-50": 1e-3, "deep": 1e-3, "alexnet": 0.01}


def build_network(
    name: NetworkName,
    input_px: tuple[int, int],
    channels: int,
    classes: int,
    seed: int | None = None,
    standardise: StandardiseName = "tile",
    as_published: bool = False,
) -> Any:
    """Build a network, not compiled.

    Parameters
    ----------
    name
        ``"compact"``, ``"deep-50"``, ``"deep"``, ``"alexnet"`` or ``"mobilenet"``.
    input_px
        (height, width) of the input in px.
    channels, classes
        Numbers of channels of a tile, and of softmax outputs.
    seed
        Seed of the initial weights; it also seeds Python, NumPy and TensorFlow.
    standardise
        ``"tile"``: the first layer scales each tile and channel to mean 0 and standard deviation 1.
    as_published
        With alexnet's dropout and L2 penalty on weights, which the default training omits.

    Returns
    -------
    keras.Model
        From float32 (n, h, w, channels) to float32 (n, classes); made of Keras's own layers and operations
        only, so that its file opens wherever Keras is installed.

    Raises
    ------
    ModelError
        The input is too small for the network, or weights that it needs are missing.
    ParamsError
        There is no network of that name.
    """
    builders: dict[str, Any] = {
        "compact": lambda keras: _compact(keras, input_px),
        "deep-50": lambda keras: _deep(keras, input_px, (512, 50)),
        "deep": lambda keras: _deep(keras, input_px, (512,)),
        "alexnet": lambda keras: _alexnet(keras, (2048, 2048), as_published),
        "mobilenet": lambda keras: mobilenet_layers(keras, input_px, channels, standardise),
    }
    if name not in builders:
        raise ParamsError(f"there is no network {name!r}; use one of {', '.join(builders)}")
    if name == "alexnet" and min(input_px) < ALEXNET_SMALLEST_PX:
        raise ModelError(
            f"alexnet needs an input of at least {ALEXNET_SMALLEST_PX} px a side, but it would be "
            f"{input_px[1]} x {input_px[0]}; use squarer tiles, --input-px {ALEXNET_SMALLEST_PX} or more, or compact"
        )
    keras = import_keras()
    if seed is not None:
        keras.utils.set_random_seed(seed)
    tiles = keras.Input((*input_px, channels), name="tiles")
    x = standardisation_model(keras, tuple(tiles.shape[1:]))(tiles) if standardise == "tile" else tiles
    for layer in builders[name](keras):
        x = (
            keras.layers.Concatenate(name="pooled")([part(x) for part in layer])
            if isinstance(layer, list)
            else layer(x)
        )
    prob = keras.layers.Dense(classes, activation="softmax", name="classes")(x)
    return keras.Model(tiles, prob, name=name.replace("-", "_"))


def standardisation_model(keras: Any, shape: tuple[int, ...]) -> Any:
    """Build the model that standardises tiles: ``clip((x - mean) / (sd + 0.002), -4, 8)`` per channel."""
    ops = keras.ops
    height, width, channels = shape

    def mean(x: Any) -> Any:
        # Column by column, then across, as float32 sums of many thousand numbers depend on the order in which a
        # processor adds them. Pixels keep their interleaved channels: with separate channels OpenVINO takes six times
        # as long for three of them.
        columns = ops.reshape(ops.mean(x, axis=1), (-1, width, channels))
        return ops.reshape(ops.tile(ops.mean(columns, axis=1), (1, width)), (-1, 1, width * channels))

    tiles = keras.Input(shape)
    rows = ops.reshape(tiles, (-1, height, width * channels))
    centred = rows - mean(rows)
    centred = centred - mean(centred)  # remove the rounding residual
    sd = ops.sqrt(mean(ops.square(centred)))
    z = ops.clip(centred / (sd + _MIN_SD), *_Z_RANGE)
    return keras.Model(tiles, ops.reshape(z, (-1, *shape)), name="standardise_tile")


def average_views(model: Any, views: int) -> Any:
    """Wrap a model so that it averages its predictions for the mirrored and rotated views of a tile.

    Parameters
    ----------
    model
        The model; its weights are shared, not copied.
    views
        1 returns the model itself; 8 uses all views that keep a tile's shape: four for an oblong tile.
    """
    if views == 1:
        return model
    keras = import_keras()
    ops = keras.ops
    height, width = model.input_shape[1:3]
    tiles = keras.Input(model.input_shape[1:], name="tiles")
    predictions = []
    for view in range(views if height == width else views // 2):
        x = ops.flip(tiles, axis=1) if view & 1 else tiles
        x = ops.flip(x, axis=2) if view & 2 else x
        predictions.append(model(ops.transpose(x, (0, 2, 1, 3)) if view & 4 else x))
    return keras.Model(tiles, keras.layers.Average(name="views")(predictions), name=f"{model.name}_views")


def average_models(models: list[Any]) -> Any:
    """Combine several models of the same input into one that averages their predictions."""
    keras = import_keras()
    tiles = keras.Input(models[0].input_shape[1:], name="tiles")
    for number, model in enumerate(models, 1):
        model.name = f"{model.name}_{number}"
    return keras.Model(tiles, keras.layers.Average(name="members")([model(tiles) for model in models]), name="ensemble")


def _compact(keras: Any, input_px: tuple[int, int]) -> list[Any]:
    """Return five convolutions, the first four pooled as long as the map is large enough; then mean and maximum."""
    L = keras.layers
    layers: list[Any] = []
    side = min(input_px)
    for i, filters in enumerate(_COMPACT_FILTERS, 1):
        layers.append(
            L.Conv2D(filters, 3, padding="same", activation="relu", kernel_initializer="he_normal", name=f"conv{i}")
        )
        if i <= _COMPACT_POOLINGS and side >= 2:
            layers.append(L.MaxPooling2D(2, name=f"pool{i}"))
            side //= 2
    both = L.GlobalAveragePooling2D(name="average"), L.GlobalMaxPooling2D(name="maximum")
    layers.append(lambda x: L.Concatenate(name="pooled")([layer(x) for layer in both]))
    return layers


def _deep(keras: Any, input_px: tuple[int, int], dense: tuple[int, ...]) -> list[Any]:
    """Return nine convolutions, each followed by pooling as long as the map is large enough."""
    L = keras.layers
    layers, side = [], min(input_px)
    for i, filters in enumerate(_DEEP_FILTERS, 1):
        layers.append(L.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{i}"))
        if side >= 2:
            layers.append(L.MaxPooling2D(2, name=f"pool{i}"))
            side //= 2
    layers.append(L.Flatten(name="flatten"))
    return layers + [L.Dense(units, activation="relu", name=f"dense{units}") for units in dense]


def _alexnet(keras: Any, dense: tuple[int, ...], as_published: bool) -> list[Any]:
    L = keras.layers
    penalty = keras.regularizers.L2(_L2) if as_published else None
    layers = []
    plan = ((96, 11, 4, "valid"), (256, 5, 1, "same"), (384, 3, 1, "same"), (384, 3, 1, "same"), (256, 3, 1, "same"))
    for i, (filters, size, strides, padding) in enumerate(plan, 1):
        layers.append(
            L.Conv2D(filters, size, strides, padding, activation="relu", kernel_regularizer=penalty, name=f"conv{i}")
        )
        if i in {1, 2, 5}:
            layers += [L.MaxPooling2D(3, 2, name=f"pool{i}"), L.BatchNormalization(name=f"norm{i}")]
    layers.append(L.Flatten(name="flatten"))
    for i, units in enumerate(dense, 1):
        layers.append(L.Dense(units, activation="relu", kernel_regularizer=penalty, name=f"dense{i}"))
        if as_published:
            layers.append(L.Dropout(0.5, name=f"dropout{i}"))
    return layers


def peak_learning_rate(name: NetworkName, learning_rate: float | None, as_published: bool = False) -> float:
    """Return the peak learning rate of a training: the given one, or the network's default."""
    if learning_rate is not None:
        return learning_rate
    return _PUBLISHED_RATES[name] if as_published else _RATES[name]


def make_optimizer(name: NetworkName, learning_rate: float | None, total_steps: int, as_published: bool = False) -> Any:
    """Create the optimizer of a network.

    Parameters
    ----------
    name
        Name of the network.
    learning_rate
        Peak learning rate; None is the network's default.
    total_steps
        Number of training steps. The rate of AdamW rises for a tenth of them and then falls to 0 as a cosine.
    as_published
        Adam with a constant rate instead; for alexnet gradient descent with a rate that falls as 1/t to a tenth.
    """
    keras = import_keras()
    rate = peak_learning_rate(name, learning_rate, as_published)
    schedules = keras.optimizers.schedules
    if not as_published:
        warmup = max(1, round(_WARMUP * total_steps))
        schedule = schedules.CosineDecay(0.0, max(1, total_steps - warmup), warmup_target=rate, warmup_steps=warmup)
        return keras.optimizers.AdamW(schedule, weight_decay=_WEIGHT_DECAY, clipnorm=_CLIPNORM)
    if name == "alexnet":
        return keras.optimizers.SGD(schedules.InverseTimeDecay(rate, max(1, total_steps), decay_rate=9.0), momentum=0.9)
    return keras.optimizers.Adam(rate)


def layer_table(model: Any) -> list[dict[str, Any]]:
    """Describe the layers of a model.

    Returns
    -------
    list of dict
        ``name``, ``type``, ``output`` (shape without the batch axis, None for free sides), ``parameters`` (count).
    """
    return [
        {
            "name": layer.name,
            "type": type(layer).__name__,
            "output": _output_shape(layer),
            "parameters": int(layer.count_params()),
        }
        for layer in model.layers
        if type(layer).__name__ != "InputLayer"
    ]


def _output_shape(layer: Any) -> list[int | None]:
    shape = getattr(layer.output, "shape", ())  # a layer with several outputs has a list here
    return [None if side is None else int(side) for side in shape[1:]]
