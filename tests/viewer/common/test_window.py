"""Grid lines, keys and locks of our layers, in a real window."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.common.grid_lines import grid_lines, tile_edges
from napari_cellclass.viewer.common.key_bindings import advertise_keys, bind_keys, stop_advertising
from napari_cellclass.viewer.common.layers import lock_layer, remove_layers, transform_of
from napari_cellclass.viewer.common.line_overlay import lines_of

_SEEN = 12  # grey values by which a line differs from what is behind it


def drawn(viewer: Any) -> np.ndarray:
    """The canvas as grey values, float (h, w)."""
    QApplication.processEvents()
    return np.asarray(viewer.screenshot(canvas_only=True, flash=False), float)[..., :3].mean(axis=-1)


def positions(viewer: Any, layer: Any, points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Positions on the canvas, (n, 2) as (y, x), of points of a layer."""
    world = np.array([layer.data_to_world(point) for point in points])
    camera = viewer.scene.camera
    return (world - np.array(camera.center[-2:])) * camera.zoom + np.array(shape) / 2


def lines_seen(viewer: Any, lines: Any) -> list[bool]:
    """Tell of each line, also if a part of it is outside the view, whether all that is in view is drawn."""
    lines.visible = False
    without = drawn(viewer)
    lines.visible = True
    difference = np.abs(drawn(viewer) - without) > _SEEN
    found = []
    for ends in lines_of(lines):
        path = positions(viewer, lines, np.linspace(ends[0], ends[1], 200), difference.shape)
        inside = ((path >= 2) & (path < np.array(difference.shape) - 3)).all(axis=1)
        if inside.any():
            places = np.round(path[inside]).astype(int)
            near = [difference[y - 2 : y + 3, x - 2 : x + 3].any() for y, x in places]
            found.append(bool(np.mean(near) > 0.95))
    return found


@pytest.fixture(autouse=True)
def _layers_can_be_removed(viewer: Any) -> None:
    """A dock of ours is open, as with every user of these layers: without it, napari crashes at a removed layer."""
    viewer.window.add_plugin_dock_widget("napari-cellclass", "Prepare tiles")


@pytest.fixture
def show_grid(viewer: Any) -> Callable[..., Any]:
    def show(height: int, width: int, tile_px: int, **place: Any) -> Any:
        field = viewer.add_image(np.zeros((height, width), np.uint8), name="field", **place)
        lines = grid_lines(TileGrid.regular((height, width), tile_px), "grid", transform_of(field))
        viewer.add_layer(lines)
        viewer.reset_view()
        return lines

    return show


@pytest.mark.parametrize(
    ("height", "width", "tile_px", "place"),
    [
        (512, 512, 64, {}), (960, 1280, 128, {}), (3840, 5120, 256, {"scale": (0.325, 0.325)}),
        (960, 1280, 128, {"rotate": 30, "translate": (50, -20)}),
    ],
)  # fmt: skip
def test_every_grid_line_is_drawn_at_every_zoom(
    viewer: Any, show_grid: Callable[..., Any], height: int, width: int, tile_px: int, place: dict[str, Any]
) -> None:
    lines = show_grid(height, width, tile_px, **place)
    fitted = viewer.scene.camera.zoom
    assert len(lines_seen(viewer, lines)) == len(lines_of(lines))
    for factor in (0.31, 2.9):
        viewer.scene.camera.zoom = fitted * factor
        seen = lines_seen(viewer, lines)
        assert seen, factor
        assert all(seen), (factor, seen)


@pytest.mark.parametrize("factor", [0.7, 8.0])
def test_a_grid_line_is_as_wide_at_any_zoom(viewer: Any, show_grid: Callable[..., Any], factor: float) -> None:
    lines = show_grid(512, 512, 64)
    viewer.scene.camera.zoom *= factor
    lines.visible = False
    without = drawn(viewer)
    lines.visible = True
    changed = np.abs(drawn(viewer) - without) > _SEEN
    ends = lines_of(lines)
    ys = [y for (y, _), (other, _) in ends if y == other]
    middle = positions(viewer, lines, np.array([[y, 223.0] for y in ys]), changed.shape)  # between two vertical ones
    inside = ((middle > 4) & (middle < np.array(changed.shape) - 4)).all(axis=1)
    assert inside.any()
    for y, x in np.round(middle[inside]).astype(int):
        assert changed[y - 4 : y + 5, x].sum() == 1


def test_the_lines_of_ten_thousand_tiles_are_as_many_as_they_have_edges() -> None:
    grid = TileGrid.regular((1600, 1600), 16)
    assert len(grid) == 10_000
    edges = tile_edges(grid)
    assert len(edges) == 2 * 101
    np.testing.assert_array_equal(np.unique(edges[:101, 0, 0]), np.arange(101) * 16 - 0.5)


def test_tiles_on_points_have_four_edges_each() -> None:
    corners = np.array([[22, 22], [52, 42]], np.int32)
    boxes = np.hstack([corners, corners + 16])
    grid = TileGrid(boxes, corners[:, 0], corners[:, 1], (16, 16), (1, 1), (100, 100), (85, 85), "shift")
    edges = tile_edges(grid)
    assert edges.shape == (8, 2, 2)
    assert {tuple(point) for point in edges[:4].reshape(-1, 2)} == {
        (y, x) for y in grid.boxes[0, [0, 2]] - 0.5 for x in grid.boxes[0, [1, 3]] - 0.5
    }


def test_the_lines_go_with_their_layer(viewer: Any, show_grid: Callable[..., Any]) -> None:
    lines = show_grid(512, 512, 128)
    with_lines = drawn(viewer)
    viewer.dims.ndisplay = 3
    drawn(viewer)
    viewer.dims.ndisplay = 2
    viewer.reset_view()
    np.testing.assert_array_equal(drawn(viewer), with_lines)
    viewer.layers.remove(lines)
    assert (drawn(viewer) < with_lines).any()


# -- keys ---------------------------------------------------------------------------------------


def test_the_status_bar_names_our_keys_and_not_naparis(viewer: Any) -> None:
    layer = viewer.add_labels(np.zeros((8, 8), np.uint8))
    other = viewer.add_labels(np.zeros((8, 8), np.uint8))
    viewer.layers.selection.active = layer
    assert "use <" in viewer.help
    naparis = layer.help
    advertise_keys([layer], "1 spots, 2 diffuse")
    viewer.update_status_from_cursor()
    assert viewer.help == "1 spots, 2 diffuse"
    assert viewer.window._qt_window.statusBar()._help.text() == "1 spots, 2 diffuse"
    layer.mode = "pick"
    layer.mode = "pan_zoom"
    viewer.update_status_from_cursor()
    assert viewer.help == "1 spots, 2 diffuse"
    viewer.layers.selection.active = other
    viewer.update_status_from_cursor()
    assert "use <" in viewer.help
    stop_advertising([layer])
    viewer.layers.selection.active = layer
    viewer.update_status_from_cursor()
    assert viewer.help == naparis


@pytest.mark.parametrize("kind", ["labels", "shapes", "points", "image"])
def test_no_key_of_naparis_for_a_layer_reaches_ours(viewer: Any, qtbot: Any, kind: str) -> None:
    data = {"labels": np.zeros((8, 8), np.uint8), "image": np.zeros((8, 8))}.get(kind, np.zeros((0, 2)))
    layer = getattr(viewer, f"add_{kind}")(data)
    pressed: list[str] = []
    bind_keys([layer], {"1": lambda: pressed.append("ours")}, pressed.append)
    native = viewer.window._qt_viewer.canvas.native
    native.setFocus()
    mode = layer.mode
    for key in range(int(Qt.Key.Key_1), int(Qt.Key.Key_9) + 1):
        qtbot.keyClick(native, Qt.Key(key))
    assert pressed == ["ours", *"23456789"]
    assert layer.mode == mode
    naparis = {str(key) for one in type(layer).__mro__ for key in getattr(one, "class_keymap", ())}
    assert naparis - {"Space", "Shift"} <= {str(key) for key in layer.keymap}


# -- the lock -----------------------------------------------------------------------------------


def test_a_grid_stays_when_it_is_deleted_by_hand_and_cannot_be_edited(
    viewer: Any, show_grid: Callable[..., Any]
) -> None:
    lines = show_grid(64, 64, 16)
    viewer.layers.selection = {lines}
    viewer.layers.remove_selected()
    assert "locked" in notification_manager.records[-1].message
    assert lines in viewer.layers
    assert not lines.editable
    viewer.dims.ndisplay = 3
    viewer.dims.ndisplay = 2
    assert not lines.editable
    assert isinstance(viewer.layers["field"], Image)
    assert not viewer.layers["field"].locked


def test_a_locked_map_of_labels_comes_without_tools_for_drawing(viewer: Any) -> None:
    """They cannot be used on it, and take napari half a second to prepare."""
    layer = viewer.add_labels(np.zeros((4, 4), np.uint8))
    ours = Labels(np.zeros((4, 4), np.uint8))
    lock_layer(ours)
    viewer.add_layer(ours)
    drawn(viewer)
    made = viewer.window._qt_viewer.canvas._layer_overlay_to_visual
    assert {type(overlay).__name__ for overlay in made[layer]} >= {"LabelsPolygonOverlay"}
    assert not {type(overlay).__name__ for overlay in made[ours]} & {"LabelsPolygonOverlay", "LabelsBrushStrokeOverlay"}


def test_layers_are_removed_together_and_garbage_of_before_is_not_visited(
    viewer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = [viewer.add_image(np.zeros((8, 8)), name=f"{i}") for i in range(4)]
    visited: list[int] = []
    monkeypatch.setattr("napari._vispy.canvas.gc.collect", lambda: visited.append(len(gc.get_objects())))
    frozen = gc.get_freeze_count() > 0
    assert len(gc.get_objects()) + gc.get_freeze_count() > 100_000
    remove_layers(viewer, [*layers[1:], Image(np.zeros((2, 2)))])
    assert list(viewer.layers) == layers[:1]
    assert len(visited) == 1
    assert visited[0] < 20_000
    assert (gc.get_freeze_count() > 0) == frozen
    remove_layers(viewer, layers)
    assert list(viewer.layers) == []
