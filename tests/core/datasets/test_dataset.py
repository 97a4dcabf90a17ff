from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_cellclass.core.common.errors import CancelledError, DatasetError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.datasets.class_images import class_folders, group_name
from napari_cellclass.core.datasets.dataset import TRAIN, VALIDATION, read_folders
from napari_cellclass.core.datasets.split import split_by_group
from napari_cellclass.core.tiles.grid import TileGrid


def write(path: Path, value: int = 0, size: tuple[int, int] = (32, 32), seed: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(abs(hash(str(path))) % 2**32 if seed is None else seed)
    pixels = (rng.integers(0, 50, size) + value).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    for name, wells in (("b_globs", ("C01", "C02", "C03", "C04")), ("a_diffuse", ("B01", "B02", "B03", "B04"))):
        for well in wells:
            for site in (0, 1):
                write(tmp_path / "data" / name / f"{well}f{site}.png")
    return tmp_path / "data"


def cut(image: object) -> TileGrid:
    return TileGrid.regular(image.shape, 16)


def test_classes_are_the_sorted_folders_and_phantoms_are_none(plate: Path) -> None:
    for phantom in (".DS_Store", "Thumbs.db", "notes.txt"):
        (plate / phantom).write_text("x")
        (plate / "a_diffuse" / phantom).write_text("x")
    write(plate / "a_diffuse" / "._B01f0.png")
    write(plate / ".hidden" / "x.png")
    write(plate / "__MACOSX" / "x.png")
    (plate / "empty").mkdir()
    folders = class_folders(plate)
    assert list(folders) == ["a_diffuse", "b_globs"]
    assert [path.name for path in folders["a_diffuse"]][:3] == ["B01f0.png", "B01f1.png", "B02f0.png"]
    assert len(folders["a_diffuse"]) == 8


def test_every_tile_knows_image_box_class_and_group(plate: Path) -> None:
    data = read_folders(plate, cut, "^(...)")
    assert len(data) == 16 * 4
    assert data.scheme.names == ("a_diffuse", "b_globs")
    assert set(data.groups) == {f"{row}0{i}" for row in "BC" for i in (1, 2, 3, 4)}
    for place, pixels in data.tiles([0, 5, 40]):
        y0, x0, y1, x1 = data.boxes[place]
        whole = np.asarray(Image.open(data.paths[data.image[place]]))
        np.testing.assert_array_equal(pixels[..., 0], whole[y0:y1, x0:x1])


def test_groups_are_never_torn_apart(plate: Path) -> None:
    data = split_by_group(read_folders(plate, cut, "^(...)"))
    for group in set(data.groups):
        assert len(set(data.split[data.groups == group])) == 1
    for label in (0, 1):
        assert set(data.split[data.labels == label]) == {TRAIN, VALIDATION}


def test_a_group_keeps_its_side_when_images_of_it_are_added(plate: Path) -> None:
    before = split_by_group(read_folders(plate, cut, "^(...)"))
    write(plate / "a_diffuse" / "B01f7.png")
    after = split_by_group(read_folders(plate, cut, "^(...)"))
    sides = [{group: data.split[data.groups == group][0] for group in set(data.groups)} for data in (before, after)]
    assert sides[0] == sides[1]


def test_a_class_of_one_field_is_split_by_region_with_a_gap(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name / "f.png", size=(64, 128))
    data = split_by_group(read_folders(tmp_path, lambda image: TileGrid.regular(image.shape, 16, 0.5)))
    assert "right-hand part" in data.split_rule
    for number in (0, 1):
        mine = data.image == number
        train, held = (data.boxes[mine & (data.split == part)] for part in (TRAIN, VALIDATION))
        assert len(train)
        assert len(held)
        assert train[:, 3].max() < held[:, 1].min() + 1
        assert (data.split[mine] == "").any()


def test_unreadable_and_inconsistent_images_are_left_out_and_named(plate: Path) -> None:
    (plate / "b_globs" / "broken.png").write_bytes((plate / "b_globs" / "C01f0.png").read_bytes()[:200])
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(plate / "b_globs" / "rgb.png")
    Image.fromarray(np.zeros((32, 32), np.uint16)).save(plate / "a_diffuse" / "deep.png")
    data = read_folders(plate, cut)
    reasons = {path.name: reason for path, reason in data.skipped}
    assert set(reasons) == {"broken.png", "rgb.png", "deep.png"}
    assert "3 channels" in reasons["rgb.png"]
    assert "uint16" in reasons["deep.png"]
    assert len(data) == 64


def test_the_data_hash_follows_one_pixel(plate: Path) -> None:
    before = read_folders(plate, cut).data_hash
    assert read_folders(plate, cut).data_hash == before
    path = plate / "a_diffuse" / "B01f0.png"
    pixels = np.asarray(Image.open(path)).copy()
    pixels[3, 3] ^= 1
    Image.fromarray(pixels).save(path)
    assert read_folders(plate, cut).data_hash != before


def test_a_field_is_not_mistaken_for_a_tile(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name / "f.png", size=(900, 1000))
    with pytest.raises(DatasetError, match="looks like a field, not a tile; give the size of the tiles"):
        read_folders(tmp_path)


def test_a_model_fixes_the_classes_and_their_order(plate: Path) -> None:
    data = read_folders(plate, cut, classes=("b_globs", "other", "a_diffuse"))
    assert set(data.labels) == {0, 2}
    with pytest.raises(DatasetError, match="has the class 'a_diffuse', which the model does not know"):
        read_folders(plate, cut, classes=("b_globs", "x"))


def test_reading_can_be_cancelled(plate: Path) -> None:
    with pytest.raises(CancelledError):
        read_folders(plate, cut, task=Task(cancelled=lambda: True))


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        ([], "but has 0 (none)"),
        (["only/a.png"], "but has 1 (only)"),
        (["a.png", "b.png"], "its 2 loose images belong in such folders"),
    ],
)
def test_a_folder_without_two_classes_is_reported(tmp_path: Path, layout: list[str], text: str) -> None:
    for name in layout:
        write(tmp_path / name)
    with pytest.raises(DatasetError) as caught:
        read_folders(tmp_path)
    assert text in str(caught.value)


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a folder"):
        read_folders(tmp_path / "no")


@pytest.mark.parametrize(
    ("pattern", "text"), [("(", "not a regular expression"), ("^Z(.)", "does not match"), ("^B", "in parentheses")]
)
def test_an_invalid_group_pattern_is_reported(pattern: str, text: str) -> None:
    with pytest.raises(DatasetError, match=text):
        group_name(Path("B01f0.png"), pattern)


def test_a_class_too_small_to_split_is_reported(tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.png")
    write(tmp_path / "b" / "1.png")
    with pytest.raises(DatasetError, match=r"class 'a' has no tile to train on: its 1 tile cannot be split"):
        split_by_group(read_folders(tmp_path))
