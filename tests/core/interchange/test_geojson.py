"""Laws of GeoJSON in and out: what QuPath exports, and what we write, means the same pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geojson
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.interchange.geojson import FileCoordinates, read_geojson, write_geojson
from napari_cellclass.core.interchange.tile_tables import read_tile_geojson
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.label_store import CONFLICT, UNLABELLED
from napari_cellclass.core.labels.regions import (
    Region,
    Regions,
    bridge_holes,
    labels_from_regions,
    signed_area,
    split_holes,
)
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8).filter(
    lambda name: name == name.strip()
)


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def feature(geometry: Any, properties: dict | None = None, **more: Any) -> dict:
    return {"type": "Feature", "geometry": geometry, "properties": properties or {}, **more}


def annotation(name: str | None, geometry: Any, colour: Any = None, **more: Any) -> dict:
    classification = {} if name is None else {"classification": {"name": name, "color": colour or [200, 0, 0]}}
    return feature(geometry, {"objectType": "annotation", **classification, **more}, id="4c1f8f60-0000-4000-8000-0")


# As QuPath 0.5 exports a hierarchy: a tumour with a hole, a child in it, two islands as one object, a point.
QUPATH = {
    "type": "FeatureCollection",
    "features": [
        annotation(
            "Tumor",
            {"type": "Polygon", "coordinates": [square(0, 0, 64), square(16, 16, 32)[::-1]]},
            isLocked=True,
            childObjects=[annotation("Necrosis", {"type": "Polygon", "coordinates": [square(0, 0, 16)]}, [50, 50, 50])],
        ),
        annotation(
            "Stroma",
            {"type": "MultiPolygon", "coordinates": [[square(80, 0, 16)], [square(80, 32, 16), square(84, 36, 8)]]},
            [0, 160, 0],
        ),
        annotation(None, {"type": "Polygon", "coordinates": [square(64, 64, 32)]}),
        annotation("Mitosis", {"type": "Point", "coordinates": [88, 56]}, [1, 2, 3]),
        annotation("Line", {"type": "LineString", "coordinates": [[0, 0], [9, 9]]}),
    ],
}
GRID = TileGrid.regular((96, 96), 16)


def write(folder: Path, content: Any) -> Path:
    path = folder / "regions.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def label_at(labels: Any, names: tuple[str, ...], x: float, y: float) -> str:
    label = labels.labels[GRID.tile_at(y - 0.5, x - 0.5)]
    return {CONFLICT: "conflict", UNLABELLED: ""}.get(int(label)) if label < 0 else names[label]


def test_a_qupath_export_with_nested_and_multi_polygons_reads_right(tmp_path: Path) -> None:
    found = read_geojson(write(tmp_path, QUPATH))
    assert [(r.class_name, r.colour, len(r.polygons)) for r in found.regions] == [
        ("Tumor", "#C80000", 1), ("Necrosis", "#323232", 1), ("Stroma", "#00A000", 2), ("", None, 1),
        ("Mitosis", "#010203", 0),
    ]  # fmt: skip
    assert found.regions[1].name == "feature 1, child 1"
    assert found.unclassified == 1
    assert found.skipped == ("feature 5: a LineString that encloses nothing",)
    np.testing.assert_array_equal(
        found.regions[0].polygons[0][0], [[-0.5, -0.5], [-0.5, 63.5], [63.5, 63.5], [63.5, -0.5]]
    )
    labels, names = labels_from_regions(GRID, found)
    assert names == ("Mitosis", "Necrosis", "Stroma", "Tumor")
    expected = {
        (8, 8): "conflict", (40, 8): "Tumor", (24, 24): "", (40, 40): "", (56, 56): "Tumor",
        (88, 8): "Stroma", (88, 24): "", (88, 40): "Stroma", (88, 56): "Mitosis", (72, 72): "",
    }  # fmt: skip
    assert {at: label_at(labels, names, *at) for at in expected} == expected
    assert labels.conflicts == ((0, (1, 3)),)


@pytest.mark.parametrize("kind", ["collection", "list", "feature", "geometry", "geometries"])
def test_every_form_of_document_is_read(tmp_path: Path, kind: str) -> None:
    geometry = {"type": "Polygon", "coordinates": [square(0, 0, 8)]}
    content = {
        "collection": {"type": "FeatureCollection", "features": [feature(geometry)]},
        "list": [feature(geometry)],
        "feature": feature(geometry),
        "geometry": geometry,
        "geometries": {"type": "GeometryCollection", "geometries": [geometry]},
    }[kind]
    (region,) = read_geojson(write(tmp_path, content)).regions
    assert len(region.polygons) == 1
    assert region.class_name == ""


@pytest.mark.parametrize(
    ("classification", "name", "colour"),
    [
        ({"name": "Tumor", "colorRGB": -3670016}, "Tumor", "#C80000"),
        ({"name": "Tumor", "color": [200, 0, 0]}, "Tumor", "#C80000"),
        ({"names": ["Tumor", "Positive"], "color": [1, 1, 1]}, "Tumor: Positive", "#010101"),
        ({"name": "Tumor"}, "Tumor", None),
        (None, "", None),
    ],
)
def test_classes_of_all_qupath_versions_are_read(
    tmp_path: Path, classification: Any, name: str, colour: str | None
) -> None:
    content = feature({"type": "Polygon", "coordinates": [square(0, 0, 8)]}, {"classification": classification})
    (region,) = read_geojson(write(tmp_path, content)).regions
    assert (region.class_name, region.colour) == (name, colour)


def test_physical_units_and_offsets_are_respected(tmp_path: Path) -> None:
    content = feature({"type": "Polygon", "coordinates": [square(110, 205, 8)]})
    (region,) = read_geojson(write(tmp_path, content), FileCoordinates((0.5, 0.25), (200, 100))).regions
    np.testing.assert_allclose(region.polygons[0][0], [[9.5, 39.5], [9.5, 71.5], [25.5, 71.5], [25.5, 39.5]])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('{"type": "Point", "coordinates": [NaN, 1]}', "feature 1: a coordinate is NaN"),
        ('{"type": "Point", "coordinates": [1e999, 1]}', "feature 1: a coordinate is beyond"),
        ('{"type": "Point", "coordinates": ["1", 1]}', "feature 1: ['1', 1] is not a position"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0]]]}', "an outline has 2 corners, but needs 3"),
        ('{"type": "Circle", "coordinates": [1, 1]}', "'Circle' is not one of GeoJSON's"),
        ("[1]", "feature 1: its geometry is not an object, but '1'"),
        ('"text"', "contains no features"),
        ("{", "cannot be read as GeoJSON"),
        ("[" * 100_000, "cannot be read as GeoJSON"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(tmp_path: Path, content: str, text: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(DatasetError) as caught:
        read_geojson(path)
    assert text in str(caught.value)
    assert str(path) in str(caught.value)


def test_what_is_too_large_is_refused_and_what_is_empty_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, [feature(None), feature({"type": "Polygon", "coordinates": []})])
    assert read_geojson(path).skipped == (
        "feature 1: it has no geometry", "feature 2: a Polygon that encloses nothing",
    )  # fmt: skip
    monkeypatch.setenv("NAPARI_CELLCLASS_MAX_ANNOTATION_FEATURES", "1")
    with pytest.raises(DatasetError, match="more than 1 features"):
        read_geojson(path)
    monkeypatch.setenv("NAPARI_CELLCLASS_MAX_ANNOTATION_BYTES", "10")
    with pytest.raises(DatasetError, match="export less"):
        read_geojson(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No such file"):
        read_geojson(tmp_path / "none.geojson")


def test_endless_nesting_is_refused(tmp_path: Path) -> None:
    child = feature({"type": "Point", "coordinates": [1, 1]})
    for _ in range(40):
        child = feature({"type": "Point", "coordinates": [1, 1]}, {"childObjects": [child]})
    with pytest.raises(DatasetError, match="32 levels of children"):
        read_geojson(write(tmp_path, child))


def outlines() -> list[tuple[np.ndarray, ...]]:
    ring = np.array([[0, 0], [0, 40], [30, 60], [40, 40], [40, 0]], float) - 0.5
    holes = [np.array(square(x, y, 6)[:4])[:, ::-1] - 0.5 for x, y in ((4, 4), (20, 4), (20, 20))]
    return [(ring,), (ring, *holes), (ring[::-1], holes[0], holes[1][::-1])]


@pytest.mark.parametrize("rings", outlines())
def test_a_bridged_outline_covers_the_same_tiles_and_comes_apart_again(rings: tuple[np.ndarray, ...]) -> None:
    grid = TileGrid.regular((48, 64), 4)
    line = bridge_holes(rings)
    whole = labels_from_regions(grid, Regions((Region("a", None, (rings,), np.zeros((0, 2))),)), 0.6)[0]
    joined = labels_from_regions(grid, Regions((Region("a", None, ((line,),), np.zeros((0, 2))),)), 0.6)[0]
    np.testing.assert_array_equal(joined.labels, whole.labels)
    again = split_holes(line)
    assert len(again) == len(rings)
    assert sorted(abs(signed_area(r)) for r in again) == sorted(abs(signed_area(r)) for r in rings)
    assert {frozenset(map(tuple, r.tolist())) for r in again} == {frozenset(map(tuple, r.tolist())) for r in rings}


@pytest.mark.parametrize("rings", outlines())
def test_regions_written_and_read_are_equal_and_valid_geojson(tmp_path: Path, rings: tuple[np.ndarray, ...]) -> None:
    points = np.array([[1.0, 2.5], [3.25, 4.0]])
    regions = [
        Region("Tumor: µ", "#112233", (rings,), np.zeros((0, 2))),
        Region("both", None, (rings, rings), points),
        Region("", None, (), points[:1], "detection"),
    ]
    path = tmp_path / "r.geojson"
    write_geojson(path, regions)
    check_valid(path)
    again = read_geojson(path).regions
    for one, other in zip(regions, again, strict=True):
        assert (one.class_name, one.colour, one.kind) == (other.class_name, other.colour, other.kind)
        np.testing.assert_array_equal(one.points, other.points)
        for mine, theirs in zip(one.polygons, other.polygons, strict=True):
            for a, b in zip(mine, theirs, strict=True):
                assert set(map(tuple, a.tolist())) == set(map(tuple, b.tolist()))


def check_valid(path: Path) -> None:
    """Valid for a library, and by the right-hand rule of RFC 7946, 3.1.6, which it does not check."""
    content = geojson.loads(path.read_text(encoding="utf-8"))
    assert content.is_valid, content.errors()
    for one in content["features"]:
        geometries = one["geometry"].get("geometries", [one["geometry"]])
        for geometry in geometries:
            polygons = {"Polygon": [geometry.get("coordinates")], "MultiPolygon": geometry.get("coordinates")}
            for rings in polygons.get(geometry["type"], ()):
                for i, ring in enumerate(rings):
                    area = signed_area(np.array(ring[:-1], float)[:, ::-1])
                    assert (area > 0) == (i == 0)


@st.composite
def tables(draw: st.DrawFn) -> TileTable:
    """Tables of any grid, overlap, edge rule, part, names, colours; some tiles without class."""
    shape = draw(st.tuples(st.integers(8, 40), st.integers(8, 40)))
    edge = draw(st.sampled_from(["drop", "pad", "shift"]))
    grid = TileGrid.regular(shape, draw(st.integers(3, 8)), draw(st.sampled_from([0, 0.25, 0.5])), edge)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    keep = rng.random(len(grid)) < draw(st.sampled_from([0.5, 1.0]))
    keep[rng.integers(len(grid))] = True
    grid = grid.take(rng.permutation(np.flatnonzero(keep)))
    names = tuple(draw(st.lists(NAMES, min_size=2, max_size=4, unique=True)))
    colours = tuple(f"#{c:06X}" for c in rng.integers(0, 1 << 24, len(names)))
    prob = rng.dirichlet(np.full(len(names), 0.3), len(grid)).astype(np.float32)
    prob[rng.random(len(grid)) < 0.1] = np.nan
    prob[0] = 1 / len(names)
    size = draw(st.sampled_from([None, (0.325, 0.5)]))
    return TileTable(grid, ClassScheme(names, colours), prob, size)


@settings(deadline=None, max_examples=40)
@given(tables())
def test_tiles_written_as_geojson_are_valid_and_read_again_equal(tmp_path_factory: Any, table: TileTable) -> None:
    path = tmp_path_factory.mktemp("tiles") / "t.geojson"
    table.to_geojson(path)
    check_valid(path)
    again = read_tile_geojson(path)
    for name in ("boxes", "row", "col", "tile_id"):
        np.testing.assert_array_equal(getattr(again.grid, name), getattr(table.grid, name))
    for name in ("tile_px", "step_px", "image_shape", "grid_shape", "edge"):
        assert getattr(again.grid, name) == getattr(table.grid, name)
    assert again.scheme == table.scheme
    assert again.pixel_size_um == table.pixel_size_um
    np.testing.assert_array_equal(again.class_name, table.class_name)
    np.testing.assert_allclose(again.prob, table.prob, atol=1.1e-6)
    np.testing.assert_allclose(again.confidence, table.confidence, atol=1.1e-6)


def test_tiles_that_qupath_exported_again_keep_classes_colours_and_places(tmp_path: Path) -> None:
    grid = TileGrid.regular((40, 60), 10)
    prob = np.random.default_rng(0).dirichlet([1, 1], len(grid)).astype(np.float32)
    table = TileTable(grid, ClassScheme(("a", "b"), ("#112233", "#445566")), prob)
    table.to_geojson(tmp_path / "t.geojson")
    features = json.loads((tmp_path / "t.geojson").read_text())["features"]
    for i, one in enumerate(features):  # ids become UUIDs, and our own member is lost
        one["id"] = f"00000000-0000-4000-8000-{i:012d}"
    again = read_tile_geojson(write(tmp_path, {"type": "FeatureCollection", "features": features[::-1]}))
    assert again.scheme == table.scheme
    np.testing.assert_array_equal(again.grid.boxes, grid.boxes[::-1])
    np.testing.assert_array_equal(again.grid.tile_id, grid.tile_id[::-1])
    np.testing.assert_array_equal(again.class_name, table.class_name[::-1])


def test_a_tile_whose_class_was_corrected_is_no_prediction_any_more(tmp_path: Path) -> None:
    table = TileTable(TileGrid.regular((8, 16), 8), ClassScheme(("a", "b")), np.array([[0.9, 0.1]] * 2, np.float32))
    table.to_geojson(tmp_path / "t.geojson")
    content = json.loads((tmp_path / "t.geojson").read_text())
    content["features"][1]["properties"]["classification"]["name"] = "b"
    with pytest.raises(DatasetError, match="feature 2: the class is 'b', but 'a' is more probable"):
        read_tile_geojson(write(tmp_path, content))
    assert [r.class_name for r in read_geojson(tmp_path / "regions.geojson").regions] == ["a", "b"]
