from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve1d, map_coordinates, rotate
from scipy.stats import kstest

from napari_cellclass.core.tiles.preprocess import PreprocessSpec
from napari_cellclass.core.tiles.statistics import channel_stats, tile_fingerprint
from napari_cellclass.engine.training.augment import (
    _noise,
    augmented_batch,
    blur_tile,
    rotate_tiles,
    scratch_memory,
    zoom_tile,
)
from napari_cellclass.engine.training.tile_pixels import TilePixels


def pixels(shape: tuple[int, int, int], input_px: tuple[int, int] | None = None) -> TilePixels:
    tiles = np.random.default_rng(0).integers(0, 256, (6, *shape)).astype(np.uint8)
    spec = PreprocessSpec(channels=shape[2], input_px=input_px or shape[:2])
    hashes, thumbnails = (np.stack(found) for found in zip(*map(tile_fingerprint, tiles), strict=True))
    none = np.zeros(0, np.int64)
    return TilePixels(tiles, np.arange(6), spec, False, none, tiles[:1], channel_stats(tiles), hashes, thumbnails)


@pytest.mark.parametrize(
    ("shape", "input_px"),
    [((24, 24, 1), None), ((20, 33, 3), None), ((40, 40, 2), (32, 32)), ((9, 90, 1), (4, 32)), ((1, 1, 1), (16, 16))],
)
def test_the_same_seed_gives_the_same_views_and_another_gives_others(
    shape: tuple[int, int, int], input_px: tuple[int, int] | None
) -> None:
    data, rows = pixels(shape, input_px), np.arange(6)
    first, same, other = (
        augmented_batch(data, rows, "full", np.random.default_rng(seed), (-5, 5)) for seed in (1, 1, 2)
    )
    assert first.shape == (6, *data.spec.input_px, shape[2])
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(augmented_batch(data, rows, "none", np.random.default_rng(1)), data.batch(rows))


def test_the_data_are_never_changed() -> None:
    data = pixels((24, 24, 1))
    before = data.tiles.copy()
    augmented_batch(data, np.arange(6), "full", np.random.default_rng(1), (-5, 5))
    np.testing.assert_array_equal(data.tiles, before)


def test_classes_that_differ_in_brightness_keep_it() -> None:
    data, rows = pixels((24, 24, 1)), np.zeros(200, np.int64)
    data = replace(data, tiles=np.full_like(data.tiles, 20))
    level = data.batch(rows[:1]).mean()
    kept, changed = (
        augmented_batch(data, rows, "full", np.random.default_rng(0), None, keep).mean(axis=(1, 2, 3)) / level
        for keep in (True, False)
    )
    assert kept.std() < 0.02
    assert changed.std() > 0.2


def test_flips_show_the_same_pixels_in_other_positions() -> None:
    data, rows = pixels((12, 12, 1)), np.zeros(400, np.int64)
    views = augmented_batch(data, rows, "flips", np.random.default_rng(0))
    assert len({view.tobytes() for view in views}) == 8
    np.testing.assert_array_equal(np.sort(views.reshape(400, -1)), np.sort(views.reshape(400, -1))[:1].repeat(400, 0))


def test_a_rotation_by_0_changes_nothing_and_there_and_back_little() -> None:
    y, x = np.mgrid[:40, :50] / 40
    smooth = np.stack([np.sin(3 * y + 2 * x), np.cos(4 * x * y)], axis=-1).astype(np.float32)[None]
    np.testing.assert_allclose(rotate_tiles(smooth, np.zeros(1)), smooth, atol=1e-5)
    there_and_back = rotate_tiles(rotate_tiles(smooth, np.array([5.0])), np.array([-5.0]))
    np.testing.assert_allclose(there_and_back[:, 6:-6, 6:-6], smooth[:, 6:-6, 6:-6], atol=0.01)


def test_rotation_agrees_with_scipy() -> None:
    tile = np.random.default_rng(0).random((1, 31, 31, 1)).astype(np.float32)
    expected = rotate(tile[0, ..., 0], 4.0, reshape=False, order=1, mode="mirror")
    mine = rotate_tiles(tile, np.array([4.0]))[0, ..., 0]
    other = rotate_tiles(tile, np.array([-4.0]))[0, ..., 0]
    assert min(np.abs(mine - expected).max(), np.abs(other - expected).max()) < 1e-4


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 3), st.floats(0.3, 3))
def test_a_zoom_agrees_with_scipy(height: int, width: int, channels: int, factor: float) -> None:
    tile = np.random.default_rng(0).random((height, width, channels), np.float32)
    centre = (height - 1) / 2, (width - 1) / 2
    along = [(np.arange(n) - c) / factor + c for n, c in zip((height, width), centre, strict=True)]
    place = np.meshgrid(*along, indexing="ij")
    expected = [map_coordinates(tile[..., c], place, order=1, mode="mirror") for c in range(channels)]
    zoom_tile(tile, factor, scratch_memory(tile[None]))
    np.testing.assert_allclose(tile, np.stack(expected, axis=-1), atol=1e-4)


def test_a_blur_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    for shape in ((20, 31, 3), (1, 9, 1), (9, 1, 2), (2, 2, 1)):
        tile = rng.random(shape, np.float32)
        expected = convolve1d(convolve1d(tile, [0.25, 0.5, 0.25], 0), [0.25, 0.5, 0.25], 1)
        np.testing.assert_allclose(blur_tile(tile, scratch_memory(tile[None])), expected, atol=1e-6)


def test_noise_is_normal_and_another_for_each_tile() -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([_noise(rng, 4000) for _ in range(50)])
    assert abs(drawn.mean()) < 0.02
    assert abs(drawn.std() - 1) < 0.02
    assert kstest(drawn[0], "norm").pvalue > 0.001
    assert np.abs(np.corrcoef(drawn) - np.eye(50)).max() < 0.1
    assert _noise(rng, 3_000_000).shape == (3_000_000,)


def test_noise_of_a_channel_is_of_its_own_mean() -> None:
    data = pixels((32, 32, 2))
    data.tiles[..., 0], data.tiles[..., 1] = 200, 20
    views = augmented_batch(data, np.repeat(0, 200), "full", np.random.default_rng(0), None, keep_brightness=True)
    noise = views.std(axis=(1, 2)) / views.mean(axis=(1, 2))
    np.testing.assert_allclose(noise[:, 0], noise[:, 1], rtol=0.2, atol=1e-3)
    assert 0.03 < noise[:, 0].max() < 0.06


def test_full_changes_brightness_and_noise_within_bounds() -> None:
    flat = pixels((16, 16, 1))
    flat.tiles[:] = 64
    views = augmented_batch(flat, np.repeat(np.arange(6), 100), "full", np.random.default_rng(0))
    gamma = np.log(views.mean(axis=(1, 2, 3))) / np.log(64 / 255)
    assert np.exp(-0.32) < gamma.min() < 0.8
    assert 1.25 < gamma.max() < np.exp(0.32)
    noise = views.std(axis=(1, 2, 3)) / views.mean(axis=(1, 2, 3))
    assert noise.min() < 0.005
    assert 0.04 < noise.max() < 0.06


def test_negative_grey_values_stay_numbers() -> None:
    data = pixels((16, 16, 1))
    below = replace(data, tiles=data.tiles.astype(np.float32) - 128)
    assert np.isfinite(augmented_batch(below, np.arange(6), "full", np.random.default_rng(0))).all()
