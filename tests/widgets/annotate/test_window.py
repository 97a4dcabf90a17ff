"""Labelling in the dock Cell Class, driven by real keys and mouse events in a real window."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication, QFileDialog, QInputDialog, QScrollArea
from tests._patience import PROCESS_S
from tests._window_events import canvas, press
from tests._windows import open_field

from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.label_store import CONFLICT, UNLABELLED, UNSURE
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.samples.synthetic import checkerboard_field


@pytest.fixture(autouse=True)
def _own_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def start(viewer: Any, dock: Any, qtbot: Any, rows: int = 15, cols: int = 20, tile: int = 16, **place: Any) -> Any:
    pixels, _ = checkerboard_field(tile, rows, cols)
    layer = viewer.add_image(pixels, name="field", **place)
    open_field(dock, qtbot, tile)
    canvas(viewer).setFocus()
    return layer


def where(viewer: Any, dock: Any, place: int) -> QPoint:
    """Canvas position of a tile's centre."""
    box = dock.workspace.annotation.grid.boxes[place]
    world = np.asarray(
        dock.workspace.layers._px_to_world(np.array([[(box[0] + box[2]) / 2 - 0.5, (box[1] + box[3]) / 2 - 0.5]]))
    )[0]
    camera, (height, width) = viewer.scene.camera, viewer.canvas.size
    y, x = (world - np.array(camera.center[-2:])) * camera.zoom + np.array([height, width]) / 2
    return QPoint(round(x), round(y))


def drag(viewer: Any, qtbot: Any, points: list[QPoint], modifier: Any = Qt.KeyboardModifier.NoModifier) -> None:
    native = canvas(viewer)
    qtbot.mouseMove(native, points[0])
    qtbot.mousePress(native, Qt.MouseButton.LeftButton, modifier, points[0])
    for point in points[1:]:
        event = QMouseEvent(
            QMouseEvent.Type.MouseMove, QPointF(point), native.mapToGlobal(QPointF(point)),
            Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton, modifier,
        )  # fmt: skip
        QApplication.sendEvent(native, event)
        QApplication.processEvents()
    qtbot.mouseRelease(native, Qt.MouseButton.LeftButton, modifier, points[-1])


def journal_labels(dock: Any) -> np.ndarray:
    """What a fresh process would restore."""
    found = Annotation.restore(dock.workspace.annotation.image, dock.workspace.annotation.grid, dock.workspace.journal)
    return np.asarray(found.labels)


@pytest.mark.parametrize("path", [("Plugins",), ("Layers", "Annotate")])
def test_the_widget_is_in_the_menus(viewer: Any, menu_texts: Callable, path: tuple[str, ...]) -> None:
    viewer.add_image(np.zeros((32, 32), np.uint8))
    assert any("Annotate tiles" in text for text in menu_texts(*path))


def test_one_key_labels_and_goes_to_the_next(viewer: Any, dock: Any, qtbot: Any, screenshot: Callable) -> None:
    start(viewer, dock, qtbot)
    for i in range(40):
        press(viewer, Qt.Key.Key_1 if i % 3 else Qt.Key.Key_2)
    expected = [0 if i % 3 else 1 for i in range(40)]
    assert dock.workspace.annotation.labels[:40].tolist() == expected
    assert (dock.workspace.annotation.labels[40:] == UNLABELLED).all()
    assert dock.workspace.layers.current == 40
    assert journal_labels(dock).tolist() == dock.workspace.annotation.labels.tolist()
    qtbot.waitUntil(lambda: "40 of 300 labelled" in dock.label.status.text())
    screenshot("annotate")


def test_keys_walk_clear_doubt_undo_and_redo(viewer: Any, dock: Any, qtbot: Any) -> None:
    start(viewer, dock, qtbot)
    press(viewer, Qt.Key.Key_Right)
    press(viewer, Qt.Key.Key_Down)
    assert dock.workspace.layers.current == 21
    press(viewer, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert dock.workspace.layers.current == 31
    press(viewer, Qt.Key.Key_U)
    assert dock.workspace.annotation.labels[31] == UNSURE
    dock.workspace.go_to(31)
    press(viewer, Qt.Key.Key_1)
    press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert dock.workspace.annotation.labels[31] == UNSURE
    press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert dock.workspace.annotation.labels[31] == UNLABELLED
    both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    press(viewer, Qt.Key.Key_Z, both)
    press(viewer, Qt.Key.Key_Z, both)
    assert dock.workspace.annotation.labels[31] == 0
    dock.workspace.go_to(31)
    press(viewer, Qt.Key.Key_0)
    assert dock.workspace.annotation.labels[31] == UNLABELLED
    assert journal_labels(dock).tolist() == dock.workspace.annotation.labels.tolist()


@pytest.mark.parametrize("place", [{}, {"scale": (2, 2), "translate": (30, -10)}, {"rotate": 25}])
def test_a_drag_paints_every_tile_on_its_way(viewer: Any, dock: Any, qtbot: Any, place: dict) -> None:
    start(viewer, dock, qtbot, **place)
    viewer.reset_view()
    QApplication.processEvents()
    dock.workspace.set_active(1)
    dock.workspace.set_brush(True)
    path = [45, 46, 50, 54]  # jumps: a quick drag leaves no gap
    drag(viewer, qtbot, [where(viewer, dock, p) for p in path])
    assert np.flatnonzero(dock.workspace.annotation.labels == 1).tolist() == list(range(45, 55))
    camera = viewer.scene.camera.center
    corners = [where(viewer, dock, p) for p in (105, 108, 148)]
    corners = [corners[0] - QPoint(2, 2), corners[1], corners[2] + QPoint(2, 2)]
    drag(viewer, qtbot, corners, Qt.KeyboardModifier.ShiftModifier)
    assert "12 tiles are selected" in dock.header.message.text() or place.get("rotate")
    dock.workspace.set_brush(False)
    press(viewer, Qt.Key.Key_2)
    boxed = {r * 20 + c for r in (5, 6, 7) for c in (5, 6, 7, 8)}
    if not place.get("rotate"):
        assert set(np.flatnonzero(dock.workspace.annotation.labels == 1)) == boxed | set(range(45, 55))
    assert viewer.scene.camera.center == camera, "painting does not pan"


def test_a_click_makes_a_tile_the_current_one_and_labels_nothing(viewer: Any, dock: Any, qtbot: Any) -> None:
    start(viewer, dock, qtbot)
    viewer.reset_view()
    QApplication.processEvents()
    press(viewer, Qt.Key.Key_1)
    viewer.reset_view()
    for layer in viewer.layers:  # the image, the grid and the labels
        for place in (64, 130):
            viewer.layers.selection.active = layer
            drag(viewer, qtbot, [where(viewer, dock, place)] * 2)
            assert dock.workspace.current_tile == place
            assert dock.workspace.active == 0
    assert np.flatnonzero(dock.workspace.annotation.labels == 0).tolist() == [0]


def test_a_small_light_window_shows_the_widget_whole(viewer: Any, dock: Any, qtbot: Any, screenshot: Callable) -> None:
    viewer.theme = "light"
    viewer.window._qt_window.resize(800, 560)
    start(viewer, dock, qtbot)
    press(viewer, Qt.Key.Key_1)
    screenshot("annotate-small-light")
    dock.label.tabs.setCurrentWidget(dock.label.files)
    screenshot("annotate-files-small-light")
    inner = dock.label.findChild(QScrollArea)
    assert inner.widget().width() <= inner.viewport().width() + 1, "nothing is cut off at the side"


def test_no_key_in_any_mode_changes_anything_but_labels(viewer: Any, dock: Any, qtbot: Any) -> None:
    start(viewer, dock, qtbot)
    count = len(viewer.layers)
    for layer in dock.workspace.layers.layers:
        viewer.layers.selection.active = layer
        for mode in type(layer)._modeclass if hasattr(type(layer), "_modeclass") else ["pan_zoom"]:
            try:
                layer.mode = mode
            except (ValueError, TypeError):
                continue
            before = [np.array(d).copy() for d in layer.data] if type(layer).__name__ == "Shapes" else None
            for key in "0123456789":
                press(viewer, getattr(Qt.Key, f"Key_{key}"))
            for key in "ABCDEFGHIJKLMNOPQRSTVWXYZ":
                press(viewer, getattr(Qt.Key, f"Key_{key}"))
            if before is not None:
                assert len(before) == len(layer.data)
                for one, other in zip(before, layer.data, strict=True):
                    np.testing.assert_array_equal(one, other)
    assert len(viewer.layers) == count
    assert set(np.unique(dock.workspace.layers.map.data)) <= {0, 2, 3, 4}


def choose(dock: Any, index: int, entry: str, monkeypatch: pytest.MonkeyPatch, question: str, answer: str) -> None:
    """Choose an entry of a class's menu, and answer what it asks."""
    monkeypatch.setattr(QInputDialog, question, lambda *a, **k: (answer, True))
    next(action for action in dock.header.chips.menu(index).actions() if action.text() == entry).trigger()


def test_classes_are_added_renamed_merged_and_removed(
    viewer: Any, dock: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(viewer, dock, qtbot)
    monkeypatch.setattr(QInputDialog, "getText", lambda *a, **k: ("debris", True))
    qtbot.mouseClick(dock.header.chips.add, Qt.MouseButton.LeftButton)
    assert dock.workspace.annotation.scheme.names == ("class 1", "class 2", "debris")
    canvas(viewer).setFocus()
    for key in (Qt.Key.Key_1, Qt.Key.Key_3, Qt.Key.Key_2):
        press(viewer, key)
    choose(dock, 0, "Rename …", monkeypatch, "getText", "nuclei")
    assert dock.workspace.annotation.scheme.names[0] == "nuclei"
    assert dock.header.chips.chips[0].text() == "1 nuclei · 1"
    assert ("1", "nuclei") in dock.label.keys.keys
    viewer.layers.selection.active = dock.workspace.layers.map
    viewer.update_status_from_cursor()
    assert viewer.help.startswith("1 nuclei, 2 class 2")
    choose(dock, 2, "Merge into …", monkeypatch, "getItem", "nuclei")
    assert dock.workspace.annotation.scheme.names == ("nuclei", "class 2")
    assert dock.workspace.annotation.labels[:3].tolist() == [0, 0, 1]
    choose(dock, 1, "Rename …", monkeypatch, "getText", "nuclei")
    assert dock.workspace.annotation.scheme.names == ("nuclei", "class 2"), "a doubled name is refused"
    assert "twice" in dock.header.message.text()


def test_labels_come_back_after_a_restart(viewer: Any, dock: Any, qtbot: Any) -> None:
    pixels = start(viewer, dock, qtbot).data
    for _ in range(7):
        press(viewer, Qt.Key.Key_2)
    before = np.array(dock.workspace.annotation.labels)
    viewer.window.remove_dock_widget("all")
    viewer.layers.clear()
    viewer.add_image(pixels, name="the same field again")
    _, again = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
    open_field(again, qtbot)
    assert again.header.note.text() == "16 px tiles, as they were labelled before. 7 earlier labels are shown."
    np.testing.assert_array_equal(again.workspace.annotation.labels, before)
    canvas(viewer).setFocus()
    press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert (again.workspace.annotation.labels != UNLABELLED).sum() == 6, "undo reaches over the restart"


def test_labels_are_taken_from_shapes_points_and_paint(
    viewer: Any, dock: Any, qtbot: Any, screenshot: Callable
) -> None:
    image = start(viewer, dock, qtbot, scale=(2, 2), rotate=10)
    field_layer = {"scale": (2, 2), "rotate": 10}
    shapes = viewer.add_shapes(name="drawn", **field_layer)
    shapes.add_rectangles(
        [
            [[-0.5, -0.5], [-0.5, 63.5], [31.5, 63.5], [31.5, -0.5]],
            [[-0.5, 63.5], [-0.5, 95.5], [15.5, 95.5], [15.5, 63.5]],
        ]
    )
    shapes.features = {"class_name": ["cells", "debris"]}
    dock.label.files.refresh()
    dock.label.files.layer.setCurrentText("drawn")
    dock.label.tabs.setCurrentWidget(dock.label.files)
    qtbot.mouseClick(dock.label.files.layer_button, Qt.MouseButton.LeftButton)
    names = dock.workspace.annotation.scheme.names
    assert {"cells", "debris"} <= set(names)
    cells = np.flatnonzero(dock.workspace.annotation.labels == names.index("cells"))
    assert cells.tolist() == [0, 1, 2, 3, 20, 21, 22, 23]
    screenshot("annotate-files")
    viewer.add_points(
        [[100, 100], [101, 101], [200, 200]],
        name="spots",
        features={"class": ["cells", "debris", "debris"]},
        **field_layer,
    )
    dock.label.files.refresh()
    dock.label.files.layer.setCurrentText("spots")
    qtbot.mouseClick(dock.label.files.layer_button, Qt.MouseButton.LeftButton)
    assert dock.workspace.annotation.labels[dock.workspace.annotation.grid.tile_at(100, 100)] == CONFLICT
    assert dock.workspace.annotation.labels[dock.workspace.annotation.grid.tile_at(200, 200)] == names.index("debris")
    assert "1 are claimed by two classes" in dock.label.files.report.text()
    mask = np.zeros(image.data.shape, np.uint8)
    mask[160:176, 0:32] = 5
    viewer.add_labels(mask, name="paint", **field_layer)
    dock.label.files.refresh()
    dock.label.files.layer.setCurrentText("paint")
    qtbot.mouseClick(dock.label.files.layer_button, Qt.MouseButton.LeftButton)
    assert (
        dock.workspace.annotation.labels[[200, 201]].tolist()
        == [dock.workspace.annotation.scheme.names.index("paint 5")] * 2
    )


def test_saved_files_open_again_and_compare(viewer: Any, dock: Any, qtbot: Any, tmp_path: Path) -> None:
    start(viewer, dock, qtbot)
    for key in (Qt.Key.Key_1, Qt.Key.Key_2, Qt.Key.Key_1):
        press(viewer, key)
    path = tmp_path / "one.tiles.json"
    dock.workspace.annotation.save(path)
    saved = np.array(dock.workspace.annotation.labels)
    assert json.loads(path.read_text())
    dock.workspace.go_to(1)
    press(viewer, Qt.Key.Key_1)
    dock.label.files.compare(path)
    assert "3 tiles are labelled in both: agreement 66.7%" in dock.label.files.report.text()
    assert "r0 c1: class 1 / class 2" in dock.label.files.report.text()
    dock.label.files.open(path)
    np.testing.assert_array_equal(dock.workspace.annotation.labels, saved)


CHILD = """
import sys, napari
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from napari_cellclass.core.samples.synthetic import checkerboard_field
viewer = napari.Viewer()
viewer.add_image(checkerboard_field(16, 15, 20)[0], name="field")
_, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
widget.header.tile_px.setValue(16)
while widget.workspace.annotation is None or widget.header.opening:
    QApplication.processEvents()
native = viewer.window._qt_viewer.canvas.native
for i in range(200):
    QTest.keyClick(native, Qt.Key.Key_1)
    QApplication.processEvents()
    print(i + 1, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_napari_has_lost_at_most_the_label_in_flight(
    viewer: Any, dock: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == "100":
            os.kill(child.pid, signal.SIGKILL)
            break
    child.wait(PROCESS_S)
    start(viewer, dock, qtbot)
    restored = int((dock.workspace.annotation.labels == 0).sum())
    assert 100 <= restored <= 101


def test_labelling_keeps_up_with_the_keys(viewer: Any, dock: Any, qtbot: Any) -> None:
    start(viewer, dock, qtbot, 100, 100, 8)
    begin = time.perf_counter()
    for _ in range(100):
        press(viewer, Qt.Key.Key_1)
    assert (dock.workspace.annotation.labels[:100] == 0).all()
    print(f"{10 * (time.perf_counter() - begin):.1f} ms a key on 10 000 tiles")


def test_two_annotators_are_merged_and_their_quarrels_shown(viewer: Any, dock: Any, qtbot: Any, tmp_path: Path) -> None:
    start(viewer, dock, qtbot)
    for key in (Qt.Key.Key_1, Qt.Key.Key_2, Qt.Key.Key_1):
        press(viewer, key)
    dock.workspace.annotation.save(tmp_path / "other.tiles.json")
    dock.workspace.go_to(1)
    press(viewer, Qt.Key.Key_1)
    dock.workspace.go_to(2)
    press(viewer, Qt.Key.Key_0)
    dock.label.files.merge(tmp_path / "other.tiles.json")
    assert dock.workspace.annotation.labels[:3].tolist() == [0, CONFLICT, 0]
    assert "1 is in conflict" in dock.label.files.report.text()
    dock.workspace.go_to(1)
    press(viewer, Qt.Key.Key_2)
    assert dock.workspace.annotation.labels[1] == 1, "a key settles it"


def test_the_gallery_finds_mistakes_and_labels_many(
    viewer: Any, dock: Any, qtbot: Any, ihc_model: Path, screenshot: Callable
) -> None:
    from napari_cellclass.core.samples.realfield import ihc_field

    viewer.add_image(ihc_field().data, name="ihc", rgb=True)
    open_field(dock, qtbot, 32)
    classify = dock.show_page("Classify field")
    classify.run_when_ready(ihc_model)
    qtbot.waitUntil(lambda: dock.workspace.predictions() is not None)
    dock.show_page("Annotate tiles")
    table = dock.workspace.predictions()
    dock.label.tabs.setCurrentWidget(dock.label.files)
    qtbot.mouseClick(dock.label.files.map_button, Qt.MouseButton.LeftButton)
    names = dock.workspace.annotation.scheme.names
    assert names == table.scheme.names, "the classes to begin with have gone"
    assert dock.workspace.annotation.scheme.colours == table.scheme.colours
    assert [key.strip() for key in dock.workspace.annotation.scheme.keys] == ["1", "2"]
    said = np.array([names.index(name) for name in table.class_name])
    np.testing.assert_array_equal(dock.workspace.annotation.labels, said)
    wrong = np.flatnonzero(table.class_name == "stained")[:5]
    dock.workspace.label(wrong, names.index("unstained"))
    dock.label.tabs.setCurrentWidget(dock.label.gallery)
    dock.label.gallery.sort.setCurrentText("label errors")
    qtbot.mouseClick(dock.label.gallery.show_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.label.gallery.list.count() == 5)
    screenshot("annotate-gallery")
    qtbot.mouseClick(dock.label.gallery.accept_all_button, Qt.MouseButton.LeftButton)
    np.testing.assert_array_equal(dock.workspace.annotation.labels, said)


def real_fields(real_data: Path, kind: str) -> list[Path]:
    """Three fields that hold tiles of several classes."""
    if kind == "painted":
        return sorted((real_data / "transfluor" / "puncta").glob("*"))[:3]
    folder = real_data / {"points": "chula_rbc12", "boxes": "bccd"}[kind]
    labels = pd.read_csv(folder / "labels.csv")
    classes = labels.groupby("image")["name" if kind == "points" else "class"].nunique()
    return [folder / "fields" / str(name) for name in classes.sort_values(ascending=False).index[:3]]


@pytest.mark.usefixtures("forked_children")
@pytest.mark.realdata
@pytest.mark.training
@pytest.mark.parametrize("kind", ["points", "boxes", "painted"])
def test_real_labels_become_a_training_set_and_train(
    viewer: Any, dock: Any, qtbot: Any, real_data: Path, tmp_path: Path, kind: str, screenshot: Callable
) -> None:
    frames = []
    dock.header.tile_px.setValue(64)
    for path in real_fields(real_data, kind):
        source = read_image(path)
        layer = viewer.add_image(source.read(0, 0, *source.shape).squeeze(), name=path.name, rgb=source.rgb)
        dock.header.images.choose([layer])
        open_field(dock, qtbot)
        if kind == "painted":
            mask = np.zeros(source.shape, np.uint8)
            mask[:256], mask[256:] = 1, 2
            paint = viewer.add_labels(mask, name="paint")
            dock.label.files.refresh()
            dock.label.files.layer.setCurrentText("paint")
            dock.label.files.import_layer()
            viewer.layers.remove(paint)
        else:
            dock.label.files.centred.setChecked(True)
            getattr(dock.label.files, f"import_{kind}")(path.parents[1] / "labels.csv")
        # two classes are enough to train on
        keep = {"points": ("normal", "target"), "boxes": ("RBC", "WBC"), "painted": ("paint 1", "paint 2")}[kind]
        for name in dock.workspace.annotation.scheme.names:
            if name not in keep and len(dock.workspace.annotation.scheme) > 2:
                dock.workspace.apply(lambda a, name=name: a.remove_class(a.scheme.index(name)))
        frames.append(dock.workspace.annotation.frame())
        assert len(frames[-1]) >= 5, dock.label.files.report.text()
    screenshot(f"annotate-{kind}")
    train = dock.show_page("Train")
    assert train.data.layers.count() == 3
    train.form.fields["epochs"].tick.setChecked(False)
    train.form.fields["epochs"].field.value = 1
    out = tmp_path / "m.cellclass"
    train.out.line_edit.native.setText(str(out))
    qtbot.mouseClick(train.train_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: train.train_button.isEnabled() and not train.training)
    assert out.is_file(), train.progress.message.text()
    split = open_bundle(out).table("split.csv")
    assert len(split) == sum(map(len, frames))
    assert (split.groupby("group")["split"].nunique() == 1).all()


def test_closing_the_dock_takes_keys_and_their_list_away_and_leaves_the_labels(
    viewer: Any, dock: Any, qtbot: Any
) -> None:
    start(viewer, dock, qtbot)
    press(viewer, Qt.Key.Key_1)
    labels, journal = dock.workspace.annotation.labels.copy(), dock.workspace.journal
    dock.parent().title.close_button.click()
    assert dock.label.keys.keys == ()
    press(viewer, Qt.Key.Key_2)
    found = Annotation.restore(dock.workspace.annotation.image, dock.workspace.annotation.grid, journal)
    assert np.asarray(found.labels).tolist() == labels.tolist()
    assert any("labels" in layer.name for layer in viewer.layers)


def test_a_queue_that_needs_a_map_says_so(viewer: Any, dock: Any, qtbot: Any) -> None:
    start(viewer, dock, qtbot)
    dock.label.policy.setCurrentText("least certain")
    press(viewer, Qt.Key.Key_1)
    assert "No map of these tiles is there" in dock.header.message.text()


@pytest.mark.parametrize("micrometres", [False, True])
def test_annotations_of_qupath_become_labels(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micrometres: bool
) -> None:
    viewer.add_image(
        checkerboard_field(16, 6, 8)[0], name="field", scale=(0.5, 0.5), translate=(20, 30), units=("um", "um")
    )
    open_field(dock, qtbot, 16)
    unit = 0.5 if micrometres else 1
    outline, hole = ([[x * unit, y * unit] for x, y in ring] for ring in (
        [(0, 0), (64, 0), (64, 48), (0, 48), (0, 0)], [(16, 16), (16, 32), (32, 32), (32, 16), (16, 16)],
    ))  # fmt: skip
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [outline, hole]},
            "properties": {"objectType": "annotation", "classification": {"name": "Tumor", "color": [200, 0, 0]}},
        },
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [outline]}, "properties": {}},
    ]
    path = tmp_path / "q.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (str(path), ""))
    dock.label.files.in_um.setChecked(micrometres)
    dock.label.files.regions_button.click()
    scheme, grid = dock.workspace.annotation.scheme, dock.workspace.annotation.grid
    tumor = scheme.index("Tumor")
    assert scheme.colours[tumor] == "#C80000"
    labelled = np.flatnonzero(dock.workspace.annotation.labels == tumor)
    inside = (grid.row < 3) & (grid.col < 4) & ~((grid.row == 1) & (grid.col == 1))
    np.testing.assert_array_equal(labelled, np.flatnonzero(inside))
    assert "11 tiles were labelled" in dock.label.files.report.text()
    assert "1 region without a class was ignored" in dock.label.files.report.text()
