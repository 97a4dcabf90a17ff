from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from napari_cellclass.core.contracts import ModelError
from napari_cellclass.core.preprocess import PreprocessSpec, grey_range, resize_tiles, resize_weights


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


def test_wrong_channels_are_told_with_both_numbers() -> None:
    spec = PreprocessSpec(channels=3, input_px=(4, 4))
    with pytest.raises(ModelError, match=r"trained on 3 channel\(s\), but the image has 1"):
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
