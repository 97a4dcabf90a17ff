"""First typical tiles are suggested, then those that predictions are least sure of."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.core.selection.suggestions import rank_by_margin, suggest_tiles


@given(st.integers(3, 60), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_no_tile_that_is_left_out_is_surer_than_one_that_is_not(n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    prob = rng.dirichlet(np.ones(k), n).astype(np.float32)
    prob[rng.random(n) < 0.2] = np.nan
    found = rank_by_margin(prob, np.arange(n), 10)
    top = np.sort(prob, axis=1)
    margin = top[:, -1] - top[:, -2]
    assert (np.diff(margin[found]) >= 0).all()
    known = np.flatnonzero(np.isfinite(margin))
    assert len(found) == min(10, len(known))
    left_out = np.setdiff1d(known, found)
    assert not len(left_out) or margin[left_out].min() >= margin[found].max()


def test_typical_tiles_come_first_until_they_are_labelled() -> None:
    prob = np.array([[0.5, 0.5], [0.9, 0.1], [0.6, 0.4], [1, 0]], np.float32)
    labels, typical = np.array([-1, -1, -1, 0], np.int16), np.array([3, 1])
    assert suggest_tiles(prob, typical, labels).tolist() == [1, 0, 2]
    assert suggest_tiles(None, typical, labels).tolist() == [1]
    labels[1] = 1
    assert suggest_tiles(prob, typical, labels).tolist() == [0, 2]
    assert suggest_tiles(None, typical, labels).tolist() == []
