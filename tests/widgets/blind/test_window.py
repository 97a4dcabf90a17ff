"""The widget Blinded reading, driven by real keys in a real window."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QAbstractItemView, QDockWidget, QFileDialog, QListView, QScrollArea, QWidget
from sklearn.metrics import accuracy_score, cohen_kappa_score
from statsmodels.stats.contingency_tables import mcnemar
from tests._patience import PROCESS_S
from tests._window_events import canvas, click

from napari_cellclass.core.blind.session import list_sessions, user_session_folder

TILES, REPEATS = 60, 10
KEYS = (Qt.Key.Key_1, Qt.Key.Key_2)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture(scope="module")
def test_tiles(ihc_model: Path) -> Path:
    """Class folders of tiles that the model has not seen."""
    return ihc_model.parent / "test"


@pytest.fixture
def blind(viewer: Any) -> Iterator[Any]:
    """The widget, docked as a user gets it from the Plugins menu."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", "Blinded reading")
    yield widget
    assert "tensorflow" not in sys.modules


def fill_in(blind: Any, data: Path, model: Path | None = None, tiles: int = TILES, repeats: int = REPEATS) -> None:
    blind.setup.reader.setText("Anna")
    blind.setup.data.line_edit.native.setText(str(data))
    blind.setup.cutting.fields["group_by"].native.setText(r"_(c\d+)")
    if model is not None:
        blind.setup.model.line_edit.native.setText(str(model))
    blind.setup.draw["tiles"].value, blind.setup.draw["repeats"].value = tiles, repeats


def start(qtbot: Any, blind: Any) -> None:
    click(qtbot, blind.start_button)
    qtbot.waitUntil(lambda: blind._view is not None)


def class_of(place: int) -> int:
    """What the reader presses at a place of the order: made up, and told to nobody else."""
    return int(place % 3 == 0 or place % 7 == 2)


def texts(viewer: Any) -> set[str]:
    """Everything that the window tells: texts, tooltips, titles, layers and their metadata."""
    window = viewer.window._qt_window
    found: set[str] = {
        window.windowTitle(),
        viewer.title,
        str(viewer.status),
        viewer.help,
        viewer.canvas.overlays.text.text,
    }
    for thing in (window, *window.findChildren(QWidget), *window.findChildren(QAction)):
        for name in ("text", "toPlainText", "toolTip", "statusTip", "whatsThis", "windowTitle", "placeholderText",
                     "currentText", "format", "title", "objectName", "accessibleName", "windowFilePath"):  # fmt: skip
            get = getattr(thing, name, None)
            if callable(get):
                value = get()
                found |= {value} if isinstance(value, str) else set()
        if hasattr(thing, "itemText"):
            found |= {thing.itemText(i) for i in range(thing.count())}
        if isinstance(thing, QAbstractItemView) and thing.model() is not None:
            columns = 1 if isinstance(thing, QListView) else thing.model().columnCount()
            cells = [thing.model().index(r, c) for r in range(thing.model().rowCount()) for c in range(columns)]
            found |= {str(cell.data(role)) for cell in cells for role in (0, Qt.ItemDataRole.ToolTipRole)}
    for layer in viewer.layers:
        found |= {layer.name, repr(layer.metadata), str(layer.source.path), repr(layer)}
        found |= {repr(getattr(layer, "features", None))}
    return found


@pytest.mark.parametrize("path", [("Plugins",), ("Layers", "Annotate")])
def test_the_widget_is_in_the_menus(viewer: Any, menu_texts: Callable, path: tuple[str, ...]) -> None:
    viewer.add_image(np.zeros((32, 32), np.uint8))
    assert any("Blinded reading" in text for text in menu_texts(*path))


CHILD = """
import sys, napari
from pathlib import Path
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer()
_, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", "Blinded reading")
data, model = sys.argv[1:]
widget.setup.reader.setText("Anna")
widget.setup.data.line_edit.native.setText(data)
widget.setup.model.line_edit.native.setText(model)
widget.setup.cutting.fields["group_by"].native.setText(r"_(c\\d+)")
QTest.mouseClick(widget.start_button, Qt.MouseButton.LeftButton)
while widget._view is None:
    QApplication.processEvents()
    assert widget.job is not None and (widget.job.running or widget._view), widget.message.text()
native = viewer.window._qt_viewer.canvas.native
for place in range(60):
    key = Qt.Key.Key_2 if place % 3 == 0 or place % 7 == 2 else Qt.Key.Key_1
    QTest.keyClick(native, key)
    QApplication.processEvents()
    print(place + 1, flush=True)
"""


@pytest.fixture
def killed(test_tiles: Path, ihc_model: Path) -> int:
    """A napari in which the reading was half through when it was killed; how many keys had returned."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, test_tiles, ihc_model], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    done = 0
    for line in child.stdout:
        done = int(line)
        if done == 35:
            os.kill(child.pid, signal.SIGKILL)
            break
    child.wait(PROCESS_S)
    assert done == 35
    return done


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_sixty_blinded_tiles_by_keys_over_a_crash(
    killed: int, viewer: Any, qtbot: Any, screenshot: Callable, test_tiles: Path, ihc_model: Path, tmp_path: Path
) -> None:
    viewer.open(next(test_tiles.glob("*/*.png")))  # its name and path must vanish from the window
    opened = viewer.layers[0].name
    _, blind = viewer.window.add_plugin_dock_widget("napari-cellclass", "Blinded reading")
    assert re.search(r"reading of Anna is not finished: 3[5-9] of 70", blind.message.text()), "it is offered"
    screenshot("blind-resume")
    start(qtbot, blind)
    place = blind.reading.position
    assert place in (killed, killed + 1), "at most the key in flight is in doubt"
    forbidden = {path.stem for path in test_tiles.glob("*/*")} | {str(test_tiles.parent), ihc_model.name, opened}
    told = set()
    for step in range(place, TILES + REPEATS):
        if step % 4 == 0 or step > 65:
            everything = texts(viewer)
            assert not [text for text in everything if any(word in text for word in forbidden)]
            told.add(frozenset(re.sub(r"\d+", "", text) for text in everything - {blind.message.text()}))
        if step == place + 3:
            click(qtbot, blind.reveal_button)
            assert re.search(r"Anna has read \d+ of 70; nothing is revealed before", blind.message.text())
            assert not blind.results.isVisible()
            screenshot("blind-reading")
        if step == place + 6:  # a slip, taken back
            qtbot.keyClick(canvas(viewer), KEYS[1 - class_of(step)])
            qtbot.keyClick(canvas(viewer), Qt.Key.Key_Backspace)
        assert blind.reading.position == step
        qtbot.keyClick(blind if step % 2 else canvas(viewer), KEYS[class_of(step)])
    assert len(told) <= 2, "nothing in the window depends on the tile"
    assert blind.reading.complete
    qtbot.waitUntil(lambda: [layer.name for layer in viewer.layers] == [opened])  # the open layer is back
    click(qtbot, blind.reveal_button)
    qtbot.waitUntil(blind.results.isVisible)
    result = blind.results.result
    blind.export(tmp_path / "out.json")
    qtbot.waitUntil(lambda: blind.message.text().startswith("Wrote"))
    check_results(json.loads((tmp_path / "out.json").read_text()), pd.read_csv(tmp_path / "out.tiles.csv"), result)
    shown = {
        blind.results.table.verticalHeaderItem(i).text(): blind.results.table.item(i, 0).text()
        for i in range(blind.results.table.rowCount())
    }
    (reader,) = result.readers
    differing = result.disagreements("Anna")
    captions = blind.results.differing.captions()
    assert len(captions) == len(differing) > 0
    for caption, row in zip(captions, differing.to_dict("records"), strict=True):
        for who, said in (("Anna", row["reader Anna"]), ("network", row["network"])):
            assert f"{'✓' if said == row['true_class'] else '✗'} {who}: {said}" in caption
        assert f"ground truth: {row['true_class']}" in caption
    pictures = blind.results.differing.list
    qtbot.waitUntil(lambda: all(not pictures.item(i).icon().isNull() for i in range(pictures.count())))
    assert "trained on" not in result.headline()
    assert blind.window_of_results.headline.text() == result.headline()
    assert shown["accuracy"].startswith(f"{reader.accuracy.value:.2f}\n{reader.accuracy.lo:.2f} to")
    assert shown["same on repeats"] == f"{reader.within.same} of 10"
    screenshot("blind-results")
    viewer.theme = "light"
    screenshot("blind-results-light")


def check_results(content: dict[str, Any], tiles: pd.DataFrame, result: Any) -> None:
    """Compute every figure again, from the keys that were pressed."""
    (session,) = list_sessions(user_session_folder())
    order = session.reading_order("Anna")
    first: dict[int, int] = {}
    twice = []
    for place, tile in enumerate(order):
        if tile in first:
            twice.append((first[tile], class_of(place)))
        first.setdefault(tile, class_of(place))
    names = content["classes"]
    truth = np.array([names.index(Path(path).parent.name) for path in tiles["path"]])
    said = np.array([first[tile] for tile in tiles["tile"]])
    machine = np.array([names.index(name) for name in tiles["network"]])
    (reader,) = content["readers"]
    assert [names[i] for i in said] == tiles["reader Anna"].tolist()
    assert reader["accuracy"]["value"] == pytest.approx(accuracy_score(truth, said))
    assert reader["accuracy"]["lo"] < reader["accuracy"]["value"] < reader["accuracy"]["hi"]
    assert reader["within"]["n"] == len(twice) == REPEATS
    assert reader["within"]["same"] == sum(a == b for a, b in twice)
    assert reader["within"]["kappa"]["value"] == pytest.approx(cohen_kappa_score(*zip(*twice, strict=True)))
    right, fits = said == truth, machine == truth
    table = [[(right & fits).sum(), (right & ~fits).sum()], [(~right & fits).sum(), (~right & ~fits).sum()]]
    assert reader["against_network"]["p"] == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert reader["against_network"]["difference"]["value"] == pytest.approx(right.mean() - fits.mean())
    assert content["network"]["accuracy"]["value"] == pytest.approx(fits.mean())
    assert reader["differs_from_network"] == tiles["tile"][said != machine].tolist()
    assert content["seal"] == session.seal
    assert len(tiles) == TILES


def test_pausing_brings_layers_and_panels_back(
    viewer: Any, blind: Any, qtbot: Any, test_tiles: Path, screenshot: Callable
) -> None:
    viewer.theme = "light"
    layer = viewer.add_image(np.zeros((40, 50)), name="field", metadata={"mine": 1})
    viewer.scene.camera.zoom = 3.5
    _, evaluate = viewer.window.add_plugin_dock_widget("napari-cellclass", "Evaluate")
    evaluate.window_of_results.open_results()  # which may show the classes of tiles
    blind.parent().raise_()
    docks = [d for d in viewer.window._qt_window.findChildren(QDockWidget) if d.isVisible()]
    fill_in(blind, test_tiles, tiles=12, repeats=2)
    start(qtbot, blind)
    assert not evaluate.window_of_results.isVisible()
    assert "are hidden" in blind.message.text()
    assert [one.name for one in viewer.layers] == ["tile"]
    assert [d for d in docks if d.isVisible()] == [d for d in docks if d.isAncestorOf(blind)]
    screenshot("blind-light")
    click(qtbot, blind.class_buttons[1])
    click(qtbot, blind.pause_button)
    qtbot.waitUntil(evaluate.window_of_results.isVisible)  # the last of what comes back
    assert list(viewer.layers) == [layer]
    assert viewer.layers.selection.active is layer
    assert viewer.scene.camera.zoom == pytest.approx(3.5)
    assert all(d.isVisible() for d in docks)
    assert "1 of 14 tiles" in blind.message.text()
    start(qtbot, blind)
    assert blind.reading.position == 1
    viewer.window.remove_dock_widget(blind)
    assert list(viewer.layers) == [layer], "closing the panel brings them back, too"


def test_a_second_reader_reads_the_same_session_before_it_is_revealed(
    viewer: Any, blind: Any, qtbot: Any, test_tiles: Path
) -> None:
    fill_in(blind, test_tiles, tiles=8, repeats=1)
    for reader in ("Anna", "Ben"):
        blind.setup.reader.setText(reader)
        start(qtbot, blind)
        for place in range(9):
            qtbot.keyClick(canvas(viewer), KEYS[place % 2])
        assert blind.reading.complete
    click(qtbot, blind.reveal_button)
    qtbot.waitUntil(blind.results.isVisible)
    assert blind.results.between.text().startswith("Anna and Ben: kappa 1.00, 95 % ")
    blind.setup.reader.setText("Carl")
    click(qtbot, blind.start_button)
    assert "was revealed" in blind.message.text()


def test_what_is_missing_is_said(viewer: Any, blind: Any, qtbot: Any, test_tiles: Path, screenshot: Callable) -> None:
    viewer.window._qt_window.resize(800, 560)
    click(qtbot, blind.start_button)
    assert "no name" in blind.message.text()
    blind.setup.reader.setText("Anna")
    click(qtbot, blind.start_button)
    assert "no test tiles" in blind.message.text()
    fill_in(blind, test_tiles, tiles=500)
    click(qtbot, blind.start_button)
    qtbot.waitUntil(lambda: "ask for at most" in blind.message.text())
    screenshot("blind-small")
    inner = blind.findChild(QScrollArea)
    assert inner.widget().width() <= inner.viewport().width() + 1, "nothing is cut off at the side"
    click(qtbot, blind.reveal_button)
    assert "No session is chosen" in blind.message.text()


def test_a_session_that_cannot_be_opened_is_told(
    blind: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.blind").write_text("no session")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: (str(tmp_path / "a.blind"), ""))
    click(qtbot, blind.setup.open_button)
    assert "a.blind" in blind.message.text()
