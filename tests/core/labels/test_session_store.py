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
from tests._patience import PROCESS_S
from tests._sessions import labelled, misfits

from napari_cellclass.core.common import journal as module
from napari_cellclass.core.common.errors import OutputError, ParamsError
from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.tiles.grid import TileGrid

IMAGE = ImageKey("cafe01", "field.png")
GRID = TileGrid.regular((400, 500), 10)  # 40 x 50 tiles
SCHEME = ClassScheme(("round", "long", "dead"))

LABELLER = """
import sys
from pathlib import Path
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.common.journal import Journal

image, grid = ImageKey("cafe01", "field.png"), TileGrid.regular((400, 500), 10)
journal = Journal(Path(sys.argv[1]))
labels = Annotation(image, grid, ClassScheme(("round", "long", "dead")), journal)
if sys.argv[2] == "share":
    labels = Annotation.restore(image, grid, journal)
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
    assert annotation.redo() is None
    assert Annotation.restore(IMAGE, GRID, journal) is None
    assert not journal.folder.exists()


def test_one_line_with_the_changed_tiles_only(annotation: Annotation, journal: Journal) -> None:
    annotation.label([5, 6], 1)
    annotation.label([5, 6, 7], 1)
    start, first, second = journal.path("cafe01").read_text().splitlines()
    assert json.loads(start)["do"] == "start"
    assert json.loads(first)["set"] == {"1": [5, 6]}
    assert json.loads(second)["set"] == {"1": [7]}


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_journal_cut_anywhere_in_its_last_line_restores_the_labels_before(annotation: Annotation, cut: int) -> None:
    annotation.label([1, 2], 1)
    annotation.label(3, 2)
    path = annotation.journal.path("cafe01")
    path.write_bytes(path.read_bytes()[:-cut])
    found = Annotation.restore(IMAGE, GRID, annotation.journal)
    assert found is not None
    assert found.labels[[1, 2, 3]].tolist() == [1, 1, -1]
    found.label(4, 0)
    found = Annotation.restore(IMAGE, GRID, annotation.journal)
    assert found is not None
    assert found.labels[[1, 2, 3, 4]].tolist() == [1, 1, -1, 0]
    assert misfits(annotation.journal, "cafe01", annotation.session) == 0


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
    found = Annotation.restore(IMAGE, GRID, annotation.journal)
    assert found is not None
    assert found.labels[:4].tolist() == [1, 1, 1, -1]
    assert misfits(annotation.journal, "cafe01", annotation.session) == 2


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
    assert Annotation.restore(IMAGE, GRID, annotation.journal) is not None


def test_the_last_session_of_a_grid_is_restored_and_the_others_stay(journal: Journal) -> None:
    coarse = TileGrid.regular((400, 500), 50)
    for grid, n in ((GRID, 3), (coarse, 2), (GRID, 1)):
        Annotation(IMAGE, grid, SCHEME, journal).label(np.arange(n), 1)
    assert labelled(journal, "cafe01") == [3, 2, 1]
    last, other = Annotation.restore(IMAGE, GRID, journal), Annotation.restore(IMAGE, coarse, journal)
    assert last is not None
    assert other is not None
    assert ((last.labels >= 0).sum(), (other.labels >= 0).sum()) == (1, 2)
    other.label(10, 0)
    assert labelled(journal, "cafe01") == [3, 1, 3]
    last = Annotation.restore(IMAGE, GRID, journal)
    assert last is not None
    assert (last.labels >= 0).sum() == 1


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
    assert annotation.history.redo_stack
    annotation.label(5, 2)
    found = Annotation.restore(IMAGE, GRID, annotation.journal)
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


def test_a_journal_that_was_removed_begins_again_with_all_labels(annotation: Annotation) -> None:
    annotation.label([1, 2], 1)
    annotation.journal.path("cafe01").unlink()
    annotation.label(3, 2)
    found = Annotation.restore(IMAGE, GRID, annotation.journal)
    assert found is not None
    assert found.labels[[1, 2, 3]].tolist() == [1, 1, 2]
    assert [found.undo() is not None, found.undo() is not None] == [True, False]
    assert [annotation.undo() is not None, annotation.undo() is not None] == [True, False]


def test_two_windows_of_one_session_share_its_steps(annotation: Annotation) -> None:
    annotation.label(0, 0)
    other = Annotation.restore(IMAGE, GRID, annotation.journal)
    assert other is not None
    other.label(1, 1)
    change = annotation.label(2, 2)
    assert change.tile_indices.tolist() == [1, 2]
    assert other.label([], 0).tile_indices.tolist() == [2]
    assert other.undo() is not None
    assert annotation.undo() is not None
    assert annotation.labels[:3].tolist() == [0, -1, -1]
    other.remove_class(0)
    with pytest.raises(ParamsError, match="another window changed the classes"):
        annotation.label(5, 2)
    assert (annotation.scheme, annotation.labels[0]) == (other.scheme, -1)
    annotation.label(5, 1)
    other.label([], 0)
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
        child.communicate(timeout=PROCESS_S)
        assert child.returncode == 0
    annotation.label([], 0)
    assert annotation.labels[:300].tolist() == [i % 3 for i in range(300)]
    assert misfits(journal, "cafe01", annotation.session) == 0
    assert len(journal.entries("cafe01")) == len(journal.path("cafe01").read_bytes().splitlines()) == 2 + 300 + 101
    assert sorted(labelled(journal, "cafe01")) == [100, 301]


def test_a_lock_that_is_never_given_back_is_told(
    annotation: Annotation, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotation.label(0, 0)
    monkeypatch.setattr(module, "_LOCK_SECONDS", 0.05)
    with journal.open_locked("cafe01"), pytest.raises(OutputError, match="another program has held it"):
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
    child.wait(timeout=PROCESS_S)
    found = Annotation.restore(IMAGE, GRID, journal)
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
    with annotation.journal.open_locked("cafe01") as file:
        file.append(lines)
    begin = time.process_time()
    found = Annotation.restore(IMAGE, GRID, annotation.journal)
    assert time.process_time() - begin < 20  # about 3 s on an idle core
    assert found is not None
    assert found.labels.tolist() == [(49 + 98_000 + i) % 3 for i in range(2000)]
    assert found.undo() is not None


# A journal as an earlier version wrote it: labels, new, merged, renamed and removed classes, undone and redone.
WRITTEN_BEFORE = (
    '{"do":"start","v":1,"s":"80092d05c2b6","t":1764501377.602,"name":"field.png","key":"field 60x80 tile 10x10'
    ' step 10x10 drop of 6x8","grid":{"tile_px":[10,10],"step_px":[10,10],"image_shape":[60,80],"grid_shape":[6'
    ',8],"edge":"drop","tiles":null},"classes":[{"name":"round","colour":"#E69F00","key":"1"},{"name":"long","c'
    'olour":"#56B4E9","key":"2"},{"name":"dead","colour":"#009E73","key":"3"}],"set":{}}\n'
    '{"do":"label","set":{"0":[0,1,2]},"n":1,"s":"80092d05c2b6","t":1764501377.602}\n'
    '{"do":"label","set":{"-2":[5],"1":[3],"2":[4]},"n":2,"s":"80092d05c2b6","t":1764501377.61}\n'
    '{"do":"label","set":{"-3":[6]},"n":3,"s":"80092d05c2b6","t":1764501377.622}\n'
    '{"do":"classes","classes":[{"name":"round","colour":"#E69F00","key":"1"},{"name":"long","colour":"#56B4E9"'
    ',"key":"2"},{"name":"dead","colour":"#009E73","key":"3"},{"name":"mitotic","colour":"#CC79A7","key":"4"}],'
    '"map":[0,1,2],"n":4,"s":"80092d05c2b6","t":1764501377.631}\n'
    '{"do":"label","set":{"3":[7]},"n":5,"s":"80092d05c2b6","t":1764501377.637}\n'
    '{"do":"undo","of":5,"s":"80092d05c2b6","t":1764501377.65}\n'
    '{"do":"redo","of":5,"s":"80092d05c2b6","t":1764501377.662}\n'
    '{"do":"classes","classes":[{"name":"long","colour":"#56B4E9","key":"2"},{"name":"dead","colour":"#009E73",'
    '"key":"3"},{"name":"mitotic","colour":"#CC79A7","key":"4"}],"map":[1,0,1,2],"n":6,"s":"80092d05c2b6","t":1'
    "764501377.666}\n"
    '{"do":"classes","classes":[{"name":"long","colour":"#56B4E9","key":"2"},{"name":"late","colour":"#009E73",'
    '"key":"l"},{"name":"mitotic","colour":"#CC79A7","key":"4"}],"map":[0,1,2],"n":7,"s":"80092d05c2b6","t":176'
    "4501377.682}\n"
    '{"do":"classes","classes":[{"name":"late","colour":"#009E73","key":"l"},{"name":"mitotic","colour":"#CC79A'
    '7","key":"4"}],"map":[-1,0,1],"n":8,"s":"80092d05c2b6","t":1764501377.698}\n'
    '{"do":"undo","of":8,"s":"80092d05c2b6","t":1764501377.705}\n'
    '{"do":"label","set":{"2":[47]},"n":9,"s":"80092d05c2b6","t":1764501377.714}\n'
    '{"do":"undo","of":9,"s":"80092d05c2b6","t":1764501377.715}\n'
)


def test_a_journal_of_an_earlier_version_is_restored_and_continued(journal: Journal) -> None:
    journal.folder.mkdir(parents=True)
    path = journal.path("cafe01")
    path.write_text(WRITTEN_BEFORE)
    found = Annotation.restore(IMAGE, TileGrid.regular((60, 80), 10), journal)
    assert found is not None
    assert misfits(journal, "cafe01", found.session) == 0
    assert found.scheme == ClassScheme(("long", "late", "mitotic"), ("#56B4E9", "#009E73", "#CC79A7"), ("2", "l", "4"))
    assert found.labels.tolist() == [1, 1, 1, 0, 1, -2, -3, 2] + 40 * [-1]
    assert found.redo() is not None
    assert found.labels[47] == 2
    for _ in range(3):  # the label, the new name, the merge
        assert found.undo() is not None
    assert found.scheme.names == ("round", "long", "dead", "mitotic")
    assert found.labels[:8].tolist() == [0, 0, 0, 1, 2, -2, -3, 3]
    assert path.read_text().startswith(WRITTEN_BEFORE)
    assert [json.loads(line)["do"] for line in path.read_text().splitlines()[14:]] == ["redo", "undo", "undo", "undo"]


def test_entries_are_written_as_they_always_were(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1.5)
    annotation = Annotation(IMAGE, TileGrid.regular((60, 80), 10), SCHEME, journal)
    annotation.label([0, 1, 2], 0)
    annotation.label([3, 4, 5], [1, 2, -2])
    annotation.merge_class(0, 2)
    annotation.undo()
    start, *lines = journal.path("cafe01").read_text().replace(annotation.session, "80092d05c2b6").splitlines()
    assert start == WRITTEN_BEFORE.splitlines()[0].replace("1764501377.602", "1.5")
    assert lines == [
        '{"do":"label","set":{"0":[0,1,2]},"n":1,"s":"80092d05c2b6","t":1.5}',
        '{"do":"label","set":{"-2":[5],"1":[3],"2":[4]},"n":2,"s":"80092d05c2b6","t":1.5}',
        '{"do":"classes","classes":[{"name":"long","colour":"#56B4E9","key":"2"},'
        '{"name":"dead","colour":"#009E73","key":"3"}],"map":[1,0,1],"n":3,"s":"80092d05c2b6","t":1.5}',
        '{"do":"undo","of":3,"s":"80092d05c2b6","t":1.5}',
    ]
