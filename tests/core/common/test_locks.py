"""Temporary folders, and what a killed process leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_cellclass.core.common.errors import OutputError
from napari_cellclass.core.common.locks import scratch_folder

HOLDER = """
from napari_cellclass.core.common.locks import scratch_folder
with scratch_folder() as folder:
    (folder / "field.tif").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def age(folder: Path) -> None:
    os.utime(folder / ".in-use", (0, 0))


def test_a_scratch_folder_is_gone_after_its_block(tmp_path: Path) -> None:
    with scratch_folder() as folder:
        (folder / "file").write_text("text")
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_cleared_but_not_what_is_in_use() -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    left = Path(holder.stdout.readline().strip())
    age(left)
    with scratch_folder() as mine:
        assert (left / "field.tif").is_file(), "its process still runs"
        age(mine)
        holder.kill()
        holder.communicate()
        with scratch_folder() as another:
            assert not left.exists()
            assert mine.exists()
            assert another.exists()


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(OutputError, match="cannot write"), scratch_folder():
        pass
