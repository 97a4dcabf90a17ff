from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests._patience import PROCESS_S

from napari_cellclass.core.common import journal as module
from napari_cellclass.core.common.errors import DatasetError, OutputError, ParamsError
from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.labels.label_store import UNLABELLED, UNSURE
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.grid_layout import grid_key
from napari_cellclass.core.workspace.labels import LOG, FieldAnnotation, ProjectLabels

SCHEME = ClassScheme(("round", "long", "dead"))
FINE, COARSE = TileGrid.regular((40, 50), 10), TileGrid.regular((40, 50), 20)  # 4 x 5 and 2 x 2 tiles
OWNERS = [("one", FINE), ("two", FINE), ("two", COARSE)]


@pytest.fixture
def labels(tmp_path: Path) -> ProjectLabels:
    return ProjectLabels(Journal(tmp_path / "labels"), SCHEME)


def opened(labels: ProjectLabels, field: str, grid: TileGrid = FINE) -> FieldAnnotation:
    return labels.annotation(ImageKey(field, f"{field}.png"), grid)


def again(labels: ProjectLabels) -> ProjectLabels:
    return ProjectLabels(labels.journal, SCHEME)


# -- any sequence of edits and undos -------------------------------------------------------------------

State = tuple[list[str], dict[tuple[str, str], dict[int, str]]]
"""Names of the classes, and the name of each labelled tile by field and grid."""
LABEL = st.tuples(
    st.just("label"), st.integers(0, 2), st.lists(st.integers(0, 19), max_size=4), st.integers(-2, 4)
)  # fmt: skip
CLASSES = st.tuples(st.sampled_from(["rename", "merge", "remove", "add"]), st.integers(0, 4), st.integers(0, 4))
OTHER = st.tuples(st.sampled_from(["undo", "undo", "redo", "reopen"]))


class Model:
    """Edits and undos in memory, as simple as can be: a list of states and where in it we are."""

    def __init__(self) -> None:
        self.states: list[State] = [(list(SCHEME.names), {})]
        self.now = 0

    @property
    def state(self) -> State:
        return self.states[self.now]

    def change(self, names: list[str], tiles: dict[tuple[str, str], dict[int, str]]) -> None:
        state = (names, {owner: found for owner, found in tiles.items() if found})
        if state != self.state:
            self.states[self.now + 1 :] = [state]
            self.now += 1

    def move(self, by: int) -> None:
        self.now = min(max(self.now + by, 0), len(self.states) - 1)

    def label(self, owner: tuple[str, str], tiles: list[int], name: str | None) -> None:
        names, found = deepcopy(self.state)
        for tile in tiles:
            if name is None:
                found.get(owner, {}).pop(tile, None)
            else:
                found.setdefault(owner, {})[tile] = name
        self.change(names, found)

    def map_names(self, names: list[str], new: dict[str, str | None]) -> None:
        tiles = {
            owner: {tile: one for tile, name in found.items() if (one := new.get(name, name)) is not None}
            for owner, found in self.state[1].items()
        }
        self.change(names, tiles)


def state_of(labels: ProjectLabels) -> State:
    """What the labels are, read as a caller would: of opened grids and of those that are not."""
    names = labels.scheme.names
    found: dict[tuple[str, str], dict[int, str]] = {}
    for field, grid in OWNERS:
        annotation = opened(labels, field, grid)
        assert annotation.scheme == labels.scheme
        tiles = np.flatnonzero(annotation.labels != UNLABELLED)
        if len(tiles):
            values = annotation.labels[tiles].tolist()
            found[field, grid_key(grid)] = {
                tile: "unsure" if value == UNSURE else names[value]
                for tile, value in zip(tiles.tolist(), values, strict=True)
            }
    return list(names), found


def do(labels: ProjectLabels, model: Model, action: tuple[Any, ...], count: int) -> ProjectLabels:
    """Do one thing to both, unless it is impossible for either."""
    names = list(model.state[0])
    match action:
        case ("label", owner, tiles, value):
            field, grid = OWNERS[owner]
            tiles = [tile % len(grid) for tile in tiles]
            value = min(value, len(names) - 1)
            opened(labels, field, grid).label(tiles, value)
            name = {UNLABELLED: None, UNSURE: "unsure"}.get(value, names[value])
            model.label((field, grid_key(grid)), tiles, name)
        case ("undo",):
            assert (labels.undo() is not None) == (model.now > 0)
            model.move(-1)
        case ("redo",):
            assert (labels.redo() is not None) == (model.now < len(model.states) - 1)
            model.move(1)
        case ("reopen",):
            labels = again(labels)
        case ("add", *_):
            labels.add_class(f"class {count}")
            model.map_names([*names, f"class {count}"], {})
        case ("rename", index, _):
            old = names[index % len(names)]
            labels.change_class(index % len(names), name=f"class {count}")
            model.map_names([f"class {count}" if one == old else one for one in names], {old: f"class {count}"})
        case (how, index, into) if len(names) > 2:
            index, into = index % len(names), into % len(names)
            old, left = names[index], names[:index] + names[index + 1 :]
            if how == "remove":
                labels.remove_class(index)
                model.map_names(left, {old: None})
            elif index != into:
                labels.merge_class(index, into)
                model.map_names(left, {old: names[into]})
    return labels


@given(actions=st.lists(LABEL | CLASSES | OTHER, max_size=30), cut=st.floats(0, 1))
@settings(deadline=None, max_examples=120)
def test_any_edits_and_undos_equal_those_of_a_simple_model_and_a_cut_log_a_prefix_of_them(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[Any, ...]], cut: float
) -> None:
    labels, model = ProjectLabels(Journal(tmp_path_factory.mktemp("log")), SCHEME), Model()
    path = labels.journal.path(LOG)
    states = [(0, deepcopy(model.state))]
    for count, action in enumerate(actions):
        labels = do(labels, model, action, count)
        assert state_of(labels) == model.state
        assert (labels.can_undo, labels.can_redo) == (model.now > 0, model.now < len(model.states) - 1)
        states.append((path.stat().st_size if path.exists() else 0, deepcopy(model.state)))
    found = again(labels)
    assert state_of(found) == model.state
    assert found.skipped == 0
    if path.exists():
        end = round(cut * states[-1][0])
        os.truncate(path, end)
        assert state_of(again(labels)) == next(state for size, state in reversed(states) if size <= end)


# -- one scheme, one undo ------------------------------------------------------------------------------


def test_a_class_edit_is_one_step_of_all_fields_also_of_those_that_are_not_opened(labels: ProjectLabels) -> None:
    one, two = opened(labels, "one"), opened(labels, "two")
    one.label([0, 1], 0)
    two.label([2], 2)
    found = again(labels)
    shown = opened(found, "one")
    found.merge_class(0, 2)
    assert found.scheme.names == shown.scheme.names == ("long", "dead")
    assert found.frame("two", grid_key(FINE))["class_name"].tolist() == ["dead"]
    assert found.counts().to_numpy().tolist() == [["long", 0, 0], ["dead", 3, 2]]
    step = found.undo()
    assert step is not None
    assert step.classes_changed
    assert found.scheme == shown.scheme == SCHEME
    assert shown.labels[:2].tolist() == [0, 0]
    assert opened(found, "two").labels[2] == 2


def test_a_field_that_is_labelled_after_a_class_edit_follows_its_undo(labels: ProjectLabels) -> None:
    labels.add_class("new")
    opened(labels, "one").label(0, 3)
    labels.undo()
    labels.undo()
    assert opened(labels, "one").scheme == opened(labels, "two").scheme == SCHEME
    labels.redo()
    labels.redo()
    assert opened(labels, "one").labels[0] == 3
    assert opened(labels, "two").scheme.names[3] == "new"


def test_undo_takes_the_last_step_of_whichever_field_and_says_which(labels: ProjectLabels) -> None:
    one, two = opened(labels, "one"), opened(labels, "two")
    one.label(3, 1)
    two.label(4, 2)
    change = one.undo()
    assert change is not None
    assert len(change.tile_indices) == 0
    assert two.labels[4] == UNLABELLED
    step = labels.undo()
    assert step is not None
    assert (step.field, step.grid_key) == ("one", grid_key(FINE))
    assert step.change is not None
    assert (step.change.tile_indices.tolist(), step.change.after.tolist()) == ([3], [UNLABELLED])
    assert labels.undo() is None


def test_labels_of_another_grid_stay_and_are_counted(labels: ProjectLabels) -> None:
    opened(labels, "two", COARSE).label([0, 1], 1)
    opened(labels, "two", FINE).label(5, 0)
    assert labels.fields_labelled() == {"two": {grid_key(COARSE): 2, grid_key(FINE): 1}}
    assert labels.counts({"two": grid_key(COARSE)})["tiles"].tolist() == [0, 2, 0]
    assert opened(labels, "two", COARSE).labels.tolist() == [1, 1, UNLABELLED, UNLABELLED]


def test_one_field_and_grid_have_one_annotation_and_a_region_loses_no_label(labels: ProjectLabels) -> None:
    whole = opened(labels, "one")
    whole.label([0, 7, 19], 1)
    region = opened(labels, "one", FINE.take(np.array([7, 8])))
    assert region is whole
    assert region.labels.tolist() == [1, UNLABELLED]
    region.label(1, 2)
    assert opened(labels, "one").labels[[0, 7, 8, 19]].tolist() == [1, 1, 2, 1]


def test_tiles_with_their_boxes_are_those_of_the_grid(labels: ProjectLabels) -> None:
    opened(labels, "one").label([7, 3], [0, UNSURE])
    row = labels.frame("one", grid_key(FINE)).iloc[0]
    assert [*row[["tile_id", "y0", "x0", "y1", "x1"]]] == [7, *FINE.boxes[7].tolist()]
    assert (row["class_name"], row["colour"]) == ("round", SCHEME.colours[0])
    assert len(labels.frame("one", grid_key(FINE))) == 1
    assert labels.frame("two", grid_key(FINE)).empty
    assert grid_key(labels.grid_of("one", grid_key(FINE))) == grid_key(FINE)
    with pytest.raises(KeyError):
        labels.layout_of("two", grid_key(FINE))


def test_every_step_changes_the_revision(labels: ProjectLabels) -> None:
    seen = [labels.revision]
    for change in (
        lambda: opened(labels, "one").label(0, 1), labels.undo, labels.redo, lambda: labels.add_class("x"),
    ):  # fmt: skip
        change()
        seen.append(labels.revision)
    assert len(set(seen)) == 5
    opened(labels, "one").label(0, 1)
    assert labels.revision == seen[-1]


# -- on disk -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "code"), [("write", errno.ENOSPC), ("fsync", errno.EIO), ("open", errno.EROFS)])
def test_a_step_that_cannot_be_written_is_not_taken(
    labels: ProjectLabels, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    opened(labels, "one").label([0, 1], [0, 1])
    labels.add_class("x")
    labels.undo()
    before, content = state_of(labels), labels.journal.path(LOG).read_bytes()

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(module.os, call, fail)
        for change in (
            lambda: opened(labels, "two").label(5, 2), labels.undo, labels.redo,
            lambda: labels.add_class("y"), lambda: labels.merge_class(0, 1),
        ):  # fmt: skip
            with pytest.raises(OutputError, match=str(labels.journal.path(LOG))):
                change()
    assert (state_of(labels), labels.journal.path(LOG).read_bytes()) == (before, content)
    opened(labels, "two").label(5, 2)
    assert state_of(again(labels)) == state_of(labels)


def test_a_refused_edit_writes_nothing(labels: ProjectLabels) -> None:
    opened(labels, "one").label(0, 1)
    content = labels.journal.path(LOG).read_bytes()
    for refused in (lambda: labels.add_class("long"), lambda: labels.change_class(0, key="0")):
        with pytest.raises(ParamsError):
            refused()
    for wrong in (lambda: opened(labels, "two").label(99, 1), lambda: labels.remove_class(7)):
        with pytest.raises(IndexError):
            wrong()
    assert labels.journal.path(LOG).read_bytes() == content


def test_without_its_log_the_labels_are_those_of_the_snapshot(labels: ProjectLabels) -> None:
    opened(labels, "one").label([0, 1], [2, UNSURE])
    opened(labels, "two", COARSE).label(3, 1)
    kept, expected = labels.snapshot(), state_of(labels)
    labels.journal.path(LOG).unlink()
    found = ProjectLabels(labels.journal, SCHEME, kept)
    assert state_of(found) == expected
    assert not found.can_undo
    opened(found, "one").label(5, 0)
    assert state_of(again(found)) == state_of(found) != expected


def test_a_log_without_its_beginning_is_not_guessed_at(labels: ProjectLabels) -> None:
    opened(labels, "one").label(0, 1)
    kept, expected = labels.snapshot(), state_of(labels)
    path = labels.journal.path(LOG)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"\0" * 20 + b"\n" + b"".join(lines[1:]))
    found = ProjectLabels(labels.journal, SCHEME, kept)
    assert state_of(found) == expected
    assert found.skipped == 2
    opened(found, "two").label(1, 1)
    assert state_of(again(found)) == state_of(found)


def test_garbage_in_the_middle_costs_its_own_lines_only(labels: ProjectLabels) -> None:
    for tile in range(4):
        opened(labels, "one").label(tile, 1)
    labels.undo()
    path = labels.journal.path(LOG)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[5] = b'{"do":"label","g":0,"n":4,"set":{"1":[99]}}\n'  # the step that the undo takes back
    path.write_bytes(b"".join([*lines, b'{"do":"label","g":5}\n', b'{"do":"classes","n":9}\n']))
    found = again(labels)
    assert opened(found, "one").labels[:4].tolist() == [1, 1, 1, UNLABELLED]
    assert found.skipped == 4


PARTS = st.one_of(
    st.sampled_from(["label", "classes", "undo", "redo", "start", "grid", 1]),
    st.none() | st.integers() | st.text(max_size=2),
    st.lists(st.integers(-5, 5), max_size=3),
    st.dictionaries(st.sampled_from(["1", "-9", "x", "tile_px"]), st.lists(st.integers(), max_size=3) | st.none()),
)


@given(
    line=st.dictionaries(
        st.sampled_from(["do", "set", "n", "of", "classes", "map", "g", "i", "field", "key", "v"]), PARTS
    )
)
@settings(deadline=None, max_examples=80)
def test_no_line_can_break_the_replay(tmp_path_factory: pytest.TempPathFactory, line: dict[str, Any]) -> None:
    labels = ProjectLabels(Journal(tmp_path_factory.mktemp("odd")), SCHEME)
    opened(labels, "one").label(1, 1)
    for do in (line.get("do", 0), "label", "grid", "start"):
        labels.journal.append(LOG, line | {"do": do})
    assert opened(again(labels), "one").labels.shape == (20,)


def test_a_damaged_snapshot_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="open an earlier copy"):
        ProjectLabels(Journal(tmp_path), SCHEME, [{"field": "one"}])


def test_labels_without_a_project_are_copied_with_their_steps(labels: ProjectLabels, tmp_path: Path) -> None:
    labels.copy_log(tmp_path / "empty")
    assert state_of(ProjectLabels(Journal(tmp_path / "empty"), ClassScheme(("x", "y"))))[0] == list(SCHEME.names)
    opened(labels, "one").label(0, 1)
    labels.add_class("new")
    labels.copy_log(tmp_path / "copy")
    found = ProjectLabels(Journal(tmp_path / "copy"), SCHEME)
    assert state_of(found) == state_of(labels)
    assert found.undo() is not None
    assert found.scheme == SCHEME


# -- several processes ---------------------------------------------------------------------------------


def test_labels_that_are_open_for_reading_refuse_changes_and_follow_the_writer(labels: ProjectLabels) -> None:
    opened(labels, "one").label(0, 1)
    reader = ProjectLabels(labels.journal, SCHEME, read_only=True)
    shown = opened(reader, "one")
    with pytest.raises(OutputError, match="for reading only"):
        shown.label(1, 1)
    assert not reader.refresh()
    opened(labels, "one").label(2, 0)
    labels.add_class("new")
    assert reader.refresh()
    assert state_of(reader) == state_of(labels)
    assert shown.labels[:3].tolist() == [1, UNLABELLED, 0]


def test_two_that_write_one_log_share_its_steps(labels: ProjectLabels) -> None:
    other = again(labels)
    opened(labels, "one").label(0, 1)
    opened(other, "two").label(1, 1)
    opened(other, "one").label(1, 2)
    change = opened(labels, "one").label(2, 0)
    assert change.tile_indices.tolist() == [1, 2]
    other.add_class("new")
    with pytest.raises(ParamsError, match="another program changed the classes"):
        opened(labels, "one").label(5, 1)
    opened(labels, "one").label(5, 3)
    opened(other, "one").label([], 0)
    assert state_of(labels) == state_of(other) == state_of(again(labels))


def test_a_log_that_was_removed_begins_again_with_all_labels(labels: ProjectLabels) -> None:
    opened(labels, "one").label([1, 2], 1)
    labels.journal.path(LOG).unlink()
    opened(labels, "two").label(3, 2)
    found = again(labels)
    assert state_of(found) == state_of(labels)
    assert [found.undo() is not None, found.undo() is not None] == [True, False]
    assert labels.undo() is None
    assert state_of(labels) == state_of(found)


LABELLER = """
import sys
from pathlib import Path
from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.workspace.labels import ProjectLabels

labels = ProjectLabels(Journal(Path(sys.argv[1])), ClassScheme(("round", "long", "dead")))
fields = [labels.annotation(ImageKey(f"f{i}", f"f{i}.png"), TileGrid.regular((400, 500), 10)) for i in range(5)]
for step in range(3000):
    if step % 10 == 9:
        labels.change_class(step % 3, name=f"class {step}")
    else:
        fields[step % 5].label(step // 5, step % 3)
    print(step, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("after", [1, 35, 90])
def test_kill_9_loses_at_most_the_step_in_flight_and_leaves_one_scheme(labels: ProjectLabels, after: int) -> None:
    command = [sys.executable, "-c", LABELLER, str(labels.journal.folder)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    printed = [int(child.stdout.readline()) for _ in range(after)]
    child.send_signal(signal.SIGKILL)
    printed += [int(line) for line in child.stdout.read().split()]
    child.wait(timeout=PROCESS_S)
    found = again(labels)
    fields = [found.annotation(ImageKey(f"f{i}", ""), TileGrid.regular((400, 500), 10)) for i in range(5)]
    done = {(step % 5, step // 5) for step in range(len(printed)) if step % 10 != 9}
    there = {(i, int(tile)) for i, one in enumerate(fields) for tile in np.flatnonzero(one.labels >= 0)}
    assert there >= done
    assert len(there - done) <= 1
    assert {one.scheme for one in fields} == {found.scheme}
    renamed = list(range(9, len(printed), 10))
    assert found.scheme.names[renamed[-1] % 3].startswith("class ") if renamed else True
    steps = 0
    while found.undo() is not None:
        steps += 1
    assert steps - len(printed) in (0, 1)
    assert found.scheme == SCHEME
