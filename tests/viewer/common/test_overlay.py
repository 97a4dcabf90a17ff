from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.common.layers import transform_of
from napari_cellclass.viewer.common.map_view import FieldLayer, MapView, build_map, is_own_layer
from napari_cellclass.viewer.common.overlay import (
    OverlayStyle,
    displayed_class,
    restyle,
    tile_colours,
    tile_layers,
)
from napari_cellclass.viewer.common.visible_tiles import MAX_TEXTS, count_text_lines, tiles_with_text


def make(rows: int = 4, cols: int = 5, tile: int = 16, seed: int = 0) -> tuple[TileTable, Image]:
    rng = np.random.default_rng(seed)
    shape = (rows * tile, cols * tile)
    grid = TileGrid.regular(shape, tile)
    prob = rng.dirichlet(np.ones(3), len(grid)).astype(np.float32)
    return TileTable(grid, ClassScheme(("a", "b", "c")), prob), Image(np.zeros(shape, np.uint8), name="field")


def show(view: MapView, table: TileTable, image: Image, value: int) -> None:
    """Show a map over a field whose pixels, and so identity, are given by a value."""
    source = SourceImage(np.full((*image.data.shape, 1), value, np.uint8))
    view.show(build_map(table, source, FieldLayer.of(image), view.style, view.current if view.is_in_viewer() else None))


def test_features_are_the_table() -> None:
    table, image = make()
    (layer,) = tile_layers(table, transform_of(image), "map", OverlayStyle())
    for name, column in table.columns().items():
        np.testing.assert_array_equal(layer.features[name], column)


def test_colours_follow_class_threshold_and_visibility() -> None:
    table, _ = make()
    table.prob[0] = np.nan
    style = OverlayStyle((True, False, True), 0.6)
    face, edge = tile_colours(table, style)
    shown = displayed_class(table, style)
    assert set(shown) == {-2, -1, 0, 2}
    for i, index in enumerate(shown):
        if index == -2:
            assert face[i, 3] == edge[i, 3] == 0
            assert table.class_index[i] == 1
        else:
            np.testing.assert_allclose(face[i, :3] * 255, table.scheme.rgb(index), atol=0.01)
            assert 0 < face[i, 3] < edge[i, 3] <= 1
            assert (index == -1) == (not table.confidence[i] >= 0.6)


def test_restyling_changes_colours_but_no_feature() -> None:
    table, image = make()
    (layer,) = tile_layers(table, transform_of(image), "map", OverlayStyle())
    before = layer.features.copy()
    restyle(layer, OverlayStyle((False, True, True)))
    hidden = table.class_index == 0
    assert (layer.face_color[hidden, 3] == 0).all()
    assert (layer.face_color[~hidden, 3] > 0).all()
    assert layer.features.equals(before)


def test_the_status_bar_tells_the_class_under_the_mouse() -> None:
    table, image = make()
    for scaled in (image, Image(image.data, scale=(3, 3), translate=(50, 60), rotate=15)):
        (layer,) = tile_layers(table, transform_of(scaled), "map", OverlayStyle())
        for place in (0, 7, 19):
            y, x = table.grid.boxes[place, :2] + 5
            text = layer.get_status(scaled.data_to_world((y, x)), world=True)["coordinates"]
            assert f"{table.class_name[place]} {table.confidence[place]:.1%}" in text
        assert "no tile" in layer.get_status(scaled.data_to_world((500, 500)), world=True)["coordinates"]


def test_text_goes_to_the_tiles_in_view_and_never_to_more_than_the_limit() -> None:
    table, _ = make(60, 60)
    everywhere = np.array([[-1, -1], [2000, 2000]])
    assert len(tiles_with_text(table, OverlayStyle(), everywhere, 4.0)) == MAX_TEXTS
    assert len(tiles_with_text(table, OverlayStyle(), everywhere, 1.0)) == 0  # too small to read
    view = np.array([[0, 0], [64, 64]])
    places = tiles_with_text(table, OverlayStyle(), view, 4.0)
    assert set(places) == {i for i in range(len(table)) if table.grid.row[i] < 4 and table.grid.col[i] < 4}
    none = tiles_with_text(table, OverlayStyle((False, False, False)), view, 4.0)
    assert len(none) == 0


def test_text_is_written_only_where_its_tile_has_room_of_its_own() -> None:
    scheme = ClassScheme(("stained", "unstained"))
    for overlap, lines in ((0.0, 2), (0.5, 1), (0.9, 0)):
        grid = TileGrid.regular((128, 128), 32, overlap)
        table = TileTable(grid, scheme, np.full((len(grid), 2), 0.5, np.float32))
        assert count_text_lines(table, 3.0) == lines


def test_running_again_replaces_our_own_layer_and_never_a_users() -> None:
    viewer = ViewerModel()
    table, image = make()
    viewer.add_layer(image)
    shown = MapView(viewer)
    show(shown, table, image, 1)
    first = shown.layers[0]
    users = viewer.add_shapes(name="field classes")
    copy = first.__class__.create(*first.as_layer_data_tuple())  # what napari's "duplicate" makes
    viewer.add_layer(copy)
    part = TileTable(table.grid.take(range(7)), table.scheme, table.prob[:7])
    show(shown, part, image, 1)
    assert first not in viewer.layers
    assert users in viewer.layers
    assert copy in viewer.layers
    assert not is_own_layer(copy)
    assert sum(is_own_layer(layer) for layer in viewer.layers) == 2  # map and text


def test_other_answers_for_the_same_tiles_go_into_the_layer_that_is_there() -> None:
    for rows, cols, tile in ((4, 5, 16), (101, 100, 4)):
        viewer = ViewerModel()
        table, image = make(rows, cols, tile)
        shown = MapView(viewer)
        show(shown, table, image, 1)
        before = list(viewer.layers)
        other, _ = make(rows, cols, tile, seed=1)
        show(shown, other, image, 1)
        assert list(viewer.layers) == before
        layer = shown.layers[-1]
        place = int(np.flatnonzero(other.class_index != table.class_index)[0])
        if tile == 16:
            assert layer.features["class_name"].tolist() == other.class_name.tolist()
            np.testing.assert_allclose(layer.face_color, tile_colours(other, shown.style)[0], atol=1e-6)
        else:
            assert layer.data[other.grid.row[place], other.grid.col[place]] == other.class_index[place] + 2
        world = image.data_to_world(other.grid.boxes[place, :2] + 1)
        assert other.class_name[place] in layer.get_status(world, world=True)["coordinates"]


def test_a_map_of_another_field_stays() -> None:
    viewer = ViewerModel()
    table, image = make()
    shown = MapView(viewer)
    show(shown, table, image, 1)
    first = shown.layers[0]
    show(shown, table, image, 2)
    assert first in viewer.layers


def test_layers_with_the_same_pixels_have_maps_of_their_own() -> None:
    viewer = ViewerModel()
    table, left = make()
    right = Image(left.data, translate=(0, 200), name="right")
    viewer.add_layer(left)
    viewer.add_layer(right)
    views = MapView(viewer), MapView(viewer)
    show(views[0], table, left, 1)
    show(views[1], table, right, 1)
    assert views[0].is_in_viewer()
    viewer.layers.remove(left)
    show(views[1], TileTable(table.grid.take(range(5)), table.scheme, table.prob[:5]), right, 1)
    assert not views[0].is_in_viewer(), "the map of an image that is gone is replaced"


def test_the_map_is_found_by_what_it_is_not_by_its_name() -> None:
    viewer = ViewerModel()
    table, image = make()
    shown = MapView(viewer)
    show(shown, table, image, 1)
    shown.layers[0].name = "my favourite"
    show(shown, TileTable(table.grid.take(range(7)), table.scheme, table.prob[:7]), image, 1)
    assert [layer.name for layer in viewer.layers if is_own_layer(layer)] == ["field classes", "field text"]


def test_a_map_that_a_user_deleted_is_not_touched_again() -> None:
    viewer = ViewerModel()
    table, image = make()
    shown = MapView(viewer)
    show(shown, table, image, 1)
    viewer.layers.clear()
    shown.restyle(OverlayStyle(min_confidence=0.5))
    shown.refresh_view()
    assert not shown.is_in_viewer()


@pytest.mark.parametrize("threshold", [0.0, 0.99])
def test_a_large_map_is_pixels_and_is_restyled_too(threshold: float) -> None:
    table, image = make(101, 100, 4)
    image_layer, labels = tile_layers(table, transform_of(image), "map", OverlayStyle())
    restyle(labels, OverlayStyle(min_confidence=threshold))
    expected = np.where(table.confidence >= threshold, table.class_index + 2, 1)
    np.testing.assert_array_equal(labels.data[table.grid.row, table.grid.col], expected)
    np.testing.assert_array_equal(image_layer.data[table.grid.row, table.grid.col], table.confidence)
