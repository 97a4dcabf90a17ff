from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_cellclass.core.common.errors import CancelledError, DatasetError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.datasets.dataset import TileDataset, read_folders
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.quality.dataset_check import check_dataset, check_folder, cohens_d
from napari_cellclass.core.samples.synthetic import separable_plate, write_plate
from napari_cellclass.core.tiles.grid import TileGrid


def cut(image: SourceImage) -> TileGrid:
    return TileGrid.regular(image.shape, 32)


def noise(path: Path, seed: int, mean: float = 100, size: tuple[int, int] = (64, 64)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).normal(mean, 15, size).clip(0, 255).astype(np.uint8)
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels)
    else:
        Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of five fields that differ in nothing."""
    for k, name in enumerate(("alpha", "beta")):
        for i in range(5):
            noise(tmp_path / name / f"{name}{i}.png", 10 * k + i, 90 + 5 * i)
    return tmp_path


def codes(folder: Path, severity: str = "warning", **options: object) -> set[str]:
    return {one.code for one in check_folder(folder, cut, **options).findings if one.severity == severity}


def text(folder: Path, code: str, **options: object) -> str:
    return next(one.text for one in check_folder(folder, cut, **options).findings if one.code == code)


def test_a_clean_folder_raises_no_warning(folder: Path) -> None:
    assert codes(folder) == set()
    assert codes(folder, "error") == set()
    assert check_folder(folder, cut).trainable


def test_the_clean_synthetic_plate_raises_no_warning(tmp_path: Path) -> None:
    write_plate(tmp_path, separable_plate(sites_per_well=1, field_px=128))
    assert codes(tmp_path, group_by="^(...)") == set()


def test_what_is_no_image_is_named_and_passed_over(folder: Path) -> None:
    (folder / "alpha" / "notes.txt").write_text("x")
    noise(folder / "beta" / "more" / "x.png", 99)
    noise(folder / "loose.png", 98)
    found = {one.code: one for one in check_folder(folder, cut).findings}
    assert found["not-an-image"].files == (folder / "alpha" / "notes.txt",)
    assert found["nested-folder"].files == (folder / "beta" / "more",)
    assert found["loose-image"].files == (folder / "loose.png",)


def test_a_format_for_each_class_is_warned_of(tmp_path: Path) -> None:
    for i in range(5):
        noise(tmp_path / "alpha" / f"a{i}.png", i)
        noise(tmp_path / "beta" / f"b{i}.tif", 9 + i)
    assert codes(tmp_path) == {"confounded-format"}
    assert "5 images of 'alpha': 'PNG'; 5 images of 'beta': 'TIFF'" in text(tmp_path, "confounded-format")


def test_a_file_of_several_images_of_which_one_is_used_is_told(folder: Path) -> None:
    pixels = np.random.default_rng(3).integers(60, 140, (2, 64, 64)).astype(np.uint8)
    with tifffile.TiffWriter(folder / "alpha" / "positions.ome.tif", ome=True) as writer:
        for one in pixels:
            writer.write(one, contiguous=False, metadata={"axes": "YX"})
    assert "1 file with more than one image ('positions.ome.tif')" in text(folder, "several-images")
    (folder / "alpha" / "positions.ome.tif").unlink()
    assert "several-images" not in codes(folder)


def test_one_shared_format_is_enough_to_be_silent(folder: Path) -> None:
    noise(folder / "alpha" / "x.tif", 50)
    noise(folder / "beta" / "y.tif", 51)
    noise(folder / "beta" / "z.tif", 52)
    assert "confounded-format" not in codes(folder)


def test_image_sizes_of_one_class_alone_are_warned_of_and_cut_outs_of_every_size_are_not(tmp_path: Path) -> None:
    for i in range(5):
        noise(tmp_path / "one" / "alpha" / f"a{i}.png", i)
        noise(tmp_path / "one" / "beta" / f"b{i}.png", 9 + i, size=(96, 64))
        noise(tmp_path / "all" / "alpha" / f"a{i}.png", i, size=(40 + 2 * i, 50))
        noise(tmp_path / "all" / "beta" / f"b{i}.png", 9 + i, size=(41 + 2 * i, 50))
    assert "confounded-size" in codes(tmp_path / "one")
    assert {one.code for one in check_folder(tmp_path / "all").findings} >= {"sizes"}
    assert "confounded-size" not in {one.code for one in check_folder(tmp_path / "all").findings}


@pytest.mark.parametrize(
    ("wells", "code"),
    [
        (("C03 D03 C04 D04 E04", "C05 D05 C06 D06 E06"), "confounded-plate-column"),
        (("C03 C04 C05 C06 C07", "D03 D04 D05 D06 D07"), "confounded-plate-row"),
        (("A02 A05 H03 C12 A07", "B02 C05 D03 E11 B07"), "confounded-plate-edge"),
    ],
)
def test_a_class_that_keeps_to_one_region_of_the_plate_is_warned_of(
    tmp_path: Path, wells: tuple[str, str], code: str
) -> None:
    for k, names in enumerate(wells):
        for i, well in enumerate(names.split()):
            noise(tmp_path / f"class{k}" / f"{well}f0.png", 10 * k + i)
    assert codes(tmp_path) == {code}


def test_wells_of_a_chessboard_are_not_warned_of(tmp_path: Path) -> None:
    for k, names in enumerate(("C03 D04 C05 D06 C07", "D03 C04 D05 C06 D07")):
        for i, well in enumerate(names.split()):
            noise(tmp_path / f"class{k}" / f"{well}f0.png", 10 * k + i)
    assert codes(tmp_path) == set()


def test_one_well_per_column_says_nothing_of_columns(tmp_path: Path) -> None:
    for k, names in enumerate(("C03 C05 C07", "C09 C11 C13")):
        for i, well in enumerate(names.split()):
            noise(tmp_path / f"class{k}" / f"{well}f0.png", 10 * k + i)
    assert "confounded-plate-column" not in codes(tmp_path)


def test_a_bit_depth_that_only_one_class_has_beside_it_is_reported(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(6):
        tifffile.imwrite(folder / "alpha" / f"deep{i}.tif", rng.integers(0, 4000, (64, 64), np.uint16))
    assert "6 of 11 images of class 'alpha'" in text(folder, "confounded-depth")


def test_a_darker_class_is_reported_with_its_effect_size(tmp_path: Path) -> None:
    for i in range(5):
        noise(tmp_path / "alpha" / f"a{i}.png", i, 60 + i)
        noise(tmp_path / "beta" / f"b{i}.png", 9 + i, 120 + i)
    assert "class 'alpha' is darker than 'beta': mean grey value 6" in text(tmp_path, "brightness")
    assert "5 and 5 groups" in text(tmp_path, "brightness")


def test_cohens_d_is_the_textbook_one() -> None:
    # two samples with equal sd of 1 and means that differ by 2
    a, b = np.array([1.0, 2.0, 3.0]), np.array([3.0, 4.0, 5.0])
    assert cohens_d(a, b) == pytest.approx(-2)


def test_a_class_that_brightness_alone_separates_is_reported_with_the_held_out_accuracy(tmp_path: Path) -> None:
    for i in range(5):
        noise(tmp_path / "alpha" / f"a{i}.png", i, 60 + i)
        noise(tmp_path / "beta" / f"b{i}.png", 9 + i, 120 + i)
    assert "Brightness alone reaches 1.00 on held-out groups" in text(tmp_path, "shortcut-brightness")


@pytest.mark.realdata
def test_halving_the_puncta_fields_is_advised_to_check_the_exposure(real_data: Path) -> None:
    def read(path: Path) -> SourceImage:
        source = read_image(path)
        return replace(source, data=source.data[:] // 2) if path.parent.name == "puncta" else source

    report = check_folder(real_data / "transfluor", lambda one: TileGrid.regular(one.shape, 128), "^(...)", read)
    (text,) = (one.text for one in report.findings if one.code == "shortcut-brightness")
    assert text.startswith("Brightness alone reaches 0.9")


def test_few_tiles_one_group_and_saturation_are_reported(tmp_path: Path) -> None:
    noise(tmp_path / "alpha" / "a.png", 1, size=(64, 128))
    for i in range(6):
        noise(tmp_path / "beta" / f"b{i}.png", 9 + i, 280)
    assert {"few-tiles", "one-group", "saturated"} <= codes(tmp_path)


def test_a_copy_in_another_format_is_found_across_groups(folder: Path) -> None:
    plate = next(iter(separable_plate(field_px=128))).pixels
    eight_bit = (plate / plate.max() * 255).astype(np.uint8)
    Image.fromarray(eight_bit).save(folder / "alpha" / "field.png")
    Image.fromarray(eight_bit).save(folder / "beta" / "again.jpg", quality=80)
    report = check_folder(folder, cut)
    found = next(one for one in report.findings if one.code == "near-duplicate")
    assert set(found.files) == {folder / "alpha" / "field.png", folder / "beta" / "again.jpg"}
    assert "have two classes" in found.text


def test_a_folder_that_cannot_be_trained_on_is_reported_not_raised(folder: Path) -> None:
    for path in (folder / "beta").iterdir():
        path.write_bytes(b"no image")
    report = check_folder(folder, cut)
    assert not report.trainable
    assert report.findings[0].severity == "error"
    assert "no image of class 'beta' can be used" in report.findings[0].text
    assert sum(one.code == "unreadable" for one in report.findings) == 5
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["images"] == []


def test_a_missing_folder_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not a folder"):
        check_folder(tmp_path / "no")


def test_a_list_of_tiles_is_checked_too(folder: Path) -> None:
    data = read_folders(folder, cut)
    data.frame().drop(columns="split").to_csv(folder / "tiles.csv", index=False)
    report = check_folder(folder / "tiles.csv")
    assert report.trainable
    assert len(report.data or ()) == len(data)


def test_a_check_can_be_cancelled_while_it_measures_tiles(folder: Path) -> None:
    phases: list[str] = []
    with pytest.raises(CancelledError):
        check_folder(folder, cut, task=Task(lambda p: phases.append(p.phase), lambda: phases.count("reading") == 10))


def test_the_quick_check_reads_no_pixels(folder: Path) -> None:
    data = read_folders(folder, cut)

    def unread(path: Path) -> SourceImage:
        class Shape:
            shape, dtype = (64, 64, 1), np.dtype(np.uint8)

            def __getitem__(self, key: object) -> np.ndarray:
                raise AssertionError("pixels were read")

        return SourceImage(Shape())

    values = {name: getattr(data, name) for name in TileDataset.__dataclass_fields__}
    assert check_dataset(TileDataset(**values | {"read": unread}))
