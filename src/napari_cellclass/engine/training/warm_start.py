"""Warm start: training that starts from the weights of an earlier model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.models.bundle import ModelBundle, open_bundle
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.engine.features.keras_network import keras_network
from napari_cellclass.engine.features.texture_network import without_texture
from napari_cellclass.engine.training.tile_pixels import TilePixels

_WITHOUT_INITIAL = "or train afresh, without --initial"


def open_initial_model(params: TrainParams, data: TileDataset) -> ModelBundle | None:
    """Open the initial model of a training, and check that it fits the tiles.

    Raises
    ------
    ModelError
        It cannot be opened, or has other classes, channels or another network.
    """
    if params.initial is None:
        return None
    bundle = open_bundle(params.initial)
    classes, old = data.scheme.names, bundle.scheme.names
    if classes != old:
        raise ModelError(
            f"{bundle.path.name} has the classes {', '.join(old)}, but the tiles have {', '.join(classes)}; "
            f"start from a model of the same classes, {_WITHOUT_INITIAL}"
        )
    if bundle.preprocess.channels != data.channels:
        raise ModelError(
            f"{bundle.path.name} takes {counted(bundle.preprocess.channels, 'channel')}, but the tiles have "
            f"{data.channels}; "
            f"start from another model, {_WITHOUT_INITIAL}"
        )
    if bundle.manifest.network != params.network:
        raise ModelError(
            f"{bundle.path.name} is a network {bundle.manifest.network!r}, but {params.network!r} is to be trained; "
            f"choose the same network, {_WITHOUT_INITIAL}"
        )
    trained = bundle.manifest.training
    standardise = trained.get("standardise", "none")  # older models, without a record of it, had none
    if standardise != params.standardise:
        raise ModelError(
            f"{bundle.path.name} was trained with --standardise {standardise}, but {params.standardise} is requested; "
            f"choose the same, {_WITHOUT_INITIAL}"
        )
    if trained.get("members"):
        raise ModelError(f"{bundle.path.name} is an ensemble; start from one of its members, {_WITHOUT_INITIAL}")
    return bundle


def match_preprocessing(pixels: TilePixels, bundle: ModelBundle, requested: tuple[float, float] | None) -> TilePixels:
    """Preprocess tiles as the initial model does, with its grey-value range unless another one was ``requested``.

    Raises
    ------
    ModelError
        The input has another size, or the preprocessing differs.
    """
    old, new = bundle.preprocess, pixels.spec
    if old.input_px != new.input_px:
        raise ModelError(
            f"{bundle.path.name} takes {old.input_px[1]} x {old.input_px[0]} px, but the tiles would be resized to "
            f"{new.input_px[1]} x {new.input_px[0]}; set --input-px {max(old.input_px)}, {_WITHOUT_INITIAL}"
        )
    ranges = [(spec.low, spec.high, spec.channel_ranges) for spec in (old, new)]
    other_range = requested is not None and ranges[0] != ranges[1]
    if (old.normalisation, old.percentiles) != (new.normalisation, new.percentiles) or other_range:
        raise ModelError(
            f"{bundle.path.name} takes {old.describe()}, but {new.describe()} is requested; choose the same, "
            f"{_WITHOUT_INITIAL}"
        )
    tiles = pixels.tiles
    if pixels.preprocessed:
        (old_low, old_high), (low, high) = (spec.scaling_levels.T for spec in (old, new))
        grey = np.asarray(tiles, np.float32) * (high - low).astype(np.float32) + low.astype(np.float32)
        tiles = (grey - old_low.astype(np.float32)) / (old_high - old_low).astype(np.float32)
    return replace(pixels, tiles=tiles, spec=old)


def copy_weights(model: Any, bundle: ModelBundle) -> None:
    """Copy the weights of a bundle's network, without its texture features.

    Raises
    ------
    ModelError
        They cannot be loaded or have other shapes.
    """
    try:
        model.set_weights(without_texture(keras_network(bundle)).get_weights())
    except ValueError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"training cannot start from {bundle.path.name}: {reason}; {_WITHOUT_INITIAL[3:]}") from error
