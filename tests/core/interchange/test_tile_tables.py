"""Laws of tables as CSV and COCO: what is written reads back equal, and neighbours' files are understood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.interchange.coco import read_coco, write_coco, write_table_coco
from napari_cellclass.core.interchange.tile_tables import (
    detect_csv_kind,
    read_table_csv,
    read_tile_geojson,
    write_wsinfer_csv,
)
from napari_cellclass.core.labels.classes import ClassScheme, palette
from napari_cellclass.core.labels.tile_labels import labels_from_csv
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid

NAMES = ("a", "b, c", "Tumor µ")


@st.composite
def tables(draw: st.DrawFn) -> TileTable:
    shape = draw(st.tuples(st.integers(8, 40), st.integers(8, 40)))
    edge = draw(st.sampled_from(["drop", "pad", "shift"]))
    grid = TileGrid.regular(shape, draw(st.integers(3, 8)), draw(st.sampled_from([0, 0.25, 0.5])), edge)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    keep = rng.random(len(grid)) < draw(st.sampled_from([0.4, 1.0]))
    keep[rng.integers(len(grid))] = True
    prob = rng.dirichlet(np.full(3, 0.3), len(grid)).astype(np.float32)
    prob[rng.random(len(grid)) < 0.1] = np.nan
    table = TileTable(grid, ClassScheme(NAMES), prob)
    return TileTable(grid.take(keep), table.scheme, prob[keep])


@settings(deadline=None, max_examples=40)
@given(tables())
def test_a_csv_reads_again_equal(tmp_path_factory: Any, table: TileTable) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.tiles.csv"
    table.to_csv(path)
    assert detect_csv_kind(path) == "tiles"
    again = read_table_csv(path, table.grid.image_shape)
    for name in ("boxes", "row", "col"):
        np.testing.assert_array_equal(getattr(again.grid, name), getattr(table.grid, name))
    if (table.grid.row > 0).any():
        np.testing.assert_array_equal(again.grid.tile_id, table.grid.tile_id)
    assert again.scheme == table.scheme
    np.testing.assert_array_equal(again.class_name, table.class_name)
    np.testing.assert_allclose(again.prob, table.prob, rtol=5.1e-6)


@pytest.mark.parametrize("axis", ["T", "Z"])
@pytest.mark.parametrize("suffix", [".tiles.csv", ".geojson"])
def test_tiles_of_several_planes_are_no_map_and_those_of_one_keep_it(tmp_path: Path, axis: str, suffix: str) -> None:
    grid = TileGrid.regular((16, 16), 8)
    prob = np.tile(np.float32([0.2, 0.3, 0.5]), (4, 1))
    paths = [tmp_path / f"{index}{suffix}" for index in (0, 3)]
    for index, path in zip((0, 3), paths, strict=True):
        table = TileTable(grid, ClassScheme(NAMES), prob, plane={axis: index})
        table.to_csv(path) if suffix == ".tiles.csv" else table.to_geojson(path)
    read = read_table_csv if suffix == ".tiles.csv" else read_tile_geojson
    assert read(paths[1]).plane == {axis: 3}
    both = tmp_path / f"both{suffix}"
    if suffix == ".tiles.csv":
        pd.concat([pd.read_csv(path) for path in paths]).to_csv(both, index=False)
    else:
        contents = [json.loads(path.read_text()) for path in paths]
        contents[0]["features"] += contents[1]["features"]
        both.write_text(json.dumps(contents[0]))
    with pytest.raises(DatasetError, match=r"2 planes.*open the table of one plane"):
        read(both)


@settings(deadline=None, max_examples=40)
@given(tables())
def test_wsinfer_columns_are_written_and_read_again(tmp_path_factory: Any, table: TileTable) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.wsinfer.csv"
    write_wsinfer_csv(table, path)
    assert detect_csv_kind(path) == "wsinfer"
    frame = pd.read_csv(path)
    assert list(frame) == ["minx", "miny", "width", "height", "prob_a", "prob_b, c", "prob_Tumor µ"]
    again = read_table_csv(path)
    np.testing.assert_array_equal(again.grid.boxes, table.grid.boxes)
    assert again.scheme.names == NAMES
    assert again.scheme.colours == palette(3)
    np.testing.assert_allclose(again.prob, table.prob, rtol=5.1e-6)


def test_a_file_of_wsinfer_is_a_table(tmp_path: Path) -> None:
    path = tmp_path / "slide.csv"
    path.write_text(
        "minx,miny,width,height,prob_Other,prob_Tumor\n"
        "1400,700,350,350,0.25,0.75\n1750,700,350,350,0.9,0.1\n1400,1400,350,350,0.5,0.5\n"
    )
    table = read_table_csv(path)
    assert table.grid.boxes.tolist() == [[700, 1400, 1050, 1750], [700, 1750, 1050, 2100], [1400, 1400, 1750, 1750]]
    assert table.grid.row.tolist() == [2, 2, 4]
    assert table.grid.col.tolist() == [4, 5, 4]
    assert table.class_name.tolist() == ["Tumor", "Other", "Other"]


def test_a_single_probability_has_a_complement(tmp_path: Path) -> None:
    path = tmp_path / "slide.csv"
    path.write_text("minx,miny,width,height,prob_TIL\n0,0,8,8,0.25\n8,0,8,8,1\n")
    table = read_table_csv(path)
    assert table.scheme.names == ("not TIL", "TIL")
    assert table.prob.tolist() == [[0.75, 0.25], [0, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("minx,miny,width,height,prob_a\n", "contains no tile"),
        ("minx,miny,width,height,prob_a\n0,0,0,8,0.5\n", "line 2: the box has no area"),
        ("minx,miny,width,height,prob_a\n0,0,8,8,1.5\n", "line 2: a probability is not within 0 and 1"),
        ("minx,miny,width,height,prob_a\n0,0,8,x,0.5\n", "line 2: height is 'x', not a number"),
        ("row,col,y0,x0,y1,x1,class_name,p_a,p_b\n0,0,0,0,8,8,b,0.9,0.1\n", "line 2: the class is 'b', but 'a'"),
        ("row,col,y0,x0,y1,x1,class_name\n0,0,0,0,8,8,b\n", "no column of probabilities"),
        ("row,col,y0,x0,y1,x1,class_name,p_a\n0,0,0,0,8,8,a,1\n", "at least two classes"),
        ("row,col,y0,x0,y1,x1,p_a,p_b\n0,0,0,0,8,8,1,0\n", "no column for 'class_name'"),
        ("x,y\n1,2\n", "no column for 'row'"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DatasetError) as caught:
        read_table_csv(path)
    assert message in str(caught.value)


def test_other_csv_files_are_nothing_of_ours(tmp_path: Path) -> None:
    for text in ("index,axis-0,axis-1\n", "path,y0,x0,y1,x1,class_name\n", "", "\x00\x01"):
        (tmp_path / "x.csv").write_text(text)
        assert detect_csv_kind(tmp_path / "x.csv") == ""
    assert detect_csv_kind(tmp_path / "none.csv") == ""


@settings(deadline=None, max_examples=40)
@given(tables())
def test_coco_holds_the_boxes_classes_and_scores(tmp_path_factory: Any, table: TileTable) -> None:
    path = tmp_path_factory.mktemp("coco") / "t.coco.json"
    write_table_coco(table, path, "field.tif")
    found, colours = read_coco(path)
    kept = table.class_index >= 0
    np.testing.assert_array_equal(found.boxes, table.grid.boxes[kept])
    assert list(found.names) == table.class_name[kept].tolist()
    assert colours == dict(zip(table.scheme.names, table.scheme.colours, strict=True))
    content = json.loads(path.read_text())
    height, width = table.grid.image_shape
    assert content["images"] == [{"id": 1, "file_name": "field.tif", "height": height, "width": width}]
    for row, score in zip(content["annotations"], table.confidence[kept], strict=True):
        assert row["area"] == row["bbox"][2] * row["bbox"][3]
        assert row["score"] == pytest.approx(score, abs=1e-6)


def test_coco_boxes_are_labels_of_the_grid_they_came_from(tmp_path: Path) -> None:
    grid = TileGrid.regular((32, 48), 8)
    labels = np.random.default_rng(0).integers(-1, 2, len(grid))
    write_coco(tmp_path / "l.coco.json", "f.tif", (32, 48), ClassScheme(("a", "b")), grid.boxes, labels)
    found, _ = read_coco(tmp_path / "l.coco.json", "f.png")
    again, names = labels_from_csv(found, grid)
    assert names == ("a", "b")
    np.testing.assert_array_equal(again.labels, labels)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ({}, None, "is not a COCO file"),
        ({"images": [], "categories": [], "annotations": []}, "f.tif", "has no image f.tif"),
        (
            {
                "images": [{"id": 1, "file_name": "f"}],
                "categories": [{"id": 1, "name": "a"}],
                "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 0, 1]}],
            },
            None,
            "annotation 1: its box of 0 x 1 px has no area",
        ),
    ],
)
def test_a_damaged_coco_file_is_told(tmp_path: Path, content: dict, name: str | None, message: str) -> None:
    (tmp_path / "c.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=message):
        read_coco(tmp_path / "c.json", name)
