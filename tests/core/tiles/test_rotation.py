from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.data import camera
from skimage.transform import rotate

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.tiles.rotation import parse_angles, rotate_tile


@pytest.fixture(scope="module")
def tile() -> np.ndarray:
    return np.asarray(camera())[100:229, 140:269, None]


@pytest.mark.parametrize("angle", [-5, 1, 3, 30, 90])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "float32", "float16", "int32"])
def test_a_copy_is_truly_rotated_as_scikit_image_does_it(tile: np.ndarray, angle: int, dtype: str) -> None:
    mine = rotate_tile(tile.astype(dtype), angle)
    theirs = rotate(tile[..., 0].astype(float), angle, order=1, mode="symmetric", preserve_range=True)
    assert mine.dtype == np.dtype(dtype)
    assert mine.shape == tile.shape
    assert np.abs(mine[..., 0].astype(float) - theirs).max() <= 0.51


def test_corners_are_reflected_and_not_black(tile: np.ndarray) -> None:
    bright = np.maximum(tile, 40)
    for angle in (-45, -5, 5, 45):
        assert rotate_tile(bright, angle).min() >= 40


def test_every_angle_gives_another_copy(tile: np.ndarray) -> None:
    copies = {rotate_tile(tile, angle).tobytes() for angle in (0, *parse_angles("-5:5"))}
    assert len(copies) == 11


def test_channels_are_rotated_each_by_itself(tile: np.ndarray) -> None:
    both = np.concatenate([tile, 255 - tile], axis=2)
    np.testing.assert_array_equal(rotate_tile(both, 7)[..., 1:], rotate_tile(255 - tile, 7))


@given(st.integers(-180, 180), st.integers(0, 50))
def test_a_range_gives_each_whole_degree_but_zero(low: int, length: int) -> None:
    high = min(180, low + length)
    if low == high == 0:
        return
    assert parse_angles(f"{low}:{high}") == tuple(a for a in range(low, high + 1) if a != 0)


@pytest.mark.parametrize("text", ["5", "5:", "a:b", "5:-5", "0:0", "-200:0", "1.5:3", "1:2:3"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ParamsError, match=r"write|within"):
        parse_angles(text)
