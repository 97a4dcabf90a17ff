"""The widget Classify field, clicked as a user does in a real window."""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import json
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from qtpy.QtCore import QMimeData, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QApplication, QFileDialog
from tests._patience import PROCESS_S, WINDOW_S
from tests._window_events import click
from tests._windows import SCREENSHOTS, set_overlap

from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.samples.realfield import ihc_field
from napari_cellclass.engine.inference import precision
from napari_cellclass.report.slides import scale_bar
from napari_cellclass.viewer.common.layers import is_user_layer
from napari_cellclass.viewer.common.map_view import is_own_layer
from napari_cellclass.widgets.common import jobs
from napari_cellclass.widgets.common.keras_dialog import KerasDialog
from napari_cellclass.widgets.workspace.widget import CellClassWidget


def maps(viewer: Any) -> list[Any]:
    return [
        layer for layer in viewer.layers if is_own_layer(layer) and layer.metadata["napari_cellclass"]["kind"] == "map"
    ]


def load(qtbot: Any, widget: Any, model: Path) -> None:
    widget.model_choice.path.line_edit.native.setText(str(model))
    qtbot.waitUntil(lambda: widget.model is not None)


def run_on_a_large_field(viewer: Any, classify: Any, qtbot: Any, model: Path) -> None:
    """Press Run where it will take a while."""
    viewer.add_image(np.tile(ihc_field().data, (8, 8, 1)), name="large", rgb=True)
    load(qtbot, classify, model)
    set_overlap(classify, 0.5)
    click(qtbot, classify.run_button)


def run(qtbot: Any, widget: Any) -> None:
    click(qtbot, widget.run_button)
    qtbot.waitUntil(widget.run_button.isEnabled)


@pytest.mark.parametrize("path", [("Plugins",), ("Layers", "Classify")])
def test_the_widget_is_in_the_menus(viewer: Any, menu_texts: Callable, path: tuple[str, ...]) -> None:
    viewer.add_image(ihc_field().data, rgb=True)
    assert any("Classify field" in text for text in menu_texts(*path))


def test_a_real_field_becomes_a_map_that_agrees_with_its_table(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path, screenshot: Callable, tmp_path: Path, monkeypatch: Any
) -> None:
    users = viewer.add_shapes(name="mine")
    image = viewer.add_image(ihc_field().data, name="ihc", rgb=True, scale=(0.5, 0.5), units=("um", "um"))
    viewer.reset_view()
    load(qtbot, classify, ihc_model)
    classify.results.novelty.setCurrentIndex(0)  # mark no tiles as unlike training
    run(qtbot, classify)
    (layer,) = maps(viewer)
    table: TileTable = layer.metadata["napari_cellclass"]["table"]
    bundle = open_bundle(ihc_model)

    # positions, features, colours
    assert len(layer.data) == len(table) == 256
    np.testing.assert_allclose(np.array(layer.data), table.grid.rects())
    np.testing.assert_allclose(layer.scale, image.scale)
    assert list(layer.features) == list(table.columns())
    assert layer.features["class_name"].tolist() == table.class_name.tolist()
    for place in range(0, 256, 17):
        expected = np.array(bundle.scheme.rgb(table.class_index[place])) / 255
        np.testing.assert_allclose(layer.face_color[place, :3], expected, atol=1e-5)

    # the answers are right: the field's stained half is stained
    from napari_cellclass.core.samples.realfield import ihc_tile_labels

    truth = np.array(["unstained", "stained"])[ihc_tile_labels(table.grid)]
    assert (truth == table.class_name).mean() > 0.85

    # legend, table and bars
    counts = table.counts()
    rows = [[classify.results.classes.item(i, j).text() for j in range(4)] for i in range(2)]
    for row, count in zip(rows, counts.itertuples(), strict=False):
        assert row[0] == count.class_name
        assert int(row[1]) == count.tiles
        assert row[2] == f"{count.fraction:.1%}"
        assert row[3].endswith("µm²")
    screenshot("classify")

    # threshold: what is below it turns grey, and is counted apart
    classify.results.threshold.setFocus()
    for _ in range(9):
        qtbot.keyClick(classify.results.threshold, Qt.Key.Key_PageUp)
    least = classify.results.threshold.value() / 100
    assert least == 0.9
    unsure = table.confidence < least
    assert unsure.any()
    np.testing.assert_allclose(layer.face_color[unsure, :3] * 255, 0x9A, atol=0.5)
    assert classify.results.classes.item(2, 1).text() == str(int(unsure.sum()))

    # unsure tiles, at an error rate: a class of their own
    box = classify.results.error_rate
    assert box.isEnabled()
    box.setCurrentIndex(box.findData(0.01))
    told = layer.metadata["napari_cellclass"]["table"]
    doubtful = told.class_name == "(unsure)"
    assert doubtful.any()
    assert layer.features["class_name"].tolist() == told.class_name.tolist()
    np.testing.assert_allclose(layer.face_color[doubtful & ~unsure, :3], 1, atol=1e-5)
    assert classify.results.classes.item(2, 0).text() == "(unsure)"
    assert classify.results.classes.item(2, 1).text() == str(int((doubtful & ~unsure).sum()))
    screenshot("classify-unsure")
    box.setCurrentIndex(0)
    assert layer.features["class_name"].tolist() == table.class_name.tolist()

    # show and hide a class by its tick
    item = classify.results.classes.item(0, 0)
    rect = classify.results.classes.visualItemRect(item)
    qtbot.mouseClick(
        classify.results.classes.viewport(),
        Qt.MouseButton.LeftButton,
        pos=rect.topLeft() + type(rect.topLeft())(10, 12),
    )
    assert item.checkState() == Qt.CheckState.Unchecked
    hidden = (table.class_index == 0) & ~unsure
    assert (layer.face_color[table.class_index == 0, 3] == 0).all()
    assert (layer.face_color[(table.class_index == 1), 3] > 0).all()
    assert hidden.any()
    screenshot("classify-threshold-hidden")

    # exports
    kinds = {"CSV": "csv", "GeoJSON": "geojson", "PNG": "png", "COCO": "coco.json", "WSInfer": "wsinfer.csv"}
    for kind, suffix in kinds.items():
        path = tmp_path / f"map.{suffix}"
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, path=path, **k: (str(path), ""))
        click(qtbot, classify.results.exports[kind])
        qtbot.waitUntil(path.is_file)
        qtbot.waitUntil(lambda path=path: path.name in classify.message.text())
    frame = pd.read_csv(tmp_path / "map.csv")
    assert frame["class_name"].tolist() == table.class_name.tolist()
    assert len(json.loads((tmp_path / "map.geojson").read_text())["features"]) == 256
    assert len(json.loads((tmp_path / "map.coco.json").read_text())["annotations"]) == 256
    assert list(pd.read_csv(tmp_path / "map.wsinfer.csv"))[:4] == ["minx", "miny", "width", "height"]
    assert Image.open(tmp_path / "map.png").size[0] > 500
    button, path = classify.results.exports["AnnData"], tmp_path / "map.h5ad"
    with monkeypatch.context() as missing:
        missing.setitem(sys.modules, "anndata", None)
        missing.setattr(importlib.util, "find_spec", lambda *_: None)
        click(qtbot, button)
    assert classify.message.text() == ('AnnData needs anndata; install it with pip install "napari-cellclass[anndata]"')
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(path.with_suffix("")), ""))
    click(qtbot, button)
    assert button.text() == "Cancel"
    click(qtbot, button)
    qtbot.waitUntil(lambda: button.text() == "AnnData")
    assert classify.message.text() == "Cancelled; nothing was written."
    assert not path.exists()
    click(qtbot, button)
    qtbot.waitUntil(lambda: "AnnData: computing features" in classify.message.text(), timeout=1000 * WINDOW_S)
    screenshot("classify-anndata")
    qtbot.waitUntil(lambda: classify.message.text() == f"Wrote {path}.", timeout=1000 * WINDOW_S)
    made = anndata.read_h5ad(path)
    assert made.obs["class_name"].tolist() == table.class_name.tolist()
    assert made.X.shape == (256, len(made.var))
    assert np.isfinite(made.X).all()

    # again: our own layer is brought up to date, or replaced where its tiles differ; the user's stays
    run(qtbot, classify)
    assert maps(viewer) == [layer]
    assert layer.metadata["napari_cellclass"]["table"] is not table
    assert (layer.face_color[table.class_index == 0, 3] == 0).all()  # and looks as it did
    set_overlap(classify, 0.5)
    run(qtbot, classify)
    assert len(maps(viewer)) == 1
    assert len(maps(viewer)[0].data) == 31 * 31
    assert layer not in viewer.layers
    assert users in viewer.layers
    assert "tensorflow" not in sys.modules
    assert "keras" not in sys.modules


def test_the_status_bar_tells_class_and_confidence(viewer: Any, classify: Any, qtbot: Any, ihc_model: Path) -> None:
    viewer.add_image(ihc_field().data, name="ihc", rgb=True)
    load(qtbot, classify, ihc_model)
    run(qtbot, classify)
    (layer,) = maps(viewer)
    table = layer.metadata["napari_cellclass"]["table"]
    assert viewer.layers.selection.active is layer
    viewer.mouse_over_canvas = True  # the virtual display's pointer may rest anywhere
    viewer.cursor.position = (40, 70)
    viewer.update_status_from_cursor()
    place = table.grid.tile_at(40, 70)
    assert f"{table.class_name[place]} {table.confidence[place]:.1%}" in viewer.status["coordinates"]


def test_text_follows_the_view(viewer: Any, classify: Any, qtbot: Any, ihc_model: Path, screenshot: Callable) -> None:
    viewer.add_image(ihc_field().data, name="ihc", rgb=True)
    load(qtbot, classify, ihc_model)
    run(qtbot, classify)
    (text,) = [layer for layer in viewer.layers if layer.name == "ihc text"]
    viewer.scene.camera.zoom = 2
    qtbot.waitUntil(lambda: len(text.data) > 0)
    viewer.scene.camera.zoom = 1
    qtbot.waitUntil(lambda: len(text.data) == 0)  # a tile is 32 screen px: not legible
    viewer.scene.camera.zoom = 2
    qtbot.waitUntil(lambda: len(text.data) > 0)
    assert not any("stained" in label for label in text.features["label"])  # the names would run into each other
    viewer.scene.camera.zoom = 4
    viewer.scene.camera.center = (0, 256, 256)
    qtbot.waitUntil(lambda: "stained" in text.features["label"].iloc[0])
    assert len(text.data) <= 300
    np.testing.assert_allclose(np.mean(text.data, axis=0), (256, 256), atol=40)
    screenshot("classify-text")


def assert_ends_soon(job: Any, seconds: float) -> None:
    """Wait for a thread to end, and count the time of two processors, so that other programs do not count."""
    start = time.process_time()
    assert job.wait(WINDOW_S)
    assert time.process_time() - start < 2 * seconds


def test_cancel_answers_within_a_second_and_keeps_what_is_finished(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path, screenshot: Callable
) -> None:
    run_on_a_large_field(viewer, classify, qtbot, ihc_model)
    qtbot.waitUntil(lambda: classify.bar.maximum() > 0 and classify.bar.value() > 0.05 * classify.bar.maximum())
    screenshot("classify-running")
    assert classify.cancel_button.isEnabled()
    click(qtbot, classify.cancel_button)
    assert_ends_soon(classify.job, 1)
    qtbot.waitUntil(lambda: not classify.job.running)
    assert "Cancelled" in classify.message.text()
    table = maps(viewer)[0].metadata["napari_cellclass"]["table"]
    assert 0 < len(table) < 255 * 255
    assert np.isfinite(table.prob).all()


def test_only_tiles_in_the_drawn_region_are_classified(viewer: Any, classify: Any, qtbot: Any, ihc_model: Path) -> None:
    viewer.add_image(ihc_field().data, name="ihc", rgb=True, scale=(2, 2), rotate=20)
    region = viewer.add_shapes(name="region", scale=(2, 2), rotate=20)
    region.add_rectangles([[63.5, 95.5], [63.5, 223.5], [127.5, 223.5], [127.5, 95.5]])
    load(qtbot, classify, ihc_model)
    classify.region.setCurrentText("region")
    run(qtbot, classify)
    table = maps(viewer)[0].metadata["napari_cellclass"]["table"]
    assert sorted(set(table.grid.row)) == [2, 3]
    assert sorted(set(table.grid.col)) == [3, 4, 5, 6]


def test_a_map_that_was_deleted_is_freed_and_can_be_made_again(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path
) -> None:
    """Left to itself napari crashes in the next frame where the canvas is not current, and keeps every layer."""
    viewer.add_image(ihc_field().data, name="ihc", rgb=True)
    load(qtbot, classify, ihc_model)
    made = []
    for _ in range(3):
        run(qtbot, classify)
        made += [weakref.ref(layer) for layer in maps(viewer)]
        viewer.layers.remove(maps(viewer)[0])
        qtbot.waitUntil(lambda: not any(is_own_layer(layer) for layer in viewer.layers))  # its text goes with it
    assert len(made) == 3
    gc.collect()
    assert sum(map_of() is not None for map_of in made) <= 1  # the last one may still be told of


def test_a_field_whose_tiles_show_text_is_classified_again_and_again(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path
) -> None:
    """The text is hidden meanwhile, and rewritten then; what Qt catches fails the test."""
    viewer.add_image(ihc_field().data[:128, :128], rgb=True)
    viewer.reset_view()
    load(qtbot, classify, ihc_model)
    for _ in range(3):
        run(qtbot, classify)
        (text,) = [one for one in viewer.layers if one.metadata.get("napari_cellclass", {}).get("kind") == "text"]
        qtbot.waitUntil(lambda text=text: len(text.data) == 16)
        assert text.visible


def test_a_model_dropped_onto_the_window_is_chosen(viewer: Any, qtbot: Any, ihc_model: Path) -> None:
    viewer.add_image(ihc_field().data, name="ihc", rgb=True)
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(ihc_model))])
    event = QDropEvent(
        QPointF(5, 5), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    viewer.window._qt_viewer.dropEvent(event)
    (dock,) = viewer.window._qt_window.findChildren(CellClassWidget)
    assert dock.pages.currentWidget() is dock.map
    qtbot.waitUntil(lambda: dock.map.model is not None)
    assert dock.map.model.path == ihc_model
    assert not maps(viewer)
    assert [layer.name for layer in viewer.layers if is_user_layer(layer)] == ["ihc"]


def test_rescaling_is_offered_and_the_map_lies_on_the_layer(
    viewer: Any, classify: Any, qtbot: Any, ihc_model_half_um: Path, screenshot: Callable
) -> None:
    fine = ihc_field().data[:256, :256].repeat(2, axis=0).repeat(2, axis=1)
    layer = viewer.add_image(fine, rgb=True, scale=(0.25, 0.25), units=("um", "um"))
    load(qtbot, classify, ihc_model_half_um)
    assert classify.rescale.isVisible()
    assert "Pixels are 0.25 µm, but the model was trained on 0.5 µm: its predictions" in classify.rescale.notice.text()
    run(qtbot, classify)
    assert len(classify.map.table) == 16 * 16
    assert "Warning: pixels are 0.25 µm" in classify.message.text()
    click(qtbot, classify.rescale.button)
    run(qtbot, classify)
    table = classify.map.table
    assert len(table) == 8 * 8
    assert "pixels are" not in classify.message.text()
    assert table.grid.boxes[-1].tolist() == [448, 448, 512, 512]
    (shapes,) = maps(viewer)
    np.testing.assert_allclose(shapes.extent.world, layer.extent.world, atol=0.3)
    screenshot("classify_rescaled")
    layer.scale = (0.5, 0.5)
    run(qtbot, classify)
    assert not classify.rescale.isVisible()
    assert len(classify.map.table) == 16 * 16


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (np.zeros((64, 64), np.uint8), "trained on 3 channels, but the image has 1"),
        (np.zeros((2, 64, 64), np.uint8), "'field' has an axis of length 2: channels or planes? Say which"),
        (np.zeros((20, 20, 3), np.uint8), "larger than the field of 20 x 20 px"),
    ],
)
def test_an_image_that_does_not_fit_is_told_in_the_widget(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path, data: np.ndarray, text: str
) -> None:
    viewer.add_image(data, name="field", rgb=data.shape[-1] == 3)
    load(qtbot, classify, ihc_model)
    run(qtbot, classify)
    assert text in classify.message.text()
    assert not maps(viewer)


def test_a_model_never_runs_on_one_of_several_channels_alone(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path
) -> None:
    viewer.add_image(np.zeros((2, 64, 64), np.uint8), axis_labels=("c", "y", "x"))
    load(qtbot, classify, ihc_model)
    assert classify.channels.text.text() == "2 channels; the model takes 3 channels"
    run(qtbot, classify)
    assert "trained on 3 channels, but the image has 2" in classify.message.text()
    assert not maps(viewer)


def test_run_without_image_or_model_says_what_to_do(viewer: Any, classify: Any, qtbot: Any, ihc_model: Path) -> None:
    click(qtbot, classify.run_button)
    assert "no model chosen" in classify.message.text()
    load(qtbot, classify, ihc_model)
    click(qtbot, classify.run_button)
    assert "no image layer is chosen" in classify.message.text()


def test_a_long_file_name_does_not_push_the_widget_out_of_its_window(
    viewer: Any, classify: Any, qtbot: Any, tmp_path: Path, screenshot: Callable
) -> None:
    path = tmp_path / f"{'20240312_Snap29-RNAi_wellB03_site2_w1GFP_' * 4}final.cellclass"
    path.write_bytes(b"nothing")
    viewer.window._qt_window.resize(800, 560)
    least = classify.model_choice.text.parentWidget().minimumSizeHint().width()
    classify.model_choice.path.line_edit.native.setText(str(path))
    qtbot.waitUntil(lambda: "is not a .cellclass model" in classify.model_choice.text.text())
    assert path.name in classify.model_choice.text.text()
    assert classify.model_choice.text.parentWidget().minimumSizeHint().width() == least
    screenshot("classify-long-name")


def test_a_model_is_exported_by_its_button_and_no_other_file_is_written_over(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    export = classify.model_choice.export
    assert not export.isVisibleTo(classify)
    load(qtbot, classify, ihc_model)
    assert export.isVisibleTo(classify)
    (tmp_path / "n.groovy").write_text("mine")
    for name, said in (("m", f"wrote {tmp_path / 'm.onnx'}"), ("n.onnx", f"{tmp_path / 'n.groovy'} exists")):
        answer = (str(tmp_path / name), "ONNX, with a script for QuPath (*.onnx)")
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, answer=answer: answer)
        click(qtbot, export.button)
        assert not export.button.isEnabled()
        qtbot.waitUntil(export.button.isEnabled, timeout=WINDOW_S * 1000)
        assert export.text.text().startswith(said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.groovy", "m.onnx", "m.qupath.txt", "n.groovy"]
    assert (tmp_path / "n.groovy").read_text() == "mine"


def test_a_file_that_is_no_model_is_told(viewer: Any, classify: Any, qtbot: Any, tmp_path: Path) -> None:
    path = tmp_path / "bad.cellclass"
    path.write_bytes(b"nothing")
    classify.model_choice.path.line_edit.native.setText(str(path))
    qtbot.waitUntil(lambda: "is not a .cellclass model" in classify.model_choice.text.text())
    assert classify.model is None


def test_nan_pixels_leave_their_tile_unclassified_with_a_warning(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path
) -> None:
    pixels = [ihc_field().data[..., c].astype(np.float32) for c in range(3)]
    pixels[1][40, 40] = np.nan
    layers = [viewer.add_image(plane, name=f"c{i}", contrast_limits=(0, 255)) for i, plane in enumerate(pixels)]
    load(qtbot, classify, ihc_model)
    classify.images.choose(layers)
    run(qtbot, classify)
    table = maps(viewer)[0].metadata["napari_cellclass"]["table"]
    assert np.flatnonzero(table.class_index < 0).tolist() == [table.grid.tile_at(40, 40)]
    assert "1 of 256 tiles hold NaN" in classify.message.text()


def test_a_small_window_shows_the_widget_whole(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path, screenshot: Callable
) -> None:
    viewer.theme = "light"
    viewer.add_image(ihc_field().data, name="ihc", rgb=True)
    viewer.window._qt_window.resize(800, 560)
    load(qtbot, classify, ihc_model)
    run(qtbot, classify)
    screenshot("classify-small-light")
    assert classify.width() >= 330


def test_closing_the_window_while_classifying_leaves_nothing_running(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path
) -> None:
    run_on_a_large_field(viewer, classify, qtbot, ihc_model)
    qtbot.waitUntil(lambda: classify.bar.value() > 0)
    job = classify.job
    classify.close()
    assert_ends_soon(job, 2)


def test_closing_the_dock_while_classifying_ends_the_run_and_takes_its_layer_away(
    viewer: Any, dock: Any, classify: Any, qtbot: Any, ihc_model: Path
) -> None:
    run_on_a_large_field(viewer, classify, qtbot, ihc_model)
    qtbot.waitUntil(lambda: any(layer.name == "large running" for layer in viewer.layers))
    job = classify.job
    dock.parent().title.close_button.click()
    assert_ends_soon(job, 2)
    qtbot.waitUntil(lambda: not job.running)  # what it has still to say arrives
    assert not [layer.name for layer in viewer.layers if "classif" in layer.name or "classes" in layer.name]


@pytest.mark.parametrize("answer", ["Go on", "Stop and keep what is finished", "Cancel it and close"])
def test_closing_the_dock_while_classifying_asks(
    viewer: Any, dock: Any, classify: Any, qtbot: Any, ihc_model: Path, answer: str
) -> None:
    run_on_a_large_field(viewer, classify, qtbot, ihc_model)
    qtbot.waitUntil(lambda: classify.bar.maximum() > 0 and classify.bar.value() > 0.02 * classify.bar.maximum())
    asked: list[str] = []

    def press() -> None:
        box = QApplication.activeModalWidget()
        if box is None:
            QTimer.singleShot(20, press)
            return
        asked.append(box.text())
        next(one for one in box.buttons() if one.text() == answer).click()

    QTimer.singleShot(20, press)
    job = classify.job
    qtbot.mouseClick(dock.parent().title.close_button, Qt.MouseButton.LeftButton)
    assert asked == ["The classification of a field is running."]
    if answer == "Go on":
        assert job.running
        assert dock.isVisible()
        classify.cancel()
        qtbot.waitUntil(lambda: not job.running)
        return
    qtbot.waitUntil(lambda: not viewer.window._wrapped_dock_widgets)
    assert not job.running
    assert bool(maps(viewer)) == answer.startswith("Stop")


def test_a_map_cannot_be_edited_and_is_selected_after_every_run(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path
) -> None:
    viewer.add_image(ihc_field().data, name="ihc", rgb=True)
    load(qtbot, classify, ihc_model)
    for _ in range(2):
        run(qtbot, classify)
        (layer,) = maps(viewer)
        assert viewer.layers.selection.active is layer
        assert not any(one.editable for one in viewer.layers if is_own_layer(one))
    viewer.dims.ndisplay = 3
    viewer.dims.ndisplay = 2
    assert not layer.editable
    layer.mode = "select"
    assert layer.mode == "pan_zoom"


def test_a_new_image_is_chosen_until_a_user_has_ticked_one_and_the_sentence_names_it(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path
) -> None:
    load(qtbot, classify, ihc_model)
    for name in ("first", "second"):
        viewer.add_image(ihc_field().data, name=name, rgb=True)
        assert [layer.name for layer in classify.images.chosen()] == [name]
        run(qtbot, classify)
        assert classify.message.text().startswith(f"{name}: 256 tiles in ")
    classify.images.item(0).setCheckState(Qt.CheckState.Checked)
    classify.images.item(1).setCheckState(Qt.CheckState.Unchecked)
    viewer.add_image(ihc_field().data, name="third", rgb=True)
    assert [layer.name for layer in classify.images.chosen()] == ["first"]


@pytest.mark.usefixtures("forked_children")
def test_a_keras_file_is_opened_after_a_dialog_and_runs(
    viewer: Any, classify: Any, qtbot: Any, keras_files: Path, screenshot: Callable
) -> None:
    viewer.add_image(np.random.default_rng(0).integers(0, 4096, (256, 300)).astype(np.uint16), name="field")
    seen: list[Any] = []

    def answer() -> None:
        dialog = next((w for w in QApplication.topLevelWidgets() if isinstance(w, KerasDialog) and w.isVisible()), None)
        if dialog is None:
            QTimer.singleShot(50, answer)
            return
        seen.append(dialog)
        dialog.grab().save(str(SCREENSHOTS / "keras-dialog.png"))
        dialog.names[0].selectAll()
        qtbot.keyClicks(dialog.names[0], "left")
        qtbot.keyClick(dialog.names[0], Qt.Key.Key_Return)

    QTimer.singleShot(50, answer)
    load(qtbot, classify, keras_files / "anysize.keras")
    assert seen
    assert classify.model.scheme.names[0] == "left"
    run(qtbot, classify)
    assert maps(viewer), classify.message.text()
    assert "tensorflow" not in sys.modules


@pytest.mark.parametrize(("key", "layers"), [("ihc", 1), ("separable", 4), ("inseparable", 4)])
def test_a_sample_opens_from_the_file_menu(viewer: Any, menu_texts: Callable, key: str, layers: int) -> None:
    assert any("Cell Class" in text for text in menu_texts("File", "Open Sample"))
    opened = viewer.open_sample("napari-cellclass", key)
    assert len(opened) == layers
    assert all(np.ptp(np.asarray(layer.data)) > 0 for layer in opened)


def test_naparis_features_table_shows_and_saves_the_tiles(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path, tmp_path: Path
) -> None:
    viewer.add_image(ihc_field().data, name="ihc", rgb=True)
    load(qtbot, classify, ihc_model)
    run(qtbot, classify)
    (layer,) = maps(viewer)
    _, table = viewer.window.add_plugin_dock_widget("napari", "Features table widget")
    qtbot.waitUntil(lambda: table.table.model().rowCount() == 256)
    assert table.table.model().columnCount() >= 11
    layer.save(str(tmp_path / "map.csv"))
    assert (tmp_path / "map.csv").stat().st_size > 1000


def test_a_path_that_is_no_model_forgets_the_model_before(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path, tmp_path: Path
) -> None:
    classify.set_model(ihc_model)
    classify.set_model(tmp_path)
    qtbot.waitUntil(lambda: not jobs._running)
    assert classify.model is None
    assert "no model chosen" in classify.model_choice.text.text()


def test_a_map_is_exported_for_slides_with_its_scale_bar_and_what_is_shown(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    viewer.add_image(ihc_field().data, name="ihc", rgb=True, scale=(0.5, 0.5), units=("um", "um"))
    load(qtbot, classify, ihc_model)
    run(qtbot, classify)
    results = classify.results
    named = tmp_path / "talk"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(named), ""))
    results.background.setCurrentText("dark")
    click(qtbot, results.slide_button)
    qtbot.waitUntil(lambda: "talk.png" in classify.message.text())
    picture = np.asarray(Image.open(tmp_path / "talk.png").convert("RGB")).astype(int)
    assert picture.shape == (1440, 2560, 3)
    assert picture[0, 0].max() < 40
    scheme = maps(viewer)[0].metadata["napari_cellclass"]["table"].scheme
    there = [int((np.abs(picture - scheme.rgb(i)).sum(axis=2) < 6).sum()) for i in range(2)]
    assert min(there) > 200, "both are in the legend"
    results.classes.item(0, 0).setCheckState(Qt.CheckState.Unchecked)
    named = tmp_path / "talk.SVG"
    click(qtbot, results.slide_button)
    qtbot.waitUntil(lambda: "talk.SVG" in classify.message.text())
    shown = (tmp_path / "talk.SVG").read_text()
    assert scale_bar(results._source) == (100, "50 µm"), "as the layer says its pixel size"
    assert "unstained" in shown
    assert ">stained" not in shown


def test_an_export_needs_a_known_suffix_in_any_case(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path, tmp_path: Path
) -> None:
    viewer.add_image(ihc_field().data, name="ihc", rgb=True)
    load(qtbot, classify, ihc_model)
    run(qtbot, classify)
    classify.results.export(tmp_path / "MAP.CSV")
    qtbot.waitUntil((tmp_path / "MAP.CSV").is_file)
    classify.results.export(tmp_path / "map.v2")
    qtbot.waitUntil(lambda: "use .csv, .geojson or .png" in classify.message.text())


QUIT = """
import atexit, sys, time
import numpy as np, napari
from qtpy.QtCore import QTimer
from napari_cellclass.core.samples.realfield import ihc_field
viewer = napari.Viewer()
viewer.add_image(np.tile(ihc_field().data, (6, 6, 1)), rgb=True)
_, dock = viewer.window.add_plugin_dock_widget("napari-cellclass", "Cell Class")
widget = dock.show_page("Classify field")
dock.header.overlap.setValue(0.9)
def close():
    if widget.bar.value() > 0:
        print("closing", flush=True)
        start = time.process_time()
        atexit.register(lambda: print(time.process_time() - start))
        viewer.close()
    else:
        QTimer.singleShot(100, close)
widget.run_when_ready(sys.argv[1])
QTimer.singleShot(500, close)
napari.run()
"""


@pytest.mark.gui
def test_closing_napari_while_classifying_ends_the_process_soon(ihc_model: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", QUIT, str(ihc_model)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "closing"
    used, _ = child.communicate(timeout=PROCESS_S)
    assert child.returncode == 0
    assert float(used) < 15  # s of processors, as other programs do not count


def test_a_model_new_on_this_machine_is_marked_until_it_was_used(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path, tmp_path: Path, monkeypatch: Any, screenshot: Callable
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))  # a machine that has met no model yet
    digest = hashlib.sha256(ihc_model.read_bytes()).hexdigest()
    viewer.add_image(ihc_field().data[:96, :96], name="ihc", rgb=True)
    load(qtbot, classify, ihc_model)
    line = classify.model_choice.origin_text
    assert line.isVisible()
    assert line.text().startswith("New on this machine: trained 20")
    assert f"sha256 {digest[:12]}" in line.text()
    assert "in 'train'" in line.text()
    assert "background" in line.styleSheet()
    screenshot("classify-new-model")
    run(qtbot, classify)
    classify.set_model(ihc_model)
    qtbot.waitUntil(lambda: classify.model is not None and line.isVisible())
    assert line.text().startswith("trained 20")
    assert line.styleSheet() == ""
    assert line.textFormat() == Qt.TextFormat.PlainText  # what a file says is never read as HTML


def test_int8_is_offered_used_and_told_where_it_is_not(
    viewer: Any, classify: Any, qtbot: Any, int8_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_fast_int8", lambda: True)
    pixels = np.asarray(Image.open(int8_model.parent / "data" / "spots" / "s0.png"))
    viewer.add_image(np.tile(pixels, (5, 5)))
    load(qtbot, classify, int8_model)
    assert classify.model_choice.text.text().endswith("; also in int8")

    def used() -> str:
        run(qtbot, classify)
        (layer,) = maps(viewer)
        return str(layer.metadata["napari_cellclass"]["table"].record["precision"])

    assert used() == "f32"
    classify.tiles["precision"].value = "int8"
    assert used() == "int8"
    assert "fast int8" not in classify.message.text()
    monkeypatch.setattr(precision, "has_fast_int8", lambda: False)
    assert used() == "f32"
    assert "Warning: this processor has no fast int8 instructions" in classify.message.text()
    classify.tiles["engine"].value = "tensorflow"
    click(qtbot, classify.run_button)
    qtbot.waitUntil(lambda: "drop one of them" in classify.message.text())
