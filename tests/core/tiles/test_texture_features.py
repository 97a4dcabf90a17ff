from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellclass.core.tiles.texture_features import FEATURE_NAMES, feature_names, texture_features


def noise(n: int = 4, side: int = 32, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 20, (n, side, side, channels))


@settings(max_examples=20, deadline=None)
@given(st.floats(0.25, 8), st.floats(-50, 500))
def test_another_exposure_changes_only_mean_and_sd(gain: float, offset: float) -> None:
    tiles = noise(2)
    before, after = texture_features(tiles), texture_features(gain * tiles + offset)
    np.testing.assert_allclose(after[:, 0], gain * before[:, 0] + offset)
    np.testing.assert_allclose(after[:, 1], gain * before[:, 1])
    # A pixel on the border of a bin may change sides by rounding.
    np.testing.assert_allclose(after[:, 2:], before[:, 2:], atol=0.02)


def test_grain_and_blobs_of_one_histogram_are_distinguished() -> None:
    grain = noise(8)
    sorted_rows = np.sort(grain.reshape(8, -1), axis=1).reshape(grain.shape)  # the same grey values as a ramp
    names = list(FEATURE_NAMES)
    a, b = texture_features(grain), texture_features(sorted_rows)
    np.testing.assert_allclose(a[:, :5], b[:, :5], atol=1e-9)
    for name in ("gradient_mean", "band_1px_energy", "pairs_1px_contrast"):
        assert a[:, names.index(name)].min() > b[:, names.index(name)].max()


@pytest.mark.parametrize("axis", [1, 2])
def test_a_tile_and_its_transpose_have_one_texture(axis: int) -> None:
    grain = noise(3)
    stripes = np.repeat(np.take(grain, [0], axis=axis), 32, axis=axis)  # each tile constant along one axis
    tiles = np.concatenate([stripes, grain + 2 * stripes])
    features, transposed = texture_features(tiles), texture_features(tiles.transpose(0, 2, 1, 3))
    np.testing.assert_allclose(transposed, features, atol=1e-6)
    assert (features[:, FEATURE_NAMES.index("gradient_mean")] > 0.5).all()


def test_bright_and_dark_spots_have_opposite_skewness() -> None:
    tiles = np.full((2, 40, 40, 1), 50.0)
    tiles[0, 5::10, 5::10] += 40
    tiles[1, 5::10, 5::10] -= 40
    skewness = texture_features(tiles)[:, FEATURE_NAMES.index("band_2px_skewness")]
    assert skewness[0] > 0.5
    assert skewness[1] < -0.5


@pytest.mark.parametrize("channels", [1, 3])
def test_every_column_has_a_name_and_channels_stand_beside_each_other(channels: int) -> None:
    tiles = noise(2, channels=channels)
    features = texture_features(tiles)
    assert features.shape == (2, len(feature_names(channels))) == (2, channels * len(FEATURE_NAMES))
    assert len(set(feature_names(channels))) == features.shape[1]
    last = texture_features(tiles[..., -1:])
    np.testing.assert_array_equal(features[:, -len(FEATURE_NAMES) :], last)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("side", [1, 2, 17])
def test_flat_and_tiny_tiles_have_finite_features(dtype: type, side: int) -> None:
    assert np.isfinite(texture_features(np.full((1, side, side, 2), 7, dtype))).all()


def test_a_tile_with_bad_pixels_is_a_row_of_nan() -> None:
    tiles = noise(3)
    tiles[1, 0, 0] = np.inf
    bad = np.isnan(texture_features(tiles))
    assert bad[1].all()
    assert not bad[[0, 2]].any()
