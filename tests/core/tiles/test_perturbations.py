from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellclass.core.tiles.perturbations import PERTURBATIONS, GreyRange

BY_NAME = {one.name: one for one in PERTURBATIONS}
TILE = np.random.default_rng(0).integers(20, 200, (24, 24, 2)).astype(np.uint16)
SCALE = GreyRange(0, 255)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(PERTURBATIONS),
    st.sampled_from(["uint8", "uint16", "int16", "float32", "bool"]),
    st.sampled_from([1, 2, 3]),
    st.integers(0, 4),
)
def test_every_change_keeps_shape_and_dtype_and_gives_the_same_again(
    one, dtype: str, channels: int, place: int
) -> None:
    level = one.levels[place % len(one.levels)]
    tile = np.random.default_rng(1).integers(0, 2 if dtype == "bool" else 200, (20, 16, channels)).astype(dtype)
    before = tile.copy()
    changed = one.apply(tile, level, SCALE, (3,))
    assert changed.shape == tile.shape
    assert changed.dtype == tile.dtype
    np.testing.assert_array_equal(tile, before)
    np.testing.assert_array_equal(changed, one.apply(tile, level, SCALE, (3,)))


def test_the_neutral_level_changes_nothing() -> None:
    for one in PERTURBATIONS:
        if one.neutral is not None:
            assert one.neutral in one.levels
            np.testing.assert_array_equal(one.apply(TILE, one.neutral, SCALE), TILE)


def test_gain_multiplies_above_black_and_saturates_as_a_camera_does() -> None:
    np.testing.assert_array_equal(BY_NAME["gain"].apply(TILE, 2.0, SCALE), 2 * TILE)
    np.testing.assert_array_equal(BY_NAME["gain"].apply(TILE, 2.0, GreyRange(10, 255)), 2 * TILE - 10)
    assert BY_NAME["gain"].apply(TILE.astype(np.uint8), 2.0, SCALE).max() == 255


def test_offset_adds_a_fraction_of_the_range() -> None:
    np.testing.assert_array_equal(BY_NAME["offset"].apply(TILE, 0.1, GreyRange(0, 1000)), TILE + 100)


def test_noise_has_the_sd_that_was_asked_for() -> None:
    flat = np.full((200, 200, 1), 1000.0, np.float32)
    changed = BY_NAME["noise"].apply(flat, 0.1, SCALE)
    assert changed.std() == pytest.approx(100, rel=0.03)
    assert changed.mean() == pytest.approx(1000, rel=0.01)
    assert not np.array_equal(changed, BY_NAME["noise"].apply(flat, 0.1, SCALE, (1,)))


def test_a_rotation_turns_the_content() -> None:
    np.testing.assert_array_equal(BY_NAME["rotation"].apply(TILE, 90.0, SCALE), np.rot90(TILE))
    assert BY_NAME["rotation"].apply(TILE, 45.0, SCALE).min() >= TILE.min(), "no black corners"


@pytest.mark.parametrize("scale", [SCALE, GreyRange(0, 60000)])
def test_jpeg_of_deep_images_stays_in_their_range(scale: GreyRange) -> None:
    smooth = (np.add.outer(np.arange(32), np.arange(32))[..., None] / 62 * scale.white).astype(np.uint16)
    changed = BY_NAME["jpeg"].apply(smooth, 90, scale)
    assert np.abs(changed.astype(float) - smooth).max() < 0.05 * scale.white


def test_blur_takes_contrast_and_leaves_the_mean() -> None:
    changed = BY_NAME["blur"].apply(TILE.astype(np.float32), 2.0, SCALE)
    assert changed.std() < 0.5 * TILE.std()
    assert changed.mean() == pytest.approx(TILE.mean(), rel=0.02)
