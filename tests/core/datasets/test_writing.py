"""Laws of tiles cut out into class folders, and of telling such folders from others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_cellclass.core.common.errors import CancelledError, DatasetError, OutputError
from napari_cellclass.core.common.files import atomic_folder
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.datasets.detection import is_dataset_folder, read_dataset_folder
from napari_cellclass.core.datasets.tiles_csv import read_dataset
from napari_cellclass.core.datasets.writing import write_class_folders
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.tiles.grid import TileGrid

COLUMNS = ["file", "class_name", "source", "row", "col", "y0", "x0", "y1", "x1", "angle", "group", "hash"]


def field(dtype: str = "uint16", channels: int = 1, rgb: bool = False, name: str = "f.tif") -> SourceImage:
    pixels = np.random.default_rng(0).integers(0, 200, (32, 48, channels)).astype(dtype)
    return SourceImage(pixels, name, rgb=rgb)


@pytest.mark.parametrize(
    ("source", "suffix"),
    [
        (field(), ".png"),
        (field("uint8", 3, rgb=True), ".png"),
        (field("uint16", 2), ".tif"),
        (field("float32"), ".tif"),
        (field("uint8", 4), ".tif"),
    ],
)
def test_tiles_keep_their_pixels_and_are_listed_with_their_origin(
    tmp_path: Path, source: SourceImage, suffix: str
) -> None:
    grid = TileGrid.regular(source.shape, 16)
    names = ["a", "b/1", "", "b/1", "a", "a"]
    written = write_class_folders(tmp_path / "out", source, grid, names)
    frame = pd.read_csv(tmp_path / "out" / "tiles.csv")
    assert list(frame) == COLUMNS
    assert frame["file"].tolist()[:2] == [f"a/f_r00_c00{suffix}", f"b_1/f_r00_c01{suffix}"]
    assert written == [*(tmp_path / "out" / file for file in frame["file"]), tmp_path / "out" / "tiles.csv"]
    assert frame["class_name"].tolist() == [name for name in names if name]
    for row in frame.itertuples():
        tile = read_image(tmp_path / "out" / row.file)
        np.testing.assert_array_equal(tile.read(0, 0, *tile.shape), source.read(row.y0, row.x0, row.y1, row.x1))
        assert tile.dtype == source.dtype
        assert tile.image_id == row.hash
    data = read_dataset(tmp_path / "out")
    assert len(data) == 5


def test_a_second_field_is_added_and_nothing_is_overwritten(tmp_path: Path) -> None:
    grid = TileGrid.regular((32, 48), 16)
    write_class_folders(tmp_path, field(), grid, ["a"] * 6)
    write_class_folders(tmp_path, field(name="g.tif"), grid, ["b"] * 6)
    assert pd.read_csv(tmp_path / "tiles.csv")["group"].tolist() == ["f"] * 6 + ["g"] * 6
    with pytest.raises(OutputError, match=r"f_r00_c00.png is there already"):
        write_class_folders(tmp_path, field(), grid, ["a"] * 6)


def test_what_cannot_be_written_is_reported(tmp_path: Path) -> None:
    grid = TileGrid.regular((32, 48), 16)
    with pytest.raises(DatasetError, match="no tile has a class"):
        write_class_folders(tmp_path, field(), grid, [""] * 6)
    with pytest.raises(DatasetError, match="would share a folder"):
        write_class_folders(tmp_path, field(), grid, ["a/b", "a:b"] * 3)
    with pytest.raises(DatasetError, match="48 x 48 px, but"):
        write_class_folders(tmp_path, field(), TileGrid.regular((48, 48), 16), ["a"] * 9)
    (tmp_path / "tiles.csv").write_text("a,b\n")
    with pytest.raises(OutputError, match="a table of another kind"):
        write_class_folders(tmp_path, field(), grid, ["a"] * 6)


def test_writing_tiles_can_be_cancelled(tmp_path: Path) -> None:
    seen = []
    with pytest.raises(CancelledError):
        write_class_folders(
            tmp_path, field(), TileGrid.regular((32, 48), 16), ["a"] * 6, Task(seen.append, lambda: len(seen) == 2)
        )
    assert len(list((tmp_path / "a").iterdir())) == 2


def test_a_data_set_folder_is_distinguished_from_others(tmp_path: Path) -> None:
    for name in ("one", "two", ".hidden"):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "x.tif").write_bytes(b"no pixel is read")
    assert is_dataset_folder(tmp_path / "set")
    assert list(read_dataset_folder(tmp_path / "set").files) == ["one", "two"]
    (tmp_path / "set" / ".zattrs").write_text("{}")
    assert not is_dataset_folder(tmp_path / "set")
    assert not is_dataset_folder(tmp_path / "set" / "one")
    assert not is_dataset_folder(tmp_path)
    assert not is_dataset_folder(tmp_path / "none")


def test_a_list_of_tiles_makes_a_data_set_whatever_the_folders(tmp_path: Path) -> None:
    write_class_folders(tmp_path, field(), TileGrid.regular((32, 48), 16), ["a"] * 6)
    assert is_dataset_folder(tmp_path)
    assert {name: len(files) for name, files in read_dataset_folder(tmp_path / "tiles.csv").files.items()} == {"a": 6}
    (tmp_path / "tiles.csv").write_text("path,y0,x0,y1,x1,class_name\n")
    assert not is_dataset_folder(tmp_path)
    with pytest.raises(DatasetError, match="lists no cut tiles"):
        read_dataset_folder(tmp_path / "tiles.csv")


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    def half() -> None:
        with atomic_folder(tmp_path / "set") as folder:
            (folder / "a").write_text("")
            raise DatasetError("stopped")

    with pytest.raises(DatasetError):
        half()
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(tmp_path / "set") as folder:
        (folder / "a").write_text("")
    assert [p.name for p in (tmp_path / "set").iterdir()] == ["a"]
