"""What the layers of the labels say: the status bar, the text of the map, what is selected, and where the frame is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.labels.label_store import UNSURE
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.common.map_view import FieldLayer, MapView, build_map
from napari_cellclass.viewer.common.visible_tiles import contradicting_labels, text_colours, text_layer, write_texts
from napari_cellclass.viewer.features.annotation_layers import AnnotationLayers
from napari_cellclass.viewer.features.current_frame import NAME
from napari_cellclass.viewer.workspace.selection import TileSelection

TILE = 16
SCHEME = ClassScheme(("a", "b"))


@pytest.fixture
def source() -> SourceImage:
    return SourceImage(np.zeros((3 * TILE, 4 * TILE, 1), np.uint8), name="field")


@pytest.fixture
def annotation(source: SourceImage, tmp_path: Path) -> Annotation:
    grid = TileGrid.regular(source.shape, TILE)
    found = Annotation(ImageKey(source.image_id, source.name), grid, SCHEME, Journal(tmp_path))
    found.label([0, 1, 2], [0, 1, UNSURE])
    return found


@pytest.fixture
def layers(source: SourceImage, annotation: Annotation) -> Iterator[AnnotationLayers]:
    viewer = ViewerModel()
    image = viewer.add_image(source.data[..., 0], name="field")
    found = AnnotationLayers(viewer, annotation, source, FieldLayer.of(image))
    yield found
    found.remove()


def table_of(annotation: Annotation, classes: list[int]) -> TileTable:
    """A map that is sure of these classes."""
    prob = np.full((len(annotation.grid), 2), 0.1, np.float32)
    prob[np.arange(len(classes)), classes] = 0.9
    return TileTable(annotation.grid, SCHEME, prob)


def sides(layers: AnnotationLayers) -> np.ndarray:
    overlays = layers._viewer.scene.overlays
    return overlays[NAME].segments if NAME in overlays else np.zeros((0, 2, 2))


@pytest.mark.parametrize(
    ("x", "words"),
    [(8, "labelled a (tile r0 c0)"), (24, "labelled b (tile r0 c1)"), (40, "labelled unsure"), (60, "not labelled")],
)
def test_the_status_bar_names_the_label_of_a_tile_and_no_value_of_a_pixel(
    layers: AnnotationLayers, x: int, words: str
) -> None:
    assert layers.map.get_status((8.0, float(x)), world=True)["value"].startswith(words)


def test_the_frame_is_over_all_layers_until_the_labels_are_hidden_or_gone(layers: AnnotationLayers) -> None:
    layers.go_to(6, follow=False)  # row 1, column 2
    corners = np.array([[TILE, 2 * TILE], [2 * TILE, 3 * TILE]]) - 0.5
    ends = sides(layers).reshape(-1, 2)
    np.testing.assert_allclose([ends.min(axis=0), ends.max(axis=0)], corners)
    layers.map.visible = False
    assert not len(sides(layers))
    layers.map.visible = True
    assert len(sides(layers)) == 4
    layers._viewer.layers.remove(layers.map)
    assert NAME not in layers._viewer.scene.overlays


def test_a_label_that_the_map_contradicts_is_written_on_its_tile(annotation: Annotation) -> None:
    table = table_of(annotation, [1, 1, 0, 0] * 3)
    tiles = np.arange(4)
    labelled = contradicting_labels(annotation, table, tiles)
    assert labelled == {0: "a"}, "b agrees; unsure and unlabelled tiles contradict nothing"
    image = Image(np.zeros((3 * TILE, 4 * TILE)))
    layer = text_layer(table, FieldLayer.of(image).transform, "text", "white")
    write_texts(layer, table, tiles, 2, labelled)
    assert layer.features["label"].tolist() == ["b\n90%\n≠ a", "b\n90%", "a\n90%", "a\n90%"]
    write_texts(layer, table, tiles, 1, labelled)
    assert layer.features["label"].tolist() == ["≠ 90%", "90%", "90%", "90%"]


def test_text_is_black_on_bright_tiles_and_white_on_dark_ones_of_one_image(annotation: Annotation) -> None:
    pixels = np.zeros((3 * TILE, 4 * TILE, 3), np.uint8)
    pixels[:, 2 * TILE :] = 250
    table, tiles = table_of(annotation, [0] * 12), np.arange(4)
    colours = text_colours(SourceImage(pixels, rgb=True), table, tiles)
    assert colours == ["white", "white", "black", "black"]
    layer = text_layer(table, FieldLayer.of(Image(pixels)).transform, "text", "white")
    write_texts(layer, table, tiles, 2, {}, colours)
    assert layer.text.color._values[:, :3].tolist() == [[1.0] * 3, [1.0] * 3, [0.0] * 3, [0.0] * 3]
    write_texts(layer, table, tiles, 2)
    assert (np.atleast_2d(layer.text.color._values)[:, :3] == 1).all()


def test_a_map_with_other_classes_contradicts_no_label(annotation: Annotation) -> None:
    table = table_of(annotation, [1, 1, 0, 0] * 3)
    other = TileTable(table.grid, ClassScheme(("c", "d")), table.prob)
    assert contradicting_labels(annotation, other, np.arange(4)) == {}


def test_the_text_of_a_map_follows_the_labels_of_its_field(
    layers: AnnotationLayers, annotation: Annotation, source: SourceImage
) -> None:
    viewer = layers._viewer
    view = MapView(viewer)
    viewer.scene.camera.zoom, viewer.scene.camera.center = 4.0, (0, 1.5 * TILE, 2 * TILE)
    view.show(build_map(table_of(annotation, [1, 1, 0, 0] * 3), source, layers.field_layer, view.style))
    assert view.text_layer is not None
    assert sum("≠ a" in text for text in view.text_layer.features["label"]) == 1
    annotation.label([0], [1])
    view.refresh_view()
    assert not any("≠" in text for text in view.text_layer.features["label"])
    view.remove()


def test_what_is_selected_says_how_many_tiles_have_a_label_already(annotation: Annotation) -> None:
    selected = TileSelection()
    selected.set(np.array([5, 6]))
    assert selected.describe(annotation) == "2 tiles are selected"
    selected.set(np.array([1, 2, 5]), [(annotation, np.array([0, 7]))])
    assert selected.describe(annotation) == "5 tiles are selected, 3 of them labelled already"
