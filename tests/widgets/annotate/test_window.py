"""The widget Annotate tiles, driven by real keys and mouse events in a real window."""

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
from qtpy.QtWidgets import QApplication, QFileDialog, QInputDialog, QMessageBox, QScrollArea
from tests._patience import PROCESS_S

from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.label_store import CONFLICT, UNLABELLED, UNSURE
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.samples.synthetic import checkerboard_field


@pytest.fixture(autouse=True)
def _own_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def annotate(viewer: Any) -> Any:
    """The Annotate widget, docked as a user gets it from the Plugins menu."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", "Annotate tiles")
    return widget


def open_field(annotate: Any, qtbot: Any) -> None:
    """Press Start, and wait until earlier labels have been looked for."""
    qtbot.mouseClick(annotate.start_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(annotate.start_button.isEnabled)


def canvas(viewer: Any) -> Any:
    return viewer.window._qt_viewer.canvas.native


def press(viewer: Any, qtbot: Any, key: Any, modifier: Any = Qt.KeyboardModifier.NoModifier) -> None:
    qtbot.keyClick(canvas(viewer), key, modifier)


def start(viewer: Any, annotate: Any, qtbot: Any, rows: int = 15, cols: int = 20, tile: int = 16, **place: Any) -> Any:
    pixels, _ = checkerboard_field(tile, rows, cols)
    layer = viewer.add_image(pixels, name="field", **place)
    annotate.tiles["tile_px"].value = tile
    open_field(annotate, qtbot)
    assert annotate.session.annotation is not None, annotate.message.text()
    canvas(viewer).setFocus()
    return layer


def where(viewer: Any, annotate: Any, place: int) -> QPoint:
    """Canvas position of a tile's centre."""
    box = annotate.session.annotation.grid.boxes[place]
    world = np.asarray(
        annotate.session.layers._px_to_world(np.array([[(box[0] + box[2]) / 2 - 0.5, (box[1] + box[3]) / 2 - 0.5]]))
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


def journal_labels(annotate: Any) -> np.ndarray:
    """What a fresh process would restore."""
    found = Annotation.restore(
        annotate.session.annotation.image, annotate.session.annotation.grid, annotate.session.journal
    )
    return np.asarray(found.labels)


@pytest.mark.parametrize("path", [("Plugins",), ("Layers", "Annotate")])
def test_the_widget_is_in_the_menus(viewer: Any, menu_texts: Callable, path: tuple[str, ...]) -> None:
    viewer.add_image(np.zeros((32, 32), np.uint8))
    assert any("Annotate tiles" in text for text in menu_texts(*path))


def test_one_key_labels_and_goes_to_the_next(viewer: Any, annotate: Any, qtbot: Any, screenshot: Callable) -> None:
    start(viewer, annotate, qtbot)
    for i in range(40):
        press(viewer, qtbot, Qt.Key.Key_1 if i % 3 else Qt.Key.Key_2)
    expected = [0 if i % 3 else 1 for i in range(40)]
    assert annotate.session.annotation.labels[:40].tolist() == expected
    assert (annotate.session.annotation.labels[40:] == UNLABELLED).all()
    assert annotate.session.layers.current == 40
    assert journal_labels(annotate).tolist() == annotate.session.annotation.labels.tolist()
    qtbot.waitUntil(lambda: "40 of 300 labelled" in annotate.status.text())
    screenshot("annotate")


def test_keys_walk_clear_doubt_undo_and_redo(viewer: Any, annotate: Any, qtbot: Any) -> None:
    start(viewer, annotate, qtbot)
    press(viewer, qtbot, Qt.Key.Key_Right)
    press(viewer, qtbot, Qt.Key.Key_Down)
    assert annotate.session.layers.current == 21
    press(viewer, qtbot, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert annotate.session.layers.current == 31
    press(viewer, qtbot, Qt.Key.Key_U)
    assert annotate.session.annotation.labels[31] == UNSURE
    annotate.session.layers.go_to(31)
    press(viewer, qtbot, Qt.Key.Key_1)
    press(viewer, qtbot, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert annotate.session.annotation.labels[31] == UNSURE
    press(viewer, qtbot, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert annotate.session.annotation.labels[31] == UNLABELLED
    both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    press(viewer, qtbot, Qt.Key.Key_Z, both)
    press(viewer, qtbot, Qt.Key.Key_Z, both)
    assert annotate.session.annotation.labels[31] == 0
    annotate.session.layers.go_to(31)
    press(viewer, qtbot, Qt.Key.Key_0)
    assert annotate.session.annotation.labels[31] == UNLABELLED
    assert journal_labels(annotate).tolist() == annotate.session.annotation.labels.tolist()


@pytest.mark.parametrize("place", [{}, {"scale": (2, 2), "translate": (30, -10)}, {"rotate": 25}])
def test_a_drag_paints_every_tile_on_its_way(viewer: Any, annotate: Any, qtbot: Any, place: dict) -> None:
    start(viewer, annotate, qtbot, **place)
    viewer.reset_view()
    QApplication.processEvents()
    annotate._active = 1
    path = [45, 46, 50, 54]  # jumps: a quick drag leaves no gap
    drag(viewer, qtbot, [where(viewer, annotate, p) for p in path])
    assert np.flatnonzero(annotate.session.annotation.labels == 1).tolist() == list(range(45, 55))
    camera = viewer.scene.camera.center
    drag(viewer, qtbot, [where(viewer, annotate, p) for p in (105, 108, 148)], Qt.KeyboardModifier.ShiftModifier)
    assert "12 tiles are selected" in annotate.message.text() or place.get("rotate")
    press(viewer, qtbot, Qt.Key.Key_2)
    boxed = {r * 20 + c for r in (5, 6, 7) for c in (5, 6, 7, 8)}
    if not place.get("rotate"):
        assert set(np.flatnonzero(annotate.session.annotation.labels == 1)) == boxed | set(range(45, 55))
    assert viewer.scene.camera.center == camera, "painting does not pan"


def test_a_click_before_any_key_moves_and_labels_nothing(viewer: Any, annotate: Any, qtbot: Any) -> None:
    start(viewer, annotate, qtbot)
    viewer.reset_view()
    QApplication.processEvents()
    drag(viewer, qtbot, [where(viewer, annotate, 64)] * 2)
    assert annotate.session.layers.current == 64
    assert (annotate.session.annotation.labels == UNLABELLED).all()
    press(viewer, qtbot, Qt.Key.Key_1)
    drag(viewer, qtbot, [where(viewer, annotate, 130)] * 2)
    assert np.flatnonzero(annotate.session.annotation.labels == 0).tolist() == [64, 130]


def test_a_small_light_window_shows_the_widget_whole(
    viewer: Any, annotate: Any, qtbot: Any, screenshot: Callable
) -> None:
    viewer.theme = "light"
    viewer.window._qt_window.resize(800, 560)
    start(viewer, annotate, qtbot)
    press(viewer, qtbot, Qt.Key.Key_1)
    screenshot("annotate-small-light")
    annotate.tabs.setCurrentWidget(annotate.files)
    screenshot("annotate-files-small-light")
    inner = annotate.findChild(QScrollArea)
    assert inner.widget().width() <= inner.viewport().width() + 1, "nothing is cut off at the side"


def test_no_key_in_any_mode_changes_anything_but_labels(viewer: Any, annotate: Any, qtbot: Any) -> None:
    start(viewer, annotate, qtbot)
    count = len(viewer.layers)
    for layer in annotate.session.layers.layers:
        viewer.layers.selection.active = layer
        for mode in type(layer)._modeclass if hasattr(type(layer), "_modeclass") else ["pan_zoom"]:
            try:
                layer.mode = mode
            except (ValueError, TypeError):
                continue
            before = [np.array(d).copy() for d in layer.data] if type(layer).__name__ == "Shapes" else None
            for key in "0123456789":
                press(viewer, qtbot, getattr(Qt.Key, f"Key_{key}"))
            for key in "ABCDEFGHIJKLMNOPQRSTVWXYZ":
                press(viewer, qtbot, getattr(Qt.Key, f"Key_{key}"))
            if before is not None:
                assert len(before) == len(layer.data)
                for one, other in zip(before, layer.data, strict=True):
                    np.testing.assert_array_equal(one, other)
    assert len(viewer.layers) == count
    assert set(np.unique(annotate.session.layers.map.data)) <= {0, 2, 3, 4}


def test_classes_are_added_renamed_merged_and_removed(
    viewer: Any, annotate: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(viewer, annotate, qtbot)
    monkeypatch.setattr(QInputDialog, "getText", lambda *a, **k: ("debris", True))
    qtbot.mouseClick(annotate.classes.add, Qt.MouseButton.LeftButton)
    assert annotate.session.annotation.scheme.names == ("class 1", "class 2", "debris")
    canvas(viewer).setFocus()
    for key in (Qt.Key.Key_1, Qt.Key.Key_3, Qt.Key.Key_2):
        press(viewer, qtbot, key)
    annotate.classes.table.item(0, 1).setText("nuclei")
    assert annotate.session.annotation.scheme.names[0] == "nuclei"
    assert ("1", "nuclei") in annotate.keys.keys
    viewer.layers.selection.active = annotate.session.layers.map
    viewer.update_status_from_cursor()
    assert viewer.help.startswith("1 nuclei, 2 class 2")
    annotate.classes.table.setCurrentCell(2, 1)
    monkeypatch.setattr(QInputDialog, "getItem", lambda *a, **k: ("nuclei", True))
    qtbot.mouseClick(annotate.classes.merge, Qt.MouseButton.LeftButton)
    assert annotate.session.annotation.scheme.names == ("nuclei", "class 2")
    assert annotate.session.annotation.labels[:3].tolist() == [0, 0, 1]
    annotate.classes.table.item(1, 1).setText("nuclei")
    assert annotate.session.annotation.scheme.names == ("nuclei", "class 2"), "a doubled name is refused"
    assert "twice" in annotate.message.text()


def test_labels_come_back_after_a_restart(
    viewer: Any, annotate: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(viewer, annotate, qtbot)
    for _ in range(7):
        press(viewer, qtbot, Qt.Key.Key_2)
    before = np.array(annotate.session.annotation.labels)
    asked: list[str] = []
    monkeypatch.setattr(QMessageBox, "question", lambda *a, **k: asked.append(a[2]) or QMessageBox.StandardButton.Yes)
    open_field(annotate, qtbot)
    assert "There are 7 earlier labels of this image" in asked[0]
    np.testing.assert_array_equal(annotate.session.annotation.labels, before)
    canvas(viewer).setFocus()
    press(viewer, qtbot, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert (annotate.session.annotation.labels != UNLABELLED).sum() == 6, "undo reaches over the restart"


def test_labels_are_taken_from_shapes_points_and_paint(
    viewer: Any, annotate: Any, qtbot: Any, screenshot: Callable
) -> None:
    image = start(viewer, annotate, qtbot, scale=(2, 2), rotate=10)
    field_layer = {"scale": (2, 2), "rotate": 10}
    shapes = viewer.add_shapes(name="drawn", **field_layer)
    shapes.add_rectangles(
        [
            [[-0.5, -0.5], [-0.5, 63.5], [31.5, 63.5], [31.5, -0.5]],
            [[-0.5, 63.5], [-0.5, 95.5], [15.5, 95.5], [15.5, 63.5]],
        ]
    )
    shapes.features = {"class_name": ["cells", "debris"]}
    annotate.files.refresh()
    annotate.files.layer.setCurrentText("drawn")
    annotate.tabs.setCurrentWidget(annotate.files)
    qtbot.mouseClick(annotate.files.layer_button, Qt.MouseButton.LeftButton)
    names = annotate.session.annotation.scheme.names
    assert {"cells", "debris"} <= set(names)
    cells = np.flatnonzero(annotate.session.annotation.labels == names.index("cells"))
    assert cells.tolist() == [0, 1, 2, 3, 20, 21, 22, 23]
    screenshot("annotate-files")
    viewer.add_points(
        [[100, 100], [101, 101], [200, 200]],
        name="spots",
        features={"class": ["cells", "debris", "debris"]},
        **field_layer,
    )
    annotate.files.refresh()
    annotate.files.layer.setCurrentText("spots")
    qtbot.mouseClick(annotate.files.layer_button, Qt.MouseButton.LeftButton)
    assert annotate.session.annotation.labels[annotate.session.annotation.grid.tile_at(100, 100)] == CONFLICT
    assert annotate.session.annotation.labels[annotate.session.annotation.grid.tile_at(200, 200)] == names.index(
        "debris"
    )
    assert "1 are claimed by two classes" in annotate.files.report.text()
    mask = np.zeros(image.data.shape, np.uint8)
    mask[160:176, 0:32] = 5
    viewer.add_labels(mask, name="paint", **field_layer)
    annotate.files.refresh()
    annotate.files.layer.setCurrentText("paint")
    qtbot.mouseClick(annotate.files.layer_button, Qt.MouseButton.LeftButton)
    assert (
        annotate.session.annotation.labels[[200, 201]].tolist()
        == [annotate.session.annotation.scheme.names.index("paint 5")] * 2
    )


def test_saved_files_open_again_and_compare(viewer: Any, annotate: Any, qtbot: Any, tmp_path: Path) -> None:
    start(viewer, annotate, qtbot)
    for key in (Qt.Key.Key_1, Qt.Key.Key_2, Qt.Key.Key_1):
        press(viewer, qtbot, key)
    path = tmp_path / "one.tiles.json"
    annotate.session.annotation.save(path)
    saved = np.array(annotate.session.annotation.labels)
    assert json.loads(path.read_text())
    annotate.session.layers.go_to(1)
    press(viewer, qtbot, Qt.Key.Key_1)
    annotate.files.compare(path)
    assert "3 tiles are labelled in both: agreement 66.7%" in annotate.files.report.text()
    assert "r0 c1: class 1 / class 2" in annotate.files.report.text()
    annotate.files.open(path)
    np.testing.assert_array_equal(annotate.session.annotation.labels, saved)


CHILD = """
import sys, napari
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from napari_cellclass.core.samples.synthetic import checkerboard_field
viewer = napari.Viewer()
viewer.add_image(checkerboard_field(16, 15, 20)[0], name="field")
_, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", "Annotate tiles")
widget.tiles["tile_px"].value = 16
widget.start()
while widget.session.annotation is None:
    QApplication.processEvents()
native = viewer.window._qt_viewer.canvas.native
for i in range(200):
    QTest.keyClick(native, Qt.Key.Key_1)
    QApplication.processEvents()
    print(i + 1, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_napari_has_lost_at_most_the_label_in_flight(
    viewer: Any, annotate: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == "100":
            os.kill(child.pid, signal.SIGKILL)
            break
    child.wait(PROCESS_S)
    monkeypatch.setattr(QMessageBox, "question", lambda *a, **k: QMessageBox.StandardButton.Yes)
    start(viewer, annotate, qtbot)
    restored = int((annotate.session.annotation.labels == 0).sum())
    assert 100 <= restored <= 101


def test_labelling_keeps_up_with_the_keys(viewer: Any, annotate: Any, qtbot: Any) -> None:
    start(viewer, annotate, qtbot, 100, 100, 8)
    begin = time.perf_counter()
    for _ in range(100):
        press(viewer, qtbot, Qt.Key.Key_1)
    assert (annotate.session.annotation.labels[:100] == 0).all()
    print(f"{10 * (time.perf_counter() - begin):.1f} ms a key on 10 000 tiles")


def test_two_annotators_are_merged_and_their_quarrels_shown(
    viewer: Any, annotate: Any, qtbot: Any, tmp_path: Path
) -> None:
    start(viewer, annotate, qtbot)
    for key in (Qt.Key.Key_1, Qt.Key.Key_2, Qt.Key.Key_1):
        press(viewer, qtbot, key)
    annotate.session.annotation.save(tmp_path / "other.tiles.json")
    annotate.session.layers.go_to(1)
    press(viewer, qtbot, Qt.Key.Key_1)
    annotate.session.layers.go_to(2)
    press(viewer, qtbot, Qt.Key.Key_0)
    annotate.files.merge(tmp_path / "other.tiles.json")
    assert annotate.session.annotation.labels[:3].tolist() == [0, CONFLICT, 0]
    assert "1 is in conflict" in annotate.files.report.text()
    annotate.session.layers.go_to(1)
    press(viewer, qtbot, Qt.Key.Key_2)
    assert annotate.session.annotation.labels[1] == 1, "a key settles it"


def test_the_gallery_finds_mistakes_and_labels_many(
    viewer: Any, annotate: Any, qtbot: Any, ihc_model: Path, screenshot: Callable
) -> None:
    from napari_cellclass.core.samples.realfield import ihc_field

    viewer.add_image(ihc_field().data, name="ihc", rgb=True)
    annotate.tiles["tile_px"].value = 32
    open_field(annotate, qtbot)
    _, classify = viewer.window.add_plugin_dock_widget("napari-cellclass", "Classify field")
    classify.run_when_ready(ihc_model)
    qtbot.waitUntil(lambda: annotate.session.predictions() is not None)
    table = annotate.session.predictions()
    annotate.tabs.setCurrentWidget(annotate.files)
    qtbot.mouseClick(annotate.files.map_button, Qt.MouseButton.LeftButton)
    names = annotate.session.annotation.scheme.names
    assert names == table.scheme.names, "the classes to begin with have gone"
    assert annotate.session.annotation.scheme.colours == table.scheme.colours
    assert [key.strip() for key in annotate.session.annotation.scheme.keys] == ["1", "2"]
    said = np.array([names.index(name) for name in table.class_name])
    np.testing.assert_array_equal(annotate.session.annotation.labels, said)
    wrong = np.flatnonzero(table.class_name == "stained")[:5]
    annotate.session.label(wrong, names.index("unstained"))
    annotate.tabs.setCurrentWidget(annotate.gallery)
    annotate.gallery.sort.setCurrentText("suspected mistakes")
    qtbot.mouseClick(annotate.gallery.show_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: annotate.gallery.list.count() == 5)
    screenshot("annotate-gallery")
    qtbot.mouseClick(annotate.gallery.accept_button, Qt.MouseButton.LeftButton)
    np.testing.assert_array_equal(annotate.session.annotation.labels, said)


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
    viewer: Any, annotate: Any, qtbot: Any, real_data: Path, tmp_path: Path, kind: str, screenshot: Callable
) -> None:
    frames = []
    annotate.tiles["tile_px"].value = 64
    for path in real_fields(real_data, kind):
        source = read_image(path)
        layer = viewer.add_image(source.read(0, 0, *source.shape).squeeze(), name=path.name, rgb=source.rgb)
        annotate.images.choose([layer])
        open_field(annotate, qtbot)
        if kind == "painted":
            mask = np.zeros(source.shape, np.uint8)
            mask[:256], mask[256:] = 1, 2
            paint = viewer.add_labels(mask, name="paint")
            annotate.files.refresh()
            annotate.files.layer.setCurrentText("paint")
            annotate.files.import_layer()
            viewer.layers.remove(paint)
        else:
            annotate.files.centred.setChecked(True)
            getattr(annotate.files, f"import_{kind}")(path.parents[1] / "labels.csv")
        # two classes are enough to train on
        keep = {"points": ("normal", "target"), "boxes": ("RBC", "WBC"), "painted": ("paint 1", "paint 2")}[kind]
        for name in annotate.session.annotation.scheme.names:
            if name not in keep and len(annotate.session.annotation.scheme) > 2:
                annotate.session.apply(lambda a, name=name: a.remove_class(a.scheme.index(name)))
        frames.append(annotate.session.annotation.frame())
        assert len(frames[-1]) >= 5, annotate.files.report.text()
    screenshot(f"annotate-{kind}")
    _, train = viewer.window.add_plugin_dock_widget("napari-cellclass", "Train")
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
    viewer: Any, annotate: Any, qtbot: Any
) -> None:
    start(viewer, annotate, qtbot)
    press(viewer, qtbot, Qt.Key.Key_1)
    labels, journal = annotate.session.annotation.labels.copy(), annotate.session.journal
    annotate.parent().title.close_button.click()
    assert annotate.keys.keys == ()
    press(viewer, qtbot, Qt.Key.Key_2)
    found = Annotation.restore(annotate.session.annotation.image, annotate.session.annotation.grid, journal)
    assert np.asarray(found.labels).tolist() == labels.tolist()
    assert any("labels" in layer.name for layer in viewer.layers)


def test_a_queue_that_needs_a_map_says_so(viewer: Any, annotate: Any, qtbot: Any) -> None:
    start(viewer, annotate, qtbot)
    annotate.policy.setCurrentText("least certain")
    press(viewer, qtbot, Qt.Key.Key_1)
    assert "No map of these tiles is there" in annotate.message.text()


@pytest.mark.parametrize("micrometres", [False, True])
def test_annotations_of_qupath_become_labels(
    viewer: Any, annotate: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micrometres: bool
) -> None:
    viewer.add_image(
        checkerboard_field(16, 6, 8)[0], name="field", scale=(0.5, 0.5), translate=(20, 30), units=("um", "um")
    )
    annotate.tiles["tile_px"].value = 16
    open_field(annotate, qtbot)
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
    annotate.files.in_um.setChecked(micrometres)
    annotate.files.regions_button.click()
    scheme, grid = annotate.session.annotation.scheme, annotate.session.annotation.grid
    tumor = scheme.index("Tumor")
    assert scheme.colours[tumor] == "#C80000"
    labelled = np.flatnonzero(annotate.session.annotation.labels == tumor)
    inside = (grid.row < 3) & (grid.col < 4) & ~((grid.row == 1) & (grid.col == 1))
    np.testing.assert_array_equal(labelled, np.flatnonzero(inside))
    assert "11 tiles were labelled" in annotate.files.report.text()
    assert "1 region without a class was ignored" in annotate.files.report.text()
