from __future__ import annotations

import numpy as np
import pytest

from napari_cellclass.core.tiles.statistics import channel_stats, sampled_stats


def test_means_and_sds_are_those_of_every_channel_and_tiles_that_are_not_finite_have_none() -> None:
    tiles = np.random.default_rng(0).normal(50, 9, (70, 6, 5, 2)).astype(np.float32)
    tiles[3, 0, 0, 1] = np.inf
    stats = channel_stats(tiles)
    assert np.isnan(stats[3]).all()
    assert np.isfinite(np.delete(stats, 3, axis=0)).all()
    for i in (0, 40, 69):
        np.testing.assert_allclose(stats[i, 0], tiles[i].reshape(-1, 2).mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(stats[i, 1], tiles[i].reshape(-1, 2).std(axis=0), rtol=1e-4)


@pytest.mark.parametrize("offset", [0, 60_000])
def test_sampled_statistics_are_about_those_of_all_pixels(offset: int) -> None:
    tiles = (offset + np.random.default_rng(0).gamma(4, 20, (3, 256, 200, 2))).astype(np.uint16)
    exact, about = channel_stats(tiles), sampled_stats(tiles)
    np.testing.assert_allclose(about, exact, rtol=0.02, atol=1)
    small = tiles[:, :48]
    np.testing.assert_allclose(sampled_stats(small), channel_stats(small), rtol=1e-5)
    bad = small.astype(np.float32)
    bad[1, 0, 0, 0] = np.nan
    assert np.isnan(sampled_stats(bad)[1, :, 0]).all()
