"""Histograms of grey values."""

from __future__ import annotations

import numpy as np

from napari_cellclass.core.tiles.histograms import BINS, GreyHistogram


def test_every_finite_pixel_is_counted_once_per_channel() -> None:
    tiles = np.random.default_rng(0).integers(0, 4096, (5, 8, 6, 2)).astype(np.float32)
    tiles[0, 0, 0] = np.nan, np.inf
    found = GreyHistogram.of(tiles)
    assert found.counts.shape == (2, BINS)
    assert found.counts.sum(axis=1).tolist() == [5 * 8 * 6 - 1] * 2
    finite = tiles[np.isfinite(tiles)]
    assert (found.edges[0], found.edges[-1]) == (finite.min(), finite.max())
    np.testing.assert_array_equal(
        found.counts[1], np.histogram(tiles[..., 1][np.isfinite(tiles[..., 1])], found.edges)[0]
    )


def test_one_grey_value_and_none_at_all_have_a_histogram_too() -> None:
    assert GreyHistogram.of(np.full((1, 4, 4, 1), 7, np.uint8)).counts.sum() == 16
    assert GreyHistogram.of(np.full((1, 4, 4, 1), np.nan)).counts.sum() == 0
