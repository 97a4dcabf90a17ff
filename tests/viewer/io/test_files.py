"""Layer → file → layer gives the same tiles, classes, colours and coordinates; foreign layers stay napari's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from npe2 import PluginManager, PluginManifest

import napari_cellclass
from napari_cellclass.core.common.errors import CellClassError, OutputError
from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.datasets.tiles_csv import read_dataset
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.common.layers import KEY, matrix_of, transform_of
from napari_cellclass.viewer.common.map_view import FieldLayer, MapView, build_map
from napari_cellclass.viewer.common.overlay import MAX_SHAPES
from napari_cellclass.viewer.features.annotation_layers import AnnotationLayers
from napari_cellclass.viewer.features.label_sources import labels_from_layer, layers_with_labels
from napari_cellclass.viewer.io import file_readers, montage, samples

PLUGIN = "napari-cellclass"
SCHEME = ClassScheme(("a", "b, c", "µ"), ("#112233", "#445566", "#778899"))
PLACES = [
    {},
    {"scale": (0.325, 0.65), "translate": (7, -9), "units": ("um", "um")},
    {"scale": (2, 2), "rotate": 30, "shear": [0.1]},
]


@pytest.fixture
def viewer(monkeypatch: pytest.MonkeyPatch) -> Iterator[ViewerModel]:
    """A viewer without window, which napari gives as the current one, and the plugin found through its manifest."""
    import napari
    from napari.plugins import _initialize_plugins

    _initialize_plugins()
    manager = PluginManager.instance()
    if PLUGIN not in manager:
        manager.register(PluginManifest.from_file(Path(napari_cellclass.__file__).with_name("napari.yaml")))
    model = ViewerModel()
    monkeypatch.setattr(napari, "current_viewer", lambda: model)
    return model


def pixels(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 4000, shape).astype(np.uint16)


def show_map(
    viewer: ViewerModel, place: dict, side: int = 8, cells: tuple[int, int] = (5, 6), **grid: Any
) -> TileTable:
    shape = (side * cells[0] + 3, side * cells[1] + 2)
    tiles = TileGrid.regular(shape, side, **grid)
    rng = np.random.default_rng(0)
    prob = rng.dirichlet(np.full(3, 0.3), len(tiles)).astype(np.float32)
    prob[3] = np.nan
    image = viewer.add_image(pixels(shape), name="field", **place)
    table = TileTable(tiles, SCHEME, prob, (0.325, 0.65) if place.get("units") else None)
    source = SourceImage(image.data[..., None], "field.tif")
    view = MapView(viewer)
    new = build_map(table, source, FieldLayer.of(image), view.style)
    for layer in new.layers:
        viewer.add_layer(layer)
    viewer.layers.selection = set(new.layers)
    return table


def of_kind(viewer: ViewerModel, kind: str) -> list[Any]:
    return [layer for layer in viewer.layers if (layer.metadata.get(KEY) or {}).get("kind") == kind]


def check_same(table: TileTable, again: TileTable, colours: bool) -> None:
    np.testing.assert_array_equal(again.grid.boxes, table.grid.boxes)
    np.testing.assert_array_equal(again.grid.tile_id, table.grid.tile_id)
    np.testing.assert_array_equal(again.class_name, table.class_name)
    np.testing.assert_allclose(again.prob, table.prob, rtol=5.1e-6, atol=1.1e-6)
    assert again.scheme.names == table.scheme.names
    if colours:
        assert again.scheme.colours == table.scheme.colours


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("suffix", "colours"), [(".tiles.csv", False), (".geojson", True), (".wsinfer.csv", False)])
def test_a_map_saved_and_opened_again_is_the_same(
    viewer: ViewerModel, tmp_path: Path, place: dict, suffix: str, colours: bool
) -> None:
    table = show_map(viewer, place)
    (before,) = of_kind(viewer, "map")
    path = str(tmp_path / f"m{suffix}")
    assert viewer.layers.save(path, selected=True, plugin=PLUGIN) == [path]
    viewer.layers.remove(before)
    (after,) = viewer.open(path, plugin=PLUGIN)
    check_same(table, after.metadata[KEY]["table"], colours)
    np.testing.assert_array_equal(after.data, before.data)
    np.testing.assert_allclose(matrix_of(transform_of(after)), matrix_of(transform_of(before)))
    for name in ("row", "col", "y0", "x0", "y1", "x1", "class_name"):
        assert after.features[name].tolist() == before.features[name].tolist()
    if colours:
        np.testing.assert_allclose(after.face_color, before.face_color, atol=1e-6)


@pytest.mark.parametrize("suffix", [".tiles.csv", ".geojson"])
def test_a_map_of_pixels_is_saved_and_opened_too(viewer: ViewerModel, tmp_path: Path, suffix: str) -> None:
    table = show_map(viewer, PLACES[1], 4, (101, 100), edge="shift")
    assert len(table) > MAX_SHAPES
    before = of_kind(viewer, "map")
    path = str(tmp_path / f"m{suffix}")
    assert viewer.layers.save(path, selected=True, plugin=PLUGIN) == [path]
    after = viewer.open(path, plugin=PLUGIN)
    check_same(table, after[0].metadata[KEY]["table"], suffix == ".geojson")
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one.affine.affine_matrix, other.affine.affine_matrix, atol=1e-9)
    np.testing.assert_array_equal(before[1].data, after[1].data)


@pytest.mark.parametrize("image", [None, (5, 90, 120), (2, 5, 90, 120), (90, 120)])
def test_regions_of_several_planes_are_seen_on_their_own_plane(
    viewer: ViewerModel, tmp_path: Path, image: tuple[int, ...] | None
) -> None:
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "plane": {"z": z}, "coordinates": [[[x, 5], [x + 20, 5], [x, 30]]]},
            "properties": {"objectType": "annotation", "classification": {"name": "a"}},
        }
        for x, z in ((10, 0), (40, 3))
    ]
    features.append({"type": "Feature", "geometry": {"type": "Point", "plane": {"z": 2}, "coordinates": [7.5, 9.5]}})
    (tmp_path / "q.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    if image is not None:
        viewer.add_image(np.zeros(image, np.uint8), scale=(2.0,) * len(image))
    shapes, points = viewer.open(str(tmp_path / "q.geojson"), plugin=PLUGIN)
    if image == (90, 120):
        assert shapes.ndim == points.ndim == 2, "an image of one plane has no slider"
        return
    assert shapes.ndim == (3 if image is None else len(image))
    assert [shape[0, -3] for shape in shapes.data] == [0, 3]
    assert points.data[0].tolist()[-3:] == [2, 9, 7]
    if image is not None:
        assert shapes.data_to_world(shapes.data[1][0]) == pytest.approx(2 * shapes.data[1][0])
    viewer.layers.selection = {shapes, points}
    viewer.layers.save(str(tmp_path / "again.geojson"), selected=True, plugin=PLUGIN)
    written = json.loads((tmp_path / "again.geojson").read_text())
    written = written["features"] if isinstance(written, dict) else written
    assert sorted(one["geometry"]["plane"]["z"] for one in written) == [0, 2, 3]


def test_without_the_image_a_geojson_keeps_its_pixel_size(viewer: ViewerModel, tmp_path: Path) -> None:
    show_map(viewer, PLACES[1])
    path = str(tmp_path / "m.geojson")
    viewer.layers.save(path, selected=True, plugin=PLUGIN)
    viewer.layers.clear()
    (layer,) = viewer.open(path, plugin=PLUGIN)
    np.testing.assert_allclose(layer.scale, (0.325, 0.65))
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]


def test_a_map_becomes_coco_and_opens_as_regions(viewer: ViewerModel, tmp_path: Path) -> None:
    table = show_map(viewer, PLACES[1])
    path = str(tmp_path / "m.coco.json")
    viewer.layers.save(path, selected=True, plugin=PLUGIN)
    assert json.loads(Path(path).read_text())["images"][0]["file_name"] == "field.tif"
    (layer,) = viewer.open(path, plugin=PLUGIN)
    kept = table.class_index >= 0
    np.testing.assert_array_equal(np.array(layer.data), table.grid.rects()[kept])
    assert layer.features["class_name"].tolist() == table.class_name[kept].tolist()
    np.testing.assert_allclose(layer.scale, PLACES[1]["scale"])


@pytest.mark.parametrize("with_image", [False, True])
def test_a_map_becomes_class_folders_that_can_be_trained_on(
    viewer: ViewerModel, tmp_path: Path, with_image: bool
) -> None:
    table = show_map(viewer, {})
    if with_image:  # as after opening the map from a file over another image
        (layer,) = of_kind(viewer, "map")
        layer.metadata[KEY]["source"] = None
        viewer.layers.selection.add(viewer.layers["field"])
    written = viewer.layers.save(str(tmp_path / "out"), selected=True, plugin=f"{PLUGIN}.write_folders")
    assert len(written) == (table.class_index >= 0).sum() + 1
    data = read_dataset(tmp_path / "out")
    assert data.scheme.names == ("a", "b, c", "µ")
    np.testing.assert_array_equal(np.bincount(data.labels), np.bincount(table.class_index[table.class_index >= 0]))


def test_a_map_without_its_image_says_what_class_folders_need(viewer: ViewerModel, tmp_path: Path) -> None:
    show_map(viewer, {})
    of_kind(viewer, "map")[0].metadata[KEY]["source"] = None
    with pytest.raises(OutputError, match="select the image's layer as well"):
        viewer.layers.save(str(tmp_path / "out"), selected=True, plugin=f"{PLUGIN}.write_folders")


def annotate(viewer: ViewerModel, folder: Path, place: dict) -> Annotation:
    image = viewer.add_image(pixels((40, 48)), name="field", **place)
    source = SourceImage(image.data[..., None], "field.tif")
    grid = TileGrid.regular((40, 48), 8)
    annotation = Annotation(ImageKey(source.image_id, "field.tif"), grid, SCHEME, Journal(folder))
    annotation.label(np.arange(20), np.arange(20) % 5 - 2)
    AnnotationLayers(viewer, annotation, source, FieldLayer.of(image))
    viewer.layers.selection = set(of_kind(viewer, "annotation"))
    return annotation


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("suffix", [".tiles.csv", ".geojson", ".coco.json"])
def test_labels_saved_opened_and_taken_are_the_same(
    viewer: ViewerModel, tmp_path: Path, place: dict, suffix: str
) -> None:
    annotation = annotate(viewer, tmp_path / "journal", place)
    path = str(tmp_path / f"l{suffix}")
    assert viewer.layers.save(path, selected=True, plugin=PLUGIN) == [path]
    (layer,) = viewer.open(path, plugin=PLUGIN)
    assert layer in layers_with_labels(viewer)
    found, names = labels_from_layer(layer, annotation.grid, FieldLayer.of(viewer.layers["field"]))
    expected = [SCHEME.names[i] if i >= 0 else "" for i in annotation.labels]
    assert [names[i] if i >= 0 else "" for i in found.labels] == expected
    shown = {tuple(np.round(255 * c[:3]).astype(int)) for c in layer.edge_color}
    assert shown == {SCHEME.rgb(i) for i in set(annotation.labels[annotation.labels >= 0])}


def test_labels_become_class_folders(viewer: ViewerModel, tmp_path: Path) -> None:
    annotation = annotate(viewer, tmp_path / "journal", {})
    viewer.layers.save(str(tmp_path / "out"), selected=True, plugin=f"{PLUGIN}.write_folders")
    frame = pd.read_csv(tmp_path / "out" / "tiles.csv")
    assert frame["class_name"].tolist() == [SCHEME.names[i] for i in annotation.labels if i >= 0]


def polygon(*corners: tuple[float, float]) -> list[list[float]]:
    return [list(corner) for corner in (*corners, corners[0])]


def test_annotations_of_qupath_open_save_and_open_the_same(viewer: ViewerModel, tmp_path: Path) -> None:
    outline, hole = polygon((0, 0), (40, 0), (48, 40), (0, 40)), polygon((8, 8), (8, 24), (24, 24), (24, 8))
    features = [
        ("Tumor", {"type": "Polygon", "coordinates": [outline, hole]}),
        ("Stroma", {"type": "MultiPoint", "coordinates": [[10, 10], [44, 2.5]]}),
        ("", {"type": "Polygon", "coordinates": [polygon((1, 1), (5, 1), (5, 3), (1, 3))]}),
    ]
    content = [
        {
            "type": "Feature",
            "geometry": g,
            "properties": {"classification": {"name": n, "color": [9, 8, 7]}} if n else {},
        }
        for n, g in features
    ]
    image = viewer.add_image(pixels((40, 48)), name="field", **PLACES[1])
    (tmp_path / "q.geojson").write_text(json.dumps(content))
    shapes, points = viewer.open(str(tmp_path / "q.geojson"), plugin=PLUGIN)
    assert shapes.features["class_name"].tolist() == ["Tumor", ""]
    assert points.features["class_name"].tolist() == ["Stroma", "Stroma"]
    np.testing.assert_allclose(points.data, [[9.5, 9.5], [2, 43.5]])
    np.testing.assert_allclose(shapes.edge_color[0, :3] * 255, (9, 8, 7))
    grid = TileGrid.regular((40, 48), 8)
    labels, names = labels_from_layer(shapes, grid, FieldLayer.of(image))
    assert names == ("Tumor",)
    inside_hole = (grid.boxes[:, :2] >= 8).all(axis=1) & (grid.boxes[:, 2:] <= 24).all(axis=1)
    assert (labels.labels[inside_hole] == -1).all()
    assert labels.labels[0] == 0
    mask = shapes.to_masks((40, 48))[0]
    assert not mask[10:22, 10:22].any()
    assert mask[30, 30]
    viewer.layers.selection = {shapes, points}
    viewer.layers.save(str(tmp_path / "again.geojson"), selected=True, plugin=PLUGIN)
    once, twice = viewer.open(str(tmp_path / "again.geojson"), plugin=PLUGIN)
    for one, other in ((shapes, once), (points, twice)):
        assert one.features.equals(other.features)
        np.testing.assert_allclose(matrix_of(transform_of(one)), matrix_of(transform_of(other)))
    for one, other in zip(shapes.data, once.data, strict=True):
        assert set(map(tuple, np.asarray(one).tolist())) == set(map(tuple, np.asarray(other).tolist()))
    np.testing.assert_allclose(points.data, twice.data)


def test_a_users_own_layers_are_still_saved_by_napari(viewer: ViewerModel, tmp_path: Path) -> None:
    shapes = viewer.add_shapes([[[0, 0], [0, 5], [5, 5], [5, 0]]], name="mine")
    viewer.add_labels(np.ones((8, 8), np.uint8), name="painted")
    viewer.layers.selection = {shapes}
    assert viewer.layers.save(str(tmp_path / "s.csv"), selected=True) == [str(tmp_path / "s.csv")]
    assert viewer.layers.save(str(tmp_path / "s"), selected=True) == [str(tmp_path / "s.csv")]
    assert sorted(p.name for p in map(Path, viewer.layers.save(str(tmp_path / "all")))) == ["mine.csv", "painted.tif"]
    for name in ("x.geojson", "x.tiles.csv", "x.coco.json"):
        with pytest.raises(OutputError, match="'mine' is not a map, annotation or region"):
            viewer.layers.save(str(tmp_path / name), selected=True, plugin=PLUGIN)
        assert not (tmp_path / name).exists()


def test_two_maps_are_not_one_file(viewer: ViewerModel, tmp_path: Path) -> None:
    show_map(viewer, {})
    show_map(viewer, {})
    viewer.layers.selection = set(of_kind(viewer, "map"))
    with pytest.raises(OutputError, match="2 things to write"):
        viewer.layers.save(str(tmp_path / "m.geojson"), selected=True, plugin=PLUGIN)


def test_files_of_others_are_declined(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("index,axis-0,axis-1\n0,1,2\n")
    assert file_readers.get_reader(str(tmp_path / "points.csv")) is None
    assert file_readers.get_reader([str(tmp_path / "a.geojson")]) is None
    assert montage.get_reader(str(tmp_path)) is None
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "x.tif").touch()
    assert montage.get_reader(str(tmp_path)) is None


def test_a_damaged_file_is_told_in_one_line(viewer: ViewerModel, tmp_path: Path) -> None:
    (tmp_path / "x.geojson").write_text("{")
    with pytest.raises(CellClassError, match="cannot be read as GeoJSON"):
        viewer.open(str(tmp_path / "x.geojson"), plugin=PLUGIN)


def test_a_data_set_folder_is_a_sheet_per_class(
    viewer: ViewerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tifffile

    for name, count, side in (("a", 12, 16), ("b", 3, 20)):
        (tmp_path / name).mkdir()
        for i in range(count):
            tifffile.imwrite(tmp_path / name / f"{i:02d}.tif", np.full((side, side), 100 * (i + 1), np.uint16))
    (tmp_path / "b" / "broken.tif").write_text("no image")
    read = []
    monkeypatch.setattr(
        montage, "_pixels", lambda source, step, old=montage._pixels: (read.append(1), old(source, step))[1]
    )
    layers = montage.get_reader(str(tmp_path))(str(tmp_path))
    assert not read, "tiles are read when they are seen"
    (a, options, _), (b, other, _), (_, titles, kind) = layers
    assert a.dtype == b.dtype == np.uint16
    assert a.shape == (56, 280)
    assert b.shape == (28, 84)
    sheet = np.asarray(a)
    assert (sheet[28:44, 28:44] == 1200).all()
    assert (sheet[44:, :] == 0).all()
    assert options["metadata"][KEY]["files"] == [str(tmp_path / "a" / f"{i:02d}.tif") for i in range(12)]
    assert options["metadata"][KEY]["folder"] == str(tmp_path)
    assert "broken.tif" in other["metadata"][KEY]["skipped"][0]
    assert other["translate"][0] >= 56
    assert kind == "points"
    assert titles["features"]["label"] == ["a", "b"]
    assert len(viewer.open(str(tmp_path), plugin=PLUGIN)) == 3


def test_sheets_hold_colours_and_channels_and_a_stated_number_of_tiles(tmp_path: Path) -> None:
    import tifffile
    from PIL import Image as Pillow

    for name in ("a", "b"):
        (tmp_path / "rgb" / name).mkdir(parents=True)
        (tmp_path / "two" / name).mkdir(parents=True)
        for i in range(montage.MAX_TILES + 5):
            Pillow.fromarray(np.full((4, 4, 3), i, np.uint8)).save(tmp_path / "rgb" / name / f"{i:03d}.png")
        tifffile.imwrite(tmp_path / "two" / name / "x.tif", np.zeros((2, 600, 600), np.uint16), imagej=True)
    (sheet, options, _), *_ = montage.dataset_layers(tmp_path / "rgb")
    assert options["rgb"]
    assert sheet.shape == (120, 120, 3)
    assert options["name"] == f"a ({montage.MAX_TILES} of {montage.MAX_TILES + 5})"
    (sheet, options, _), *_ = montage.dataset_layers(tmp_path / "two")
    assert sheet.shape[0] == 2
    assert max(sheet.shape[1:]) <= 520
    assert len(options["translate"]) == 3
    Image(sheet, **options)


def test_the_sample_data_set_can_be_trained_on(
    viewer: ViewerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_, **__: tmp_path)
    layers = viewer.open_sample(PLUGIN, "dataset")
    folder = Path(layers[0].metadata[KEY]["folder"])
    assert tmp_path in folder.parents
    data = read_dataset(folder, group_by="^(...)")
    assert data.scheme.names == ("diffuse", "globs")
    assert len(data) == 2 * 6 * 2 * 4
    assert not data.skipped
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert samples.sample_dataset() == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == written
