"""Sizes of windows are kept for the next session; a damaged file costs only that."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from napari_cellclass.viewer.common.window_sizes import remember_window_size, window_size


@pytest.fixture(autouse=True)
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(platformdirs, "user_data_path", lambda *_, **__: tmp_path / "data")
    return tmp_path / "data" / "window_sizes.json"


def test_each_kind_of_window_has_the_size_in_which_it_was_left() -> None:
    assert window_size("Evaluate") is None
    remember_window_size("Evaluate", 800, 600)
    remember_window_size("Plate", 1000, 700)
    remember_window_size("Evaluate", 820, 610)
    assert (window_size("Evaluate"), window_size("Plate"), window_size("Check")) == ((820, 610), (1000, 700), None)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[1]", '{"Evaluate": [1]}', '{"Evaluate": [0, 5]}', '{"Evaluate": [1e9, 5]}', '{"Evaluate": [true, 5]}',
     '{"Evaluate": [99999999, 5]}', "[" * 100_000],
)  # fmt: skip
def test_a_damaged_file_counts_as_none_and_is_replaced(file: Path, content: str) -> None:
    file.parent.mkdir()
    file.write_text(content)
    assert window_size("Evaluate") is None
    remember_window_size("Evaluate", 800, 600)
    assert window_size("Evaluate") == (800, 600)


def test_where_nothing_can_be_written_no_error_reaches_the_window(file: Path) -> None:
    file.parent.write_text("a file in the place of the folder")
    remember_window_size("Evaluate", 800, 600)
    assert window_size("Evaluate") is None
