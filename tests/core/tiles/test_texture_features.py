from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

from napari_cellclass.core.tiles.texture_features import FEATURE_NAMES, ArrayOps, feature_names, texture_features
from napari_cellclass.core.tiles.texture_formulas import texture, texture_names


def noise(n: int = 4, side: int = 32, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 20, (n, side, side, channels))


def column(features: np.ndarray, name: str) -> np.ndarray:
    return features[:, FEATURE_NAMES.index(name)]


@settings(max_examples=20, deadline=None)
@given(st.floats(0.25, 8), st.floats(-50, 500))
def test_another_exposure_changes_nothing(gain: float, offset: float) -> None:
    tiles = noise(2)
    np.testing.assert_allclose(texture_features(gain * tiles + offset), texture_features(tiles), atol=1e-4)


def test_network_input_of_another_exposure_has_nearly_the_same_features() -> None:
    tiles = np.random.default_rng(0).random((4, 64, 64, 1), np.float32)
    # Not to the last digit, as 0.002 is added to the standard deviation.
    np.testing.assert_allclose(texture(ArrayOps(), 0.3 * tiles + 0.2), texture(ArrayOps(), tiles), atol=0.1)


def test_the_features_are_what_they_are_called() -> None:
    tiles = np.random.default_rng(0).random((4, 50, 61, 1), np.float32)
    tiles[1:, 20:40, 20:45] += 1
    found = texture(ArrayOps(), tiles)
    assert texture_names(1, (50, 61)) == FEATURE_NAMES
    for row, tile in zip(found, tiles[..., 0], strict=True):
        expected = reference(tile.astype(np.float64))
        assert list(expected) == list(FEATURE_NAMES)
        np.testing.assert_allclose(row, list(expected.values()), rtol=1e-3, atol=1e-4)


def reference(tile: NDArray[np.float64]) -> dict[str, float]:
    """Compute the features of a tile (h, w) by SciPy, and local patterns pixel by pixel."""
    z = np.clip((tile - tile.mean()) / (tile.std() + 0.002), -4, 8)
    smooth, derive = np.array([1, 2, 1]) / 4, np.array([1, 0, -1]) / 2
    x, y = (convolve1d(convolve1d(z, first, 0), second, 1) for first, second in ((smooth, derive), (derive, smooth)))
    strength = np.sqrt(x**2 + y**2 + 1e-6)[1:-1, 1:-1]
    found = {
        "gradient_mean": np.log(strength.mean() + 0.01),
        "gradient_sd": np.log(np.sqrt(strength.var() + 1e-6) + 0.01),
    }
    octave = z
    for i in (1, 2, 3, 4):
        blurred = octave
        for axis in (0, 1):
            blurred = convolve1d(blurred, np.array([1, 4, 6, 4, 1]) / 16, axis, mode="mirror")
        detail = (octave - blurred) - (octave - blurred).mean()
        energy = (detail**2).mean() + 1e-4
        found |= {f"octave{i}_energy": np.log(energy), f"octave{i}_skewness": (detail**3).mean() / energy**1.5}
        height, width = (side // 2 * 2 for side in octave.shape)
        blurred = blurred[:height, :width]
        octave = blurred.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
        if i == 1:
            patterns = local_patterns(octave)
    found |= {f"pattern_{i}": patterns[i] for i in range(9)} | {"pattern_uniform": sum(patterns)}
    found |= {f"above_{t:g}sd": np.clip(z[::2] - t + 0.5, 0, 1).mean() for t in (-1.5, -1, -0.5, 0, 0.5, 1, 2, 3)}
    return {name: float(value) for name, value in found.items()}


def local_patterns(x: NDArray[np.float64]) -> list[float]:
    """Return the soft histogram of uniform patterns over the number of brighter neighbours."""
    ring = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
    bins = np.zeros(9)
    for i in range(1, x.shape[0] - 1):
        for j in range(1, x.shape[1] - 1):
            bright = np.clip([(x[i + a, j + b] - x[i, j]) * 8 + 0.5 for a, b in ring], 0, 1)
            changes = np.abs(bright - np.roll(bright, 1)).sum()
            bins += np.clip(1 - np.abs(bright.sum() - np.arange(9)), 0, 1) * np.clip(2 - changes / 2, 0, 1)
    return list(bins / ((x.shape[0] - 2) * (x.shape[1] - 2)))


def test_grain_and_blobs_of_one_histogram_are_distinguished() -> None:
    grain = noise(8)
    sorted_rows = np.sort(grain.reshape(8, -1), axis=1).reshape(grain.shape)  # the same grey values as a ramp
    a, b = texture_features(grain), texture_features(sorted_rows)
    np.testing.assert_allclose(column(a, "above_0sd"), column(b, "above_0sd"), atol=0.05)
    for name in ("gradient_mean", "octave1_energy", "pattern_8"):
        assert column(a, name).min() > column(b, name).max()


def test_a_tile_turned_by_90_degrees_has_the_same_texture() -> None:
    grain = noise(3, 64)
    stripes = np.repeat(grain[:, :1], 64, axis=1)  # each tile constant along one axis
    tiles = grain + 2 * stripes
    features, turned = texture_features(tiles), texture_features(np.rot90(tiles, axes=(1, 2)))
    # The histogram is of every other row, which are others in a turned tile.
    histogram = np.char.startswith(np.array(FEATURE_NAMES), "above")
    np.testing.assert_allclose(turned[:, ~histogram], features[:, ~histogram], atol=1e-4)


def test_bright_and_dark_spots_have_opposite_skewness() -> None:
    tiles = np.full((2, 40, 40, 1), 50.0)
    tiles[0, 5::10, 5::10] += 40
    tiles[1, 5::10, 5::10] -= 40
    skewness = column(texture_features(tiles), "octave1_skewness")
    assert skewness[0] > 0.5
    assert skewness[1] < -0.5


def test_flat_noise_below_a_sixteenth_of_the_contrast_makes_no_pattern() -> None:
    step = np.zeros((1, 64, 64, 1))
    step[:, :, 32:] = 100
    quiet = texture_features(step + np.random.default_rng(0).uniform(-1, 1, step.shape))
    np.testing.assert_allclose(quiet, texture_features(step), atol=0.1, rtol=0.1)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_column_has_a_name_and_channels_stand_beside_each_other(channels: int) -> None:
    tiles = noise(2, channels=channels)
    features = texture_features(tiles)
    assert features.shape == (2, len(feature_names(channels))) == (2, channels * len(FEATURE_NAMES))
    assert len(set(feature_names(channels))) == features.shape[1]
    for c in range(channels):
        alone = texture_features(tiles[..., c : c + 1])
        np.testing.assert_allclose(features[:, c::channels], alone, atol=1e-6)


def test_a_tile_has_the_same_features_alone_and_among_others() -> None:
    tiles = noise(9, 100)
    np.testing.assert_allclose(texture_features(tiles)[5:6], texture_features(tiles[5:6]), atol=1e-6)


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
