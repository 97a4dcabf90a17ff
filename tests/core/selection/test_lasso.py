"""Points within a line, against matplotlib's paths, and the point of a click."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon

from napari_cellclass.core.selection.lasso import nearest_point, points_inside


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 40), st.integers(0, 2**16))
def test_a_lasso_takes_exactly_the_points_that_it_goes_around(corners: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radius = rng.uniform(0.2, 1, corners)  # a star that does not cross itself
    polygon = np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)
    points = rng.uniform(-1.2, 1.2, (500, 2)).astype(np.float32)
    expected = Polygon(polygon).contains_points(points)
    assert points_inside(points, polygon).tolist() == np.flatnonzero(expected).tolist()
    assert points_inside(points, polygon[::-1]).tolist() == np.flatnonzero(expected).tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16))
def test_polygons_that_share_an_edge_share_no_point_and_lose_none(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 5, (200, 2)).astype(float)  # many of them on edges and corners
    a, b, c, d = np.array([[-1.0, -1], [6, -1], [6, 6], [-1, 6]])
    one, other = points_inside(points, np.array([a, b, c])), points_inside(points, np.array([a, c, d]))
    assert np.sort(np.concatenate([one, other])).tolist() == list(range(200))


def test_where_a_line_goes_around_twice_is_outside() -> None:
    square = np.array([[0.0, 0], [4, 0], [4, 4], [0, 4]])
    assert points_inside(np.array([[2.0, 2]]), np.concatenate([square, square])).tolist() == []
    bow = np.array([[0.0, 0], [4, 4], [4, 0], [0, 4]])
    assert points_inside(np.array([[3.5, 2], [2, 3.5], [0.5, 2]]), bow).tolist() == [0, 2]


def test_points_without_a_place_are_never_chosen() -> None:
    points = np.array([[np.nan, np.nan], [1.0, 1.0], [np.inf, 1.0]])
    assert points_inside(points, np.array([[0.0, 0], [2, 0], [2, 2], [0, 2]])).tolist() == [1]
    assert nearest_point(points, (1.1, 1.0), (1, 1)) == 1
    assert nearest_point(points[[0, 2]], (1.1, 1.0), (1, 1)) is None


def test_a_line_of_two_corners_and_an_empty_plot_choose_nothing() -> None:
    assert len(points_inside(np.ones((3, 2)), np.array([[0.0, 0], [2, 2]]))) == 0
    assert len(points_inside(np.zeros((0, 2)), np.ones((4, 2)))) == 0
    assert nearest_point(np.zeros((0, 2)), (0, 0), (1, 1)) is None


def test_a_click_means_the_nearest_point_within_reach_measured_along_each_axis() -> None:
    points = np.array([[0.0, 0], [10, 0], [0, 0.3]])
    assert nearest_point(points, (9, 0.0), (2, 0.1)) == 1
    assert nearest_point(points, (1.5, 0.0), (2, 0.1)) == 0, "0.3 is far along y"
    assert nearest_point(points, (5, 0.0), (2, 0.1)) is None
