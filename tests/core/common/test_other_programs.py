from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.datasets.tiles_csv import read_dataset
from napari_cellclass.core.images.reading import read_image


def piximi(folder: Path, top: str = "") -> Path:
    with zipfile.ZipFile(folder / "cells.zip", "w") as packed:
        for name in ("", "project/", "classifier/", "segmenter/"):
            packed.writestr(f"{top}{name}.zgroup", '{"zarr_format": 2}')
    return folder / "cells.zip"


def unpacked(folder: Path) -> Path:
    with zipfile.ZipFile(piximi(folder)) as packed:
        packed.extractall(folder / "cells.zarr")
    return folder / "cells.zarr"


def file_of(name: str, text: str = "x") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return write


@pytest.mark.parametrize("read", [read_image, read_dataset])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (piximi, "project of Piximi; sort its images into a folder per category"),
        (lambda folder: piximi(folder, "cells.zarr/"), "project of Piximi"),
        (unpacked, "project of Piximi"),
        (file_of("study.qpproj", "{}"), "project of QuPath; export the objects of its images as GeoJSON"),
        (file_of("cpa.properties", "db_type = sqlite"), "properties file of CellProfiler Analyst"),
    ],
)
def test_what_another_program_wrote_is_told_with_the_way_from_there(
    read: Callable[[Path], Any], make: Callable[[Path], Path], words: str, tmp_path: Path
) -> None:
    with pytest.raises(CellClassError, match=words) as caught:
        read(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_training_set_of_objects_is_told_from_a_list_of_tiles(tmp_path: Path) -> None:
    path = file_of("set.csv", "ImageNumber,ObjectNumber,Class\n1,2,positive\n")(tmp_path)
    with pytest.raises(CellClassError, match="training set of CellProfiler Analyst"):
        read_dataset(path)


def test_another_zip_is_no_project(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("readme.txt", "x")
    with pytest.raises(CellClassError, match="packed as a zip file"):
        read_image(tmp_path / "a.zip")
