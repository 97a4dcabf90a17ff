"""The widget Evaluate, clicked as a user does in a real window."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.utils.theme import get_theme
from PIL import Image
from qtpy.QtCore import QPoint, QSize, Qt, QTimer
from qtpy.QtWidgets import QApplication, QFileDialog
from tests._window_events import click

from napari_cellclass.cli.main import main
from napari_cellclass.core.common.findings import Finding
from napari_cellclass.core.samples.realfield import IHC_TILE_PX, ihc_field
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.engine.inference import precision
from napari_cellclass.viewer.common.layers import KEY
from napari_cellclass.widgets.common.keras_dialog import KerasDialog
from napari_cellclass.widgets.common.warning_colour import contrast

GROUP_BY = r"_(c\d+)"


@pytest.fixture
def evaluate(viewer: Any) -> Iterator[Any]:
    """The Evaluate widget, docked as a user gets it from the Plugins menu."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", "Evaluate")
    yield widget
    widget.panel.close_down()
    assert "tensorflow" not in sys.modules


@pytest.fixture
def listed(tmp_path: Path, ihc_model: Path, ihc_field_file: Path) -> Path:
    """The right half of the field as a list of tiles, of which the first eight have the other class."""
    grid = TileGrid.regular(ihc_field().shape, IHC_TILE_PX)
    rows = []
    for path in sorted((ihc_model.parent / "test").glob("*/*.png")):
        row, column = map(int, re.findall(r"[rc](\d+)", path.stem))
        box = grid.boxes[(grid.row == row) & (grid.col == column)][0].tolist()
        rows.append((str(ihc_field_file), *box, path.parent.name, f"c{column:02d}"))
    frame = pd.DataFrame(rows, columns=["path", "y0", "x0", "y1", "x1", "class_name", "group"])
    flipped = frame["class_name"].map({"stained": "unstained", "unstained": "stained"})
    frame.loc[:7, "class_name"] = flipped[:8]
    frame.to_csv(tmp_path / "other day.csv", index=False)
    return tmp_path / "other day.csv"


@pytest.fixture
def few(tmp_path: Path, ihc_model: Path) -> Path:
    """Four tiles of each class."""
    for name in ("stained", "unstained"):
        (tmp_path / "few" / name).mkdir(parents=True)
        for path in sorted((ihc_model.parent / "test" / name).iterdir())[:4]:
            shutil.copy(path, tmp_path / "few" / name)
    return tmp_path / "few"


def ended(qtbot: Any, widget: Any) -> str:
    qtbot.waitUntil(lambda: not widget.panel.running and widget.run_button.isEnabled())
    return widget.panel.message.text()


def texts(table: Any) -> list[list[str]]:
    return [[table.item(i, j).text() for j in range(table.columnCount())] for i in range(table.rowCount())]


def ours(viewer: Any, kind: str) -> list[Any]:
    return [layer for layer in viewer.layers if layer.metadata.get(KEY, {}).get("kind") == kind]


def double_click(qtbot: Any, viewer: Any, y: float, x: float) -> None:
    """Double-click a place of the world on the canvas."""
    camera, (height, width) = viewer.scene.camera, viewer.canvas.size
    down, right = (np.array([y, x]) - np.array(camera.center[-2:])) * camera.zoom + np.array([height, width]) / 2
    native = viewer.window._qt_viewer.canvas.native
    qtbot.mouseMove(native, QPoint(round(right), round(down)))
    qtbot.mouseDClick(native, Qt.MouseButton.LeftButton, pos=QPoint(round(right), round(down)))


def show(widget: Any, qtbot: Any, part: Any) -> None:
    scroll = widget.window_of_results.scroll
    scroll.verticalScrollBar().setValue(part.mapTo(scroll.widget(), QPoint(0, 0)).y() - 8)
    QApplication.processEvents()


def check_window(widget: Any, qtbot: Any, written: dict[str, Any]) -> None:
    """The first line says it all; warnings are folded; parts stand in as many columns as there is room for."""
    window, value, results = widget.window_of_results, written["balanced_accuracy"], widget.results
    headline = window.headline.text()
    assert headline.startswith(f"Balanced accuracy {value['value']:.2f} (95 % CI {value['lo']:.2f}–{value['hi']:.2f}, ")
    assert f"n = {written['n']} tiles of {written['groups']} groups" in headline
    assert window.summary.headline.text() == headline
    assert results.alarms.isVisible() == bool(written["alarms"])
    results.alarms.show_findings([Finding("note", "b", "fine"), Finding("warning", "a", "odd")])
    assert results.alarms.button.text() == "▸ 1 warning and 1 note"
    assert not results.alarms.warnings.isVisible()
    click(qtbot, results.alarms.button)
    assert results.alarms.warnings.isVisible()
    assert results.alarms.text() == "Warning: odd.\nNote: fine."
    for width, columns in ((1220, 3), (900, 2), (600, 1)):
        window.resize(width, 660)
        parts = (results.figures, results.confusion, results.panel)
        qtbot.waitUntil(lambda w=parts, n=columns: len({one.mapTo(results, QPoint(0, 0)).x() // 50 for one in w}) == n)
        assert results.columns.width() <= window.scroll.viewport().width()
    window.close()
    click(qtbot, window.summary.open_button)
    assert window.isVisible()
    assert window.size() == QSize(600, 660), "its size is remembered"
    window.resize(1220, 660)


def check_theme(viewer: Any, widget: Any, qtbot: Any) -> None:
    """The window has the theme's background, on which warnings can be read."""
    for theme in ("dark", "light"):
        viewer.theme = theme
        background = get_theme(theme).background.as_rgb_tuple()[:3]

        def corner() -> tuple[int, ...]:
            return widget.window_of_results.grab().toImage().pixelColor(2, 2).getRgb()[:3]

        qtbot.waitUntil(lambda wanted=background, got=corner: got() == tuple(wanted))
        colour = re.search(r"#([0-9A-F]{6})", widget.results.alarms.warnings.styleSheet())[1]
        assert contrast(tuple(bytes.fromhex(colour)), background) >= 4.5


def test_the_widget_is_in_the_menus(viewer: Any, menu_texts: Callable[..., list[str]]) -> None:
    viewer.add_image(np.zeros((8, 8)))
    for path in (("Plugins",), ("Layers", "Classify")):
        assert any(text.startswith("Evaluate") for text in menu_texts(*path))


def test_int8_is_judged_where_it_is_asked_for_and_told_where_it_is_not_used(
    viewer: Any, evaluate: Any, qtbot: Any, int8_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_fast_int8", lambda: True)
    evaluate.set_model(int8_model)
    evaluate.sets.add(int8_model.parent / "data")
    evaluate.form.fields["precision"].value = "int8"
    click(qtbot, evaluate.run_button)
    assert "tested on 1 set, in int8." in ended(qtbot, evaluate)
    assert evaluate.results.shown.evaluation.precision == "int8"
    monkeypatch.setattr(precision, "has_fast_int8", lambda: False)
    click(qtbot, evaluate.run_button)
    assert "this processor has no fast int8 instructions" in ended(qtbot, evaluate)
    assert evaluate.results.shown.evaluation.precision == "f32"


def test_the_widget_shows_what_the_command_writes_and_a_click_on_a_cell_its_tiles(
    viewer: Any,
    evaluate: Any,
    qtbot: Any,
    ihc_model: Path,
    few: Path,
    listed: Path,
    tmp_path: Path,
    screenshot: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evaluate.set_model(ihc_model)
    evaluate.sets.add(few)
    evaluate.sets.add(listed)
    evaluate.sets.table.item(1, 0).setText("field")
    click(qtbot, evaluate.run_button)
    assert "tested on 2 sets" in ended(qtbot, evaluate)
    words = [f"field={listed}", "--model", str(ihc_model)]
    assert main(["evaluate", *words, "--out", str(tmp_path / "e"), "--quiet"]) == 0

    results = evaluate.results
    assert results.text.text().startswith("few: n = 8 tiles")
    results.sets.setCurrentIndex(1)
    written = json.loads((tmp_path / "e" / "evaluation.json").read_text())
    shown = {row[0]: row[1:] for row in texts(results.figures)}
    for name, row in (("balanced_accuracy", "balanced accuracy"), ("kappa", "Cohen's kappa")):
        value = written[name]
        assert shown[row] == [f"{value['value']:.3f}", f"{value['lo']:.3f} to {value['hi']:.3f}"]
    assert f"field: n = {written['n']} tiles of {written['groups']} groups" in results.text.text()
    counts = [[int(text.split("\n")[0]) for text in row] for row in texts(results.confusion)]
    assert counts == written["confusion"]
    assert all(alarm["text"] in results.alarms.text() for alarm in written["alarms"])
    check_window(evaluate, qtbot, written)
    qtbot.waitUntil(lambda: results.fields.pixmap().width() > 100 and results.reliability.pixmap().width() > 100)
    qtbot.waitUntil(lambda: len(results.panel.tiles) == 25)
    screenshot("evaluate-numbers")

    table = pd.read_csv(tmp_path / "e" / "tiles.csv")
    wrong = table[(table["true_class"] == "unstained") & (table["class_name"] == "stained")]
    assert len(wrong) >= 4
    show(evaluate, qtbot, results.confusion)
    item = results.confusion.visualItemRect(results.confusion.item(1, 0))
    qtbot.mouseClick(results.confusion.viewport(), Qt.MouseButton.LeftButton, pos=item.center())
    qtbot.waitUntil(lambda: bool(ours(viewer, "evaluated-tiles")))
    (sheet,) = ours(viewer, "evaluated-tiles")
    assert set(sheet.metadata[KEY]["places"]) == set(wrong.index)
    qtbot.waitUntil(lambda: len(results.panel.tiles) == len(wrong))
    assert {(tile.true_class, tile.class_name) for tile in results.panel.tiles} == {("unstained", "stained")}
    show(evaluate, qtbot, results.confusion)
    screenshot("evaluate")

    height, width = sheet.metadata[KEY]["cell"]
    results.sets.setCurrentIndex(0)  # the sheet is of the other set nevertheless
    double_click(qtbot, viewer, height / 2, 1.5 * width)  # the second tile
    qtbot.waitUntil(lambda: bool(ours(viewer, "evaluated-tile")))
    (box,) = ours(viewer, "evaluated-tile")
    place = sheet.metadata[KEY]["places"][1]
    assert box.metadata[KEY]["box"] == tuple(table.loc[place, ["y0", "x0", "y1", "x1"]])
    np.testing.assert_allclose(box.data[0].min(axis=0), np.array(box.metadata[KEY]["box"][:2]) - 0.5)
    (field,) = ours(viewer, "evaluated-field")
    np.testing.assert_array_equal(np.asarray(field.data), ihc_field().data)
    screenshot("evaluate-tile-in-field")

    results.sets.setCurrentIndex(1)
    results.panel.show_cell((1, 0))
    qtbot.waitUntil(lambda: len(results.panel.tiles) == len(wrong))
    tile = results.panel.tiles[0]
    show(evaluate, qtbot, results.panel.figure)
    qtbot.mouseDClick(results.panel.figure, Qt.MouseButton.LeftButton, pos=QPoint(20, 40))
    qtbot.waitUntil(lambda: [one.metadata[KEY]["place"] for one in ours(viewer, "evaluated-tile")] == [tile.tile_index])
    assert len(ours(viewer, "evaluated-field")) == 1

    click(qtbot, results.panel.all_button)
    qtbot.waitUntil(lambda: len(results.panel.tiles) == 25)
    results.panel.order.setCurrentIndex(results.panel.order.findData("confident"))
    qtbot.waitUntil(lambda: results.panel.tiles[0].confidence == pytest.approx(table["confidence"].max(), rel=1e-5))
    click(qtbot, results.panel.next_button)
    qtbot.waitUntil(lambda: results.panel.status.text() == "page 2 of 6")
    check_theme(viewer, evaluate, qtbot)
    viewer.window._qt_window.resize(900, 600)
    show(evaluate, qtbot, results.panel)
    screenshot("evaluate-light-small")
    show(evaluate, qtbot, results.classes)
    screenshot("evaluate-light-classes")

    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, **__: str(tmp_path / "paper"))
    click(qtbot, results.save_button)
    assert "methods.md" in ended(qtbot, evaluate)
    kit = tmp_path / "paper" / "kit"
    assert (kit / "field" / "tiles.csv").read_bytes() == (tmp_path / "e" / "tiles.csv").read_bytes()
    assert "test set *field* (128 tiles of 8 groups" in (kit / "methods.md").read_text()
    settings = json.loads((kit / "settings.json").read_text())
    assert (settings["verb"], settings["kit"], settings["out"]) == ("evaluate", True, str(kit.parent))
    assert settings["data"] == [f"few={few}", f"field={listed}"]


def test_what_cannot_be_evaluated_is_said_in_a_sentence_and_a_run_can_be_cancelled(
    evaluate: Any, qtbot: Any, ihc_model: Path, tmp_path: Path
) -> None:
    click(qtbot, evaluate.run_button)
    assert "no model is chosen" in ended(qtbot, evaluate)
    evaluate.set_model(ihc_model)
    click(qtbot, evaluate.run_button)
    assert "no test set is chosen" in ended(qtbot, evaluate)
    shutil.copytree(ihc_model.parent / "test" / "stained", tmp_path / "odd" / "pink")
    evaluate.sets.add(tmp_path / "odd")
    click(qtbot, evaluate.run_button)
    assert "'pink', which the model does not know" in ended(qtbot, evaluate)
    assert not evaluate.results.isVisible()
    evaluate.sets.table.selectRow(0)
    click(qtbot, evaluate.sets.remove_button)
    evaluate.sets.add(ihc_model.parent / "test")
    evaluate.form.fields["stress"].value = True
    click(qtbot, evaluate.run_button)
    click(qtbot, evaluate.panel.cancel_button)
    assert ended(qtbot, evaluate) == "Cancelled."
    assert not evaluate.results.isVisible()


def test_without_a_choice_the_model_of_classify_field_is_evaluated_and_shortcuts_are_shown_where_asked_for(
    viewer: Any, evaluate: Any, classify: Any, qtbot: Any, ihc_model: Path, few: Path, screenshot: Callable[[str], Path]
) -> None:
    classify.set_model(ihc_model)
    qtbot.waitUntil(lambda: classify.model is not None)
    evaluate.sets.add(few)
    evaluate.parent().raise_()
    QApplication.processEvents()
    evaluate.form.fields["shortcuts"].value = True
    click(qtbot, evaluate.run_button)
    assert ihc_model.name in ended(qtbot, evaluate)
    assert evaluate.results.evaluated.model.path == ihc_model
    qtbot.waitUntil(lambda: evaluate.results.shortcuts.pixmap().width() > 100)
    assert evaluate.results.stress.isHidden()
    show(evaluate, qtbot, evaluate.results.shortcuts)
    screenshot("evaluate-shortcuts")


@pytest.mark.usefixtures("forked_children")
def test_a_keras_file_is_asked_about_in_a_dialog_and_then_evaluated(
    evaluate: Any, qtbot: Any, keras_files: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for name in ("left", "class 2"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(3):
            tile = rng.integers(0, 256, (128, 128)).astype(np.uint8)
            Image.fromarray(tile).save(tmp_path / "set" / name / f"{name}{i}.png")
    evaluate.set_model(keras_files / "anysize.keras")
    evaluate.sets.add(tmp_path / "set")

    def answer() -> None:
        dialog = next((w for w in QApplication.topLevelWidgets() if isinstance(w, KerasDialog) and w.isVisible()), None)
        if dialog is None:
            QTimer.singleShot(50, answer)
            return
        dialog.names[0].selectAll()
        qtbot.keyClicks(dialog.names[0], "left")
        qtbot.keyClick(dialog.names[0], Qt.Key.Key_Return)

    QTimer.singleShot(50, answer)
    click(qtbot, evaluate.run_button)
    qtbot.waitUntil(evaluate.results.isVisible)
    assert evaluate.results.evaluated.model.scheme.names == ("left", "class 2")
    assert evaluate.results.evaluated.sets[0].evaluation.report.n == 6


def test_figures_of_one_set_do_not_stay_beside_the_error_of_another(
    evaluate: Any, qtbot: Any, ihc_model: Path, few: Path, tmp_path: Path
) -> None:
    evaluate.set_model(ihc_model)
    evaluate.sets.add(few)
    click(qtbot, evaluate.run_button)
    assert "tested on 1 set" in ended(qtbot, evaluate)
    assert evaluate.results.isVisible()
    shutil.copytree(ihc_model.parent / "test" / "stained", tmp_path / "odd" / "pink")
    evaluate.sets.table.selectRow(0)
    click(qtbot, evaluate.sets.remove_button)
    evaluate.sets.add(tmp_path / "odd")
    click(qtbot, evaluate.run_button)
    assert "'pink', which the model does not know" in ended(qtbot, evaluate)
    assert not evaluate.results.isVisible()
