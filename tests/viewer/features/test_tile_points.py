"""Tiles as points: which is which, their colours, and the outline of those that are selected."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.tile_labels import grid_around_points
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.features.selected_tiles import outline
from napari_cellclass.viewer.features.tile_points import (
    ColourBy,
    PointField,
    PointStates,
    TilePoints,
    colour_points,
)

SCHEME = ClassScheme(("a", "b"), ("#FF0000", "#0000FF"))
FIELDS = (
    PointField("k1", "B03_s1.tif", Path("/data/plate1/B03_s1.tif")),
    PointField("k2", "B03_s2.tif", Path("/data/plate1/B03_s2.tif")),
    PointField("k3", "C04_s1.tif", Path("/data/plate2/C04_s1.tif")),
)


def points_of(*tiles: list[int]) -> TilePoints:
    parts = [
        (field, np.array(some, np.int64), np.zeros((len(some), 2), np.float32))
        for field, some in zip(FIELDS, tiles, strict=False)
    ]
    return TilePoints.of(parts)


def test_a_tile_and_its_point_lead_to_each_other() -> None:
    points = points_of([0, 2, 5], [], [1, 2])
    assert points.points_of("k1", np.array([5, 0])).tolist() == [2, 0]
    assert points.points_of("k3", np.array([2, 7, 0])).tolist() == [4], "tiles without a point are left out"
    assert points.points_of("k2", np.array([0])).tolist() == []
    assert points.points_of("unknown", np.array([0])).tolist() == []
    assert points.tiles_of("k1", np.array([0, 2, 3])).tolist() == [0, 5]
    assert points.tiles_of("k3", np.array([0, 2, 3])).tolist() == [1]


@pytest.mark.parametrize("by", get_args(ColourBy))
def test_nothing_known_and_no_points_are_coloured_too(by: ColourBy) -> None:
    for points in (points_of([0, 1], [0]), points_of([], []), TilePoints.of([])):
        found = colour_points(by, points, PointStates.unknown(len(points)), SCHEME)
        assert found.rgba.shape == (len(points), 4)
        assert np.isfinite(found.rgba).all()


def test_colours_are_those_of_the_classes_and_the_legend_lists_what_there_is() -> None:
    points = points_of([0, 1, 2, 3])
    states = PointStates(
        np.array([0, -1, -2, 1], np.int16), np.array([1, 1, -1, 0], np.int16), np.array([1, 0.5, np.nan, 0], np.float32)
    )
    found = colour_points("prediction", points, states, SCHEME)
    assert found.rgba[[0, 1, 3], :3].tolist() == [[0, 0, 1], [0, 0, 1], [1, 0, 0]]
    assert [text for text, _ in found.legend] == ["a", "b", "not predicted"]
    found = colour_points("label", points, states, SCHEME)
    assert found.rgba[[0, 3], :3].tolist() == [[1, 0, 0], [0, 0, 1]]
    assert [text for text, _ in found.legend] == ["a", "b", "unsure", "not labelled"]
    states_shown = colour_points("labelled or not", points, states, SCHEME)
    assert [text for text, _ in states_shown.legend] == ["labelled", "not labelled", "unsure"]
    assert (states_shown.rgba[0] == states_shown.rgba[3]).all()
    confidence = colour_points("confidence", points, states, SCHEME).rgba
    assert confidence[0, :3].sum() > confidence[1, :3].sum() > confidence[3, :3].sum(), "brighter where surer"
    assert confidence[2, 3] < 1, "faint where nothing is predicted"


def test_fields_wells_and_plates_are_told_apart() -> None:
    points = points_of([0], [0], [0])
    states = PointStates.unknown(3)
    names = {by: [text for text, _ in colour_points(by, points, states, SCHEME).legend] for by in get_args(ColourBy)}
    assert names["field"] == ["B03_s1.tif", "B03_s2.tif", "C04_s1.tif"]
    assert names["well"] == ["B03", "C04"]
    assert names["plate"] == ["plate1", "plate2"]
    wells = colour_points("well", points, states, SCHEME).rgba
    assert (wells[0] == wells[1]).all()
    assert (wells[0] != wells[2]).any()


def test_many_fields_make_a_short_legend_and_equal_names_are_numbered() -> None:
    fields = [PointField(f"k{i}", "same.tif") for i in range(30)]
    points = TilePoints.of([(one, np.array([0]), np.zeros((1, 2), np.float32)) for one in fields])
    legend = colour_points("field", points, PointStates.unknown(30), SCHEME).legend
    assert len(legend) == 8
    assert legend[0][0] == "same.tif (1)"
    assert legend[-1][0] == "and 23 more"


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 19), min_size=1), st.sampled_from([0.0, 0.5]))
def test_the_outline_of_tiles_goes_between_them_and_all_others(chosen: set[int], overlap: float) -> None:
    grid = TileGrid.regular((16 * 4, 16 * 5) if not overlap else (8 * 5, 8 * 6), 16, overlap=overlap)
    assert grid.grid_shape == (4, 5)
    inside = np.zeros((4, 5), bool)
    inside.ravel()[list(chosen)] = True
    lines = outline(grid, np.array(sorted(chosen)))
    padded = np.pad(inside, 1)
    assert len(lines) == np.diff(padded, axis=0).sum() + np.diff(padded, axis=1).sum()
    step, middle = grid.step_px[0], lines.mean(axis=1)
    for end, other in lines:
        assert sorted(np.abs(end - other).tolist()) == [0, step]
    for y, x in middle:  # a tile of the set on one side, none on the other
        along_y = abs((y - 7.5) / step % 1 - 0.5) < 1e-6
        sides = [(y - step / 2, x), (y + step / 2, x)] if along_y else [(y, x - step / 2), (y, x + step / 2)]
        cells = [(round((a - 7.5) / step) + 1, round((b - 7.5) / step) + 1) for a, b in sides]
        assert padded[cells[0]] != padded[cells[1]]


def test_no_tiles_have_no_outline_and_tiles_around_points_one_each() -> None:
    grid = TileGrid.regular((64, 64), 16)
    assert outline(grid, np.zeros(0, np.int64)).shape == (0, 2, 2)
    sparse = grid_around_points((64, 64), [(20.0, 20.0), (30.0, 40.0)], 8)
    lines = outline(sparse, np.array([1]))
    assert lines.shape == (4, 2, 2)
    np.testing.assert_allclose(lines.reshape(-1, 2).min(axis=0), sparse.boxes[1, :2] - 0.5)
    np.testing.assert_allclose(lines.reshape(-1, 2).max(axis=0), sparse.boxes[1, 2:] - 0.5)
