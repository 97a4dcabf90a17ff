from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_cellclass.core.common.errors import DatasetError, OutputError
from napari_cellclass.core.common.task import Progress, Task
from napari_cellclass.core.datasets.renaming import JOURNAL, rename_images, undo_renaming
from napari_cellclass.core.datasets.tile_provenance import COLUMNS, read_tile_list, write_tile_list


class KilledError(BaseException):
    """Stands for a kill: nothing catches it."""


def fill(folder: Path, *names: str) -> dict[str, str]:
    """Write files that hold their own first name; the pixels do not matter here."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return content(folder)


def content(folder: Path) -> dict[str, str]:
    """Give every file but the journal, with what it holds."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != JOURNAL)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_images_are_numbered_in_natural_order_and_nothing_else_is(tmp_path: Path) -> None:
    fill(tmp_path, "f10.tif", "f2.tif", "f1.PNG", "notes.txt", ".DS_Store", "._f1.png", "Thumbs.db")
    rename_images(tmp_path, "Control")
    assert content(tmp_path) == {
        ".DS_Store": ".DS_Store", "._f1.png": "._f1.png", "Thumbs.db": "Thumbs.db", "notes.txt": "notes.txt",
        "Control_0001.PNG": "f1.PNG", "Control_0002.tif": "f2.tif", "Control_0003.tif": "f10.tif",
    }  # fmt: skip


def test_class_folders_are_numbered_each_by_itself_under_the_class(tmp_path: Path) -> None:
    fill(tmp_path, "a/x.png", "a/y.png", "b/x.png")
    rename_images(tmp_path)
    assert content(tmp_path) == {"a/a_0001.png": "a/x.png", "a/a_0002.png": "a/y.png", "b/b_0001.png": "b/x.png"}


def test_undo_gives_back_the_names_and_takes_the_journal_away(tmp_path: Path) -> None:
    before = fill(tmp_path, "a/x.png", "a/y.png", "b/z.tif")
    rename_images(tmp_path, "n")
    undo_renaming(tmp_path)
    assert content(tmp_path) == before
    assert not (tmp_path / JOURNAL).exists()
    with pytest.raises(DatasetError, match="no renaming to undo"):
        undo_renaming(tmp_path)


def test_a_new_name_may_be_the_old_name_of_another(tmp_path: Path) -> None:
    before = fill(tmp_path, "t_0002.png", "t_0003.png", "t_0001x.png", "t_0004.png")
    rename_images(tmp_path, "t")
    after = content(tmp_path)
    assert sorted(after) == ["t_0001.png", "t_0002.png", "t_0003.png", "t_0004.png"]
    assert sorted(after.values()) == sorted(before.values())
    assert not rename_images(tmp_path, "t").moves
    undo_renaming(tmp_path)
    assert content(tmp_path) == before


def test_a_file_in_the_way_is_named_and_nothing_happens(tmp_path: Path) -> None:
    fill(tmp_path, "x.png", "y.png")
    (tmp_path / "n_0002.png").mkdir()
    before = content(tmp_path)
    with pytest.raises(OutputError, match=r"cannot rename y.png: .*n_0002.png is in the way"):
        rename_images(tmp_path, "n")
    assert content(tmp_path) == before


def listed(folder: Path, *files: str) -> None:
    rows = [(file, "", "s.tif", 0, i, 0, i, 1, i + 1, 0, "g", str(i)) for i, file in enumerate(files)]
    write_tile_list(folder, pd.DataFrame(rows, columns=list(COLUMNS)))


def files_listed(folder: Path) -> list[str]:
    frame = read_tile_list(folder)
    assert frame is not None
    return list(frame["file"])


def test_the_list_of_tiles_follows_and_comes_back(tmp_path: Path) -> None:
    fill(tmp_path, "a/x.png", "a/y.png", "b/z.png")
    listed(tmp_path, "b/z.png", "a/y.png", "a/x.png", "a/gone.png")
    listed(tmp_path / "a", "x.png")
    rename_images(tmp_path)
    assert files_listed(tmp_path) == ["b/b_0001.png", "a/a_0002.png", "a/a_0001.png", "a/gone.png"]
    assert files_listed(tmp_path / "a") == ["a_0001.png"]
    undo_renaming(tmp_path)
    assert files_listed(tmp_path) == ["b/z.png", "a/y.png", "a/x.png", "a/gone.png"]
    assert files_listed(tmp_path / "a") == ["x.png"]


def test_undo_passes_over_deleted_files_and_keeps_what_came_later(tmp_path: Path) -> None:
    fill(tmp_path, "x.png", "y.png")
    listed(tmp_path, "x.png", "y.png")
    rename_images(tmp_path, "n")
    (tmp_path / "n_0001.png").unlink()
    listed(tmp_path, "n_0001.png", "n_0002.png", "later.png")
    fill(tmp_path, "later.png")
    undo_renaming(tmp_path)
    assert {name for name in content(tmp_path) if name.endswith("png")} == {"y.png", "later.png"}
    assert files_listed(tmp_path) == ["n_0001.png", "y.png", "later.png"]


def test_undo_does_not_overwrite_a_file_that_took_an_old_name(tmp_path: Path) -> None:
    fill(tmp_path, "x.png")
    rename_images(tmp_path, "n")
    before = fill(tmp_path, "x.png")
    with pytest.raises(OutputError, match=r"x\.png is in the way"):
        undo_renaming(tmp_path)
    assert content(tmp_path) == before


NAMES = st.sets(
    st.sampled_from([f"{start}{number}.png" for start in ("t_000", "t_00", "x") for number in range(1, 6)]), min_size=1
)


class Killer:
    """Lets so many files be renamed or written, and then kills; the journal and the list count, too."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __enter__(self) -> None:
        self.patch = pytest.MonkeyPatch()
        for name in ("rename", "replace"):
            self.patch.setattr(Path, name, self.counted(getattr(Path, name)))

    def __exit__(self, *_: object) -> None:
        self.patch.undo()

    def counted(self, original: Callable[[Path, Any], Any]) -> Callable[[Path, Any], Any]:
        def move(path: Path, target: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise KilledError
            return original(path, target)

        return move


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=NAMES,
    steps=st.lists(st.tuples(st.sampled_from(["rename", "undo"]), st.integers(0, 40)), min_size=1, max_size=4),
    completed=st.booleans(),
)
def test_a_kill_at_any_point_can_be_completed_or_reversed(
    names: set[str], steps: list[tuple[str, int]], completed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, twin = tmp_path_factory.mktemp("killed"), tmp_path_factory.mktemp("whole")
    for place in (folder, twin):
        fill(place, *names)
        listed(place, *sorted(names))
    before = content(folder)
    rename_images(twin, "t")
    after = content(twin)
    for action, survived in steps:
        with contextlib.suppress(KilledError, DatasetError), Killer(survived):  # nothing to undo is no harm
            rename_images(folder, "t") if action == "rename" else undo_renaming(folder)
        holds = {text for name, text in content(folder).items() if name.endswith(".png")}
        assert holds == names, "no file is ever lost"
    if completed:
        rename_images(folder, "t")
        assert content(folder) == after
    else:
        with contextlib.suppress(DatasetError):
            undo_renaming(folder)
        assert content(folder) == before


def test_a_renaming_reports_its_progress(tmp_path: Path) -> None:
    fill(tmp_path, "x.png", "y.png")
    reports: list[Progress] = []
    rename_images(tmp_path, "n", Task(reports.append))
    assert [(r.done, r.total) for r in reports] == [(1, 2), (2, 2)] * 2


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "a/../../x.png"])
def test_a_journal_that_leads_out_of_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    fill(tmp_path, "in/n.png")
    journal = {"version": 1, "state": "done", "moves": [[name, "n.png"]], "lists": []}
    (tmp_path / "in" / JOURNAL).write_text(json.dumps(journal))
    with pytest.raises(DatasetError, match="damaged"):
        undo_renaming(tmp_path / "in")
    assert (tmp_path / "in" / "n.png").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit on a name's length")
def test_a_journal_of_names_that_no_file_can_have_is_reported_in_one_line(tmp_path: Path) -> None:
    fill(tmp_path, "n.png")
    for move in (["1" * 5000 + ".png", "n.png"], ["n.png", "1" * 5000 + ".png"]):
        journal = {"version": 1, "state": "done", "moves": [move], "lists": []}
        (tmp_path / JOURNAL).write_text(json.dumps(journal))
        with pytest.raises(OutputError, match="too long"):
            undo_renaming(tmp_path)
        assert (tmp_path / "n.png").exists()


def test_a_damaged_journal_is_reported_in_one_line(tmp_path: Path) -> None:
    fill(tmp_path, "n.png")
    (tmp_path / JOURNAL).write_text("{")
    with pytest.raises(DatasetError, match=r"damaged .*; delete it to rename afresh"):
        rename_images(tmp_path)
