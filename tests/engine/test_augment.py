from __future__ import annotations

import numpy as np
import pytest

from napari_cellclass.core.preprocess import PreprocessSpec
from napari_cellclass.engine.augment import training_batch, turned
from napari_cellclass.engine.pixels import TilePixels


def pixels(shape: tuple[int, int, int]) -> TilePixels:
    tiles = np.random.default_rng(0).integers(0, 256, (6, *shape)).astype(np.uint8)
    spec = PreprocessSpec(channels=shape[2], input_px=shape[:2])
    return TilePixels(tiles, np.arange(6), spec, False, np.zeros(0, np.int64), tiles[:1])


@pytest.mark.parametrize("shape", [(24, 24, 1), (20, 33, 3)])
def test_the_same_seed_gives_the_same_views_and_another_gives_others(shape: tuple[int, int, int]) -> None:
    data, rows = pixels(shape), np.arange(6)
    first, same, other = (training_batch(data, rows, "full", np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (6, *shape)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(training_batch(data, rows, "none", np.random.default_rng(1)), data.batch(rows))


def test_a_turn_by_nothing_changes_nothing_and_there_and_back_little() -> None:
    y, x = np.mgrid[:40, :50] / 40
    smooth = np.stack([np.sin(3 * y + 2 * x), np.cos(4 * x * y)], axis=-1).astype(np.float32)[None]
    np.testing.assert_allclose(turned(smooth, np.zeros(1)), smooth, atol=1e-5)
    there_and_back = turned(turned(smooth, np.array([5.0])), np.array([-5.0]))
    np.testing.assert_allclose(there_and_back[:, 6:-6, 6:-6], smooth[:, 6:-6, 6:-6], atol=0.01)


def test_a_turn_agrees_with_scipy() -> None:
    from scipy.ndimage import rotate

    tile = np.random.default_rng(0).random((1, 31, 31, 1)).astype(np.float32)
    expected = rotate(tile[0, ..., 0], 4.0, reshape=False, order=1, mode="mirror")
    mine = turned(tile, np.array([4.0]))[0, ..., 0]
    other = turned(tile, np.array([-4.0]))[0, ..., 0]
    assert min(np.abs(mine - expected).max(), np.abs(other - expected).max()) < 1e-4


def test_full_changes_brightness_within_bounds() -> None:
    flat = pixels((16, 16, 1))
    flat.tiles[:] = 128
    levels = (
        training_batch(flat, np.repeat(np.arange(6), 100), "full", np.random.default_rng(0))[:, 0, 0, 0] * 255 / 128
    )
    assert 0.7 < levels.min() < 0.85
    assert 1.15 < levels.max() < 1.35
