from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.tiles.preprocess import (
    PreprocessSpec,
    channel_ranges,
    field_levels,
    grey_range,
    resize_tiles,
    resize_weights,
)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), st.integers(1, 90))
def test_resizing_is_pillows_bilinear(h: int, w: int, height: int, width: int) -> None:
    tile = np.random.default_rng(0).random((h, w), np.float32)
    expected = np.asarray(Image.fromarray(tile).resize((width, height), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(resize_tiles(tile[None, ..., None], (height, width))[0, ..., 0], expected, atol=2e-6)


@given(st.integers(1, 200), st.integers(1, 200))
def test_a_flat_tile_stays_flat(n_in: int, n_out: int) -> None:
    np.testing.assert_allclose(resize_weights(n_in, n_out).sum(axis=1), 1, rtol=1e-5)


def test_channels_are_not_mixed_by_resizing() -> None:
    x = np.zeros((2, 20, 30, 3), np.float32)
    x[..., 1] = 1
    y = resize_tiles(x, (7, 11))
    assert y.shape == (2, 7, 11, 3)
    np.testing.assert_allclose(y[..., 1], 1, rtol=1e-6)
    assert not y[..., [0, 2]].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, ">u2"])
def test_the_fixed_range_becomes_zero_to_one(dtype: object) -> None:
    spec = PreprocessSpec(channels=1, input_px=(4, 4), low=10, high=110)
    tiles = np.full((1, 4, 4, 1), 60, dtype)
    out = spec.apply(tiles)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, 0.5)


def test_wrong_channels_are_reported_with_both_numbers() -> None:
    spec = PreprocessSpec(channels=3, input_px=(4, 4))
    with pytest.raises(ModelError, match="trained on 3 channels, but the image has 1"):
        spec.apply(np.zeros((1, 4, 4, 1), np.uint8))


def test_an_unknown_step_is_an_error() -> None:
    with pytest.raises(ValidationError):
        PreprocessSpec(channels=1, input_px=(4, 4), sharpen=True)
    with pytest.raises(ValidationError):
        PreprocessSpec(channels=1, input_px=(4, 4), low=5, high=5)


def test_the_range_of_a_new_model_fits_its_pixels() -> None:
    assert grey_range(np.dtype(np.uint8)) == (0, 255)
    rng = np.random.default_rng(0)
    low, high = grey_range(np.dtype(np.uint16), rng.integers(0, 4096, 100_000))
    assert low == 0
    assert 4000 < high < 4096
    low, high = grey_range(np.dtype(np.float32), np.append(rng.normal(0, 1, 10_000), np.nan))
    assert -4 < low < -2 < 2 < high < 4


def test_each_channel_can_have_a_range_of_its_own() -> None:
    rng = np.random.default_rng(0)
    tiles = (rng.gamma(2, (10, 400), (5, 8, 8, 2)) + np.array([20_000.3, 0])).astype(np.float32)
    ranges = channel_ranges(tiles, (0, 100))
    spec = PreprocessSpec(channels=2, input_px=(8, 8), low=0, high=1, channel_ranges=ranges)
    out = spec.apply(tiles)
    np.testing.assert_allclose(out.min(axis=(0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(out.max(axis=(0, 1, 2)), 1, atol=1e-6)
    assert spec.whole_range == (tiles.min(), tiles.max())
    assert PreprocessSpec.model_validate_json(spec.model_dump_json()) == spec
    assert channel_ranges(np.array([[7.0, np.nan], [7.0, np.inf]])) == ((7, 8), (0, 1))


def test_a_spec_without_ranges_of_channels_is_written_as_before() -> None:
    text = PreprocessSpec(channels=1, input_px=(8, 8), high=4095).model_dump_json()
    assert text == (
        '{"channels":1,"input_px":[8,8],"normalisation":"range","low":0.0,"high":4095.0,"percentiles":null,'
        '"resize":"antialias"}'
    )


def percentiles_spec(low: float = 1, high: float = 99, channels: int = 2) -> PreprocessSpec:
    return PreprocessSpec(
        channels=channels, input_px=(4, 4), normalisation="percentiles", percentiles=(low, high), low=0, high=1
    )


@given(st.floats(0.1, 20), st.floats(-100, 100))
def test_percentiles_of_a_field_undo_its_exposure(gain: float, offset: float) -> None:
    pixels = np.random.default_rng(0).gamma(2, 100, (30, 50, 2))
    spec = percentiles_spec()
    levelled = [
        spec.apply_levels(values, field_levels(spec, SourceImage(values)))
        for values in (pixels, gain * pixels + offset)
    ]
    assert levelled[0].dtype == np.float32
    np.testing.assert_allclose(levelled[1], levelled[0], atol=1e-4)
    np.testing.assert_allclose(np.percentile(levelled[0], (1, 99), axis=(0, 1)), [[0, 0], [1, 1]], atol=1e-5)


def test_levels_of_a_large_field_cost_no_more_than_those_of_a_small_one() -> None:
    read = 0

    class Lazy:
        shape, dtype = (4000, 3000, 1), np.dtype(np.uint16)

        def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
            nonlocal read
            y, x = (np.arange(*part.indices(n)) for part, n in zip(key, self.shape, strict=False))
            read += len(y) * len(x)
            return (y[:, None] + np.zeros(len(x), int)).astype(np.uint16)[..., None]

    ((low, high),) = np.asarray(field_levels(percentiles_spec(10, 90, 1), SourceImage(Lazy())))
    # Squares stand for what lies between them, so that a slope is known to a 128th of its height.
    assert abs(low - 400) <= 4000 / 128
    assert abs(high - 3600) <= 4000 / 128
    assert read <= 4_000_000


def test_odd_fields_have_levels() -> None:
    spec = percentiles_spec()
    pixels = np.full((8, 8, 2), 7.0)
    pixels[:, :, 1] = np.nan
    levels = np.asarray(field_levels(spec, SourceImage(pixels)))
    np.testing.assert_array_equal(levels, [[7, 8], [0, 1]])
    pixels[0, 0, 0] = np.inf
    np.testing.assert_array_equal(field_levels(spec, SourceImage(pixels)), levels)


def test_tiles_without_their_field_are_refused_by_a_model_that_needs_it() -> None:
    tiles = np.zeros((2, 4, 4, 2), np.uint8)
    with pytest.raises(ModelError, match="give whole fields"):
        percentiles_spec().apply_levels(tiles, None)
    fixed = PreprocessSpec(channels=2, input_px=(4, 4))
    assert fixed.apply_levels(tiles, None) is tiles
    assert field_levels(fixed, SourceImage(tiles[0])) is None


def test_a_manifest_that_says_nothing_of_normalisation_means_a_fixed_range() -> None:
    old = '{"channels":1,"input_px":[8,8],"low":0.0,"high":4095.0,"resize":"antialias"}'
    assert PreprocessSpec.model_validate_json(old).normalisation == "range"


@pytest.mark.parametrize(
    "values",
    [
        {"normalisation": "median"},
        {"normalisation": "percentiles"},
        {"percentiles": (1, 99)},
        {"normalisation": "percentiles", "percentiles": (99, 1), "low": 0, "high": 1},
        {"normalisation": "percentiles", "percentiles": (1, 99), "low": 0, "high": 255},
        {"channel_ranges": ((0, 10),)},
        {"channel_ranges": ((0, 10), (0, 10)), "low": 0, "high": 1},
        {"channel_ranges": ((10, 10),), "low": 0, "high": 1},
        {"channel_ranges": ((0, np.inf),), "low": 0, "high": 1},
        {"channel_ranges": ((0, 9),), "normalisation": "percentiles", "percentiles": (1, 99), "low": 0, "high": 1},
    ],
)
def test_a_range_that_contradicts_itself_is_an_error(values: dict) -> None:
    with pytest.raises(ValidationError):
        PreprocessSpec(channels=1, input_px=(4, 4), **values)
