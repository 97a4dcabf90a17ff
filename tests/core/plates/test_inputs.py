from __future__ import annotations

from pathlib import Path

import pytest

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.plates.inputs import find_images


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """Empty files, named as of a plate."""
    folder = tmp_path / "plate"
    for name in ("a/B2.tif", "a/B10.tif", "b/C01.png", "b/notes.txt", "loose/z.png", "loose/in/y.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names(*given: Path) -> list[str]:
    return [path.name for path in find_images(given)]


def test_a_folder_gives_its_images_or_those_of_its_folders_in_natural_order(plate: Path) -> None:
    assert names(plate / "a") == ["B2.tif", "B10.tif"]
    assert names(plate / "loose") == ["z.png"]
    assert names(plate) == ["B2.tif", "B10.tif", "C01.png", "z.png"]


def test_a_pattern_is_expanded_unless_a_file_is_called_so(plate: Path) -> None:
    assert names(plate / "*" / "*0*.*") == ["B10.tif", "C01.png"]
    assert names(plate / "**" / "*.png") == ["C01.png", "z.png", "y.png"]
    (plate / "[1].tif").touch()
    assert names(plate / "[1].tif") == ["[1].tif"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", "# mine\nb/C01.png\n\na/B2.tif\ngone.tif\n"),
        ("list.csv", "b/C01.png\na/B2.tif\ngone.tif\n"),
        ("list.csv", "well,Image\nC01,b/C01.png\nB02,a/B2.tif\nB03,gone.tif\n"),
    ],
)
def test_a_list_gives_its_images_relative_to_itself_in_its_order(plate: Path, name: str, text: str) -> None:
    (plate / name).write_text(text, encoding="utf-8")
    assert find_images([plate / name]) == [plate / "b" / "C01.png", plate / "a" / "B2.tif", plate / "gone.tif"]


def test_an_image_that_is_named_in_several_ways_counts_once_where_it_is_listed_first(plate: Path) -> None:
    assert names(plate / "a" / "B10.tif", plate / "a", plate / "a" / "B*.tif") == ["B10.tif", "B2.tif"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("b/*.tif", "matches no image"), ("empty", "holds no image"), ("empty.txt", "names no image")],
)
def test_what_gives_no_image_is_reported(plate: Path, name: str, text: str) -> None:
    (plate / "empty").mkdir()
    (plate / "empty.txt").write_text("# nothing\n")
    with pytest.raises(ParamsError, match=text):
        find_images([plate / name])


def test_the_figure_of_an_earlier_run_is_no_image(plate: Path) -> None:
    (plate / "a" / "plate.png").touch()
    assert "plate.png" in names(plate / "a")
    (plate / "a" / "fields.csv").touch()
    assert names(plate / "a") == ["B2.tif", "B10.tif"]
