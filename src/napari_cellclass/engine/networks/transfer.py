"""Transfer learning: Keras's MobileNetV2 as a backbone with ImageNet weights, where these are on the disk."""

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
    """Return the folder in which Keras caches downloaded weights."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def find_weights_file(side_px: int) -> Path:
    """Find the weights that were trained at the size nearest to ``side_px``; nothing is downloaded.

    Raises
    ------
    ModelError
        There are none.
    """
    folder = weights_folder()
    found = {int(match[1]): path for path in sorted(folder.glob("*.h5")) if (match := _NAME.fullmatch(path.name))}
    if not found:
        raise ModelError(
            f"mobilenet needs weights that Keras provides, but {folder} has none; download them once with "
            'python -c "import keras; keras.applications.MobileNetV2( include_top=False )", or copy '
            "mobilenet_v2_weights_..._no_top.h5 there from another machine, or use --network compact"
        )
    return found[min(found, key=lambda trained: (abs(trained - side_px), -trained))]


@functools.cache
def weights_record(side_px: int) -> dict[str, str]:
    """Return name and SHA-256 of the file of weights that a training starts from.

    Raises
    ------
    ModelError
        There are none.
    """
    path = find_weights_file(side_px)
    with path.open("rb") as stream:
        return {"file": path.name, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def mobilenet_layers(keras: Any, input_px: tuple[int, int], channels: int, standardise: StandardiseName) -> list[Any]:
    """Return the layers from a tile to 1280 features (Sandler et al. 2018, "MobileNetV2", CVPR); they are not trained.

    One channel is repeated as grey, other numbers than three are mixed to three colours by a trained layer.

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
    weights_record(max(input_px))  # cached from now on, even if the file changes before the model is written
    check_h5(path)
    backbone = keras.applications.MobileNetV2(input_shape=(*input_px, _COLOURS), include_top=False, weights=None)
    try:
        backbone.load_weights(path)
    except (ValueError, KeyError, OSError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{path} holds no weights of MobileNetV2 ({reason}); delete it and download it again"
        ) from error
    backbone.trainable = False
    L = keras.layers
    layers: list[Any] = []
    if channels == 1:
        layers.append(lambda x: L.Concatenate(name="grey")([x] * _COLOURS))
    elif channels != _COLOURS:
        layers.append(L.Conv2D(_COLOURS, 1, name="colours"))
    # It was trained on values of -1 to 1, with a standard deviation of about a half.
    layers.append(L.Rescaling(0.5) if standardise == "tile" else L.Rescaling(2.0, -1.0))
    return [*layers, lambda x: backbone(x, training=False), L.GlobalAveragePooling2D(name="average")]
