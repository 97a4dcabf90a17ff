"""The most similar tiles are those of the largest cosine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.core.stats import neighbours
from napari_cellclass.core.stats.neighbours import NeighbourIndex


@given(st.integers(0, 99), st.integers(1, 60), st.integers(1, 8))
def test_they_are_those_of_a_full_sort(seed: int, n: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    features, query = rng.normal(size=(n, 6)), rng.normal(size=6)
    found, similarity = NeighbourIndex(features).nearest(query, count)
    cosine = features @ query / np.linalg.norm(features, axis=1) / np.linalg.norm(query)
    assert similarity == pytest.approx(np.sort(cosine)[::-1][:count], abs=1e-5)
    assert cosine[found] == pytest.approx(similarity, abs=1e-5)


def test_neither_a_tile_itself_nor_one_without_features_is_found() -> None:
    features = np.array([[1, 0], [1, 0.1], [np.nan, 1], [-1, 0]], np.float32)
    index = NeighbourIndex(features)
    assert index.nearest(features[0], 5, without=0)[0].tolist() == [1, 3]
    assert index.nearest(features[0], 1)[1].tolist() == [1.0]
    assert not len(index.nearest(features[2])[0])


def test_the_principal_components_of_many_tiles_find_the_same_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3000, 20)) @ rng.normal(size=(20, 300))
    exact = NeighbourIndex(features)
    monkeypatch.setattr(neighbours, "_MOST_NUMBERS", 1000)
    short = NeighbourIndex(features)
    for row in range(0, 3000, 300):
        assert short.nearest(features[row])[0].tolist() == exact.nearest(features[row])[0].tolist()
