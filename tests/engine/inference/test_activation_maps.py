"""Grad-CAM of a network that is small enough to do by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.tiles.preprocess import PreprocessSpec
from napari_cellclass.engine.common.environment import import_openvino
from napari_cellclass.engine.inference.activation_maps import ActivationMaps

SIDE, SPEC = 12, PreprocessSpec(channels=1, input_px=(12, 12), low=0.0, high=1.0)
KERNELS = np.random.default_rng(0).normal(size=(3, 1, 3, 3)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)


def network(pooling: str, beside: bool = False, standardised: bool = False) -> Any:
    """A convolution of stride 2 to three maps, pooled, and a dense layer to two classes."""
    ov = import_openvino()
    import openvino.opset13 as op

    tiles = op.parameter([-1, SIDE, SIDE, 1], np.float32, name="tiles")
    x = op.transpose(tiles, np.array([0, 3, 1, 2]))
    if standardised:  # a mean over all pixels that is no pooling before the dense layer
        x = op.subtract(x, op.reduce_mean(x, np.array([2, 3]), True))
    maps = op.relu(op.convolution(x, op.constant(KERNELS), [2, 2], [1, 1], [1, 1], [1, 1]))
    if pooling == "none":
        pooled = op.reshape(maps, np.array([-1, 3 * 36]), False)
        weights = np.repeat(WEIGHTS, 36, axis=0)
    else:
        reduce = op.reduce_mean if pooling == "mean" else op.reduce_max
        pooled, weights = reduce(maps, np.array([2, 3]), False), WEIGHTS
    logits = op.matmul(pooled, op.constant(weights), False, False)
    if beside:  # another part that sees the tile, and none of the maps
        total = op.reduce_sum(tiles, np.array([1, 2]), False)
        logits = op.add(logits, op.multiply(total, np.array([[0.01, -0.01]], np.float32)))
    return ov.Model([op.softmax(logits, 1)], [tiles], "small")


def maps_of(tile: np.ndarray) -> np.ndarray:
    """The three maps (3, 6, 6) by NumPy."""
    padded = np.pad(tile[..., 0], 1)
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))[::2, ::2]
    return np.maximum(np.einsum("yxij,kij->kyx", patches, KERNELS[:, 0]), 0)


@pytest.fixture
def tile() -> np.ndarray:
    return np.random.default_rng(2).uniform(0, 1, (SIDE, SIDE, 1)).astype(np.float32)


@pytest.mark.parametrize("class_index", [0, 1])
@pytest.mark.parametrize("beside", [False, True])
def test_after_mean_pooling_and_a_dense_layer_it_is_the_class_activation_map(
    tile: np.ndarray, class_index: int, beside: bool
) -> None:
    found = ActivationMaps(network("mean", beside), SPEC, "small")(tile, class_index)
    difference = WEIGHTS[:, class_index] - WEIGHTS[:, 1 - class_index]
    by_hand = np.einsum("k,kyx->yx", difference, maps_of(tile)) / 36
    assert found.shape == (SIDE, SIDE)
    assert (found >= 0).all()
    for y in range(1, 5):  # the mean of four pixels of the enlarged map lies in the middle of a pixel of the last map
        for x in range(1, 5):
            around = by_hand[y - 1 : y + 2, x - 1 : x + 2]
            if (around > 0).all():
                weights = np.outer([0.125, 0.75, 0.125], [0.125, 0.75, 0.125])
                expected = float((weights * around).sum())
                assert found[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean() == pytest.approx(expected, rel=0.02)


def test_of_two_classes_one_has_the_evidence_that_the_other_lacks(tile: np.ndarray) -> None:
    maps = ActivationMaps(network("mean"), SPEC, "small")
    one, other = maps(tile, 0), maps(tile, 1)
    assert not (np.minimum(one, other) > 1e-6).any()
    assert (np.maximum(one, other) > 1e-6).any()


def test_a_mean_that_standardises_the_tile_is_not_taken_for_the_pooling(tile: np.ndarray) -> None:
    found = ActivationMaps(network("mean", standardised=True), SPEC, "small")(tile, 0)
    same = ActivationMaps(network("mean"), SPEC, "small")(tile - tile.mean(), 0)
    assert found == pytest.approx(same, abs=1e-3)


def test_maximum_pooling_weighs_the_maps_by_the_gradient_of_the_maximum(tile: np.ndarray) -> None:
    found = ActivationMaps(network("max"), SPEC, "small")(tile, 0)
    weighted = np.einsum("k,kyx->yx", WEIGHTS[:, 0] - WEIGHTS[:, 1], maps_of(tile)) / 36
    assert found.max() <= 1.02 * weighted.max()
    assert np.corrcoef(found[::2, ::2].ravel(), np.maximum(weighted, 0).ravel())[0, 1] > 0.8


def test_a_network_without_global_pooling_is_refused_with_what_to_do() -> None:
    with pytest.raises(ModelError, match=r"small has no global pooling .* use occlusion"):
        ActivationMaps(network("none"), SPEC, "small")
