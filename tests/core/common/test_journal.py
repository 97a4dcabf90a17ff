from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellclass.core.common.errors import DatasetError, OutputError
from napari_cellclass.core.common.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "data" / "journal")


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
