"""The scatter plot beside the map, with real mouse and keys in a real window."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from matplotlib.path import Path as Polygon
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QColor, QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from tests._window_events import canvas as map_canvas
from tests._windows import open_field

from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.samples.synthetic import checkerboard_field
from napari_cellclass.runs.features import umap
from napari_cellclass.viewer.common.map_view import FieldLayer, build_map
from napari_cellclass.viewer.common.overlay import OverlayStyle
from napari_cellclass.viewer.features.selected_tiles import NAME
from napari_cellclass.widgets.scatter import plotter

TILE, ROWS, COLUMNS = 32, 8, 10

pytestmark = pytest.mark.usefixtures("live")


@pytest.fixture(autouse=True)
def _own_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def truth() -> np.ndarray:
    rows, columns = np.mgrid[0:ROWS, 0:COLUMNS]
    return ((rows + columns) % 2).ravel()


@pytest.fixture
def scatter(viewer: Any, dock: Any, qtbot: Any) -> Any:
    """The plot of a field of 8 x 10 tiles, opened by its button."""
    viewer.add_image(checkerboard_field(TILE, ROWS, COLUMNS)[0], name="field")
    open_field(dock, qtbot, TILE)
    dock.label.scatter_button.click()
    widget = opened(viewer)
    wait_for_plot(widget, qtbot, ROWS * COLUMNS)
    return widget


def opened(viewer: Any) -> Any:
    """The widget, found as a user sees it: in its dock."""
    found = [dock.widget() for dock in viewer.window._wrapped_dock_widgets.values()]
    return next(one for one in found if getattr(one, "display_name", "") == "Scatter")


def wait_for_plot(widget: Any, qtbot: Any, tiles: int) -> None:
    qtbot.waitUntil(lambda: widget.points is not None and widget.plotter.plot.complete and len(widget.points) == tiles)
    qtbot.waitUntil(lambda: widget.canvas.native.isVisible() and widget.canvas.native.width() > 100)
    QApplication.processEvents()


def drag(widget: Any, corners: np.ndarray, modifier: Any = Qt.KeyboardModifier.NoModifier) -> None:
    """Draw around points with the left button."""
    native, path = widget.canvas.native, [QPoint(*map(round, corner)) for corner in corners.tolist()]
    QTest.mousePress(native, Qt.MouseButton.LeftButton, modifier, path[0])
    for point in path[1:]:
        native._last_time = 0  # vispy leaves out movements within 10 ms of the one before
        QTest.mouseMove(native, point)
        QApplication.processEvents()
    QTest.mouseRelease(native, Qt.MouseButton.LeftButton, modifier, path[-1])
    QApplication.processEvents()


def triangle_over_most(widget: Any) -> np.ndarray:
    """Corners of a triangle in px of the canvas, with points inside and outside, closed in small steps."""
    width, height = widget.canvas.native.width(), widget.canvas.native.height()
    corners = np.array([[2, 2], [width - 3, 2], [2, height - 3], [2, 2]], float)
    parts = [np.linspace(one, other, 6, endpoint=False) for one, other in itertools.pairwise(corners)]
    return np.round(np.concatenate(parts))


def labels(dock: Any) -> np.ndarray:
    return np.asarray(dock.workspace.annotation.labels).copy()


def outlined(viewer: Any) -> int:
    """How many lines are drawn around selected tiles on the map."""
    overlay = viewer.scene.overlays.get(NAME) if NAME in viewer.scene.overlays else None
    return 0 if overlay is None else len(overlay.segments)


def test_a_lasso_takes_exactly_the_points_inside_a_key_labels_them_and_one_undo_takes_that_back(
    viewer: Any, dock: Any, qtbot: Any, scatter: Any
) -> None:
    path = triangle_over_most(scatter)
    inside = Polygon(path).contains_points(scatter.canvas.screen_points(scatter.canvas.xy))
    expected = np.sort(scatter.points.tile[inside])
    assert 0 < len(expected) < ROWS * COLUMNS
    before = labels(dock)
    drag(scatter, path)
    assert dock.workspace.selection.tiles.tolist() == expected.tolist()
    assert scatter.canvas.chosen.tolist() == np.flatnonzero(inside).tolist(), "the points light up"
    assert outlined(viewer) > 0, "and their tiles are outlined on the map"
    QTest.keyClick(scatter.canvas.native, Qt.Key.Key_2)
    assert np.flatnonzero(labels(dock) == 1).tolist() == expected.tolist()
    assert outlined(viewer) == 0
    assert not len(scatter.canvas.chosen)
    QTest.keyClick(scatter.canvas.native, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert labels(dock).tolist() == before.tolist(), "one undo"
    drag(scatter, path)
    QTest.keyClick(scatter.canvas.native, Qt.Key.Key_Escape)
    assert not len(dock.workspace.selection)
    QTest.keyClick(scatter.canvas.native, Qt.Key.Key_1)
    assert (labels(dock) == 0).sum() == 1, "a key without a selection labels the current tile, as on the map"


def test_what_is_chosen_on_the_map_lights_up_and_a_click_on_a_point_leads_to_its_tile(
    viewer: Any, dock: Any, qtbot: Any, scatter: Any, truth: np.ndarray
) -> None:
    tiles = np.array([3, 14, 25])
    dock.workspace.select(tiles)
    assert scatter.points.tile[scatter.canvas.chosen].tolist() == tiles.tolist()
    dock.workspace.go_to(7)
    assert not len(scatter.canvas.chosen), "another tile is another choice"
    far = int(np.abs(scatter.canvas.xy - np.median(scatter.canvas.xy, axis=0)).sum(axis=1).argmax())
    place = QPoint(*map(round, scatter.canvas.screen_points(scatter.canvas.xy[[far]])[0].tolist()))
    QTest.mouseClick(scatter.canvas.native, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)
    QApplication.processEvents()
    current = scatter.points.points_of(dock.workspace.field_key, np.array([dock.workspace.current_tile]))
    assert scatter.canvas.xy[current[0]].tolist() == scatter.canvas.xy[far].tolist()
    for k in (0, 1):
        dock.workspace.label(np.flatnonzero(truth == k)[:8], k)
    qtbot.waitUntil(lambda: "class 1" in scatter.legend.text() and "class 2" in scatter.legend.text())
    predicted = dock.workspace.predictions

    def same_classes() -> bool:
        """Whether each class of the map has one colour of its own in the plot."""
        if predicted() is None:
            return False
        both = np.column_stack([scatter.canvas._rgba, predicted().class_index[scatter.points.tile]])
        return len(np.unique(both, axis=0)) == len(np.unique(scatter.canvas._rgba, axis=0)) == 2

    qtbot.waitUntil(same_classes)


def test_a_selection_is_seen_in_the_plot_and_moves_with_it_and_no_point_is_drawn_anew(
    viewer: Any, dock: Any, qtbot: Any, scatter: Any, screenshot: Callable
) -> None:
    canvas = scatter.canvas
    one, other = 3, int(np.abs(canvas.xy - canvas.xy[3]).sum(axis=1).argmax())
    dock.workspace.go_to(40)
    for other_change in (scatter._colours_timer, scatter.plotter):
        other_change.blockSignals(True)
    canvas.set_colours(np.tile(np.array([[1, 0, 0, 1]], np.float32), (len(canvas.xy), 1)))
    for _ in range(3):
        QApplication.processEvents()
    draws: list[Any] = []
    canvas._canvas.events.draw.connect(draws.append)
    dock.workspace.select(np.array([scatter.points.tile[one]]))
    QApplication.processEvents()
    assert not draws, "of a hundred thousand points that takes a tenth of a second"
    full, dimmed = colour_at(canvas, one), colour_at(canvas, other)
    assert full[0] > 250
    assert dimmed[0] < 0.6 * full[0]
    screenshot("scatter-selected")
    canvas._view.camera.zoom(0.5, canvas.xy[one])
    canvas._view.camera.pan(-0.05 * np.ptp(canvas.xy, axis=0))
    QApplication.processEvents()
    assert draws
    assert colour_at(canvas, one)[0] > 250, "and after a zoom"
    dock.workspace.select(np.zeros(0, np.int64))
    assert colour_at(canvas, one)[0] > 250
    canvas.show_all()
    QApplication.processEvents()
    assert colour_at(canvas, other)[0] > 250, "nothing is dimmed"


def colour_at(canvas: Any, point: int) -> tuple[int, ...]:
    """Red, green and blue where a point is drawn."""
    image = canvas.native.grab().toImage()
    x, y = (canvas.screen_points(canvas.xy[[point]])[0] * image.devicePixelRatio()).round().astype(int).tolist()
    return QColor(image.pixel(x, y)).getRgb()[:3]


def test_another_tile_size_and_docks_that_close_while_a_plot_is_computed_do_no_harm(
    viewer: Any, dock: Any, qtbot: Any, scatter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    going: list[Any] = []

    def slow(request: Any, task: Any) -> Any:
        going.append(request)
        while True:
            task.check()

    with monkeypatch.context() as patched:
        patched.setattr(plotter, "plot_tiles", slow)
        scatter.plotter.replot()
        qtbot.waitUntil(lambda: len(going) == 1)
    scatter.plotter.set_method("PCA")  # the one that is going on is given up
    wait_for_plot(scatter, qtbot, ROWS * COLUMNS)
    open_field(dock, qtbot, 2 * TILE)
    wait_for_plot(scatter, qtbot, ROWS * COLUMNS // 4)
    assert [one.key for one in scatter.points.fields] == [dock.workspace.field_key]
    monkeypatch.setattr(plotter, "plot_tiles", slow)
    scatter.plotter.replot()
    qtbot.waitUntil(lambda: len(going) == 2)
    viewer.window.remove_dock_widget(dock)
    assert "was closed" in scatter.status.text()
    assert not len(scatter.canvas.xy)
    assert scatter.attach_button.isVisible()
    monkeypatch.undo()
    viewer.window.remove_dock_widget(scatter)


def test_tiles_of_several_fields_of_a_project_are_labelled_together_and_undone_together(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    for number in (1, 2):
        pixels = checkerboard_field(TILE, 4, 5)[0].copy()
        pixels[0, 0] += number
        tifffile.imwrite(tmp_path / f"B0{number}_s1.tif", pixels)
    for number in (1, 2):
        viewer.layers.clear()
        viewer.open(str(tmp_path / f"B0{number}_s1.tif"), plugin="napari")
        open_field(dock, qtbot, TILE)
        if number == 1:
            dock.header.project.create(tmp_path / "work.cellproject")
            qtbot.waitUntil(lambda: dock.workspace.session.shown is not None)
            open_field(dock, qtbot)
        dock.workspace.label([0], 0)
    _, scatter = viewer.window.add_plugin_dock_widget("napari-cellclass", "Scatter")
    wait_for_plot(scatter, qtbot, 40)
    assert len(scatter.points.fields) == 2
    other = next(one for one in scatter.plotter.labelled.values() if one.key != dock.workspace.field_key)
    before = labels(dock), np.asarray(other.annotation.labels).copy()

    def lasso_around_all() -> bool:  # again where the plot was still being laid out: its range follows its size
        QTest.mouseDClick(scatter.canvas.native, Qt.MouseButton.LeftButton)  # those far from all others, too
        width, height = scatter.canvas.native.width(), scatter.canvas.native.height()
        drag(scatter, np.array([[1, 1], [width - 2, 1], [width - 2, height - 2], [1, height - 2]]))
        return len(dock.workspace.selection) == 40

    qtbot.waitUntil(lasso_around_all)
    QTest.keyClick(scatter.canvas.native, Qt.Key.Key_2)
    assert (labels(dock) == 1).all()
    assert (np.asarray(other.annotation.labels) == 1).all()
    QTest.keyClick(scatter.canvas.native, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert labels(dock).tolist() == before[0].tolist()
    assert np.asarray(other.annotation.labels).tolist() == before[1].tolist(), "one undo for both fields"
    row = scatter.points.rows_of(other.key).start + 7
    scatter.canvas.clicked.emit(row)
    qtbot.waitUntil(lambda: dock.workspace.field_key == other.key and dock.workspace.current_tile == 7)


def test_without_umap_learn_a_line_says_what_to_install(
    viewer: Any, scatter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(umap, "is_installed", lambda: False)
    scatter.method.setCurrentText("UMAP")
    assert scatter.method.currentText() == "PCA"
    assert "pip install umap-learn" in scatter.status.text()


def model_map(viewer: Any, dock: Any) -> Any:
    """Show a map as a model gives it, a rectangle for each tile; give its layer."""
    work, shown = dock.workspace, dock.map.map
    grid = work.annotation.grid
    prob = np.tile(np.array([[0.8, 0.2]], np.float32), (len(grid), 1))
    table = TileTable(grid, ClassScheme(("a", "b")), prob)
    shown.show(build_map(table, work.source, FieldLayer.of(viewer.layers["field"]), OverlayStyle()))
    work.watch_map(shown.clickable_layers())
    QApplication.processEvents()
    return viewer.layers.selection.active


def test_napari_s_select_tool_on_the_map_lights_up_points_and_moves_no_tile(
    viewer: Any, dock: Any, qtbot: Any, scatter: Any
) -> None:
    layer = model_map(viewer, dock)
    assert type(layer).__name__ == "Shapes"
    before = [rectangle.copy() for rectangle in layer.data]
    controls = viewer.window._qt_viewer.controls.currentWidget()
    qtbot.waitUntil(controls.select_button.isEnabled)
    assert not controls.direct_button.isEnabled(), "no other tool"
    start, end = (on_canvas(viewer, layer, place) for place in ((TILE + 3, 3), (3 * TILE - 3, 2 * TILE - 3)))
    tiles = [COLUMNS, COLUMNS + 1, 2 * COLUMNS, 2 * COLUMNS + 1]
    for taken in (True, False):
        (controls.select_button if taken else controls.panzoom_button).click()
        dock.workspace.select(np.zeros(0, np.int64))
        drag_on_map(viewer, start, end)
        assert dock.workspace.selection.tiles.tolist() == (tiles if taken else [])
        assert scatter.points.tile[scatter.canvas.chosen].tolist() == (tiles if taken else [])
    controls.select_button.click()
    QTest.mouseClick(map_canvas(viewer), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, start)
    assert dock.workspace.selection.tiles.tolist() == tiles[:1], "a click takes one tile"
    layer.selected_data = {3, 14}  # by a script or another plugin
    qtbot.waitUntil(lambda: scatter.points.tile[scatter.canvas.chosen].tolist() == [3, 14])
    QTest.keyClick(map_canvas(viewer), Qt.Key.Key_Delete)
    np.testing.assert_array_equal(layer.data, before)
    QTest.keyClick(map_canvas(viewer), Qt.Key.Key_2)
    assert np.flatnonzero(labels(dock) == 1).tolist() == [3, 14]


def on_canvas(viewer: Any, layer: Any, place: tuple[int, int]) -> QPoint:
    """Where a pixel of the field is on the canvas of the viewer."""
    camera = viewer.scene.camera
    world = np.asarray(layer.data_to_world(place))
    y, x = (world - np.array(camera.center[-2:])) * camera.zoom + np.array(viewer.canvas.size) / 2
    return QPoint(round(x), round(y))


def drag_on_map(viewer: Any, start: QPoint, end: QPoint) -> None:
    native, left, none = map_canvas(viewer), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    camera = viewer.scene.camera.center, viewer.scene.camera.zoom
    QTest.mousePress(native, left, none, start)
    for part in (0.3, 0.6, 1.0):
        place = QPointF(start) + part * QPointF(end - start)
        event = QMouseEvent(
            QEvent.Type.MouseMove, place, native.mapToGlobal(place), Qt.MouseButton.NoButton, left, none
        )
        QApplication.sendEvent(native, event)
        QApplication.processEvents()
    QTest.mouseRelease(native, left, none, end)
    QApplication.processEvents()
    viewer.scene.camera.center, viewer.scene.camera.zoom = camera
