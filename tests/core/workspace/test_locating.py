from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_cellclass.core.common.errors import CancelledError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.workspace import locating
from napari_cellclass.core.workspace.locating import find_moved, holds, moved_likewise
from napari_cellclass.core.workspace.records import Field


def write_image(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 30), np.uint8)).save(path)
    return path


def field_of(path: Path) -> Field:
    source = read_image(path)
    size = path.stat().st_size if path.is_file() else None
    return Field(key=source.image_id, image_id=source.image_id, name=path.name, path=path, file_bytes=size)


@pytest.fixture
def moved(tmp_path: Path) -> Field:
    """A field whose image is no longer where it was; it is ``image.png`` of the folder ``kept``."""
    field = field_of(write_image(tmp_path / "old" / "image.png", 1))
    (tmp_path / "kept").mkdir()
    shutil.move(tmp_path / "old" / "image.png", tmp_path / "kept")
    return field


def test_only_the_same_pixels_count_whatever_the_name(moved: Field, tmp_path: Path) -> None:
    here = tmp_path / "here"
    write_image(here / "a" / "image.png", 2)
    assert find_moved([moved], [here]) == {}
    shutil.copy(tmp_path / "kept" / "image.png", here / "other.png")
    assert find_moved([moved], [here]) == {moved.key: here / "other.png"}
    shutil.copy(tmp_path / "kept" / "image.png", here / "a" / "image.png")
    assert find_moved([moved], [here]) == {moved.key: here / "a" / "image.png"}  # the name goes before the size


def test_images_of_other_size_or_kind_are_not_read(
    moved: Field, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(locating, "holds", lambda _, path: bool(read.append(path.name)))
    here = tmp_path / "here"
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(write_image(here / "small.png", 1))
    shutil.copy(tmp_path / "kept" / "image.png", here / "alike.tif")
    shutil.copy(tmp_path / "kept" / "image.png", here / "alike.png")
    find_moved([moved], [here])
    assert read == ["alike.png"]


def test_the_search_ends_at_a_number_of_entries_and_of_levels(
    moved: Field, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    deep = here.joinpath(*"abcdef")
    deep.mkdir(parents=True)
    shutil.copy(tmp_path / "kept" / "image.png", deep)
    assert find_moved([moved], [here]) == {moved.key: deep / "image.png"}
    monkeypatch.setattr(locating, "MOST_LEVELS", 5)
    assert find_moved([moved], [here]) == {}
    monkeypatch.setattr(locating, "MOST_LEVELS", 6)
    monkeypatch.setattr(locating, "MOST_ENTRIES", 6)
    assert find_moved([moved], [here]) == {}


def test_hidden_folders_links_and_the_inside_of_images_are_not_entered(moved: Field, tmp_path: Path) -> None:
    here = tmp_path / "here"
    for name in (".hidden", "image.zarr"):
        (here / name).mkdir(parents=True)
        shutil.copy(tmp_path / "kept" / "image.png", here / name)
    (here / "loop").symlink_to(here)
    (here / "link").symlink_to(tmp_path / "kept")
    assert find_moved([moved], [here]) == {}


def test_a_folder_that_cannot_be_read_is_passed_over(moved: Field, tmp_path: Path) -> None:
    assert find_moved([moved], [tmp_path / "none", tmp_path]) == {moved.key: tmp_path / "kept" / "image.png"}


def test_a_search_can_be_cancelled(moved: Field, tmp_path: Path) -> None:
    with pytest.raises(CancelledError):
        find_moved([moved], [tmp_path], Task(cancelled=lambda: True))


def test_planes_and_channels_are_compared_as_the_field_has_them(tmp_path: Path) -> None:
    path = tmp_path / "rgb.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)).save(path)
    source = read_image(path).select([2, 0])
    field = Field(key="k", image_id=source.image_id, name="rgb.png", path=path, channels=(2, 0))
    assert holds(field, path)
    assert not holds(field.model_copy(update={"channels": (0, 2)}), path)
    assert not holds(field.model_copy(update={"z": 3}), path)
    assert not holds(field, tmp_path)


def test_the_same_move_leads_to_the_others_also_where_a_folder_was_renamed(tmp_path: Path) -> None:
    old, new = tmp_path / "old" / "plate", tmp_path / "disk" / "renamed"
    fields = [field_of(write_image(old / "day1" / f"f{number}.png", number)) for number in range(3)]
    fields.append(field_of(write_image(tmp_path / "old" / "f9.png", 9)))
    shutil.copytree(old, new)
    write_image(new / "day1" / "f2.png", 77)  # of that name, but another image
    shutil.copy(fields[3].path or "", new / "day1" / "f9.png")
    shutil.rmtree(tmp_path / "old")
    found = moved_likewise(fields[1:], old / "day1" / "f0.png", new / "day1" / "f0.png")
    assert found == {fields[1].key: new / "day1" / "f1.png", fields[3].key: new / "day1" / "f9.png"}
