"""The loop a microscopist lives in: label, close, come back, train, see the map, correct, train again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication
from tests._windows import open_field

from napari_cellclass.core.labels.annotation import Annotation, open_annotation
from napari_cellclass.core.labels.label_store import UNLABELLED
from napari_cellclass.core.models.bundle import open_bundle

pytestmark = pytest.mark.training
TILE, SIDE = 16, 20


def field() -> tuple[np.ndarray, np.ndarray]:
    """A 12-bit field whose odd rows of tiles are spotty; pixels, and the class of each tile."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(SIDE) % 2, SIDE)
    strength = np.where(truth.reshape(SIDE, SIDE), 500, 40).repeat(TILE, 0).repeat(TILE, 1)
    pixels = 1500 + strength * rng.standard_normal((SIDE * TILE, SIDE * TILE))
    return pixels.clip(0, 4095).astype(np.uint16), truth


def begin(viewer: Any, qtbot: Any) -> Any:
    _, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
    open_field(widget, qtbot, TILE)
    return widget


def press(viewer: Any, qtbot: Any, label: int) -> None:
    qtbot.keyClick(viewer.window._qt_viewer.canvas.native, (Qt.Key.Key_1, Qt.Key.Key_2)[label])


def paint(viewer: Any, dock: Any, qtbot: Any, first: int, last: int) -> None:
    native = viewer.window._qt_viewer.canvas.native

    def at(place: int) -> QPointF:
        box = dock.workspace.annotation.grid.boxes[place]
        world = np.array([(box[0] + box[2]) / 2 - 0.5, (box[1] + box[3]) / 2 - 0.5])
        camera, size = viewer.scene.camera, np.array(viewer.canvas.size)
        y, x = (world - np.array(camera.center[-2:])) * camera.zoom + size / 2
        return QPointF(QPoint(round(x), round(y)))

    kinds = (QMouseEvent.Type.MouseButtonPress, QMouseEvent.Type.MouseMove, QMouseEvent.Type.MouseButtonRelease)
    for kind, place in zip(kinds, (first, last, last), strict=True):
        button = Qt.MouseButton.NoButton if kind == kinds[1] else Qt.MouseButton.LeftButton
        held = Qt.MouseButton.NoButton if kind == kinds[2] else Qt.MouseButton.LeftButton
        point = at(place)
        event = QMouseEvent(kind, point, native.mapToGlobal(point), button, held, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(native, event)
        QApplication.processEvents()


def train(qtbot: Any, widget: Any, out: Path) -> None:
    widget.form.fields["epochs"].tick.setChecked(False)
    widget.form.fields["epochs"].field.value = 4
    widget.out.line_edit.native.setText(str(out))
    qtbot.mouseClick(widget.train_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.train_button.isEnabled() and not widget.training)
    assert out.is_file(), widget.progress.message.text()


def check_training_set(model: Path, dock: Any, tmp_path: Path) -> None:
    """Labels equal the journal equal the saved file equal the training set."""
    a = dock.workspace.annotation
    labels = np.asarray(a.labels)
    np.testing.assert_array_equal(Annotation.restore(a.image, a.grid, dock.workspace.journal).labels, labels)
    a.save(tmp_path / "saved.tiles.json")
    np.testing.assert_array_equal(open_annotation(tmp_path / "saved.tiles.json", dock.workspace.journal).labels, labels)
    bundle = open_bundle(model)
    assert bundle.scheme.colours == a.scheme.colours, "colours go with the classes"
    split = bundle.table("split.csv").sort_values(["y0", "x0"])
    frame = a.frame().sort_values(["y0", "x0"])
    columns = ["y0", "x0", "y1", "x1", "class_name"]
    assert split[columns].to_numpy().tolist() == frame[columns].to_numpy().tolist()


@pytest.mark.usefixtures("forked_children")
def test_label_restart_train_classify_correct_and_train_again(
    viewer: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, screenshot: Callable
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    pixels, truth = field()
    viewer.add_image(pixels, name="field")
    dock = begin(viewer, qtbot)
    viewer.reset_view()
    for i in range(200):
        press(viewer, qtbot, int(truth[i]))
    np.testing.assert_array_equal(dock.workspace.annotation.labels[:200], truth[:200])
    # paint 50: rows 10 to 12, each with its class
    for first, last, label in ((200, 219, 0), (220, 239, 1), (240, 249, 0)):
        dock.workspace.set_active(label)
        dock.workspace.set_brush(True)
        paint(viewer, dock, qtbot, first, last)
    np.testing.assert_array_equal(dock.workspace.annotation.labels[:250], truth[:250])
    dock.workspace.set_brush(False)
    for _ in range(10):
        qtbot.mouseClick(dock.label.undo_button, Qt.MouseButton.LeftButton)
    kept = np.array(dock.workspace.annotation.labels)
    assert 180 <= (kept != UNLABELLED).sum() < 250

    # restart: another widget on a viewer that knows nothing
    viewer.window.remove_dock_widget("all")
    viewer.layers.clear()
    viewer.add_image(pixels, name="the same field again")
    dock = begin(viewer, qtbot)
    np.testing.assert_array_equal(dock.workspace.annotation.labels, kept)

    trainer = dock.show_page("Train")
    assert trainer.data.from_layers.isChecked()
    first = tmp_path / "first.cellclass"
    train(qtbot, trainer, first)
    check_training_set(first, dock, tmp_path)

    # the map becomes the new model's by itself
    classify = dock.show_page("Classify field")
    qtbot.waitUntil(lambda: dock.workspace.predictions() is not None)
    qtbot.waitUntil(classify.run_button.isEnabled)
    dock.show_page("Annotate tiles")

    # correct 20: the least certain tiles that have no label yet
    dock.label.policy.setCurrentText("least certain")
    viewer.layers.selection.active = dock.workspace.layers.map
    queue = dock.workspace.queue()
    confidence = dock.workspace.predictions().confidence
    assert (np.diff(confidence[queue]) >= 0).all()
    dock.workspace.go_to(int(queue[0]))
    for _ in range(20):
        press(viewer, qtbot, int(truth[dock.workspace.layers.current]))
    assert (dock.workspace.annotation.labels != UNLABELLED).sum() == (kept != UNLABELLED).sum() + 20
    labelled = np.asarray(dock.workspace.annotation.labels) != UNLABELLED
    np.testing.assert_array_equal(dock.workspace.annotation.labels[labelled], truth[labelled])
    screenshot("loop")

    dock.show_page("Train")
    second = tmp_path / "second.cellclass"
    train(qtbot, trainer, second)
    check_training_set(second, dock, tmp_path)
    assert "tensorflow" not in sys.modules
