"""The map of a field, at any size: while it is classified, and by mouse and keys afterwards."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication
from tests import _windows as windows
from tests._patience import WINDOW_S

from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.samples.realfield import ihc_field
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.common.layers import KEY
from napari_cellclass.viewer.common.map_view import FieldLayer, build_map
from napari_cellclass.viewer.common.visible_tiles import MAX_OUTLINES, MAX_TEXTS
from napari_cellclass.viewer.features.live import LiveMap
from napari_cellclass.widgets.workspace.widget import CellClassWidget

# Times the real field is repeated per side, and the overlap of its tiles: 6 561 tiles, and 16 129.
SIZES = {"shapes": (1, 0.8), "pixels": (4, 0.5)}


@pytest.fixture(params=list(SIZES))
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def of_kind(viewer: Any, kind: str) -> list[Any]:
    return [layer for layer in viewer.layers if layer.metadata.get(KEY, {}).get("kind") == kind]


def open_field(viewer: Any, classify: Any, qtbot: Any, model: Path, size: str) -> Any:
    times, overlap = SIZES[size]
    image = viewer.add_image(np.tile(ihc_field().data, (times, times, 1)), name="field", rgb=True, scale=(0.5, 0.5))
    viewer.reset_view()
    classify.model_choice.path.line_edit.native.setText(str(model))
    qtbot.waitUntil(lambda: classify.model is not None)
    dock = next(one for one in viewer.window._qt_window.findChildren(CellClassWidget))
    dock.header.overlap.setValue(overlap)
    windows.open_field(dock, qtbot, 32)
    return image


def click_run(classify: Any, qtbot: Any) -> None:
    qtbot.mouseClick(classify.run_button, Qt.MouseButton.LeftButton)


def on_canvas(viewer: Any, image: Any, y: float, x: float) -> QPointF:
    """Where a point of the image, in px, is on the canvas."""
    world = np.asarray(image.data_to_world((y, x)), float)
    camera, size = viewer.scene.camera, np.array(viewer.canvas.size)
    row, col = (world - np.array(camera.center[-2:])) * camera.zoom + size / 2
    return QPointF(col, row)


def click_tile(viewer: Any, qtbot: Any, image: Any, table: TileTable, place: int) -> None:
    box = table.grid.boxes[place]
    viewer.scene.camera.center = image.data_to_world((box[:2] + box[2:]) / 2 - 0.5)
    viewer.scene.camera.zoom = 20
    QApplication.processEvents()
    native = viewer.window._qt_viewer.canvas.native
    point = on_canvas(viewer, image, *((box[:2] + box[2:]) / 2 - 0.5))
    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    for kind, held in ((QMouseEvent.Type.MouseButtonPress, left), (QMouseEvent.Type.MouseButtonRelease, none)):
        event = QMouseEvent(kind, point, native.mapToGlobal(point), left, held, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(native, event)


def status_at(viewer: Any, image: Any, y: float, x: float) -> str:
    viewer.mouse_over_canvas = True  # the virtual display's pointer may rest anywhere
    viewer.cursor.position = tuple(image.data_to_world((y, x)))
    viewer.update_status_from_cursor()
    return str(viewer.status["coordinates"])


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    """Hold a run as soon as so many tiles were finished, one at first, until more are allowed."""
    turn, state = threading.Condition(), {"tiles": 0.0, "allowed": 1.0}
    add = LiveMap.add

    def held(live: LiveMap, places: np.ndarray, prob: np.ndarray) -> None:
        add(live, places, prob)
        with turn:
            state["tiles"] += len(places)
            turn.wait_for(lambda: state["tiles"] < state["allowed"], timeout=WINDOW_S)

    def allow(tiles: float) -> None:
        with turn:
            state["allowed"] = tiles
            turn.notify_all()

    monkeypatch.setattr(LiveMap, "add", held)
    yield allow
    allow(np.inf)


def test_tiles_appear_while_they_are_classified_nearest_to_the_view_first_and_cancel_keeps_them(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path, screenshot: Callable, size: str, allow: Callable
) -> None:
    image = open_field(viewer, classify, qtbot, ihc_model, size)
    side = image.data.shape[0]
    viewer.scene.camera.center = image.data_to_world((0.75 * side, side / 2))
    click_run(classify, qtbot)
    qtbot.waitUntil(lambda: bool(of_kind(viewer, "live")))
    (live,) = of_kind(viewer, "live")
    tiles, rows = len(live.metadata[KEY]["grid"]), live.data.shape[0]

    def painted() -> np.ndarray:
        return np.flatnonzero(np.asarray(live.data).any(axis=1))

    assert np.abs(painted() - 0.75 * rows).max() < 2
    assert "not yet classified" in status_at(viewer, image, 5, 5)
    allow(0.1 * tiles)
    qtbot.waitUntil(lambda: len(painted()) >= 0.1 * rows)
    assert len(painted()) < 0.2 * rows
    assert np.ptp(painted()) == len(painted()) - 1, "rows grow from the middle"
    assert np.abs(painted().mean() - 0.75 * rows) < 2
    assert "stained" in status_at(viewer, image, 0.75 * side, 20)
    assert classify.results.isVisible()
    assert not any(button.isEnabled() for button in classify.results.exports.values())
    screenshot(f"map-running-{size}")
    before = np.array(live.data)
    classify.results.threshold.setValue(100)
    assert (np.asarray(live.data)[before > 0] == 1).mean() > 0.5
    classify.results.threshold.setValue(0)
    np.testing.assert_array_equal(live.data, before)
    qtbot.mouseClick(classify.cancel_button, Qt.MouseButton.LeftButton)
    allow(np.inf)
    qtbot.waitUntil(classify.run_button.isEnabled)
    assert not of_kind(viewer, "live")
    table = of_kind(viewer, "map")[-1].metadata[KEY]["table"]
    assert 0.1 * tiles <= len(table) < 0.3 * tiles
    assert (np.diff(table.grid.tile_id) > 0).all()
    assert all(button.isEnabled() for button in classify.results.exports.values())


def test_hover_click_keys_threshold_and_ticks_work_the_same_at_any_size(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path, screenshot: Callable, size: str
) -> None:
    image = open_field(viewer, classify, qtbot, ihc_model, size)
    click_run(classify, qtbot)
    qtbot.waitUntil(classify.run_button.isEnabled)
    layer = classify.map.layers[-1]
    assert type(layer).__name__ == ("Shapes" if size == "shapes" else "Labels")
    table = classify.map.table
    place = int(np.argmax(table.confidence))
    y, x = (table.grid.boxes[place, :2] + table.grid.boxes[place, 2:]) / 2 - 0.5

    # hovering and clicking
    assert f"{table.class_name[place]} {table.confidence[place]:.1%}" in status_at(viewer, image, y, x)
    workspace = classify.workspace
    click_tile(viewer, qtbot, image, table, place)
    assert workspace.current_tile == place
    assert f"{table.class_name[place]} {table.confidence[place]:.1%}" in classify.state.tile.text()
    screenshot(f"map-clicked-{size}")

    # accepting by the button labels the tile; correcting another one by its key is a label too
    predicted = str(table.class_name[place])
    qtbot.mouseClick(classify.state.accept_button, Qt.MouseButton.LeftButton)
    assert workspace.scheme.names[workspace.annotation.labels[place]] == predicted
    assert viewer.layers.selection.active is layer, "the next click is meant for the map"
    other = place + 3 if place < len(table) - 3 else place - 3
    click_tile(viewer, qtbot, image, table, other)
    wrong = 1 - workspace.scheme.index(str(table.class_name[other]))
    qtbot.keyClick(viewer.window._qt_viewer.canvas.native, (Qt.Key.Key_1, Qt.Key.Key_2)[wrong])
    assert workspace.annotation.labels[other] == wrong
    assert (np.asarray(workspace.annotation.labels) >= 0).sum() == 2
    workspace.go_to(other)
    assert f"labelled {workspace.scheme.names[wrong]}" in classify.state.tile.text()
    assert workspace.layers.map.data[table.grid.row[other], table.grid.col[other]] == 3 + wrong

    # threshold and ticks
    def shown() -> np.ndarray:
        """Per tile: 0 hidden, 1 grey, 2 and up the classes."""
        if size == "pixels":
            return np.asarray(layer.data)[table.grid.row, table.grid.col]
        colours = {table.scheme.rgb(i): i + 2 for i in (-1, 0, 1)}
        faces = np.round(layer.face_color[:, :3] * 255).astype(int)
        return np.array(
            [colours[tuple(f)] if a > 0 else 0 for f, a in zip(faces.tolist(), layer.face_color[:, 3], strict=True)]
        )

    classify.results.novelty.setCurrentIndex(0)  # mark no tiles as unlike training
    classify.results.threshold.setValue(90)
    sure = table.confidence >= 0.9
    np.testing.assert_array_equal(shown(), np.where(sure, table.class_index + 2, 1))
    classify.results.classes.item(0, 0).setCheckState(Qt.CheckState.Unchecked)
    expected = np.where(table.class_index == 0, 0, np.where(sure, table.class_index + 2, 1))
    np.testing.assert_array_equal(shown(), expected)
    viewer.reset_view()
    screenshot(f"map-finished-{size}")


def show_table(viewer: Any, classify: Any, source: SourceImage, image: Any, tile: int) -> TileTable:
    """Show a map of random answers, as a run does."""
    grid = TileGrid.regular(source.shape, tile)
    prob = np.random.default_rng(0).random((len(grid), 3), np.float32)
    table = TileTable(grid, ClassScheme(("a", "b", "c")), prob / prob.sum(axis=1, keepdims=True))
    classify.map.show(build_map(table, source, FieldLayer.of(image), classify.map.style))
    return table


def test_a_large_map_outlines_and_names_the_tiles_in_view_and_never_many(
    viewer: Any, dock: Any, classify: Any, qtbot: Any, screenshot: Callable
) -> None:
    pixels = np.zeros((2000, 3000), np.uint8)
    image = viewer.add_image(pixels, name="field", scale=(2, 2), rotate=10)
    windows.open_field(dock, qtbot)  # it moves the view to its first tile
    table = show_table(viewer, classify, SourceImage(pixels[..., None]), image, 10)
    viewer.reset_view()
    (outlines,), (text,) = of_kind(viewer, "in-view"), of_kind(viewer, "text")
    qtbot.waitUntil(lambda: not classify._view_timer.isActive())
    assert len(outlines.data) == 0  # 60 000 tiles are in view
    seen = []
    for centre in ((400, 500), (1500, 2000)):
        viewer.scene.camera.zoom = 4
        viewer.scene.camera.center = image.data_to_world(centre)
        qtbot.waitUntil(
            lambda centre=centre: (
                len(outlines.data) > 0
                and np.abs(table.grid.boxes[outlines.metadata[KEY]["places"], :2].mean(axis=0) - centre).max() < 12
            )
        )
        places = outlines.metadata[KEY]["places"]
        assert 0 < len(places) <= MAX_OUTLINES
        assert 0 < len(text.data) <= MAX_TEXTS
        np.testing.assert_allclose(np.array(outlines.data), table.grid.rects()[places])
        assert outlines.features["class_name"].tolist() == table.class_name[places].tolist()
        assert table.grid.tile_at(*centre) in places
        seen.append(set(places.tolist()))
    assert not seen[0] & seen[1]
    screenshot("map-pixels-in-view")
    viewer.scene.camera.zoom = 0.3
    qtbot.waitUntil(lambda: len(outlines.data) == 0)


def test_nothing_of_the_size_of_a_virtual_field_is_allocated(viewer: Any, classify: Any, qtbot: Any) -> None:
    side = 100_000
    levels = [da.zeros((side >> i, side >> i), chunks=4096, dtype=np.uint8) for i in range(0, 8)]
    image = viewer.add_image(levels, multiscale=True, contrast_limits=(0, 255), name="huge")
    viewer.reset_view()
    tracemalloc.start()
    try:
        table = show_table(viewer, classify, SourceImage(levels[0][..., None]), image, 256)
        viewer.scene.camera.zoom = 0.5
        qtbot.waitUntil(lambda: len(of_kind(viewer, "in-view")[0].data) > 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(table) == 390**2
    assert peak < side * side / 20
