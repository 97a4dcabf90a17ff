"""Which part of a scatter plot is shown first."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.widgets.scatter.canvas import usual_range


@given(st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_the_first_view_of_evenly_spread_points_holds_all(n: int, seed: int) -> None:
    xy = np.random.default_rng(seed).permuted(np.linspace(0, 1, n)[:, None].repeat(2, axis=1), axis=0)
    low, high = usual_range(xy.astype(np.float32))
    np.testing.assert_allclose([low, high], [xy.min(axis=0), xy.max(axis=0)], atol=1e-6)


@given(st.integers(100, 1000), st.floats(5, 1e6))
def test_two_points_far_from_all_others_do_not_squeeze_them(n: int, far: float) -> None:
    xy = np.random.default_rng(n).random((n, 2)).astype(np.float32)
    low, high = usual_range(np.concatenate([xy, [[far, 0.5], [0.5, -far]]]).astype(np.float32))
    np.testing.assert_allclose([low, high], [xy.min(axis=0), xy.max(axis=0)])
