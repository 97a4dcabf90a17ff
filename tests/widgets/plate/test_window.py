"""The widget Classify plate, clicked as a user does in a real window."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication, QFileDialog
from tests._patience import WINDOW_S
from tests._plates import tables, write_plate
from tests._stacks import PLATE_WELLS, write_zarr_plate
from tests._window_events import click

from napari_cellclass.cli.main import main
from napari_cellclass.core.plates.wells import Well
from napari_cellclass.viewer.common.layers import KEY


@pytest.fixture
def plate(viewer: Any) -> Iterator[Any]:
    """The Classify plate widget, docked as a user gets it from the Plugins menu."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", "Classify plate")
    yield widget
    widget.panel.close_down()
    assert "tensorflow" not in sys.modules


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    """Forty fields of twenty wells, and one that is broken."""
    write_plate(tmp_path / "fields", 40, px=160)
    (tmp_path / "fields" / "D05f0.png").write_bytes(b"no image")
    return tmp_path / "fields"


def run_plate(plate: Any, qtbot: Any, fields: Path, model: Path, out: Path) -> None:
    """Choose what is needed, and press Run."""
    plate.sources.add(fields)
    plate.set_model(model)
    plate.set_out(out)
    click(qtbot, plate.run_button)


def ended(qtbot: Any, widget: Any) -> str:
    qtbot.waitUntil(lambda: not widget.panel.running and widget.run_button.isEnabled())
    return widget.panel.message.text()


def ours(viewer: Any, kind: str) -> list[Any]:
    return [layer for layer in viewer.layers if layer.metadata.get(KEY, {}).get("kind") == kind]


def place_of(view: Any, well: Well) -> QPoint:
    return view.cell(well).center().toPoint()


def show(widget: Any, qtbot: Any, part: Any) -> None:
    widget._scroll.verticalScrollBar().setValue(part.mapTo(widget._scroll.widget(), QPoint(0, 0)).y() - 8)
    QApplication.processEvents()


def test_the_widget_is_in_the_menus(viewer: Any, menu_texts: Callable[..., list[str]]) -> None:
    viewer.add_image(np.zeros((8, 8)))
    for path in (("Plugins",), ("Layers", "Classify")):
        assert any("Classify plate" in text for text in menu_texts(*path))


def test_a_plate_by_clicks_is_that_of_the_command_and_a_well_opens_its_field(
    viewer: Any, plate: Any, qtbot: Any, fields: Path, ihc_model: Path, tmp_path: Path, screenshot: Callable
) -> None:
    clicked, typed = tmp_path / "clicked", tmp_path / "typed"
    plate.sources.add(fields)
    plate.set_model(ihc_model)
    plate.set_out(clicked)
    click(qtbot, plate.run_button)
    said = ended(qtbot, plate)
    assert "40 of 41 images classified; 21 wells." in said
    assert "D05f0.png" in said
    words = ["classify", str(fields), "--model", str(ihc_model), "--out", str(typed), "--quiet"]
    assert main(words) == 1
    assert tables(clicked) == tables(typed)
    assert (clicked / "plate.png").is_file()

    results = plate.results
    wells = pd.read_csv(clicked / "wells.csv").set_index("well")
    show(plate, qtbot, results)
    assert [results.classes.itemText(i) for i in range(results.classes.count())] == ["stained", "unstained"]
    pixels = results.plate.grab().toImage()
    most = wells["fraction_stained"].idxmax()
    least = wells["fraction_stained"].idxmin()
    colours = {}
    for name in (most, least, "D05"):
        place = place_of(results.plate, Well(ord(name[0]) - 64, int(name[1:])))
        colours[name] = pixels.pixelColor(place * pixels.devicePixelRatio()).getRgb()[:3]
    lut = results.result.colours
    for name in (most, least):
        expected = lut[round(255 * wells.loc[name, "fraction_stained"])]
        assert np.abs(np.array(colours[name]) - expected).max() <= 3
    assert colours["D05"][0] == colours["D05"][1] == colours["D05"][2], "grey: its only field failed"

    qtbot.mouseClick(results.plate, Qt.MouseButton.LeftButton, pos=place_of(results.plate, Well(1, 3)))
    model = results.table.model()
    assert [model.index(i, 0).data() for i in range(model.rowCount())] == ["A03f0", "A03f1"]
    qtbot.mouseDClick(results.plate, Qt.MouseButton.LeftButton, pos=place_of(results.plate, Well(1, 3)))
    qtbot.waitUntil(lambda: bool(ours(viewer, "map")))
    written = pd.read_csv(clicked / "A03f0.tiles.csv")
    (shapes,) = ours(viewer, "map")
    assert shapes.features["class_name"].astype(str).tolist() == written["class_name"].tolist()
    (field,) = ours(viewer, "plate-field")
    np.testing.assert_array_equal(field.data, np.asarray(Image.open(fields / "A03f0.png")))
    ended(qtbot, plate)
    show(plate, qtbot, results)
    screenshot("classify-plate")

    second = results.table.visualRect(model.index(1, 0)).center()
    qtbot.mouseClick(results.table.viewport(), Qt.MouseButton.LeftButton, pos=second)
    click(qtbot, results.open_button)
    qtbot.waitUntil(lambda: [layer.name for layer in ours(viewer, "plate-field")] == ["A03f1.png"])
    ended(qtbot, plate)
    assert len(ours(viewer, "map")) == 1, "the field before was taken away"
    ended(qtbot, plate)

    qtbot.mouseClick(results.plate, Qt.MouseButton.LeftButton, pos=place_of(results.plate, Well(4, 5)))
    click(qtbot, results.open_button)
    assert results.table.model().rowCount() == 1
    click(qtbot, plate.run_button)
    assert "40 of them before" in ended(qtbot, plate)


def test_an_ome_zarr_plate_is_classified_with_the_wells_of_its_metadata(
    viewer: Any, plate: Any, qtbot: Any, striped_model: Path, tmp_path: Path
) -> None:
    run_plate(plate, qtbot, write_zarr_plate(tmp_path / "plate.zarr", "0.4"), striped_model, tmp_path / "out")
    assert "12 of 12 images classified; 6 wells." in ended(qtbot, plate)
    wells = pd.read_csv(tmp_path / "out" / "wells.csv")
    assert wells["well"].tolist() == PLATE_WELLS
    assert wells["n_striped"].tolist() == [2 * n for n in range(1, 7)]
    results = plate.results
    results.classes.setCurrentText("striped")
    show(plate, qtbot, results)
    pixels = results.plate.grab().toImage()
    for n, name in enumerate(PLATE_WELLS, 1):  # n of the 12 tiles of each of the two fields
        place = place_of(results.plate, Well(ord(name[0]) - 64, int(name[1:])))
        colour = pixels.pixelColor(place * pixels.devicePixelRatio()).getRgb()[:3]
        assert np.abs(np.array(colour) - results.result.colours[round(255 * n / 12)]).max() <= 3, name
    qtbot.mouseClick(results.plate, Qt.MouseButton.LeftButton, pos=place_of(results.plate, Well(3, 10)))
    model = results.table.model()
    assert [model.index(i, 0).data() for i in range(model.rowCount())] == ["plate_C10_f0", "plate_C10_f1"]
    qtbot.mouseDClick(results.plate, Qt.MouseButton.LeftButton, pos=place_of(results.plate, Well(3, 10)))
    qtbot.waitUntil(lambda: bool(ours(viewer, "map")))
    ended(qtbot, plate)
    (shapes,) = ours(viewer, "map")
    assert shapes.features["class_name"].astype(str).tolist() == ["striped"] * 6 + ["even"] * 6


def test_all_image_layers_are_classified_also_those_in_no_file(
    viewer: Any, plate: Any, qtbot: Any, fields: Path, ihc_model: Path, tmp_path: Path
) -> None:
    viewer.open(str(fields / "A01f0.png"), plugin="napari")
    pixels = np.asarray(Image.open(fields / "A01f1.png"))
    viewer.add_image(pixels, name="B02f1")
    plate.sources.from_layers.click()
    plate.set_model(ihc_model)
    plate.set_out(tmp_path / "out")
    click(qtbot, plate.run_button)
    assert "2 of 2 images classified; 2 wells." in ended(qtbot, plate)
    table = pd.read_csv(tmp_path / "out" / "fields.csv")
    assert table["stem"].tolist() == ["A01f0", "B02f1"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "layers" / "B02f1.png")), pixels)


def test_cancel_keeps_what_is_finished_and_two_processes_end_it(
    viewer: Any, plate: Any, qtbot: Any, fields: Path, ihc_model: Path, tmp_path: Path
) -> None:
    run_plate(plate, qtbot, fields, ihc_model, tmp_path / "out")
    qtbot.waitUntil(lambda: plate.panel.bar.maximum() == 41 and plate.panel.bar.value() >= 2)
    click(qtbot, plate.panel.cancel_button)
    assert ended(qtbot, plate).startswith("Cancelled: ")
    states = pd.read_csv(tmp_path / "out" / "fields.csv")["state"].value_counts()
    assert 2 <= states["done"] < 40
    plate.form.fields["workers"].value = 2
    click(qtbot, plate.run_button)
    assert f"40 of 41 images classified, {states['done']} of them before" in ended(qtbot, plate)


def test_what_is_missing_is_said(plate: Any, qtbot: Any, tmp_path: Path, ihc_model: Path) -> None:
    for prepare, told in (
        (lambda: None, "no images are chosen"),
        (lambda: plate.sources.add(tmp_path / "none"), "no folder for the results"),
        (lambda: plate.set_out(tmp_path / "out"), "no model is chosen"),
    ):
        prepare()
        click(qtbot, plate.run_button)
        assert told in plate.panel.message.text()


def test_closing_the_dock_ends_the_run_and_keeps_finished_fields(
    viewer: Any, plate: Any, qtbot: Any, fields: Path, ihc_model: Path, tmp_path: Path
) -> None:
    run_plate(plate, qtbot, fields, ihc_model, tmp_path / "out")
    qtbot.waitUntil(lambda: len(list((tmp_path / "out").glob("*.run.json"))) > 1)
    job = plate.panel.job
    plate.parent().title.close_button.click()
    assert not job.running or job.wait(WINDOW_S)
    assert len(list((tmp_path / "out").glob("*.run.json"))) < 40


def test_conditions_of_the_form_are_compared_in_words_and_a_figure_and_fields_become_slides(
    viewer: Any, plate: Any, qtbot: Any, ihc_model: Path, tmp_path: Path, screenshot: Callable, monkeypatch: Any
) -> None:
    write_plate(tmp_path / "fields", 12)
    table = tmp_path / "conditions.csv"
    table.write_text("well,condition,replicate\n" + "".join(f"A{n},{'ab'[n % 2]},day {n // 2}\n" for n in range(1, 7)))
    plate.conditions.line_edit.value = str(table)
    plate.form.fields["control"].value = "b"
    out = tmp_path / "out"
    run_plate(plate, qtbot, tmp_path / "fields", ihc_model, out)
    assert "12 of 12 images classified" in ended(qtbot, plate)
    results = plate.results
    sentences = (out / "conditions.txt").read_text()
    assert sentences.startswith("stained: a ")
    assert results.compared.text().replace("\u200b", "") == sentences.rstrip("\n")
    qtbot.waitUntil(lambda: not results.conditions.pixmap().isNull())
    assert results.conditions.pixmap().width() > 100
    model = results.table.model()
    titles = [model.headerData(i, Qt.Orientation.Horizontal) for i in range(model.columnCount())]
    assert titles[:4] == ["field", "well", "condition", "replicate"]
    assert [model.index(2, i).data() for i in range(4)] == ["A02f0", "A02", "a", "day 1"]
    show(plate, qtbot, results.slides_button)
    screenshot("plate-conditions")

    # pictures of the fields of one well, in a folder that is asked for
    results.which.setCurrentText("A02")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a, **k: str(tmp_path / "talk"))
    click(qtbot, results.slides_button)
    assert ended(qtbot, plate).startswith("4 pictures in ")
    names = {f"A02f{n}_slide{suffix}" for n in range(2) for suffix in (".png", ".svg")}
    assert {path.name for path in (tmp_path / "talk").iterdir()} == names

    # another run with a table that cannot be meant says so, and without one compares nothing
    table.write_text("well,condition\nH1,a\n")
    click(qtbot, plate.run_button)
    assert "names none of the fields" in ended(qtbot, plate)
    plate.conditions.line_edit.value = ""
    plate.form.fields["control"].value = ""
    click(qtbot, plate.run_button)
    assert "12 of them before" in ended(qtbot, plate)
    assert not results.compared.isVisible()
    assert not results.conditions.isVisible()
