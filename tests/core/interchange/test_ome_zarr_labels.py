"""Maps in OME-Zarr: where the tiles are, with names and colours, and nothing that was there is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import npe2
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari_ome_zarr import napari_get_reader
from tests._ome_zarr import contents, write_ome_zarr

from napari_cellclass.core.common.errors import CellClassError, ImageError, OutputError
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.interchange import ome_zarr_labels
from napari_cellclass.core.interchange.ome_zarr_labels import check_free, write_label_image, write_tile_table
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import EdgeRule, TileGrid

VERSIONS = ["0.4", "0.5"]
SCHEME = ClassScheme(("even", "striped"), ("#112233", "#445566"))


def table_of(shape: tuple[int, int] = (64, 80), edge: EdgeRule = "drop", seed: int = 0) -> TileTable:
    grid = TileGrid.regular(shape, 16, 0.0, edge)
    first = np.random.default_rng(seed).integers(0, 2, len(grid)).astype(np.float32)
    return TileTable(grid, SCHEME, np.stack([first, 1 - first], axis=1), (0.5, 0.5))


def attributes(path: Path) -> dict[str, Any]:
    attrs = dict(zarr.open_group(str(path), mode="r").attrs)
    return dict(attrs.get("ome", attrs))


def levels(path: Path, name: str) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pixels, scale and translation of each level."""
    found = []
    for one in attributes(path / "labels" / name)["multiscales"][0]["datasets"]:
        scale, translation = one["coordinateTransformations"]
        pixels = zarr.open_array(str(path / "labels" / name / one["path"]), mode="r")[...]
        found.append((pixels, np.array(scale["scale"]), np.array(translation["translation"])))
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("edge", "shape"), [("drop", (64, 80)), ("drop", (70, 90)), ("shift", (70, 90))])
def test_every_pixel_of_every_level_lies_on_a_tile_of_its_class(
    tmp_path: Path, version: str, edge: EdgeRule, shape: tuple[int, int]
) -> None:
    path = write_ome_zarr(tmp_path / "i.zarr", np.zeros((2, *shape), np.uint8), "cyx", version, shift=100)
    table = table_of(shape, edge)
    write_label_image(path, "classes", [(table, {})])
    found = levels(path, "classes")
    assert len(found) == (1 if edge == "shift" else 2)
    for pixels, scale, translation in found:
        for at in np.ndindex(pixels.shape):
            y, x = (np.array(at) * scale + translation - 100) / 0.5  # in px of the field
            tiles = [table.grid.tile_at(y + half, x + half) for half in (-0.5, 0.5)]  # it has no pixel in its middle
            assert pixels[at] in [0 if tile < 0 else table.class_index[tile] + 1 for tile in tiles]
    if edge == "drop":
        assert found[1][0].shape == table.grid.grid_shape


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_that_was_there_is_changed_and_labels_stand_beside_each_other(tmp_path: Path, version: str) -> None:
    path = write_ome_zarr(tmp_path / "i.zarr", np.ones((64, 80), np.uint8), "yx", version)
    before = contents(path)
    write_label_image(path, "first", [(table_of(), {})])
    write_tile_table(path, "tiles", [table_of()])
    first = contents(path)
    assert {name: first[name] for name in before} == before
    write_label_image(path, "second", [(table_of(seed=1), {})])
    second = contents(path)
    listing = {"labels/.zattrs", "labels/zarr.json"}
    assert {name: second[name] for name in first if name not in listing} == {
        name: content for name, content in first.items() if name not in listing
    }
    assert attributes(path / "labels")["labels"] == ["first", "second"]
    assert read_image(path).shape == (64, 80)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_name_that_is_taken_is_refused_and_left_as_it_is(tmp_path: Path, version: str) -> None:
    path = write_ome_zarr(tmp_path / "i.zarr", np.ones((64, 80), np.uint8), "yx", version)
    write_label_image(path, "cells", [(table_of(), {})])
    write_tile_table(path, "cells", [table_of()])
    before = contents(path)
    for write in (
        lambda: write_label_image(path, "cells", [(table_of(seed=1), {})]),
        lambda: write_tile_table(path, "cells", [table_of(seed=1)]),
        lambda: check_free(path, "labels", "cells"),
    ):
        with pytest.raises(OutputError, match=r"has (labels|tables)/cells already"):
            write()
    assert contents(path) == before


def test_a_write_that_fails_leaves_no_half_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_ome_zarr(tmp_path / "i.zarr", np.ones((64, 80), np.uint8), "yx", "0.4")
    write_label_image(path, "first", [(table_of(), {})])
    before = contents(path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ome_zarr_labels, "_set_attributes", full)
    with pytest.raises(CellClassError, match="the disk is full"):
        write_label_image(path, "second", [(table_of(), {})])
    assert contents(path) == before


@pytest.mark.parametrize("earlier", [True, False])
def test_metadata_that_cannot_be_consolidated_list_no_label_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: bool
) -> None:
    path = write_ome_zarr(tmp_path / "i.zarr", np.ones((64, 80), np.uint8), "yx", "0.4")
    if earlier:
        write_label_image(path, "first", [(table_of(), {})])
    zarr.consolidate_metadata(str(path))
    before = contents(path)

    def full(store: str) -> None:
        Path(store, ".zmetadata").write_bytes(b'{"metadata": {')
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zarr, "consolidate_metadata", full)
        with pytest.raises(OutputError, match="the disk is full"):
            write_label_image(path, "second", [(table_of(), {})])
    assert contents(path) == before
    write_label_image(path, "second", [(table_of(), {})])
    assert attributes(path / "labels")["labels"] == (["first", "second"] if earlier else ["second"])
    assert "labels/second/.zattrs" in (path / ".zmetadata").read_text()


@pytest.mark.parametrize("version", VERSIONS)
def test_napari_ome_zarr_opens_it_over_the_image_with_names_and_colours(tmp_path: Path, version: str) -> None:
    path = write_ome_zarr(tmp_path / "i.zarr", np.zeros((3, 64, 80), np.uint8), "cyx", version)
    table = table_of()
    write_label_image(path, "classes", [(table, {})])
    read = napari_get_reader(str(path))
    assert read is not None
    (_, meta, _), (data, about, kind) = read(str(path))
    assert kind == "labels"
    assert about["name"].endswith("classes")
    assert about["properties"] == {"class": ["even", "striped", "(unsure)"], "index": [1, 2, 3]}
    assert {k: tuple(round(255 * v) for v in colour[:3]) for k, colour in about["colormap"].items()} == {
        k + 1: SCHEME.rgb(k) for k in range(3)
    }
    side = np.array(about["scale"]) / np.array(meta["scale"])  # a pixel of the labels, in px of the field
    pixels = np.asarray(data[0])
    for tile, (y, x) in enumerate(table.grid.boxes[:, :2] + 8):
        at = np.floor((np.array([y, x]) + 0.5) / side).astype(int)
        assert pixels[tuple(at)] == table.class_index[tile] + 1


@pytest.mark.parametrize("version", VERSIONS)
def test_napari_shows_the_classes_in_their_colours(tmp_path: Path, version: str) -> None:
    path = write_ome_zarr(tmp_path / "i.zarr", np.zeros((3, 64, 80), np.uint8), "cyx", version)
    write_label_image(path, "classes", [(table_of(), {})])
    npe2.PluginManager.instance().discover()
    *images, labels = ViewerModel().open(str(path), plugin="napari-ome-zarr")
    assert len(images) == 3
    assert list(labels.features["class"]) == ["even", "striped", "(unsure)"]
    assert [tuple(np.rint(255 * labels.get_color(k + 1)[:3])) for k in range(3)] == [SCHEME.rgb(k) for k in range(3)]
    away = np.abs(labels.extent.world - images[0].extent.world) / 0.5  # px of the field, of tiles of 16
    assert away.max() <= 1


@pytest.mark.parametrize("version", VERSIONS)
def test_planes_of_a_stack_have_their_own_map_and_others_none(tmp_path: Path, version: str) -> None:
    path = write_ome_zarr(tmp_path / "i.zarr", np.zeros((3, 2, 4, 64, 80), np.uint8), "tczyx", version)
    one, other = table_of(seed=1), table_of(seed=2)
    write_label_image(path, "classes", [(one, {"T": 0, "Z": 3}), (other, {"T": 2, "Z": 1})])
    pixels = levels(path, "classes")[1][0]
    assert pixels.shape == (3, 4, 4, 5)
    assert np.array_equal(pixels[0, 3], one.as_labels())
    assert np.array_equal(pixels[2, 1], other.as_labels())
    assert np.count_nonzero(pixels) == 2 * 20


@pytest.mark.parametrize("version", VERSIONS)
def test_the_table_is_read_as_anndata_in_the_format_of_the_image(tmp_path: Path, version: str) -> None:
    path = write_ome_zarr(tmp_path / "i.zarr", np.zeros((64, 80), np.uint8), "yx", version)
    table = table_of()
    write_tile_table(path, "tiles", [table])
    group = zarr.open_group(str(path / "tables" / "tiles"), mode="r")
    assert group.metadata.zarr_format == (2 if version == "0.4" else 3)
    found = anndata.io.read_elem(group)
    assert list(found.obs["class_name"]) == list(table.class_name)
    assert dict(zarr.open_group(str(path / "tables"), mode="r").attrs) == {"tables": ["tiles"]}


def test_what_is_no_image_of_these_versions_is_told_in_one_line(tmp_path: Path) -> None:
    zarr.open_array(str(tmp_path / "a.zarr"), mode="w", shape=(4, 4), dtype="u1")[...] = 1
    old = write_ome_zarr(tmp_path / "old.zarr", np.zeros((4, 4), np.uint8), "yx", "0.4")
    group = zarr.open_group(str(old), mode="r+")
    group.attrs["multiscales"] = [{**group.attrs["multiscales"][0], "version": "0.3"}]
    for path, words in ((tmp_path / "a.zarr", "is no OME-Zarr image"), (old, "is OME-Zarr 0.3")):
        with pytest.raises(ImageError, match=words):
            check_free(path, "labels", "classes")
