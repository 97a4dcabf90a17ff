"""Annotations as other programs write them: one odd item costs itself and is named, and nothing is dropped silently."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.interchange.coco import read_coco
from napari_cellclass.core.interchange.geojson import detect_json_kind, read_geojson, write_geojson
from napari_cellclass.core.interchange.label_files import read_napari_shapes, skipped_note
from napari_cellclass.core.labels.points_and_boxes import read_boxes_csv, read_points_csv
from napari_cellclass.core.labels.regions import Region

SQUARE = [[0, 0], [8, 0], [8, 8], [0, 8], [0, 0]]


def feature(geometry: Any = None, **properties: Any) -> dict[str, Any]:
    geometry = {"type": "Polygon", "coordinates": [SQUARE]} if geometry is None else geometry
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "Polygon", "coordinates": [[[5, 5], [6, 6], [5, 5]]]},
        {"type": "Polygon", "coordinates": [[[5, 5], [float("nan"), 6], [7, 7], [5, 5]]]},
        {"type": "Polygon", "coordinates": [[5, 5], [6, 6]]},
        {"type": "Polygon", "coordinates": [[["1", "2"], [3, 4], [5, 6]]]},
        {"type": "Polygon", "coordinates": "none"},
        {"type": "MultiPolygon", "coordinates": [[[[0, 0]]]]},
        {"type": "Circle", "coordinates": [1, 1]},
        {"type": "GeometryCollection"},
        {"type": "LineString", "coordinates": [[0, 0], [1, 1]]},
        {"coordinates": [[0, 0]]},
        "text",
        7,
    ],
)
def test_one_odd_feature_costs_itself_and_is_named(tmp_path: Path, odd: Any) -> None:
    content = [feature(), {"type": "Feature", "geometry": odd, "properties": {}}, feature()]
    found = read_geojson(write(tmp_path / "a.geojson", content))
    assert [region.name for region in found.regions] == ["feature 1", "feature 3"]
    assert len(found.skipped) == 1
    assert found.skipped[0].startswith("feature 2: ")


@pytest.mark.parametrize("odd", [None, 1, "text", [], {"type": "Feature", "properties": [1]}])
def test_what_is_no_feature_at_all_is_named_too(tmp_path: Path, odd: Any) -> None:
    found = read_geojson(write(tmp_path / "a.geojson", [feature(), odd, feature()]))
    assert len(found.regions) == 2
    assert "feature 2" in skipped_note("a.geojson", found.skipped)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "null"])
def test_a_measurement_that_is_no_number_is_no_fault_of_its_shape(tmp_path: Path, value: str) -> None:
    text = json.dumps([feature(measurements={"area": 12345.5})]).replace("12345.5", value)
    found = read_geojson(write(tmp_path / "a.geojson", text))
    assert (len(found.regions), found.skipped) == (1, ())


@pytest.mark.parametrize(
    ("classification", "name", "colour"),
    [
        (json.dumps({"name": "Tumor", "color": [200, 0, 0]}), "Tumor", "#C80000"),
        ({"name": "Tumor", "color": [200.0, 0.0, 0.0]}, "Tumor", "#C80000"),
        ({"name": "Tumor", "color": [1.0, 0.5, 0.0]}, "Tumor", "#FF8000"),
        ({"name": "Tumor", "color": [1, 0, 0]}, "Tumor", "#010000"),
        ({"name": "Tumor", "color": "#c80000"}, "Tumor", "#C80000"),
        ({"name": "Tumor", "colorRGB": -3670016.0}, "Tumor", "#C80000"),
        ({"name": "Tumor", "color": [300, 0, 0]}, "Tumor", None),
        ({"name": "Tumor", "color": ["a", 0, 0]}, "Tumor", None),
        ("{not json", "{not json", None),
        ({"name": "nan"}, "nan", None),
        ({"name": None}, "", None),
        ("null", "null", None),
        ({"name": "Za\u0308hne"}, "Zähne", None),
        ({"name": 1}, "1", None),
    ],
)
def test_a_class_and_its_colour_are_read_as_other_programs_write_them(
    tmp_path: Path, classification: Any, name: str, colour: str | None
) -> None:
    (region,) = read_geojson(write(tmp_path / "a.geojson", [feature(classification=classification)])).regions
    assert (region.class_name, region.colour) == (name, colour)


@pytest.mark.parametrize("name", ["a.geojson.gz", "a.json.gz", "a.geojson"])
def test_a_packed_file_is_unpacked_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(json.dumps([feature()]).encode()))
    assert detect_json_kind(tmp_path / name) == "geojson"
    assert len(read_geojson(tmp_path / name).regions) == 1


def test_a_damaged_or_too_large_packed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gzip.compress(json.dumps([feature()] * 200).encode())
    (tmp_path / "a.gz").write_bytes(whole[:-9])
    with pytest.raises(DatasetError, match="cannot open"):
        read_geojson(tmp_path / "a.gz")
    (tmp_path / "b.gz").write_bytes(whole)
    monkeypatch.setenv("NAPARI_CELLCLASS_MAX_ANNOTATION_BYTES", "1000")
    with pytest.raises(DatasetError, match="up to 1,000 are read"):
        read_geojson(tmp_path / "b.gz")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"type": "FeatureCollection", "features": []}, "geojson"), ([feature()], "geojson"), (feature(), "geojson"),
        ({"type": "Point", "coordinates": [0, 0]}, "geojson"),
        ({"images": [], "annotations": [], "categories": []}, "coco"),
        ({"type": "Feature"}, ""), ({"a": 1}, ""), ([], ""), ([1], ""), ("text", ""), ("{", ""),
    ],
)  # fmt: skip
def test_a_json_file_is_known_by_what_it_holds(tmp_path: Path, content: Any, kind: str) -> None:
    assert detect_json_kind(write(tmp_path / "x.json", content)) == kind


def test_regions_know_their_plane_and_only_those_of_a_plane_count_there(tmp_path: Path) -> None:
    planes = [{"c": -1, "z": 2, "t": 0}, {"c": -1, "z": 2, "t": 1}, None]
    content = [feature({"type": "Polygon", "coordinates": [SQUARE], **({"plane": p} if p else {})}) for p in planes]
    found = read_geojson(write(tmp_path / "a.geojson", content))
    assert [len(found.on_plane({"Z": z, "T": t}).regions) for z, t in ((2, 0), (2, 1), (0, 0), (1, 0))] == [1, 1, 1, 0]
    assert "2 regions of other planes" in found.on_plane({"Z": 2, "T": 0}).skipped
    assert len(found.on_plane({"Z": 2}).regions) == 2
    write_geojson(tmp_path / "b.geojson", found.regions)
    assert [r.plane for r in read_geojson(tmp_path / "b.geojson").regions] == [r.plane for r in found.regions]
    flat = read_geojson(write(tmp_path / "c.geojson", [feature()]))
    assert len(flat.on_plane({"Z": 9}).regions) == 1


def coco(images: list[Any], annotations: list[dict[str, Any]], categories: list[Any] | None = None) -> dict[str, Any]:
    categories = [{"id": 1, "name": "x"}] if categories is None else categories
    return {"images": images, "categories": categories, "annotations": annotations}


def box(image: Any = 1, **other: Any) -> dict[str, Any]:
    return {"id": 9, "image_id": image, "category_id": 1, "bbox": [1, 2, 3, 4], **other}


@pytest.mark.parametrize(
    "odd",
    [
        {"bbox": [0, 0, 0, 4]}, {"bbox": [0, 0, -3, 4]}, {"bbox": [0, 0, 3]}, {"bbox": None}, {"bbox": "box"},
        {"bbox": [0, 0, float("nan"), 4]}, {"bbox": ["a", 0, 1, 1]}, {"category_id": 7}, {"category_id": None},
        {"bbox": [], "segmentation": [[1]]},
    ],
)  # fmt: skip
def test_one_odd_annotation_costs_itself_and_is_named(tmp_path: Path, odd: dict[str, Any]) -> None:
    content = coco([{"id": 1, "file_name": "a.png"}], [box(), box(**(odd | {"id": 5})), box()])
    found, _ = read_coco(write(tmp_path / "c.coco.json", content))
    assert found.names == ("x", "x")
    assert found.skipped[0].startswith("annotation 5: ")


def test_a_box_is_that_of_its_outline_where_it_has_none(tmp_path: Path) -> None:
    content = coco([{"id": 1, "file_name": "a.png"}], [box(bbox=[], segmentation=[[1, 2, 4, 2, 4, 6]])])
    assert read_coco(write(tmp_path / "c.json", content))[0].boxes.tolist() == [[2, 1, 6, 4]]


@pytest.mark.parametrize(
    ("ids", "wanted", "found"),
    [
        ((1, 2), "b.png", 2), (("1", "2"), "b.png", 2), ((1, "2"), "set\\b.png", 2), ((1.0, 2.0), "/data/set/b.png", 2),
        ((1, 2), ["none.png", "a"], 1), ((1, 2), "A.PNG", 1),
    ],
)  # fmt: skip
def test_ids_are_compared_as_texts_and_images_by_name(
    tmp_path: Path, ids: tuple[Any, Any], wanted: Any, found: int
) -> None:
    images = [{"id": i, "file_name": f"set\\{name}.png"} for i, name in zip(ids, "ab", strict=True)]
    content = coco(images, [box(str(n), bbox=[n, 0, 4, 4]) for n in (1, 2)])
    boxes = read_coco(write(tmp_path / "c.json", content), wanted)[0].boxes
    assert boxes[:, 1].tolist() == [found]


def test_two_images_of_one_name_are_told_apart_by_folder_or_refused(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "x/a.png"}, {"id": 2, "file_name": "y/a.png"}]
    path = write(tmp_path / "c.json", coco(images, [box(1, bbox=[1, 0, 4, 4]), box(2, bbox=[2, 0, 4, 4])]))
    assert read_coco(path, "/home/y/a.png")[0].boxes[:, 1].tolist() == [2]
    with pytest.raises(DatasetError, match=r"several images that may be a\.png: x/a\.png, y/a\.png"):
        read_coco(path, "a.png")
    table = tmp_path / "p.csv"
    table.write_text("image,x,y,class\nx/a.png,1,0,k\ny/a.png,2,0,k\n")
    assert read_points_csv(table, "/home/y/a.png").points.tolist() == [[0, 2]]
    with pytest.raises(DatasetError, match=r"several images that may be a\.png"):
        read_points_csv(table, "a.png")


@pytest.mark.parametrize(
    ("text", "skipped"),
    [
        ("x,y,class\n1,2,A\noops,2,A\n", "line 3: x is 'oops'"),
        ("x,y,class\n1,2,A\n\n1,2,\n", "line 4: the class is empty"),
        ("x;y;class\n1,0;2;A\n3;;A\n", "line 3: y is ''"),
        ("x\ty\tclass\n1\t2\tA\ninf\t2\tA\n", "line 3: x is 'inf'"),
    ],
)
def test_one_odd_line_costs_itself_and_is_named(tmp_path: Path, text: str, skipped: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    found = read_points_csv(tmp_path / "p.csv")
    assert (found.points.tolist(), found.names) == ([[2, 1]], ("A",))
    assert len(found.skipped) == 1
    assert skipped in found.skipped[0]


@pytest.mark.parametrize("name", ["nan", "NA", "None", "null", "True", "01", "1.0", "a|b", "__neg", "#1"])
def test_a_word_that_may_mean_nothing_is_the_name_of_a_class(tmp_path: Path, name: str) -> None:
    (tmp_path / "b.csv").write_text(f"x0,y0,x1,y1,class\n0,0,4,4,{name}\n4,4,8,8,other\n")
    assert read_boxes_csv(tmp_path / "b.csv").names == (name, "other")


@pytest.mark.parametrize(
    ("text", "points", "names", "planes"),
    [
        ("index,axis-0,axis-1,class_name\n0.0,2.5,1.5,A\n", [[2.5, 1.5]], ("A",), ()),
        ("index,axis-0,axis-1\n0,2,1\n1,3,4\n", [[2, 1], [3, 4]], ("p", "p"), ()),
        ("index,axis-0,axis-1,axis-2,label\n0,7,2,1,A\n", [[2, 1]], ("A",), ({"Z": 7},)),
        ("index;axis-0;axis-1;axis-2;axis-3\n0;4;7;2,5;1\n", [[2.5, 1]], ("p",), ({"Z": 7, "T": 4},)),
        ("x,y,z,t,class\n1,2,3,4,A\n", [[2, 1]], ("A",), ({"T": 4, "Z": 3},)),
    ],
)
def test_points_that_napari_saved_are_read_with_their_planes(
    tmp_path: Path, text: str, points: Any, names: Any, planes: Any
) -> None:
    (tmp_path / "p.csv").write_text(text)
    found = read_points_csv(tmp_path / "p.csv", "any.tif" if text.startswith("index") else None)
    assert (found.points.tolist(), found.names, found.planes) == (points, names, planes)
    if planes:
        assert found.on_plane({"Z": planes[0]["Z"]}).names == names
        assert found.on_plane({"Z": 0}).names == ()


def test_shapes_that_napari_saved_are_regions(tmp_path: Path) -> None:
    rows = ["index,shape-type,vertex-index,axis-0,axis-1,axis-2"]
    square = [(0, 0), (0, 8), (8, 8), (8, 0)]
    kinds = ("rectangle", "polygon", "ellipse", "path", "line", "polygon", "polygon")
    for i, kind in enumerate(kinds):
        for v, (y, x) in enumerate(square[: 2 if i == 5 else 4]):
            rows.append(f"{i},{kind},{v},{3 if i != 6 else v},{y},{x}")
    (tmp_path / "drawn.csv").write_text("\n".join(rows) + "\n,,,,,\n")
    found = read_napari_shapes(tmp_path / "drawn.csv")
    assert [(r.class_name, r.plane, len(r.polygons[0][0])) for r in found.regions] == [
        ("drawn", {"Z": 3}, n) for n in (4, 4, 64)
    ]
    np.testing.assert_allclose(found.regions[2].polygons[0][0].max(axis=0), 8, atol=0.01)
    assert [text.split(":")[0] for text in found.skipped] == ["shape 3", "shape 4", "shape 5", "shape 6"]
    with pytest.raises(DatasetError, match="not points"):
        read_points_csv(tmp_path / "drawn.csv")


def test_a_region_of_any_plane_is_written_without_one(tmp_path: Path) -> None:
    ring = np.array([[0, 0], [0, 8], [8, 8]], float)
    write_geojson(tmp_path / "a.geojson", [Region("a", None, ((ring,),), np.zeros((0, 2)))])
    assert "plane" not in (tmp_path / "a.geojson").read_text()
