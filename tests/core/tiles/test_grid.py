from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.core.common.errors import GridError
from napari_cellclass.core.tiles.grid import TileGrid, tile_starts

lengths = st.integers(1, 300)
tiles = st.integers(1, 80)
overlaps = st.floats(0, 0.9)
edges = st.sampled_from(["drop", "pad", "shift"])


@given(lengths, tiles, st.integers(1, 80), edges)
def test_starts_rise_and_keep_their_edge_rule(length: int, tile: int, step: int, edge: str) -> None:
    step = min(step, tile)
    starts = tile_starts(length, tile, step, edge)
    assert (np.diff(starts) > 0).all()
    if length < tile:
        assert list(starts) == ([0] if edge == "pad" else [])
        return
    ends = starts + tile
    if edge == "drop":
        assert ends[-1] <= length < ends[-1] + step
    elif edge == "shift":
        assert ends[-1] == length
    else:
        assert ends[-1] >= length
        assert starts[-1] < length


@given(lengths, lengths, tiles, overlaps, st.sampled_from(["pad", "shift"]))
def test_pad_and_shift_cover_every_pixel(height: int, width: int, tile: int, overlap: float, edge: str) -> None:
    tile = min(tile, height, width)
    grid = TileGrid.regular((height, width), tile, overlap, edge)
    if len(grid) > 4000:
        return
    hit = np.zeros((height, width), bool)
    for y0, x0, y1, x1 in grid.boxes:
        hit[y0:y1, x0:x1] = True
    assert hit.all()
    assert grid.exclusive_area().sum() == pytest.approx(height * width)


@given(lengths, lengths, tiles, overlaps, edges, st.floats(0, 1), st.floats(0, 1))
def test_tile_at_agrees_with_looking_at_every_box(
    height: int, width: int, tile: int, overlap: float, edge: str, fy: float, fx: float
) -> None:
    tile = min(tile, height, width)
    grid = TileGrid.regular((height, width), tile, overlap, edge)
    if len(grid) > 4000:
        return
    y, x = fy * (height - 1), fx * (width - 1)
    b = grid.boxes
    holds = (b[:, 0] <= y + 0.5) & (y + 0.5 < b[:, 2]) & (b[:, 1] <= x + 0.5) & (x + 0.5 < b[:, 3])
    place = grid.tile_at(y, x)
    if not holds.any():
        assert place == -1
    else:
        assert holds[place]
        centre = (b[:, :2] + b[:, 2:]) / 2 - 0.5
        distance = np.square(centre - [y, x]).sum(axis=1)
        assert distance[place] == pytest.approx(distance[holds].min())


def test_rectangles_are_drawn_half_a_pixel_outside_the_pixel_centres() -> None:
    grid = TileGrid.regular((8, 8), 4)
    assert grid.rects()[0].tolist() == [[-0.5, -0.5], [-0.5, 3.5], [3.5, 3.5], [3.5, -0.5]]
    assert grid.rects()[3].min() == 3.5


def test_into_n_cuts_as_image_slicer_does() -> None:
    # image_slicer.slice(f, 12) makes 4 columns and 3 rows; 10 makes 4 x 3 as well
    for n, shape in ((12, (3, 4)), (10, (3, 4)), (4, (2, 2)), (2, (1, 2)), (1, (1, 1))):
        grid = TileGrid.from_tile_count((302, 401), n)
        assert grid.grid_shape == shape
        assert grid.tile_px == (302 // shape[0], 401 // shape[1])


def test_tile_ids_survive_a_region() -> None:
    grid = TileGrid.regular((64, 64), 16)
    part = grid.within([[[16, 16], [16, 48], [48, 48], [48, 16]]])
    assert part.tile_id.tolist() == [5, 6, 9, 10]
    assert part.tile_at(20, 20) == 0
    assert part.tile_at(2, 2) == -1


def test_a_region_keeps_tiles_that_it_covers_at_least_half() -> None:
    grid = TileGrid.regular((10, 40), 10)
    outline = [[-0.5, -0.5], [-0.5, 13.5], [9.5, 13.5], [9.5, -0.5]]  # pixels 0 to 13
    assert grid.within([outline]).col.tolist() == [0]
    wider = [[-0.5, -0.5], [-0.5, 15.5], [9.5, 15.5], [9.5, -0.5]]
    assert grid.within([wider]).col.tolist() == [0, 1]


def test_a_region_off_the_field_is_reported() -> None:
    with pytest.raises(GridError, match="no tile lies"):
        TileGrid.regular((10, 10), 5).within([[[50, 50], [50, 60], [60, 60]]])


def test_two_shapes_cover_a_tile_together() -> None:
    grid = TileGrid.regular((10, 10), 10)
    left = [[-0.5, -0.5], [-0.5, 2.5], [9.5, 2.5], [9.5, -0.5]]
    right = [[-0.5, 6.5], [-0.5, 9.5], [9.5, 9.5], [9.5, 6.5]]
    with pytest.raises(GridError, match="no tile lies"):
        grid.within([left])
    assert len(grid.within([left, right])) == 1


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"tile_px": 200}, "larger than the field of 100 x 90 px"),
        ({"tile_px": 0}, "at least 1 px"),
        ({"tile_px": 10, "overlap": 1.0}, "overlap of 1.0"),
        ({"tile_px": 10, "edge": "wrap"}, "unknown edge rule 'wrap'"),
    ],
)
def test_an_impossible_grid_says_why(kwargs: dict, text: str) -> None:
    with pytest.raises(GridError, match=text):
        TileGrid.regular((90, 100), **kwargs)


def test_more_tiles_than_can_be_are_refused() -> None:
    with pytest.raises(GridError, match="more than 20,000,000"):
        TileGrid.regular((100_000, 100_000), 64, 0.9)
