from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.grid_layout import grid_from_boxes
from napari_cellclass.core.tiles.map_axes import field_pixels

sides = st.integers(1, 40)


@given(sides, sides, st.integers(1, 12), st.floats(0, 0.8), st.sampled_from(["drop", "pad", "shift"]))
def test_every_pixel_has_the_value_of_the_tile_under_it(h: int, w: int, tile: int, overlap: float, edge: str) -> None:
    grid = TileGrid.regular((h, w), min(tile, h, w), overlap, edge)
    cells = np.arange(1, len(grid) + 1).reshape(grid.grid_shape)
    found = field_pixels(grid, cells)
    assert found.shape == (h, w)
    assert [[grid.tile_at(y, x) + 1 for x in range(w)] for y in range(h)] == found.tolist()


def test_a_tile_that_a_region_left_out_has_no_pixels() -> None:
    grid = TileGrid.regular((4, 6), 2).take([0, 4])
    cells = np.zeros(grid.grid_shape, np.uint16)
    cells[grid.row, grid.col] = [7, 9]
    found = field_pixels(grid, cells)
    assert (found[:2, :2] == 7).all()
    assert (found[2:, 2:4] == 9).all()
    assert (found > 0).sum() == 8


def test_tiles_off_a_grid_are_where_their_boxes_are() -> None:
    boxes = np.array([[0, 1, 3, 4], [5, 3, 8, 6]], np.int32)
    grid = grid_from_boxes(boxes, image_shape=(9, 9))
    cells = np.zeros(grid.grid_shape, np.uint16)
    cells[grid.row, grid.col] = [1, 2]
    found = field_pixels(grid, cells)
    for value, (y0, x0, y1, x1) in enumerate(boxes.tolist(), 1):
        assert (found[y0:y1, x0:x1] == value).all()
    assert (found > 0).sum() == 18
