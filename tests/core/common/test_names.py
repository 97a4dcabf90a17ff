from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_cellclass.core.common.names import clean_name, distinct_paths, listed_path, matching_names, stem_of


@pytest.mark.parametrize("value", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, "", "  "])
def test_a_missing_value_is_no_name(value: object) -> None:
    assert clean_name(value) == ""


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("nan", "nan"), ("None", "None"), ("NA", "NA"), ("null", "null"), ("01", "01"), ("True", "True"),
        (True, "True"),
        (np.bool_(False), "False"), (1, "1"), (2.0, "2"), (np.int64(7), "7"), (0.5, "0.5"), (" a|b ", "a|b"),
        ("Za\u0308hne", "Zähne"), ("Å", "Å"), ("\u1112\u1161\u11ab", "한"),
    ],
)  # fmt: skip
def test_any_text_or_number_is_a_name_in_one_unicode_form(value: object, name: str) -> None:
    assert clean_name(value) == name
    assert clean_name(clean_name(value)) == name


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.ome.tif", "a"), ("a.OME.TIFF", "a"), ("a.ome.zarr", "a"), ("a.tif", "a"), ("a.b.png", "a.b"), ("a", "a"),
        ("d\\e\\a.ome.btf", "a"), ("x/a.zarr.zip", "a"), (".ome.tif", ".ome"), ("v1.5 day 2.png", "v1.5 day 2"),
    ],
)  # fmt: skip
def test_a_suffix_of_two_parts_is_one(name: str, stem: str) -> None:
    assert stem_of(name) == stem


@pytest.mark.parametrize(
    ("wanted", "listed", "found"),
    [
        ("b.png", ["set\\a.png", "set\\b.png"], [1]),
        ("/data/x/b.png", ["y/b.png", "x/b.png"], [1]),
        ("C:\\data\\y\\b.png", ["y/b.png", "x/b.png"], [0]),
        ("b.ome.tif", ["a", "b"], [1]),
        ("b", ["B.TIF", "c"], [0]),
        ("B.png", ["b.png", "B.png"], [1]),
        ("über.png", [unicodedata.normalize("NFD", "über.tif")], [0]),
        ("a.png", ["b.png"], []),
        ("b.png", ["b.png", "c.png", "b.png"], [0, 2]),
    ],
)
def test_an_image_is_found_by_its_name_however_it_is_written(wanted: str, listed: list[str], found: list[int]) -> None:
    assert matching_names(wanted, listed) == found


def test_two_images_of_one_name_are_both_found_where_no_folder_tells_them_apart() -> None:
    listed = ["x/b.png", "y/b.png", "x\\b.png"]
    assert distinct_paths(listed, matching_names("b.png", listed)) == ["x/b.png", "y/b.png"]
    assert matching_names("somewhere/y/b.png", listed) == [1]


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("in/a b.png", "in/a b.png"), ('"in/a b.png"', "in/a b.png"), ("'in\\a b.png'", "in/a b.png"),
        ("IN\\A B.PNG", "in/a b.png"), (unicodedata.normalize("NFD", "in/ä.png"), "in/ä.png"), ("#1.png", "#1.png"),
        ('"quoted".png', '"quoted".png'), ("in/none.png", "in/none.png"), ("./in//a b.png", "in/a b.png"),
    ],
)  # fmt: skip
def test_a_line_of_a_list_names_the_file_that_is_there(tmp_path: Path, text: str, file: str) -> None:
    (tmp_path / "in").mkdir()
    for name in ("in/a b.png", "in/ä.png", "#1.png", '"quoted".png'):
        (tmp_path / name).touch()
    assert listed_path(tmp_path, text) == tmp_path / file


def test_a_name_in_other_case_is_not_guessed_where_two_files_have_it(tmp_path: Path) -> None:
    for name in ("a.png", "A.png"):
        (tmp_path / name).touch()
    assert listed_path(tmp_path, "A.PNG") == tmp_path / "A.PNG"
    assert not listed_path(tmp_path, "A.PNG").exists()
