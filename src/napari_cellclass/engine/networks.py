"""The networks by name, each for any number of classes, channels, and input it can take."""

from __future__ import annotations

from typing import Any

from napari_cellclass.core.contracts import ModelError, ParamsError
from napari_cellclass.core.params import NetworkName
from napari_cellclass.engine.environment import import_keras

_DEEP_FILTERS = (16, 16, 16, 32, 32, 32, 64, 64, 64)
# 67 px leave 15 after the first convolution, and 7, 3 and 1 after the three poolings.
ALEXNET_SMALLEST_PX = 67
_L2 = 0.0005
_RATES: dict[NetworkName, float] = {"deep-50": 1e-3, "deep": 1e-3, "alexnet": 0.01}


def build(name: NetworkName, input_px: tuple[int, int], channels: int, classes: int, seed: int | None = None) -> Any:
    """Build a network, not compiled.

    Parameters
    ----------
    name
        ``"deep-50"``, ``"deep"`` or ``"alexnet"``.
    input_px
        (height, width) of the input in px.
    channels, classes
        Channels of a tile, and softmax outputs.
    seed
        Of the initial weights; it also seeds Python, NumPy and TensorFlow.

    Returns
    -------
    keras.Model
        From float32 (n, h, w, channels) to float32 (n, classes).

    Raises
    ------
    ModelError
        The input is too small for the network.
    ParamsError
        There is no network of that name.
    """
    builders = {"deep-50": (_deep, (512, 50)), "deep": (_deep, (512,)), "alexnet": (_alexnet, (2048, 2048))}
    if name not in builders:
        raise ParamsError(f"there is no network {name!r}; use one of {', '.join(builders)}")
    if name == "alexnet" and min(input_px) < ALEXNET_SMALLEST_PX:
        raise ModelError(
            f"alexnet needs an input of at least {ALEXNET_SMALLEST_PX} px a side, but it would be "
            f"{input_px[1]} x {input_px[0]}; use larger tiles, --input-px {ALEXNET_SMALLEST_PX} or more, or deep-50"
        )
    keras = import_keras()
    if seed is not None:
        keras.utils.set_random_seed(seed)
    body, dense = builders[name]
    layers = [keras.Input((*input_px, channels), name="tiles"), *body(keras, input_px, dense)]
    layers.append(keras.layers.Dense(classes, activation="softmax", name="classes"))
    return keras.Sequential(layers, name=name.replace("-", "_"))


def _deep(keras: Any, input_px: tuple[int, int], dense: tuple[int, ...]) -> list[Any]:
    """Nine convolutions, each followed by pooling while there is something to pool."""
    L = keras.layers
    layers, side = [], min(input_px)
    for i, filters in enumerate(_DEEP_FILTERS, 1):
        layers.append(L.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{i}"))
        if side >= 2:
            layers.append(L.MaxPooling2D(2, name=f"pool{i}"))
            side //= 2
    layers.append(L.Flatten(name="flatten"))
    return layers + [L.Dense(units, activation="relu", name=f"dense{units}") for units in dense]


def _alexnet(keras: Any, input_px: tuple[int, int], dense: tuple[int, ...]) -> list[Any]:
    L = keras.layers
    penalty = keras.regularizers.L2(_L2)
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
        layers.append(L.Dropout(0.5, name=f"dropout{i}"))
    return layers


def learning_rate_of(name: NetworkName, learning_rate: float | None) -> float:
    """Give the learning rate that training starts with: the one asked for, or the network's own."""
    return _RATES[name] if learning_rate is None else learning_rate


def optimizer(name: NetworkName, learning_rate: float | None, total_steps: int) -> Any:
    """Make the optimizer of a network.

    Parameters
    ----------
    name
        The network.
    learning_rate
        Its first learning rate; None takes the network's own.
    total_steps
        Training steps in all: alexnet's rate falls as 1/t, to a tenth at the last of them.
    """
    keras = import_keras()
    rate = learning_rate_of(name, learning_rate)
    if name == "alexnet":
        schedule = keras.optimizers.schedules.InverseTimeDecay(rate, max(1, total_steps), decay_rate=9.0)
        return keras.optimizers.SGD(schedule, momentum=0.9)
    return keras.optimizers.Adam(rate)


def layer_table(model: Any) -> list[dict[str, Any]]:
    """Describe the layers of a model.

    Returns
    -------
    list of dict
        ``name``, ``type``, ``output`` (shape without the batch, None where it is free), ``parameters``.
    """
    return [
        {
            "name": layer.name,
            "type": type(layer).__name__,
            "output": _output_shape(layer),
            "parameters": int(layer.count_params()),
        }
        for layer in model.layers
    ]


def _output_shape(layer: Any) -> list[int | None]:
    shape = getattr(layer.output, "shape", ())  # a layer with several outputs has a list here
    return [None if side is None else int(side) for side in shape[1:]]
