"""The curve of the accuracy follows labels that are given and taken back, and tells where it does not move."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.core.stats.intervals import Estimate
from napari_cellclass.runs.live.accuracy_curve import AccuracyCurve, has_settled

GOOD, BETTER = Estimate(0.8, 0.7, 0.88), Estimate(0.95, 0.91, 0.98)


@given(steps=st.lists(st.integers(1, 3000), max_size=60))
def test_a_curve_rises_in_labels_and_ends_where_the_labels_do(steps: list[int]) -> None:
    curve = AccuracyCurve()
    for n in steps:
        numbers = [point.n_labels for point in curve.add(n, GOOD)]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == n


def test_many_labels_keep_the_first_and_the_newest_points() -> None:
    curve = AccuracyCurve()
    for n in range(2, 5000):
        points = curve.add(n, GOOD)
    assert len(points) <= 400
    assert (points[0].n_labels, points[-1].n_labels) == (2, 4999)
    assert {point.n_labels for point in points} >= set(range(4900, 5000))


def test_what_cannot_be_estimated_is_no_point() -> None:
    curve = AccuracyCurve()
    curve.add(10, GOOD)
    assert [point.n_labels for point in curve.add(11, None)] == [10]
    assert curve.add(9, None) == ()


def test_an_estimate_that_moved_or_is_new_has_not_settled() -> None:
    def settled(*estimates: tuple[int, Estimate]) -> bool:
        curve = AccuracyCurve()
        for n, estimate in estimates:
            points = curve.add(n, estimate)
        return has_settled(points, estimates[-1][0], 20)

    assert settled((40, GOOD), (60, GOOD))
    assert not settled((40, GOOD), (60, BETTER))
    assert not settled((40, BETTER), (60, GOOD))
    assert not settled((50, GOOD), (60, GOOD)), "nothing was known 20 labels ago"
    assert not has_settled((), 60, 20)
    assert not has_settled(AccuracyCurve().add(40, GOOD), 60, 20), "nothing is known now"
