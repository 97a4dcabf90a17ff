"""Patches cover a tile evenly, hide what stands out, and leave the rest as it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.core.tiles.occlusion import Occlusion, default_patches_px, log_odds, without_detail

SIZES = st.integers(5, 70)


@given(SIZES, SIZES, st.integers(2, 20))
def test_equal_drops_make_an_even_map_and_a_map_stays_within_its_drops(height: int, width: int, patch: int) -> None:
    occlusion = Occlusion((height, width), patch)
    assert occlusion.map_of(np.full(len(occlusion), 3.0)) == pytest.approx(3.0, rel=1e-5)
    drops = np.random.default_rng(0).normal(size=len(occlusion))
    found = occlusion.map_of(drops)
    assert found.shape == (height, width)
    assert drops.min() - 1e-5 <= found.min() <= found.max() <= drops.max() + 1e-5


@given(SIZES, SIZES, st.integers(2, 20))
def test_every_pixel_is_hidden_by_a_patch_and_kept_by_another(height: int, width: int, patch: int) -> None:
    rows, columns = Occlusion((height, width), patch).profiles
    for profile in (rows, columns):
        assert (profile.max(axis=0) > 0.49).all()
        assert profile.max() <= 1


def test_a_patch_hides_a_spot_and_nothing_far_from_it() -> None:
    rng = np.random.default_rng(0)
    tile = rng.poisson(100, (64, 64, 1)).astype(np.uint16)
    tile[20:23, 40:43] += 2000
    occlusion = Occlusion((64, 64), 8)
    copies = np.concatenate(list(occlusion.occluded(tile, batch=7)))
    assert copies.shape == (len(occlusion), 64, 64, 1)
    assert copies.dtype == np.uint16
    hidden = int(np.argmin(copies[:, 21, 41, 0]))
    assert copies[hidden, 21, 41, 0] < 2100 / 3
    distance = np.hypot(*(np.mgrid[0:64, 0:64] - np.array([21, 41])[:, None, None]))
    assert (copies[hidden, ..., 0] == tile[..., 0])[distance > 24].all()


def test_background_without_anything_in_it_keeps_its_mean_and_its_noise() -> None:
    tile = np.random.default_rng(1).poisson(100, (96, 96, 2)).astype(np.float32)
    filled = without_detail(tile, 12)
    assert filled.mean(axis=(0, 1)) == pytest.approx(tile.mean(axis=(0, 1)), rel=0.01)
    assert filled.std(axis=(0, 1)) == pytest.approx(tile.std(axis=(0, 1)), rel=0.15)
    assert (without_detail(tile, 12) == filled).all(), "the same every time"


def test_a_constant_tile_stays_as_it_is() -> None:
    tile = np.full((32, 32, 3), 7, np.uint8)
    assert all((copies == 7).all() for copies in Occlusion((32, 32), 4).occluded(tile))


def test_log_odds_keep_their_digits_near_one() -> None:
    prob = np.array([[1 - 1e-9, 1e-9], [0.5, 0.5], [0.0, 1.0]])
    assert log_odds(prob, 0) == pytest.approx([np.log(1e9), 0.0, np.log(1e-12)], rel=1e-6)
    assert log_odds(np.array([[0.2, 0.3, 0.5]]), 1) == pytest.approx([np.log(0.3 / 0.7)])


def test_patches_are_an_eighth_of_the_shorter_side_and_then_larger() -> None:
    assert default_patches_px((128, 256)) == (16, 32, 64)
    assert default_patches_px((16, 16)) == (4, 8)
