from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellclass.core.common import journal as module
from napari_cellclass.core.common.errors import DatasetError, OutputError, ParamsError
from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.labels.annotation import Annotation, ImageKey
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.tiles.grid import TileGrid

IMAGE = ImageKey("cafe01", "field.png")
GRID = TileGrid.regular((400, 500), 10)  # 40 x 50 tiles
SCHEME = ClassScheme(("round", "long", "dead"))

LABELLER = """
import sys
from pathlib import Path
from napari_cellclass.core.labels.annotation import Annotation, ImageKey
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.common.journal import Journal

image, grid = ImageKey("cafe01", "field.png"), TileGrid.regular((400, 500), 10)
journal = Journal(Path(sys.argv[1]))
labels = Annotation(image, grid, ClassScheme(("round", "long", "dead")), journal)
if sys.argv[2] == "share":
    labels = journal.restore(image, grid)
print("ready", flush=True)
sys.stdin.readline()
for i in range(int(sys.argv[3]), int(sys.argv[4])):
    labels.label(i, i % 3)
    print(i, flush=True)
"""


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "data" / "journal")


@pytest.fixture
def annotation(journal: Journal) -> Annotation:
    return Annotation(IMAGE, GRID, SCHEME, journal)


def labeller(journal: Journal, how: str, start: int, end: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", LABELLER, str(journal.folder), how, str(start), str(end)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def go(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def test_folder_and_files_are_the_users_alone(annotation: Annotation, journal: Journal) -> None:
    annotation.label(0, 0)
    assert stat.S_IMODE(journal.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(journal.path("cafe01").stat().st_mode) == 0o600


def test_nothing_is_written_before_the_first_change(annotation: Annotation, journal: Journal) -> None:
    assert annotation.undo() is None
    assert len(annotation.refresh().places) == 0
    assert journal.restore(IMAGE, GRID) is None
    assert journal.summary("cafe01") == []
    assert not journal.folder.exists()


def test_one_line_with_the_changed_tiles_only(annotation: Annotation, journal: Journal) -> None:
    annotation.label([5, 6], 1)
    annotation.label([5, 6, 7], 1)
    start, first, second = journal.path("cafe01").read_text().splitlines()
    assert json.loads(start)["do"] == "start"
    assert json.loads(first)["set"] == {"1": [5, 6]}
    assert json.loads(second)["set"] == {"1": [7]}


def test_ids_that_are_no_file_name_stay_inside_the_folder(journal: Journal) -> None:
    for image_id in ("../../etc/passwd", "", "a/b", "x" * 500, "\u00e9", "."):
        journal.append(image_id, {"a": image_id})
        assert journal.path(image_id).parent == journal.folder
        assert journal.entries(image_id) == [{"a": image_id}]


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
ENTRIES = st.lists(
    st.dictionaries(st.text(max_size=4), st.recursive(VALUES, st.lists, max_leaves=5), max_size=3), max_size=6
)


@given(entries=ENTRIES, garbage=st.binary(max_size=40).filter(lambda b: b"\n" not in b))
@settings(deadline=None, max_examples=40)
def test_what_was_appended_is_read_and_a_last_line_without_an_end_is_dropped(
    tmp_path_factory: pytest.TempPathFactory, entries: list[dict[str, Any]], garbage: bytes
) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal"))
    for entry in entries:
        journal.append("x", entry)
        with journal.path("x").open("ab") as stream:
            stream.write(garbage)
    assert journal.entries("x") == entries


def test_a_long_cut_off_line_is_dropped_too(journal: Journal) -> None:
    journal.append("x", {"n": 1})
    with journal.path("x").open("ab") as stream:
        stream.write(b"x" * 200_000)
    journal.append("x", {"n": 2})
    assert journal.entries("x") == [{"n": 1}, {"n": 2}]
    assert journal.path("x").stat().st_size < 100


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_journal_cut_anywhere_in_its_last_line_restores_the_labels_before(annotation: Annotation, cut: int) -> None:
    annotation.label([1, 2], 1)
    annotation.label(3, 2)
    path = annotation.journal.path("cafe01")
    path.write_bytes(path.read_bytes()[:-cut])
    found = annotation.journal.restore(IMAGE, GRID)
    assert found is not None
    assert found.labels[[1, 2, 3]].tolist() == [1, 1, -1]
    found.label(4, 0)
    found = annotation.journal.restore(IMAGE, GRID)
    assert found is not None
    assert found.labels[[1, 2, 3, 4]].tolist() == [1, 1, -1, 0]
    assert found.skipped == 0


def test_garbage_in_the_middle_costs_its_own_lines_only(annotation: Annotation) -> None:
    for place in range(4):
        annotation.label(place, 1)
    annotation.undo()
    path = annotation.journal.path("cafe01")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = b"\0" * 30 + b"\n"  # the step that the undo takes back
    path.write_bytes(
        b"".join([*lines, b"[1]\n", b"\xff\n", b'{"do":"label","s":"%s"}\n' % annotation.session.encode()])
    )
    found = annotation.journal.restore(IMAGE, GRID)
    assert found is not None
    assert found.labels[:4].tolist() == [1, 1, 1, -1]
    assert found.skipped == 2


ROWS = st.dictionaries(st.sampled_from(["name", "colour"]), st.text(max_size=2))
IDS = st.lists(st.integers(), max_size=3) | st.none() | st.text(max_size=2)
PARTS = st.one_of(
    st.sampled_from(["label", "classes", "undo", "redo", "start"]),
    st.none() | st.integers(),
    st.lists(st.integers(-5, 5) | ROWS, max_size=3),
    st.dictionaries(st.sampled_from(["1", "-9", "x", "99999"]), IDS),
)


@given(line=st.dictionaries(st.sampled_from(["do", "set", "n", "of", "classes", "map"]), PARTS))
@settings(deadline=None, max_examples=80)
def test_no_line_can_break_the_replay(tmp_path_factory: pytest.TempPathFactory, line: dict[str, Any]) -> None:
    annotation = Annotation(IMAGE, GRID, SCHEME, Journal(tmp_path_factory.mktemp("odd")))
    annotation.label(1, 1)
    annotation.journal.append("cafe01", line | {"s": annotation.session})
    annotation.journal.append("cafe01", line | {"do": "label", "s": annotation.session})
    assert annotation.journal.restore(IMAGE, GRID) is not None
    annotation.journal.summary("cafe01")


def test_the_summary_lists_grids_and_the_last_session_is_restored(journal: Journal) -> None:
    coarse = TileGrid.regular((400, 500), 50)
    for grid, n in ((GRID, 3), (coarse, 2), (GRID, 1)):
        Annotation(IMAGE, grid, SCHEME, journal).label(np.arange(n), 1)
    rows = journal.summary("cafe01")
    assert [(row.grid, row.labelled) for row in rows] == [
        ("40 x 50 tiles of 10 x 10 px", 3), ("8 x 10 tiles of 50 x 50 px", 2), ("40 x 50 tiles of 10 x 10 px", 1),
    ]  # fmt: skip
    assert all(abs(row.changed.timestamp() - time.time()) < 60 for row in rows)
    last, first = journal.restore(IMAGE, GRID), journal.restore(IMAGE, GRID, rows[0].session)
    assert last is not None
    assert first is not None
    assert ((last.labels >= 0).sum(), (first.labels >= 0).sum()) == (1, 3)
    first.label(10, 0)
    assert [row.labelled for row in journal.summary("cafe01")] == [2, 1, 4]


def test_a_label_is_on_the_disk_before_it_is_in_memory(annotation: Annotation, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    fsync = os.fsync

    def spy(number: int) -> None:
        fsync(number)
        if os.path.samestat(os.fstat(number), path.stat()):
            seen.append((len(annotation.journal.entries("cafe01")), int(annotation.labels[7])))

    path = annotation.journal.path("cafe01")
    monkeypatch.setattr(module.os, "fsync", spy)
    annotation.label(7, 1)
    annotation.undo()
    assert seen == [(2, -1), (3, 1)]


def failing(code: int) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize(("call", "code"), [("write", errno.ENOSPC), ("fsync", errno.EIO), ("open", errno.EROFS)])
def test_a_label_that_cannot_be_written_is_not_taken(
    annotation: Annotation, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    annotation.label(0, 0)
    annotation.label(1, 1)
    annotation.undo()
    path = annotation.journal.path("cafe01")
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(module.os, call, failing(code))
        for change in (
            lambda: annotation.label(5, 2), annotation.undo, annotation.redo,
            lambda: annotation.add_class("x"), lambda: annotation.remove_class(0),
        ):  # fmt: skip
            with pytest.raises(OutputError, match=str(path)):
                change()
    assert path.read_bytes() == before
    assert (annotation.labels[:6].tolist(), annotation.scheme) == ([0, -1, -1, -1, -1, -1], SCHEME)
    assert annotation.can_redo
    annotation.label(5, 2)
    found = annotation.journal.restore(IMAGE, GRID)
    assert found is not None
    assert found.labels.tolist() == annotation.labels.tolist()


def test_half_a_line_on_a_full_disk_is_taken_back(annotation: Annotation, monkeypatch: pytest.MonkeyPatch) -> None:
    annotation.label(0, 0)
    before = annotation.journal.path("cafe01").read_bytes()
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "write", lambda number, content: write(number, content[: len(content) // 2]))
        with pytest.raises(OutputError, match="the disk is full"):
            annotation.label(1, 1)
    assert annotation.journal.path("cafe01").read_bytes() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_device_that_is_full_is_told(journal: Journal) -> None:
    journal.append("y", {})
    journal.path("x").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="the disk is full"):
        journal.append("x", {"a": 1})


def test_a_file_in_the_folders_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("x")
    with pytest.raises(OutputError, match="a part of that path is a file"):
        Journal(tmp_path / "journal").append("x", {})
    (tmp_path / "other" / "x.jsonl").mkdir(parents=True)
    with pytest.raises(DatasetError, match="cannot read the journal"):
        Journal(tmp_path / "other").entries("x")


def test_a_journal_that_was_removed_begins_again_with_all_labels(annotation: Annotation) -> None:
    annotation.label([1, 2], 1)
    annotation.journal.path("cafe01").unlink()
    annotation.label(3, 2)
    found = annotation.journal.restore(IMAGE, GRID)
    assert found is not None
    assert found.labels[[1, 2, 3]].tolist() == [1, 1, 2]
    assert [found.undo() is not None, found.undo() is not None] == [True, False]
    assert [annotation.undo() is not None, annotation.undo() is not None] == [True, False]


def test_two_windows_of_one_session_share_its_steps(annotation: Annotation) -> None:
    annotation.label(0, 0)
    other = annotation.journal.restore(IMAGE, GRID)
    assert other is not None
    other.label(1, 1)
    change = annotation.label(2, 2)
    assert change.places.tolist() == [1, 2]
    assert other.refresh().places.tolist() == [2]
    assert other.undo() is not None
    assert annotation.undo() is not None
    assert annotation.labels[:3].tolist() == [0, -1, -1]
    other.remove_class(0)
    with pytest.raises(ParamsError, match="another window changed the classes"):
        annotation.label(5, 2)
    assert (annotation.scheme, annotation.labels[0]) == (other.scheme, -1)
    annotation.label(5, 1)
    other.refresh()
    assert other.labels.tolist() == annotation.labels.tolist()


def test_two_processes_write_one_file_without_losing_a_label(annotation: Annotation, journal: Journal) -> None:
    annotation.label(1999, 1)
    children = [
        labeller(journal, "share", 0, 150),
        labeller(journal, "share", 150, 300),
        labeller(journal, "own", 0, 100),
    ]
    for child in children:
        go(child)
    for child in children:
        child.communicate(timeout=60)
        assert child.returncode == 0
    annotation.refresh()
    assert annotation.labels[:300].tolist() == [i % 3 for i in range(300)]
    assert annotation.skipped == 0
    assert len(journal.entries("cafe01")) == len(journal.path("cafe01").read_bytes().splitlines()) == 2 + 300 + 101
    assert sorted(row.labelled for row in journal.summary("cafe01")) == [100, 301]


def test_a_lock_that_is_never_given_back_is_told(
    annotation: Annotation, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotation.label(0, 0)
    monkeypatch.setattr(module, "_LOCK_SECONDS", 0.05)
    with journal.writing("cafe01"), pytest.raises(OutputError, match="another program has held it"):
        annotation.label(1, 1)
    assert annotation.labels[1] == -1


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("after", [1, 40, 100])
def test_kill_9_loses_at_most_the_label_in_flight(journal: Journal, after: int) -> None:
    child = labeller(journal, "own", 0, 2000)
    assert child.stdout is not None
    go(child)
    printed = [int(child.stdout.readline()) for _ in range(after)]
    child.send_signal(signal.SIGKILL)
    # Not communicate(): it would pass over the lines that readline() has already buffered.
    printed += [int(line) for line in child.stdout.read().split()]
    child.wait(timeout=60)
    found = journal.restore(IMAGE, GRID)
    assert found is not None
    labelled = np.flatnonzero(found.labels >= 0).tolist()
    assert labelled[: len(printed)] == printed
    assert len(labelled) - len(printed) in (0, 1)


def test_a_long_journal_restores_in_seconds(annotation: Annotation) -> None:
    annotation.label(0, 0)
    lines = [
        {"do": "label", "set": {str((i // 2000 + i) % 3): [i % 2000]}, "n": i + 2, "s": annotation.session, "t": i}
        for i in range(100_000)
    ]
    with annotation.journal.writing("cafe01") as file:
        file.append(lines)
    begin = time.process_time()
    found = annotation.journal.restore(IMAGE, GRID)
    assert time.process_time() - begin < 20  # about 3 s on an idle core
    assert found is not None
    assert found.labels.tolist() == [(49 + 98_000 + i) % 3 for i in range(2000)]
    assert found.undo() is not None
