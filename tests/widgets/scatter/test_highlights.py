"""Discs over a plot."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.widgets.scatter.highlights import stamped

SHAPE = (40, 60)


@given(st.integers(0, 2**32 - 1), st.floats(1, 12))
def test_a_disc_has_its_colour_and_its_size_and_all_else_is_transparent(seed: int, size_px: float) -> None:
    rng = np.random.default_rng(seed)
    places, colours = rng.random((5, 2)) * SHAPE[::-1], rng.random((5, 4)).astype(np.float32)
    pixels = stamped(places, colours, size_px, SHAPE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    expected = np.zeros((*SHAPE, 4), np.uint8)
    for (px, py), colour in zip(places, colours, strict=True):
        near = (x - np.floor(px)) ** 2 + (y - np.floor(py)) ** 2 <= (size_px / 2) ** 2
        expected[near] = (colour * 255).round()
    np.testing.assert_array_equal(pixels, expected)


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_what_is_outside_is_left_out(x: float, y: float) -> None:
    white = np.ones((1, 4), np.float32)
    inside = 0 <= x < SHAPE[1] and 0 <= y < SHAPE[0]
    assert stamped(np.array([[x, y]]), white, 3.0, SHAPE).any() == inside
