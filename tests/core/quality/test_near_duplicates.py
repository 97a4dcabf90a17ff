from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from napari_cellclass.core.quality.near_duplicates import find_near_duplicates, row_correlation
from napari_cellclass.core.tiles.statistics import detail_thumbnail, difference_hash


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 24))
def test_every_pair_of_close_hashes_in_different_groups_is_found(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    # half of the bits set, then up to five of them flipped
    base = np.uint64(0x5A5AC3C33C3CA5A5)
    flips = [
        np.bitwise_or.reduce(np.uint64(1) << rng.choice(64, rng.integers(1, 6)).astype(np.uint64)) for _ in range(n)
    ]
    hashes = base ^ np.array(flips, np.uint64)
    thumbnails = np.tile(rng.integers(-100, 100, 256).astype(np.int8), (n, 1))
    groups = rng.integers(0, 4, n).astype(str).astype(object)
    expected = [
        (i, j)
        for i in range(n)
        for j in range(i + 1, n)
        if groups[i] != groups[j] and int(hashes[i] ^ hashes[j]).bit_count() <= 3
    ]
    assert list(map(tuple, find_near_duplicates(hashes, thumbnails, groups).tolist())) == expected


def test_time_grows_with_the_tiles_and_not_with_their_pairs() -> None:
    # 40 000 tiles with one hash: all pairs would be 800 million comparisons
    n = 40_000
    hashes = np.full(n, 0x5A5AC3C33C3CA5A5, np.uint64)
    thumbnails = np.random.default_rng(0).integers(-100, 100, (n, 16)).astype(np.int8)
    assert len(find_near_duplicates(hashes, thumbnails, np.arange(n).astype(object))) < 100


def test_copies_are_similar_and_empty_tiles_with_one_shading_are_not() -> None:
    rng = np.random.default_rng(1)
    picture = gaussian_filter(rng.normal(0, 1, (128, 128)), 3) * 400 + 100
    copy = (0.5 * picture[::2, ::2] + rng.normal(0, 1, (64, 64))).astype(np.float32)
    assert np.bitwise_count(difference_hash(picture.astype(np.float32)) ^ difference_hash(copy)) <= 3
    thumbnails = [detail_thumbnail(x.astype(np.float32)) for x in (picture, copy)]
    assert row_correlation(thumbnails[0][None], thumbnails[1][None])[0] > 0.97
    shading = 100 + np.add.outer(np.arange(128), np.arange(128)) / 4
    empty = [detail_thumbnail((shading + rng.normal(0, 3, (128, 128))).astype(np.float32)) for _ in range(2)]
    assert abs(row_correlation(empty[0][None], empty[1][None])[0]) < 0.5
