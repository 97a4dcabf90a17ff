from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellclass.core.common.errors import DatasetError, GridError, ParamsError
from napari_cellclass.core.labels.label_store import CONFLICT, UNLABELLED
from napari_cellclass.core.labels.points_and_boxes import read_boxes_csv, read_points_csv
from napari_cellclass.core.labels.tile_labels import (
    grid_around_points,
    labels_from_csv,
    labels_from_mask,
    labels_from_points,
    labels_from_polygons,
)
from napari_cellclass.core.tiles.grid import TileGrid

SHARED = Path(__file__).parents[4] / "shared" / "data"
GRIDS = st.builds(
    TileGrid.regular,
    st.tuples(st.integers(8, 30), st.integers(8, 30)),
    st.tuples(st.integers(2, 8), st.integers(2, 8)),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from(["drop", "pad", "shift"]),
)


def inside(grid: TileGrid, place: int) -> tuple[slice, slice]:
    y0, x0, y1, x1 = grid.boxes[place].tolist()
    return slice(y0, min(y1, grid.image_shape[0])), slice(x0, min(x1, grid.image_shape[1]))


def expected(covers: dict[int, float], min_coverage: float) -> int:
    claims = [index for index, cover in covers.items() if cover >= min_coverage]
    return UNLABELLED if not claims else claims[0] if len(claims) == 1 else CONFLICT


@given(grid=GRIDS, seed=st.integers(0, 999), min_coverage=st.sampled_from([0.1, 0.25, 0.5, 0.9, 1.0]))
@settings(deadline=None, max_examples=40)
def test_a_mask_agrees_with_counting_pixels(grid: TileGrid, seed: int, min_coverage: float) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 5, (6, 6))
    mask = np.kron(coarse, np.ones((5, 5), int))[: grid.image_shape[0], : grid.image_shape[1]]
    classes = {1: 0, 2: 2, 3: 0}  # two values of one class; 4 is nothing
    found = labels_from_mask(grid, mask, classes, min_coverage)
    for place in range(len(grid)):
        tile = mask[inside(grid, place)]
        covers = {0: float(np.isin(tile, (1, 3)).mean()), 2: float((tile == 2).mean())}
        assert found.labels[place] == expected(covers, min_coverage)
        assert found.coverage[place] == pytest.approx(max(covers.values()))
    torn = np.flatnonzero(found.labels == CONFLICT).tolist()
    assert found.conflicts == tuple((place, (0, 2)) for place in torn)
    assert found.labels.dtype == np.int16
    assert found.coverage.dtype == np.float32


@given(grid=GRIDS, data=st.data(), min_coverage=st.sampled_from([0.2, 0.5, 1.0]))
@settings(deadline=None, max_examples=40)
def test_rectangles_agree_with_sample_points(grid: TileGrid, data: Any, min_coverage: float) -> None:
    coordinate = st.integers(-3, 30)
    boxes = data.draw(st.lists(st.tuples(*[coordinate] * 4, st.integers(0, 2)), max_size=4))
    # corners a little off, so that no sample point lies on an outline
    sides = [(min(a, c) + 0.013, min(b, d) + 0.013, max(a, c) + 0.513, max(b, d) + 0.513, k) for a, b, c, d, k in boxes]
    polygons = [(np.array([(a, b), (a, d), (c, d), (c, b)]), k) for a, b, c, d, k in sides]
    found = labels_from_polygons(grid, polygons, min_coverage)
    steps = (np.arange(8) + 0.5) / 8
    for place in range(len(grid)):
        rows, cols = inside(grid, place)
        y = rows.start + steps[:, None] * (rows.stop - rows.start) - 0.5
        x = cols.start + steps[None, :] * (cols.stop - cols.start) - 0.5
        covers = {}
        for index in sorted({k for *_, k in sides}):
            hit = np.zeros((8, 8), bool)
            for a, b, c, d, k in sides:
                hit |= (k == index) & (y > a) & (y < c) & (x > b) & (x < d)
            covers[index] = float(hit.mean())
        assert found.labels[place] == expected(covers, min_coverage)


def test_a_polygon_and_its_mask_give_the_same_labels() -> None:
    grid = TileGrid.regular((64, 64), 8)
    yy, xx = np.mgrid[:64, :64]
    angles = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    circle = np.stack([30 + 20 * np.sin(angles), 33 + 20 * np.cos(angles)], axis=1)
    drawn = labels_from_polygons(grid, [(circle, 1)])
    painted = labels_from_mask(grid, ((yy - 30) ** 2 + (xx - 33) ** 2 <= 400).astype(np.uint8), {1: 1})
    np.testing.assert_allclose(drawn.coverage, painted.coverage, atol=0.06)
    assert (drawn.labels == painted.labels).mean() > 0.96


def test_two_classes_on_a_tile_are_a_conflict_and_listed() -> None:
    grid = TileGrid.regular((10, 30), 10)
    mask = np.zeros((10, 30), int)
    mask[:5, :10], mask[5:, :10], mask[:, 10:20] = 1, 2, 1
    found = labels_from_mask(grid, mask, {1: 3, 2: 1})
    assert found.labels.tolist() == [CONFLICT, 3, UNLABELLED]
    assert found.conflicts == ((0, (1, 3)),)
    points = labels_from_points(grid, [(1, 1), (8, 8), (5, 15), (5, 15), (50, 50), (5, 25)], [2, 0, 1, 1, 0, -1])
    assert points.labels.tolist() == [CONFLICT, 1, UNLABELLED]
    assert points.conflicts == ((0, (0, 2)),)
    assert points.points_outside == 1
    assert labels_from_polygons(grid, [([(1, 1), (5, 5)], 0), ([], 1)]).labels.tolist() == [UNLABELLED] * 3
    assert labels_from_polygons(grid, []).labels.tolist() == [UNLABELLED] * 3
    assert labels_from_mask(grid, mask, {}).labels.tolist() == [UNLABELLED] * 3


def test_wrong_masks_and_covers_are_told() -> None:
    grid = TileGrid.regular((10, 30), 10)
    with pytest.raises(GridError, match=r"shape \(10, 29\) does not fit"):
        labels_from_mask(grid, np.zeros((10, 29), int), {1: 0})
    with pytest.raises(GridError, match="does not name classes"):
        labels_from_mask(grid, np.zeros((10, 30)), {1: 0})
    for cover in (0, 1.1, math.nan):
        with pytest.raises(ParamsError, match="minimum coverage"):
            labels_from_polygons(grid, [], cover)


POINTS = st.lists(st.tuples(st.floats(-0.5, 39.5), st.floats(-0.5, 49.5)), min_size=1, max_size=12)


@given(points=POINTS, tile=st.integers(1, 30))
@settings(deadline=None, max_examples=60)
def test_a_tile_around_each_point_is_its_own(points: list[tuple[float, float]], tile: int) -> None:
    grid = grid_around_points((40, 50), points, tile)
    assert (grid.boxes[:, :2] >= 0).all()
    assert (grid.boxes[:, 2:] <= [40, 50]).all()
    assert (np.diff(grid.tile_id) > 0).all()
    for y, x in points:
        found = labels_from_points(grid, [(y, x)], [1])
        (place,) = np.flatnonzero(found.labels == 1)
        for axis, value in enumerate((y, x)):
            centre = grid.boxes[place, axis] + tile / 2 - 0.5
            near_edge = value < tile / 2 or value > grid.image_shape[axis] - 1 - tile / 2
            assert abs(centre - value) <= 0.5 + 1e-6 or near_edge
    more = grid_around_points((40, 50), [*points, (20.0, 20.0)], tile)
    assert set(grid.tile_id) <= set(more.tile_id)


def test_points_that_no_tile_can_be_laid_around_are_told() -> None:
    for points, tile, text in (([], 5, "no point"), ([(0, 60)], 5, "outside the field"), ([(1, 1)], 41, "does not fit"), ([(math.nan, 1)], 5, "outside")):  # fmt: skip  # noqa: E501
        with pytest.raises(GridError, match=text):
            grid_around_points((40, 50), points, tile)


def test_points_and_boxes_of_a_csv_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        "Image,X,Y,type,name\na.jpg,3,14,0,one\nb.jpg,1,1,0,two\na.jpg,25.5,4, 1,two\n", encoding="utf-8-sig"
    )
    found = read_points_csv(path, "a.jpg")
    assert (found.points.tolist(), found.names) == ([[14, 3], [4, 25.5]], ("one", "two"))
    assert read_points_csv(path, "a.tif").names == ("one", "two")
    assert len(read_points_csv(path).names) == 3
    labels, names = labels_from_csv(found, TileGrid.regular((20, 30), 10))
    assert (labels.labels.tolist(), names) == ([-1, -1, 1, 0, -1, -1], ("one", "two"))
    path.write_text("image,class,xmin,ymin,xmax,ymax,x,y\na.jpg,RBC,10,0,20,10,15,5\na.jpg,WBC,0,10,5,20,2,15\n")
    boxes = read_boxes_csv(path, "a.jpg")
    assert boxes.boxes.tolist() == [[0, 10, 10, 20], [10, 0, 20, 5]]
    labels, names = labels_from_csv(boxes, TileGrid.regular((20, 30), 10))
    assert (labels.labels.tolist(), names) == ([-1, 0, -1, 1, -1, -1], ("RBC", "WBC"))
    around = grid_around_points((20, 30), boxes.centres(), 8)
    assert labels_from_csv(boxes, around)[0].labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "cannot be read as CSV"),
        ("x,y\n1,1\n", "no column for the image"),
        ("image,x,name\na,1,n\n", "no column for a coordinate, one of y"),
        ("image,x,y\na,1,1\n", "no column for a class"),
        ("image,x,y,name\nb,1,1,n\nb,1,1,n\na,oops,1,n\n", "line 4: x is 'oops', not a number"),
        ("image,x,y,name\na,1,inf,n\n", "line 2: y is 'inf'"),
        ("image,x,y,name\na,1,1, \n", "line 2: the class is empty"),
        ("image,x,y,name\nz,1,1,n\n", "no row for the image a; its images are z"),
        ("image,x,y,name\na,1,1,n,7,8\na,1,1,n,7,8,9\n", "cannot be read as CSV"),
        (b"\x93\xff,", "cannot be read as CSV"),
    ],
)
def test_a_wrong_csv_is_told_in_one_line(tmp_path: Path, content: str | bytes, text: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError, match=text) as caught:
        read_points_csv(path, "a")
    assert "\n" not in str(caught.value)


def test_a_missing_csv_and_an_empty_box_are_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot open"):
        read_points_csv(tmp_path / "no.csv")
    (tmp_path / "boxes.csv").write_text("x0,y0,x1,y1,name\n\n5,1,5,2,a\n")
    with pytest.raises(DatasetError, match="line 3: the box has no area"):
        read_boxes_csv(tmp_path / "boxes.csv")


@pytest.mark.realdata
def test_real_points_and_boxes_become_labels() -> None:
    points = read_points_csv(SHARED / "chula_rbc12" / "labels.csv", "1.jpg")
    grid = grid_around_points((480, 640), points.points, 72)
    labels, names = labels_from_csv(points, grid)
    assert "normal" in names
    assert (labels.labels >= 0).sum() + len(labels.conflicts) == len(grid)
    boxes = read_boxes_csv(SHARED / "bccd" / "labels.csv", "BloodImage_00000.jpg")
    labels, names = labels_from_csv(boxes, TileGrid.regular((480, 640), 40))
    assert set(names) >= {"RBC", "WBC"}
    assert {names[i] for i in set(labels.labels[labels.labels >= 0])} >= {"RBC", "WBC"}
