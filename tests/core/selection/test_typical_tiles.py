"""Typical tiles stand for the kinds of tiles that there are."""

from __future__ import annotations

import numpy as np

from napari_cellclass.core.selection.typical_tiles import typical_tiles


def _clusters(sizes: tuple[int, ...], columns: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = 20 * rng.normal(size=(len(sizes), columns))
    kind = np.repeat(np.arange(len(sizes)), sizes)
    return (centres[kind] + rng.normal(size=(len(kind), columns))).astype(np.float32), kind


def test_each_kind_is_among_the_typical_tiles_however_rare() -> None:
    features, kind = _clusters((300, 200, 40, 12))
    found = typical_tiles(features, np.arange(len(features)), 4)
    assert sorted(kind[found].tolist()) == [0, 1, 2, 3]
    assert kind[found[0]] == 0, "the commonest kind comes first"


def test_typical_tiles_are_distinct_candidates_with_features() -> None:
    features, _ = _clusters((40, 40))
    features[::3] = np.nan
    candidates = np.arange(0, 80, 2)
    found = typical_tiles(features, candidates, 10)
    assert len(set(found.tolist())) == 10
    assert set(found.tolist()) <= set(candidates.tolist())
    assert np.isfinite(features[found]).all()


def test_few_or_equal_tiles_are_all_there_is() -> None:
    features = np.ones((6, 3), np.float32)
    assert typical_tiles(features, np.arange(6), 10).tolist() == list(range(6))
    assert len(typical_tiles(np.ones((50, 3), np.float32), np.arange(50), 10)) == 10
    assert len(typical_tiles(np.full((5, 3), np.nan, np.float32), np.arange(5), 3)) == 0


def test_the_same_tiles_are_chosen_again() -> None:
    features, _ = _clusters((5000, 3000))
    first, second = (typical_tiles(features, np.arange(8000)).tolist() for _ in range(2))
    assert first == second
