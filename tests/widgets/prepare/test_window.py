"""The widget Prepare tiles: the article's first half as clicks, equal to the commands bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from tests._window_events import click

from napari_cellclass.cli.main import main
from napari_cellclass.core.images.reading import read_image

TILE = 64


@pytest.fixture
def prepare(viewer: Any) -> Any:
    """The Prepare widget, docked as a user gets it from the Plugins menu."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", "Prepare tiles")
    return widget


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of two 12-bit fields, empty on their right half."""
    folder = tmp_path_factory.mktemp("fields") / "plate"
    rng = np.random.default_rng(0)
    for name in ("alpha", "beta"):
        (folder / name).mkdir(parents=True)
        for i in (2, 10):
            pixels = rng.normal(300, 5, (256, 256))
            pixels[:, :128] += 1500 * rng.random((256, 128))
            Image.fromarray(pixels.astype(np.uint16)).save(folder / name / f"{name}{i}.png")
    return folder


def ended(qtbot: Any, page: Any) -> str:
    """Wait for a page's job, and give what it said."""
    qtbot.waitUntil(lambda: not page.panel.running and not page.panel.bar.isVisible())
    return page.panel.message.text()


def content(folder: Path) -> dict[str, str]:
    """Every file and its hash, but for settings, which name the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [path for path in files if not path.name.startswith((".napari", "settings"))]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def show(prepare: Any, page: Any) -> None:
    for i in range(prepare.tabs.count()):
        if prepare.tabs.widget(i).widget() is page:
            prepare.tabs.setCurrentIndex(i)
    QApplication.processEvents()


def choose(form: Any, **values: Any) -> None:
    for name, value in values.items():
        form.fields[name].value = value


@pytest.mark.parametrize("path", [("Plugins",), ("Layers", "Classify")])
def test_the_widget_is_in_the_menus(viewer: Any, menu_texts: Callable[..., list[str]], path: tuple[str, ...]) -> None:
    viewer.add_image(np.zeros((8, 8)))
    assert any("Prepare tiles" in text for text in menu_texts(*path))


def slice_by_clicks(qtbot: Any, page: Any, plate: Path, out: Path, tile: int) -> str:
    """Cut class folders into tiles, without those of the background; give what was said."""
    page.source.from_folder.click()
    page.source.folder.value = plate
    choose(page.cut, tile_px=tile)
    choose(page.keep, background="variance")
    page.out.value = out
    click(qtbot, page.slice_button)
    return ended(qtbot, page)


def name_and_turn_by_clicks(qtbot: Any, prepare: Any) -> str:
    """Number the tiles that were just written, and write copies turned by a degree; give what was said."""
    page = prepare.names
    show(prepare, page)
    page.prefix.setText("tile")
    click(qtbot, page.rename_button)
    said = ended(qtbot, page)
    page.degrees.setText("-1:1")
    click(qtbot, page.rotate_button)
    return f"{said} {ended(qtbot, page)}"


def by_commands(plate: Path, out: Path, tile: int) -> None:
    """The same three steps as commands."""
    commands: list[list[object]] = [
        ["slice", plate, "--out", out, "--tile-px", tile, "--background", "variance"],
        ["slice", out, "--rename", "--prefix", "tile"],
        ["slice", out, "--out", out, "--rotate", "-1:1"],
    ]
    for words in commands:
        assert main([*map(str, words), "--quiet"]) == 0


def test_the_chain_of_clicks_gives_what_the_commands_give(
    viewer: Any, prepare: Any, qtbot: Any, plate: Path, tmp_path: Path, screenshot: Callable
) -> None:
    clicked, typed = tmp_path / "clicked", tmp_path / "typed"
    page = prepare.slice
    page.source.from_folder.click()
    page.source.folder.value = plate
    choose(page.cut, tile_px=TILE)
    choose(page.keep, background="variance")
    click(qtbot, page.preview_button)
    assert "8 of 16 tiles are dropped as background (variance below 0.0025), 8 are kept" in ended(qtbot, page)
    screenshot("prepare-slice")
    said = slice_by_clicks(qtbot, page, plate, clicked, TILE)
    assert "4 of 4 images made into 32 tiles, 32 tiles of background dropped" in said
    said = name_and_turn_by_clicks(qtbot, prepare)
    assert "32 images renamed" in said
    assert "64 rotated copies" in said
    screenshot("prepare-names")
    by_commands(plate, typed, TILE)
    assert content(clicked) == content(typed)
    assert len(content(clicked)) == 32 * 3 + 1

    page = prepare.check
    show(prepare, page)
    assert page.chosen() == clicked, "the folder that was written to goes on to the next pages"
    click(qtbot, page.check_button)
    assert "can be trained on" in ended(qtbot, page)
    assert not page.findings.findItems("rename.json", Qt.MatchFlag.MatchContains | Qt.MatchFlag.MatchRecursive)
    screenshot("prepare-check")
    click(qtbot, page.train_button)
    from napari_cellclass.widgets.train.widget import TrainPage

    train = viewer.window._qt_window.findChild(TrainPage)
    qtbot.waitUntil(lambda: train.train_button.isEnabled() and train.split.isVisible())
    assert {train.groups.item(i, 0).text() for i in range(train.groups.rowCount())} == {
        "alpha/alpha2.png", "alpha/alpha10.png", "beta/beta2.png", "beta/beta10.png",
    }, "neighbours and copies stay together"  # fmt: skip


@pytest.mark.realdata
def test_a_real_plate_is_prepared_alike_by_clicks_and_by_commands(
    viewer: Any, prepare: Any, qtbot: Any, real_data: Path, tmp_path: Path
) -> None:
    plate = real_data / "transfluor"
    slice_by_clicks(qtbot, prepare.slice, plate, tmp_path / "clicked", 128)
    name_and_turn_by_clicks(qtbot, prepare)
    by_commands(plate, tmp_path / "typed", 128)
    clicked = content(tmp_path / "clicked")
    assert clicked == content(tmp_path / "typed")
    assert {name.split("/")[0] for name in clicked} == {"diffuse", "puncta", "tiles.csv"}
    assert len(clicked) > 3 * 200


def test_the_limit_is_followed_at_once(viewer: Any, prepare: Any, qtbot: Any, plate: Path, tmp_path: Path) -> None:
    viewer.open(str(plate / "alpha" / "alpha2.png"))
    page = prepare.slice
    page.source.from_layers.click()
    choose(page.cut, tile_px=TILE)
    choose(page.keep, background="variance", background_limit=0.0025)
    click(qtbot, page.preview_button)
    ended(qtbot, page)
    assert [layer.name for layer in viewer.layers] == ["alpha2", "alpha2 grid", "alpha2 tiles kept"], "no second image"
    dropped = [np.asarray(page._map._map.data == 1)]
    np.testing.assert_array_equal(dropped[0], np.repeat([[False, False, True, True]], 4, axis=0))
    page.keep.fields["background_limit"].field.value = 1.0
    assert (page._map._map.data == 1).all()
    assert "16 of 16 tiles are dropped" in page.panel.message.text()
    choose(page.cut, tile_px=128)
    ended(qtbot, page)
    assert page._map._map.data.shape == (2, 2), "other tiles are looked at again"


def test_a_layer_without_a_file_and_missing_choices_are_told(viewer: Any, prepare: Any, qtbot: Any) -> None:
    page = prepare.slice
    click(qtbot, page.slice_button)
    assert "no folder for the tiles is chosen" in ended(qtbot, page)
    click(qtbot, page.preview_button)
    assert "no folder is chosen" in ended(qtbot, page)
    viewer.add_image(np.zeros((64, 64), np.uint8), name="made here")
    page.source.from_layers.click()
    click(qtbot, page.preview_button)
    assert "the layer 'made here' belongs to no file" in ended(qtbot, page)
    show(prepare, prepare.names)
    for button in (prepare.names.rename_button, prepare.names.undo_button, prepare.names.rotate_button):
        click(qtbot, button)
        assert "no folder is chosen" in ended(qtbot, prepare.names)


def test_renaming_is_taken_back(viewer: Any, prepare: Any, qtbot: Any, plate: Path, tmp_path: Path) -> None:
    for path in plate.glob("*/*.png"):
        (tmp_path / "own" / path.parent.name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / path.parent.name / path.name).write_bytes(path.read_bytes())
    before = content(tmp_path / "own")
    page = prepare.names
    show(prepare, page)
    page.set_folder(tmp_path / "own")
    click(qtbot, page.rename_button)
    ended(qtbot, page)
    assert set(content(tmp_path / "own")) == {f"{name}/{name}_000{i}.png" for name in ("alpha", "beta") for i in (1, 2)}
    click(qtbot, page.undo_button)
    assert "The old names of 4 images are restored" in ended(qtbot, page)
    assert content(tmp_path / "own") == before


def test_what_is_wrong_is_listed_and_its_files_open(
    viewer: Any, prepare: Any, qtbot: Any, plate: Path, tmp_path: Path, screenshot: Callable
) -> None:
    folder = tmp_path / "odd"
    for path in plate.glob("*/*.png"):
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        (folder / path.parent.name / path.name).write_bytes(path.read_bytes())
    (folder / "beta" / "copy.png").write_bytes((folder / "alpha" / "alpha2.png").read_bytes())
    (folder / "alpha" / "text.tif").write_text("no image")
    page = prepare.check
    show(prepare, page)
    page.set_folder(folder)
    page.form.fields["tile_px"].value = TILE
    viewer.theme = "light"
    viewer.window._qt_window.resize(900, 600)
    click(qtbot, page.check_button)
    ended(qtbot, page)
    tree = page.findings
    texts = [
        tree.itemWidget(tree.topLevelItem(i).child(j), 0).text()
        for i in range(tree.topLevelItemCount()) for j in range(tree.topLevelItem(i).childCount())
    ]  # fmt: skip
    assert any("text.tif" in text for text in texts)
    assert any("copy.png" in text and "alpha2.png" in text for text in texts)
    screenshot("prepare-check-light-small")
    files = tree.findItems("copy.png", Qt.MatchFlag.MatchExactly | Qt.MatchFlag.MatchRecursive)
    tree.itemDoubleClicked.emit(files[0], 0)
    ended(qtbot, page)
    qtbot.waitUntil(lambda: "copy.png" in viewer.layers)
    expected = read_image(folder / "beta" / "copy.png").read(0, 0, 256, 256)[..., 0]
    np.testing.assert_array_equal(viewer.layers["copy.png"].data, expected)


def test_a_cancelled_slicing_lists_what_is_there(
    viewer: Any, prepare: Any, qtbot: Any, plate: Path, tmp_path: Path
) -> None:
    import pandas as pd

    page = prepare.slice
    page.source.from_folder.click()
    page.source.folder.value = plate
    choose(page.cut, tile_px=16)
    choose(page.write, rotate="-20:20")
    page.out.value = tmp_path / "out"
    click(qtbot, page.slice_button)
    qtbot.waitUntil(lambda: len(list((tmp_path / "out").rglob("*.png"))) > 20)
    click(qtbot, page.panel.cancel_button)
    assert "Cancelled: " in ended(qtbot, page)
    listed = pd.read_csv(tmp_path / "out" / "tiles.csv")["file"]
    assert set(listed) == {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert len(listed) < 4 * 256 * 41
