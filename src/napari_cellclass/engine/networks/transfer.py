"""A network whose eyes have been trained on photographs: Keras's MobileNetV2, where its weights are on the disk."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from pathlib import Path
from typing import Any

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.params.train import StandardiseName
from napari_cellclass.engine.networks.weights_check import check_h5

SMALLEST_PX, LARGEST_PX = 32, 224
_NAME = re.compile(r"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1\.0_(\d+)_no_top\.h5")
_COLOURS = 3


def weights_folder() -> Path:
    """Where Keras keeps the weights that it has fetched."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def find_weights_file(side_px: int) -> Path:
    """Find the file of weights that were trained at the size nearest to ``side_px``; nothing is ever fetched.

    Raises
    ------
    ModelError
        There is none.
    """
    folder = weights_folder()
    found = {int(match[1]): path for path in sorted(folder.glob("*.h5")) if (match := _NAME.fullmatch(path.name))}
    if not found:
        raise ModelError(
            f"mobilenet needs weights that Keras offers, but {folder} has none; fetch them once with "
            'python -c "import keras; keras.applications.MobileNetV2( include_top=False )", or copy '
            "mobilenet_v2_weights_..._no_top.h5 there from another machine, or use --network compact"
        )
    return found[min(found, key=lambda trained: (abs(trained - side_px), -trained))]


@functools.cache
def weights_record(side_px: int) -> dict[str, str]:
    """Say which weights a training began with: name and SHA-256 of their file.

    Raises
    ------
    ModelError
        There are none.
    """
    path = find_weights_file(side_px)
    with path.open("rb") as stream:
        return {"file": path.name, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def mobilenet_layers(keras: Any, input_px: tuple[int, int], channels: int, standardise: StandardiseName) -> list[Any]:
    """Make the layers from a tile to 1280 numbers (Sandler et al. 2018, "MobileNetV2", CVPR); they stay as they are.

    One channel becomes grey, other numbers than three are mixed to three colours by a layer that is trained.

    Raises
    ------
    ModelError
        The input is too small, or the weights are missing, refused or damaged.
    """
    if min(input_px) < SMALLEST_PX:
        raise ModelError(
            f"mobilenet needs an input of at least {SMALLEST_PX} px a side, but it would be "
            f"{input_px[1]} x {input_px[0]}; use larger tiles, a larger --input-px, or compact"
        )
    path = find_weights_file(max(input_px))
    weights_record(max(input_px))  # known from now on, whatever becomes of the file until the model is written
    check_h5(path)
    eyes = keras.applications.MobileNetV2(input_shape=(*input_px, _COLOURS), include_top=False, weights=None)
    try:
        eyes.load_weights(path)
    except (ValueError, KeyError, OSError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path} holds no weights of MobileNetV2 ({reason}); delete it and fetch it again") from error
    eyes.trainable = False
    L = keras.layers
    layers: list[Any] = []
    if channels == 1:
        layers.append(lambda x: L.Concatenate(name="grey")([x] * _COLOURS))
    elif channels != _COLOURS:
        layers.append(L.Conv2D(_COLOURS, 1, name="colours"))
    # It has been trained on -1 to 1, whose standard deviation is about a half.
    layers.append(L.Rescaling(0.5) if standardise == "tile" else L.Rescaling(2.0, -1.0))
    return [*layers, lambda x: eyes(x, training=False), L.GlobalAveragePooling2D(name="average")]
