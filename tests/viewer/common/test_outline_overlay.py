"""Outlines of tiles are lines within the tiles' edges, for the tiles in view, and not for tiles too small to see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.viewer.common.outline_overlay import MOST_OUTLINES, Outlines

PIXEL = np.array([1.0, 1.0])


def tiles(side: int, px: float, colour: tuple[float, ...] = (1, 0, 0, 1)) -> Outlines:
    """Make a square of side x side tiles of some px."""
    corners = np.stack(np.mgrid[0:side, 0:side], axis=-1).reshape(-1, 2) * px
    return Outlines(np.concatenate([corners, corners + px], axis=1), np.tile(colour, (side**2, 1)).astype(float))


@given(px=st.floats(10, 500), height=st.floats(0.2, 3))
def test_lines_stay_within_their_tile_and_hold_its_colour(px: float, height: float) -> None:
    ends, colours = tiles(1, px).segments(np.array([min(height, px / 10), 1.0]))
    assert (ends > 0).all()
    assert (ends < px).all()
    assert ends.shape[:2] == colours.shape[:2]
    assert (colours == (1, 0, 0, 1)).all(axis=-1).any()


def test_large_tiles_have_a_dark_and_a_light_line_beside_that_of_their_colour() -> None:
    _, colours = tiles(1, 50).segments(PIXEL)
    found = {tuple(colour) for colour in colours.reshape(-1, 4).tolist()}
    assert found == {(1, 0, 0, 1), (0, 0, 0, 1), (1, 1, 1, 1)}
    _, colours = tiles(1, 15).segments(PIXEL)
    assert {tuple(colour) for colour in colours.reshape(-1, 4).tolist()} == {(1, 0, 0, 1)}
    assert not len(tiles(1, 5).segments(PIXEL)[0])


def test_only_tiles_in_view_are_outlined_and_none_where_they_are_too_many() -> None:
    many = tiles(100, 10)
    assert len(many.between(np.array([100.5, 100.5]), np.array([119.5, 139.5])).boxes) == 2 * 4
    assert not len(many.between(np.zeros(2), np.full(2, 1000.0)).boxes)
    assert len(many.boxes) > MOST_OUTLINES
    assert Outlines().segments(PIXEL)[0].shape == (0, 2, 2)


@pytest.mark.parametrize("zoom", [1.0, 4.0])
def test_lines_are_as_wide_on_the_screen_at_any_zoom(zoom: float) -> None:
    ends, _ = tiles(1, 100).segments(PIXEL / zoom)
    insets = np.unique(ends[:, 0, 0].round(4))
    assert insets[insets < 50] * zoom == pytest.approx([1, 2, 3, 4])
