"""Names of class folders: kept or refused in words, never dropped or merged."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_cellclass.core.common.errors import DatasetError, ParamsError
from napari_cellclass.core.datasets.class_images import class_folders
from napari_cellclass.core.labels.classes import RESERVED_NAMES, ClassScheme
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid


def folders(root: Path, *names: str) -> Path:
    for i, name in enumerate(names):
        (root / name).mkdir(parents=True)
        Image.new("L", (4, 4), i).save(root / name / "a.png")
    return root


@pytest.mark.parametrize("name", ["__neg", "nan", "NA", "None", "True", "01", "a|b", "#1", "_", "[x]", "müde"])
def test_any_folder_of_images_is_a_class(tmp_path: Path, name: str) -> None:
    assert set(class_folders(folders(tmp_path, name, "other"))) == {name, "other"}


@pytest.mark.parametrize("name", [".hidden", "__MACOSX"])
def test_what_a_system_leaves_is_none(tmp_path: Path, name: str) -> None:
    assert set(class_folders(folders(tmp_path, name, "a", "b"))) == {"a", "b"}


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_a_name_that_stands_for_other_tiles_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="cannot be a class"):
        class_folders(folders(tmp_path, name, "other"))
    with pytest.raises(ParamsError, match="cannot be called"):
        ClassScheme((name, "other"))


def test_folders_of_two_unicode_forms_are_one_class_of_a_model_but_not_two_of_a_data_set(tmp_path: Path) -> None:
    name = "Zähne"
    decomposed = unicodedata.normalize("NFD", name)
    assert set(class_folders(folders(tmp_path / "one", decomposed, "b"), (name, "b"))) == {name, "b"}
    assert ClassScheme((decomposed, "b")).index(name) == 0
    with pytest.raises(DatasetError, match="merge them"):
        class_folders(folders(tmp_path / "two", decomposed, name, "b"))


@pytest.mark.parametrize(
    ("names", "text"),
    [(("a|b", "c"), r"a\|b|c"), (("a", "b|c"), r"a|b\|c"), (("a\\", "b"), "a\\\\|b"), (("a", "b"), "a|b")],
)
def test_the_classes_of_a_prediction_set_can_be_told_apart(names: tuple[str, str], text: str) -> None:
    table = TileTable(TileGrid.regular((4, 4), 4), ClassScheme(names), np.full((1, 2), 0.5, np.float32), limit=0.9)
    assert table.columns()["prediction_set"].tolist() == [text]
