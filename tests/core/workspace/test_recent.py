from __future__ import annotations

import stat
from pathlib import Path

import pytest

from napari_cellclass.core.workspace.recent import MOST, Recent


@pytest.fixture
def recent(tmp_path: Path) -> Recent:
    return Recent(tmp_path / "state")


def files(folder: Path, suffix: str, count: int) -> list[Path]:
    paths = [folder / f"f{number}{suffix}" for number in range(count)]
    for path in paths:
        path.touch()
    return paths


def test_the_last_one_used_comes_first_and_each_is_listed_once(recent: Recent, tmp_path: Path) -> None:
    one, two, three = files(tmp_path, ".cellproject", 3)
    for path in (one, two, three, one):
        recent.add_project(path)
    recent.add_model(two)
    assert Recent(recent.path.parent).projects == [one, three, two]
    assert recent.models == [two]


def test_the_list_is_bounded_and_what_is_gone_is_not_shown(recent: Recent, tmp_path: Path) -> None:
    paths = files(tmp_path, ".cellclass", MOST + 5)
    for path in paths:
        recent.add_model(path)
    assert recent.models == paths[::-1][:MOST]
    paths[-1].unlink()
    assert recent.models == paths[-2::-1][: MOST - 1]


@pytest.mark.parametrize("text", ["", "[]", '{"projects": [1, null, "\\u0000"], "models": 3}', "[" * 10_000])
def test_a_damaged_list_is_empty_and_written_anew(recent: Recent, tmp_path: Path, text: str) -> None:
    (path,) = files(tmp_path, ".cellproject", 1)
    recent.path.parent.mkdir()
    recent.path.write_text(text)
    assert (recent.projects, recent.models) == ([], [])
    recent.add_project(path)
    assert recent.projects == [path]


def test_the_list_is_the_users_alone(recent: Recent, tmp_path: Path) -> None:
    recent.add_project(*files(tmp_path, ".cellproject", 1))
    assert stat.S_IMODE(recent.path.stat().st_mode) == 0o600


def test_where_it_cannot_be_written_nothing_is_remembered_and_nothing_fails(tmp_path: Path) -> None:
    (path,) = files(tmp_path, ".cellproject", 1)
    recent = Recent(path)  # a file is in the way
    recent.add_project(path)
    assert recent.projects == []
