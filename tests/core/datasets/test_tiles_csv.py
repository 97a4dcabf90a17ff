from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from napari_cellclass.core.common.errors import CancelledError, DatasetError
from napari_cellclass.core.common.task import Progress, Task
from napari_cellclass.core.datasets.dataset import TRAIN, VALIDATION
from napari_cellclass.core.datasets.split import split_by_group
from napari_cellclass.core.datasets.tiles_csv import read_dataset, read_tiles_csv
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.tiles.grid import TileGrid


@pytest.fixture
def listed(tmp_path: Path) -> pd.DataFrame:
    """Two fields of 40 x 60 px, six tiles of 20 px each, classes in turn; one path relative, one absolute."""
    rows = []
    for number, path in enumerate(("fields/a.png", str(tmp_path / "b.png"))):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (40, 60), np.uint8)).save(tmp_path / path)
        boxes = TileGrid.regular((40, 60), 20).boxes.tolist()
        rows += [(path, *box, ("round", "long")[i % 2]) for i, box in enumerate(boxes)]
    return pd.DataFrame(rows, columns=["path", "y0", "x0", "y1", "x1", "class_name"])


def write(frame: pd.DataFrame, folder: Path) -> Path:
    frame.to_csv(folder / "tiles.csv", index=False)
    return folder / "tiles.csv"


def test_every_line_becomes_a_tile(listed: pd.DataFrame, tmp_path: Path) -> None:
    reports: list[Progress] = []
    data = read_tiles_csv(write(listed, tmp_path), Task(reports.append))
    assert data.scheme.names == ("long", "round")
    assert len(data) == 12
    assert [update.done for update in reports] == [1, 2]
    assert set(data.groups) == {"fields/a.png", str(tmp_path / "b.png")}
    for place, pixels in data.tiles([0, 7]):
        y0, x0, y1, x1 = listed.iloc[place, 1:5]
        whole = np.asarray(Image.open(tmp_path / listed["path"][place]))
        np.testing.assert_array_equal(pixels[..., 0], whole[y0:y1, x0:x1])
        assert data.scheme.names[data.labels[place]] == listed["class_name"][place]


def test_what_a_data_set_lists_is_read_again(listed: pd.DataFrame, tmp_path: Path) -> None:
    data = split_by_group(read_tiles_csv(write(listed, tmp_path)))
    again = split_by_group(read_dataset(write(data.frame(), tmp_path)))
    pd.testing.assert_frame_equal(again.frame().drop(columns="split"), data.frame().drop(columns="split"))
    assert again.image_ids == data.image_ids


def test_the_group_is_a_column_or_a_pattern_or_the_image(listed: pd.DataFrame, tmp_path: Path) -> None:
    listed["group"] = ["well 1"] * 3 + [" "] * 3 + ["well 2"] * 6
    path = write(listed, tmp_path)
    assert set(read_tiles_csv(path).groups) == {"well 1", "fields/a.png", "well 2"}
    assert set(read_tiles_csv(path, group_by="^(.)").groups) == {"a", "b"}
    with pytest.raises(DatasetError, match="does not match"):
        read_tiles_csv(path, group_by="^Z(.)")


def test_two_fields_are_split_by_field_and_one_by_region(listed: pd.DataFrame, tmp_path: Path) -> None:
    data = split_by_group(read_tiles_csv(write(listed, tmp_path)))
    assert all(len(set(data.split[data.groups == group])) == 1 for group in set(data.groups))
    one = split_by_group(read_tiles_csv(write(listed[:6], tmp_path)))
    assert "right-hand part" in one.split_rule
    assert set(one.split) == {TRAIN, VALIDATION, ""}


def test_an_image_that_cannot_be_used_takes_its_tiles_along(listed: pd.DataFrame, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "rgb.png")
    extra = pd.concat([listed, listed[:2].assign(path="rgb.png"), listed[:2].assign(path="no.png")])
    data = read_tiles_csv(write(extra, tmp_path))
    assert len(data) == 12
    assert {path.name for path, _ in data.skipped} == {"rgb.png", "no.png"}
    with pytest.raises(DatasetError, match=r"no image of class 'other' can be used: .*no\.png"):
        read_tiles_csv(write(pd.concat([listed, listed[:1].assign(path="no.png", class_name="other")]), tmp_path))


def test_a_copy_of_an_image_is_not_held_out_from_itself(listed: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "copy.png").write_bytes((tmp_path / "b.png").read_bytes())
    data = read_tiles_csv(write(pd.concat([listed, listed[6:].assign(path="copy.png")]), tmp_path))
    assert len(data) == 12
    assert "same pixels as b.png" in dict(data.skipped)[tmp_path / "copy.png"]


def test_a_model_fixes_the_classes(listed: pd.DataFrame, tmp_path: Path) -> None:
    path = write(listed, tmp_path)
    assert read_tiles_csv(path, classes=("x", "round", "long")).labels[:2].tolist() == [1, 2]
    with pytest.raises(DatasetError, match="which the model does not know"):
        read_tiles_csv(path, classes=("x", "round"))


def test_reading_a_list_can_be_cancelled(listed: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(CancelledError):
        read_tiles_csv(write(listed, tmp_path), Task(cancelled=lambda: True))


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("y0", 3.5, "line 5: y0, x0, y1, x1 = 3.5"),
        ("y0", "x", "line 5: y0 is 'x'"),
        ("y1", -4, "line 5"),
        ("x1", 1e9, "line 5"),
        ("class_name", " ", "line 5: the class is empty"),
        ("path", "", "line 5: the path is empty"),
    ],
)
def test_an_invalid_line_is_reported_with_its_number(
    listed: pd.DataFrame, tmp_path: Path, column: str, value: object, text: str
) -> None:
    listed[column] = listed[column].astype(object)
    listed.loc[3, column] = value
    with pytest.raises(DatasetError, match=text):
        read_tiles_csv(write(listed, tmp_path))


def test_a_box_outside_its_image_one_class_and_a_missing_column_are_reported(
    listed: pd.DataFrame, tmp_path: Path
) -> None:
    outside = listed.copy()
    outside.loc[4, ["y0", "y1"]] = (60, 80)
    with pytest.raises(DatasetError, match=r"line 6: the box lies outside a\.png, which has 60 x 40 px"):
        read_tiles_csv(write(outside, tmp_path))
    with pytest.raises(DatasetError, match=r"at least two classes, but has 1 \(long\)"):
        read_tiles_csv(write(listed.assign(class_name="long"), tmp_path))
    with pytest.raises(DatasetError, match=r"at least two classes, but has 0 \(none\)"):
        read_tiles_csv(write(listed[:0], tmp_path))
    with pytest.raises(DatasetError, match="no column for 'x1'"):
        read_tiles_csv(write(listed.drop(columns="x1"), tmp_path))
    with pytest.raises(DatasetError, match=r"cannot open .*no\.csv"):
        read_dataset(tmp_path / "no.csv")


@pytest.mark.parametrize(("colour", "expected"), [("", None), ("#123abc", "#123ABC"), ("red", None)])
def test_a_colour_goes_with_its_class_where_it_is_one(tmp_path: Path, colour: str, expected: str | None) -> None:
    lines = ["path,y0,x0,y1,x1,class_name,colour"]
    for i, name in enumerate(("a", "b")):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,0,0,8,8,{name},{colour if name == 'b' else ''}")
    (tmp_path / "tiles.csv").write_text("\n".join(lines))
    colours = read_tiles_csv(tmp_path / "tiles.csv").scheme.colours
    usual = ClassScheme(("a", "b")).colours
    assert colours == (usual[0], expected or usual[1])
