from __future__ import annotations

import numpy as np

from napari_cellclass.core.tile_stats import channel_stats


def test_means_and_sds_are_those_of_every_channel_and_tiles_that_are_not_finite_have_none() -> None:
    tiles = np.random.default_rng(0).normal(50, 9, (70, 6, 5, 2)).astype(np.float32)
    tiles[3, 0, 0, 1] = np.inf
    stats = channel_stats(tiles)
    assert np.isnan(stats[3]).all()
    assert np.isfinite(np.delete(stats, 3, axis=0)).all()
    for i in (0, 40, 69):
        np.testing.assert_allclose(stats[i, 0], tiles[i].reshape(-1, 2).mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(stats[i, 1], tiles[i].reshape(-1, 2).std(axis=0), rtol=1e-4)
