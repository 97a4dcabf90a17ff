from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests._sessions import misfits, sessions

from napari_cellclass.core.common.errors import CellClassError, DatasetError, GridError, ImageError, ParamsError
from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.labels.annotation import Annotation, open_annotation
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.history import LabelChange
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.labels.label_store import CONFLICT, UNLABELLED, UNSURE
from napari_cellclass.core.labels.tile_labels import grid_around_points
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.grid_layout import grid_from_layout, grid_key, grid_layout

IMAGE = ImageKey("cafe01", "field.png")
GRID = TileGrid.regular((60, 80), 10)  # 6 x 8 tiles
SCHEME = ClassScheme(("round", "long", "dead"))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture
def annotation(journal: Journal) -> Annotation:
    return Annotation(IMAGE, GRID, SCHEME, journal)


def state(annotation: Annotation) -> tuple[Any, ...]:
    history = annotation.history
    return annotation.labels.tolist(), annotation.scheme, bool(history.undo_stack), bool(history.redo_stack)


def again(annotation: Annotation, grid: TileGrid | None = None) -> Annotation:
    found = Annotation.restore(annotation.image, grid or annotation.grid, annotation.journal)
    assert found is not None
    return found


def test_a_label_tells_what_changed_and_labels_cannot_be_written_to(annotation: Annotation) -> None:
    view = annotation.labels
    annotation.label(3, 1)
    change = annotation.label([5, 3, 5], 2)
    assert (change.tile_indices.tolist(), change.before.tolist(), change.after.tolist()) == ([3, 5], [1, -1], [2, 2])
    assert view[[3, 5]].tolist() == [2, 2]
    assert view.dtype == np.int16
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1


def test_a_label_that_is_there_already_is_no_step(annotation: Annotation) -> None:
    annotation.label([1, 2], 0)
    annotation.undo()
    assert len(annotation.label([1, 2], UNLABELLED).tile_indices) == 0
    assert annotation.history.redo_stack
    assert len(annotation.label([], 0).tile_indices) == 0


def test_many_labels_are_one_step_and_the_last_of_a_place_counts(annotation: Annotation) -> None:
    change = annotation.label([4, 1, 4], [0, UNSURE, 2])
    assert change.tile_indices.tolist() == [1, 4]
    assert annotation.labels[[1, 4]].tolist() == [UNSURE, 2]
    annotation.undo()
    assert (annotation.labels == UNLABELLED).all()


@pytest.mark.parametrize(("places", "label"), [(48, 0), (-1, 0)])
def test_a_place_outside_the_grid_is_refused(annotation: Annotation, places: int, label: int) -> None:
    with pytest.raises(IndexError):
        annotation.label(places, label)


@pytest.mark.parametrize("label", [3, -4, 70_000])
def test_a_label_of_no_class_is_refused_and_not_journaled(annotation: Annotation, label: int) -> None:
    with pytest.raises(ValueError, match=r"outside -3\.\.2"):
        annotation.label(0, label)
    assert annotation.journal.entries(IMAGE.image_id) == []


def test_undo_and_redo_without_end_and_across_sessions(annotation: Annotation) -> None:
    states = [state(annotation)[0]]
    for place in range(20):
        annotation.label(place, place % 3)
        states.append(state(annotation)[0])
    annotation = again(annotation)
    for expected in states[-2::-1]:
        assert annotation.undo() is not None
        assert state(annotation)[0] == expected
    assert annotation.undo() is None
    annotation = again(annotation)
    for expected in states[1:]:
        assert annotation.redo() is not None
        assert state(annotation)[0] == expected
    assert annotation.redo() is None
    annotation.undo()
    annotation.label(40, 1)
    assert annotation.redo() is None
    assert again(annotation).redo() is None


def test_classes_change_with_their_tiles_and_all_can_be_undone(annotation: Annotation) -> None:
    annotation.label([0, 1, 2, 3], [0, 1, 2, UNSURE])
    annotation.add_class("mitotic")
    assert (annotation.scheme.names[3], annotation.scheme.keys[3]) == ("mitotic", "4")
    assert annotation.scheme.colours[3] not in annotation.scheme.colours[:3]
    annotation.label(4, 3)
    before = state(annotation)[:2]
    change = annotation.merge_class(0, 2)
    assert change.classes_changed
    assert annotation.scheme.names == ("long", "dead", "mitotic")
    assert annotation.labels[:5].tolist() == [1, 0, 1, UNSURE, 2]
    back = annotation.undo()
    assert back is not None
    assert back.classes_changed
    assert state(annotation)[:2] == before
    change = annotation.remove_class(1)
    assert change.tile_indices.tolist() == [1, 2, 4]
    assert change.before.tolist() == [1, 2, 3]
    assert change.after.tolist() == [UNLABELLED, 1, 2]
    annotation.undo()
    assert state(annotation)[:2] == before
    annotation.change_class(1, name="oval", colour="#010203", key="o")
    assert (annotation.scheme.names[1], annotation.scheme.colours[1], annotation.scheme.keys[1]) == (
        "oval", "#010203", "o",
    )  # fmt: skip
    assert again(annotation).scheme == annotation.scheme
    undone = annotation.undo()
    assert undone is not None
    assert undone.classes_changed
    assert len(undone.tile_indices) == 0
    assert state(annotation)[:2] == before


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda a: a.add_class("long"), "appears twice"),
        (lambda a: a.add_class(" "), "empty name"),
        (lambda a: a.add_class("x", colour="red"), "#RRGGBB"),
        (lambda a: a.add_class("x", key="1"), "belongs to another class"),
        (lambda a: a.add_class("x", key="0"), "except 0 and u"),
        (lambda a: a.add_class("x", key="u"), "except 0 and u"),
        (lambda a: a.add_class("x", key="ab"), "one letter or digit"),
        (lambda a: a.change_class(0, name="dead"), "appears twice"),
        (lambda a: a.change_class(0, key="2"), "belongs to another class"),
        (lambda a: (a.remove_class(0), a.remove_class(0)), "at least two classes"),
    ],
)
def test_wrong_classes_are_refused_in_one_line_and_not_journaled(annotation: Annotation, call: Any, text: str) -> None:
    with pytest.raises(ParamsError, match=text):
        call(annotation)
    assert (
        again(annotation).scheme == annotation.scheme if annotation.history.undo_stack else annotation.scheme == SCHEME
    )
    with pytest.raises(IndexError):
        annotation.remove_class(9)


def test_the_thirtieth_class_does_not_get_the_key_for_unsure(annotation: Annotation) -> None:
    for number in range(40):
        annotation.add_class(f"class {number}")
    keys = [key for key in annotation.scheme.keys if key]
    assert not set(keys) & {"0", "u"}
    assert len(set(keys)) == len(keys)
    assert len(set(annotation.scheme.colours)) == 43


def test_the_steps_of_labels_follow_undo_and_keep_those_that_stay(annotation: Annotation) -> None:
    annotation.label(3, 1)
    annotation.label([5, 6], 2)
    first, second = annotation.label_steps()
    assert (first[0].tolist(), first[1].tolist(), second[0].tolist()) == ([3], [1], [5, 6])
    annotation.undo()
    annotation.label(7, 0)
    steps = annotation.label_steps()
    assert steps[0] is first
    assert [one.tolist() for one, _ in steps] == [[3], [7]]
    annotation.history.use_tiles(GRID.tile_id[3:])
    assert [one.tolist() for one, _ in annotation.label_steps()] == [[0], [4]], "indices are of the tiles held now"


def test_counts_and_frame_tell_of_the_grid(annotation: Annotation) -> None:
    annotation.label([0, 9, 10, 11], [1, 1, UNSURE, CONFLICT])
    counts = dict(annotation.counts().itertuples(index=False))
    assert counts == {"round": 0, "long": 2, "dead": 0, "(unsure)": 1, "(conflict)": 1, "(unlabelled)": 44}
    frame = annotation.frame()
    assert list(frame) == ["tile_id", "row", "col", "y0", "x0", "y1", "x1", "class_name"]
    assert frame.iloc[1].tolist() == [9, 1, 1, 10, 10, 20, 20, "long"]


def test_a_region_neither_shifts_nor_loses_labels(annotation: Annotation, tmp_path: Path) -> None:
    annotation.label([0, 20, 30], [0, 1, 2])
    region = GRID.take([30, 20, 21])
    part = again(annotation, region)
    assert part.labels.tolist() == [2, 1, UNLABELLED]
    assert part.counts()["tiles"].sum() == 3
    part.label(2, 0)
    assert [sorted(change.tile_indices) for change in (part.undo(), part.undo()) if change] == [[2], [0, 1]]
    part.redo()
    part.redo()
    part.save(tmp_path / "part.tiles.json")
    opened = open_annotation(tmp_path / "part.tiles.json", part.journal)
    assert opened.grid.tile_id.tolist() == [20, 21, 30]
    assert opened.labels.tolist() == [1, 0, 2]
    assert opened.labels_of([0, 1]).tolist() == [0, UNLABELLED]
    assert again(annotation).labels[[0, 20, 21, 30]].tolist() == [0, 1, 0, 2]
    part.remove_class(0)
    assert part.labels_of([0]).tolist() == [UNLABELLED]
    part.undo()
    assert part.labels_of([0]).tolist() == [0]


def test_a_file_is_one_sorted_json_without_nan(annotation: Annotation, tmp_path: Path) -> None:
    annotation.label([30, 2, 11], [2, 0, UNSURE])
    path = tmp_path / "new" / "field.tiles.json"
    annotation.save(path)
    content = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert content["schema_version"] == 1
    assert content["image"] == {"id": "cafe01", "name": "field.png"}
    assert list(content["labels"].items()) == [("2", 0), ("11", UNSURE), ("30", 2)]
    assert content["grid"]["image_shape"] == [60, 80]
    assert content["classes"][1] == {"name": "long", "colour": "#56B4E9", "key": "2"}
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_an_opened_file_is_journaled_from_its_first_change(annotation: Annotation, tmp_path: Path) -> None:
    annotation.label(0, 0)
    annotation.save(tmp_path / "a.tiles.json")
    annotation.label(0, 1)
    opened = open_annotation(tmp_path / "a.tiles.json", annotation.journal, IMAGE)
    assert again(annotation).labels[0] == 1
    opened.label(7, 2)
    assert again(annotation).labels[[0, 7]].tolist() == [0, 2]
    assert sessions(annotation.journal, IMAGE.image_id)[annotation.session].store.labels[0] == 1
    opened.undo()
    assert opened.undo() is None


def test_a_file_of_another_image_is_refused_with_both_names(annotation: Annotation, tmp_path: Path) -> None:
    annotation.save(tmp_path / "a.tiles.json")
    with pytest.raises(ImageError) as caught:
        open_annotation(tmp_path / "a.tiles.json", annotation.journal, ImageKey("beef02", "other.png"))
    text = str(caught.value)
    assert all(part in text for part in ("field.png", "cafe01", "other.png", "beef02"))


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("format", "x", "is not an annotation"),
        ("schema_version", 2, "has version 2"),
        ("image", None, "is damaged"),
        ("classes", [], "is damaged"),
        ("labels", {"1": 3}, "not a class index"),
        ("labels", {"99": 0}, "outside the grid"),
        ("labels", {"x": 0}, "is damaged"),
        ("labels", {"1": None}, "is damaged"),
        ("labels", [1], "is damaged"),
        ("labels", {str(2**70): 0}, "is damaged"),
        ("grid.tile_px", [0, 10], "is damaged"),
        ("grid.tile_px", "ab", "is damaged"),
        ("grid.grid_shape", [10**7, 10**7], "is damaged"),
        ("grid.image_shape", [10**12, 5], "is damaged"),
        ("grid.edge", "other", "is damaged"),
        ("grid.tiles", [5, 2], "is damaged"),
        ("grid.tiles", [0, 5, 3], "is damaged"),
        ("grid.tiles", [40, 50], "is damaged"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(
    annotation: Annotation, tmp_path: Path, path: str, value: Any, text: str
) -> None:
    file = tmp_path / "a.tiles.json"
    annotation.save(file)
    content = json.loads(file.read_text())
    *parents, last = path.split(".")
    part = content
    for name in parents:
        part = part[name]
    part[last] = value
    file.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=text) as caught:
        open_annotation(file, annotation.journal)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]"])
def test_what_is_no_annotation_is_told(journal: Journal, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.tiles.json"
    with pytest.raises(DatasetError, match="cannot open"):
        open_annotation(path, journal)
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="not an annotation"):
        open_annotation(path, journal)


GRIDS = st.one_of(
    st.builds(
        TileGrid.regular,
        st.tuples(st.integers(12, 90), st.integers(12, 90)),
        st.tuples(st.integers(3, 12), st.integers(3, 12)),
        st.sampled_from([0.0, 0.25, 0.5]),
        st.sampled_from(["drop", "pad", "shift"]),
    ),
    st.builds(TileGrid.from_tile_count, st.tuples(st.integers(10, 60), st.integers(10, 60)), st.integers(1, 30)),
    st.builds(
        grid_around_points,
        st.just((40, 50)),
        st.lists(st.tuples(st.floats(0, 39), st.floats(0, 49)), min_size=1, max_size=8),
        st.integers(1, 20),
    ),
)


@given(grid=GRIDS, data=st.data())
@settings(deadline=None, max_examples=60)
def test_a_grid_is_laid_again_from_its_description_and_a_region_keeps_the_key(grid: TileGrid, data: Any) -> None:
    chosen = data.draw(st.sets(st.integers(0, len(grid) - 1)))
    part = grid.take(np.array(sorted(chosen), int))
    assert grid_key(part) == grid_key(grid)
    laid = grid_from_layout(json.loads(json.dumps(grid_layout(part))))
    assert grid_key(laid) == grid_key(grid)
    for name in ("boxes", "row", "col"):
        np.testing.assert_array_equal(getattr(laid, name), getattr(part, name))
    assert grid_layout(laid) == grid_layout(part)


def test_different_grids_have_different_keys_and_loose_tiles_none() -> None:
    grids = [
        GRID, TileGrid.regular((60, 80), 10, edge="pad"), TileGrid.regular((60, 80), 10, 0.5),
        TileGrid.regular((60, 80), 20), TileGrid.regular((60, 81), 10), TileGrid.from_tile_count((60, 80), 9),
        grid_around_points((60, 80), [(30, 30)], 10),
    ]  # fmt: skip
    assert len({grid_key(grid) for grid in grids}) == len(grids)
    loose = TileGrid(GRID.boxes + 1, GRID.row, GRID.col, (10, 10), (10, 10), (60, 80), (6, 8))
    for grid in (loose, GRID.take([1, 1])):
        with pytest.raises(GridError):
            grid_key(grid)


CALLS = st.one_of(
    st.tuples(st.just("label"), st.lists(st.integers(0, 11), max_size=4), st.integers(-3, 4)),
    st.tuples(
        st.just("label each"), st.lists(st.tuples(st.integers(0, 11), st.integers(-3, 4)), min_size=1, max_size=5)
    ),
    st.tuples(st.sampled_from(["undo", "redo"])),
    st.tuples(st.just("add_class"), st.sampled_from(["a", "b", "c", "d"])),
    st.tuples(st.just("change_class"), st.integers(0, 4), st.sampled_from(["a", "x", "y"])),
    st.tuples(st.just("merge_class"), st.integers(0, 4), st.integers(0, 4)),
    st.tuples(st.just("remove_class"), st.integers(0, 4)),
    st.tuples(st.just("restart")),
)


def play(annotation: Annotation, call: tuple[Any, ...]) -> LabelChange | None:
    name, *arguments = call
    if name == "label each":
        name = "label"
        arguments = [list(part) for part in zip(*arguments[0], strict=True)]
    try:
        return getattr(annotation, name)(*arguments)
    except (IndexError, ValueError, CellClassError):
        return None


@given(calls=st.lists(CALLS, max_size=30))
@settings(deadline=None, max_examples=60)
def test_any_sequence_equals_the_replay_of_its_journal(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[Any, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("sequence")
    annotation = Annotation(IMAGE, TileGrid.regular((30, 40), 10), ClassScheme(("a", "b")), Journal(folder))
    start = state(annotation)[:2]
    for call in calls:
        if call[0] == "restart":
            annotation = Annotation.restore(IMAGE, annotation.grid, annotation.journal) or annotation
            continue
        before, scheme = annotation.labels.copy(), annotation.scheme
        change = play(annotation, call)
        if change is not None:
            expected = before.copy()
            expected[change.tile_indices] = change.after
            np.testing.assert_array_equal(expected, annotation.labels)
            np.testing.assert_array_equal(before[change.tile_indices], change.before)
            assert (change.before != change.after).all()
            assert change.classes_changed == (annotation.scheme is not scheme)
    found = Annotation.restore(IMAGE, annotation.grid, annotation.journal)
    assert (state(found) if found else state(annotation)) == state(annotation)
    if found:
        assert misfits(annotation.journal, IMAGE.image_id, annotation.session) == 0
    annotation.save(folder / "a.tiles.json")
    opened = open_annotation(folder / "a.tiles.json", annotation.journal)
    assert state(opened)[:2] == state(annotation)[:2]
    while annotation.undo():
        pass
    assert state(annotation)[:2] == start
