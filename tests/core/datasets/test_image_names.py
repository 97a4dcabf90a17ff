from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.datasets.class_images import group_name
from napari_cellclass.core.datasets.dataset import read_folders
from napari_cellclass.core.datasets.image_names import names_to_group
from napari_cellclass.core.datasets.tiles_csv import read_tiles_csv


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(list(path.name.encode())).integers(0, 255, (16, 16), dtype=np.uint8)).save(
        path
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a/B03_s1.png", "a/B04_s1.png", "b/B05_s1.png", "b/B03_s10.png", "loose.png"):
        write(tmp_path / name)
    return tmp_path


def test_the_names_of_class_folders_are_those_that_a_pattern_is_matched_with(folder: Path) -> None:
    names = names_to_group(folder)
    assert sorted(names) == ["B03_s1.png", "B03_s10.png", "B04_s1.png", "B05_s1.png"]
    groups = {group_name(Path(name), "^(B..)") for name in names}
    assert groups == set(read_folders(folder, group_by="^(B..)").groups)


def test_the_names_of_a_list_are_those_that_a_pattern_is_matched_with(folder: Path) -> None:
    table = folder / "tiles.csv"
    lines = [
        "path,y0,x0,y1,x1,class_name",
        "a/B03_s1.png,0,0,8,8,x",
        "a/B03_s1.png,8,0,16,8,x",
        "b/B05_s1.png,0,0,8,8,y",
    ]
    table.write_text("\n".join(lines))
    names = names_to_group(table)
    assert names == ["B03_s1.png", "B05_s1.png"]
    assert {group_name(Path(name), "^(B..)") for name in names} == set(read_tiles_csv(table, group_by="^(B..)").groups)


def test_tiles_that_were_cut_from_a_field_have_its_name(tmp_path: Path) -> None:
    for name in ("x_0001_r00_c00.png", "x_0001_r00_c01.png", "other.png"):
        write(tmp_path / "a" / name)
    columns = "file,class_name,source,row,col,y0,x0,y1,x1,angle,group,hash"
    rows = [f"a/x_0001_r00_c0{i}.png,a,plate/O05f01.TIF,0,{i},0,0,16,16,0,g,h{i}" for i in (0, 1)]
    (tmp_path / "tiles.csv").write_text("\n".join([columns, *rows]))
    assert names_to_group(tmp_path) == ["other.png", "O05f01.TIF", "O05f01.TIF"]
    assert names_to_group(tmp_path / "tiles.csv") == ["O05f01.TIF", "O05f01.TIF"]


def test_a_folder_or_list_that_is_missing_is_told(tmp_path: Path) -> None:
    for name in ("nowhere", "nowhere.csv"):
        with pytest.raises(DatasetError, match="nowhere"):
            names_to_group(tmp_path / name)
