from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_cellclass.engine.common.environment import import_openvino
from napari_cellclass.engine.features.backbone import (
    BLOCKS,
    COLUMNS,
    backbone_columns,
    backbone_names,
    build_openvino,
    fold_weights,
)
from napari_cellclass.engine.features.weights import pretrained_weights
from napari_cellclass.engine.inference.openvino_graph import OpenVinoNetwork, TileFormat, identity_preprocessing

SIDE = 64


def features(tiles: NDArray[np.float32], colour: bool = False) -> NDArray[np.float32]:
    """Run the OpenVINO graph on network input."""
    ov = import_openvino()
    import openvino.opset13 as op

    shape = tiles.shape[1:]
    node = op.parameter([-1, *shape], np.float32)
    model = ov.Model([build_openvino(node, colour)], [node])
    return OpenVinoNetwork(model, identity_preprocessing(shape), TileFormat.of(tiles), threads=1)(tiles)


@pytest.fixture(scope="module")
def tiles() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-0.2, 1.4, (3, SIDE, SIDE, 3)).astype(np.float32)


def test_the_blocks_are_the_first_five_stages_of_the_published_network() -> None:
    assert [block.outputs for block in BLOCKS if block.ends_stage] == [16, 24, 40, 80, 112]
    assert len(BLOCKS) == 11
    assert COLUMNS == 272
    for number, block in enumerate(BLOCKS):
        kernel = pretrained_weights()[f"_blocks.{number}._depthwise_conv.weight"]
        assert kernel.shape == (block.inputs * block.expansion, 1, block.kernel, block.kernel)
        assert len(pretrained_weights()[f"_blocks.{number}._project_conv.weight"]) == block.outputs


def test_batch_normalisation_is_folded_into_the_convolutions() -> None:
    weights = pretrained_weights()
    prefixes = [("_conv_stem", "_bn0")]
    for number, block in enumerate(BLOCKS):
        names = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
        prefixes += [(f"_blocks.{number}.{a}", f"_blocks.{number}.{b}") for a, b in names[block.expansion == 1 :]]
    layers = [layer for step in fold_weights(weights, colour=True) for layer in step.convolutions]
    rng = np.random.default_rng(1)
    for layer, (convolution, norm) in zip(layers, prefixes, strict=True):
        kernel = weights[f"{convolution}.weight"]
        patch = rng.normal(size=kernel.shape[1:])
        before = (kernel * patch).sum(axis=(1, 2, 3))
        gamma, beta, mean, variance = (
            weights[f"{norm}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")
        )
        expected = gamma * (before - mean) / np.sqrt(variance + 1e-3) + beta
        np.testing.assert_allclose(
            (layer.kernel * patch).sum(axis=(1, 2, 3)) + layer.bias, expected, rtol=2e-4, atol=2e-4
        )


def test_a_grey_view_is_that_of_three_equal_colours(tiles: NDArray[np.float32]) -> None:
    grey = tiles[..., :1].clip(0, 1)  # colours are cut off at 1, grey values at 1.2
    np.testing.assert_allclose(features(grey), features(grey.repeat(3, axis=-1), colour=True), atol=2e-4)


def test_each_channel_is_a_view_of_its_own_unless_they_are_colours(tiles: NDArray[np.float32]) -> None:
    alone = [features(np.ascontiguousarray(tiles[..., c : c + 1])) for c in range(3)]
    np.testing.assert_allclose(features(tiles), np.concatenate(alone, axis=1), atol=1e-5)
    assert features(tiles, colour=True).shape == (3, 272)
    for colour in (False, True):
        assert len(set(backbone_names(3, colour))) == backbone_columns(3, colour) == features(tiles, colour).shape[1]


def test_grey_values_past_the_range_are_cut_off(tiles: NDArray[np.float32]) -> None:
    grey = np.ascontiguousarray(tiles[..., :1])
    np.testing.assert_array_equal(features(grey), features(grey.clip(0, 1.2)))
    np.testing.assert_array_equal(features(tiles, colour=True), features(tiles.clip(0, 1), colour=True))
    assert np.abs(features(grey) - features(grey.clip(0, 1))).max() > 1e-2


@pytest.mark.training
@pytest.mark.parametrize("name", ["one channel", "two channels", "colour"])
def test_keras_computes_the_same_features(name: str, job_folder: Callable[[str], Path], built: dict[str, Any]) -> None:
    assert built["backbone"][name] == {"trainable": 0}
    with np.load(job_folder("networks_job.py") / f"backbone {name}.npz") as saved:
        tiles, expected = saved["tiles"], saved["features"]
    np.testing.assert_allclose(features(tiles, name == "colour"), expected, atol=1e-4)
