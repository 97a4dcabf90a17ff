"""Every label repaints the map: real keys in a real window."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from tests._patience import WINDOW_S
from tests._program import command
from tests._windows import open_field

from napari_cellclass.cli.main import main
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.samples.synthetic import checkerboard_field
from napari_cellclass.runs.live.refine import HeldOut, Refinement
from napari_cellclass.viewer.common.outline_overlay import outlines_of
from napari_cellclass.viewer.workspace.current_tile import describe_current_tile
from napari_cellclass.widgets.annotate import refine as refine_panel
from napari_cellclass.widgets.annotate.work import Refined

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
def field(viewer: Any, dock: Any, qtbot: Any) -> Any:
    """An open field of 8 x 10 tiles, whose features are known."""
    layer = viewer.add_image(checkerboard_field(TILE, ROWS, COLUMNS)[0], name="field")
    open_field(dock, qtbot, TILE)
    wait_for_features(dock, qtbot)
    return layer


def wait_for_features(dock: Any, qtbot: Any) -> None:
    live, key = dock.label.live.predictions, dock.workspace.field_key
    qtbot.waitUntil(
        lambda: live.session is not None and key in live.session.fields and live.session.fields[key].complete
    )
    qtbot.waitUntil(lambda: dock.workspace.live_here() is not None)


def _canvas(viewer: Any) -> Any:
    return viewer.window._qt_viewer.canvas.native


def settled(dock: Any) -> bool:
    """Whether the predictions are those of all labels that were given."""
    live, labels = dock.label.live.predictions, np.asarray(dock.workspace.annotation.labels)
    return live.current is not None and sum(live.current.n_labels) == (labels >= 0).sum()


def label_current(viewer: Any, dock: Any, truth: np.ndarray) -> int:
    """Press the key of the current tile's class, as a user does who sees it."""
    tile = dock.workspace.current_tile
    QTest.keyClick(_canvas(viewer), (Qt.Key.Key_1, Qt.Key.Key_2)[truth[tile]])
    return int(tile)


def live_layer(viewer: Any) -> Any:
    return next((layer for layer in viewer.layers if layer.name == "field live map"), None)


def test_a_few_keys_tint_the_whole_field_and_lead_to_what_is_unsure(
    viewer: Any, dock: Any, qtbot: Any, field: Any, truth: np.ndarray
) -> None:
    typical = dock.workspace.live.typical
    assert dock.workspace.current_tile == typical[0], "the first key is for a typical tile"
    qtbot.waitUntil(dock.label.live.typical.isVisible)
    labelled = [label_current(viewer, dock, truth) for _ in range(6)]
    assert labelled == typical[:6].tolist()
    qtbot.waitUntil(lambda: settled(dock) and dock.map.live.is_shown)
    qtbot.waitUntil(lambda: dock.map.map.table.record["live"]["labels"] == 6)
    table = dock.map.map.table
    assert (table.class_index == truth).mean() > 0.9
    assert dock.workspace.predictions() is table, "a map like any other"
    assert live_layer(viewer) is not None
    qtbot.waitUntil(lambda: dock.map.results.isVisibleTo(dock.map))
    assert "6 labels" in dock.label.live.text.text()
    assert viewer.layers.selection.active is dock.workspace.layers.map, "keys go on labelling"
    outlined = outlines_of(dock.workspace.layers.map)
    cells = np.stack(np.unravel_index(sorted(labelled), (ROWS, COLUMNS)), axis=-1)
    assert ((outlined.boxes[:, :2] + outlined.boxes[:, 2:]) / 2).tolist() == cells.tolist(), "labels alone are outlined"
    while dock.workspace.current_tile in typical:
        label_current(viewer, dock, truth)
    qtbot.waitUntil(lambda: settled(dock))
    margin = np.abs(np.diff(dock.workspace.live.prob, axis=1)).ravel()
    unlabelled = np.flatnonzero(np.asarray(dock.workspace.annotation.labels) == -1)
    assert dock.workspace.queue()[0] == unlabelled[margin[unlabelled].argmin()]


def test_below_eight_labels_a_class_no_tile_has_a_percentage(
    viewer: Any, dock: Any, qtbot: Any, field: Any, truth: np.ndarray
) -> None:
    for _ in range(4):
        label_current(viewer, dock, truth)
    qtbot.waitUntil(lambda: settled(dock) and dock.map.live.is_shown)
    qtbot.waitUntil(lambda: "most like" in dock.label.tile.text())
    assert "%" not in live_layer(viewer).get_status((16.0, 16.0), world=True)["value"]
    dock.workspace.label(np.arange(40), 0)
    for k in (0, 1):
        dock.workspace.label(np.flatnonzero(truth == k)[:8], k)
    qtbot.waitUntil(lambda: settled(dock) and dock.map.map.table.has_percentages)
    assert "%" in live_layer(viewer).get_status((16.0, 16.0), world=True)["value"]


def test_undo_takes_the_label_out_of_the_map(viewer: Any, dock: Any, qtbot: Any, field: Any, truth: np.ndarray) -> None:
    for _ in range(3):
        label_current(viewer, dock, truth)
    qtbot.waitUntil(lambda: settled(dock))
    QTest.keyClick(_canvas(viewer), Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: settled(dock) and sum(dock.label.live.predictions.current.n_labels) == 2)
    for _ in range(2):
        QTest.keyClick(_canvas(viewer), Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: dock.label.live.predictions.current is None and live_layer(viewer) is None)


def test_keys_that_come_fast_are_all_counted_and_leave_no_backlog(
    viewer: Any, dock: Any, qtbot: Any, field: Any, truth: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock.workspace.policy = "in order"
    dock.workspace.go_to(0)
    fits, predict = [], type(dock.label.live.predictions.session).predict
    monkeypatch.setattr(
        type(dock.label.live.predictions.session),
        "predict",
        lambda *args, **more: fits.append(1) or predict(*args, **more),
    )
    for _ in range(70):
        label_current(viewer, dock, truth)
    qtbot.waitUntil(lambda: settled(dock))
    assert (np.asarray(dock.workspace.annotation.labels)[:70] == truth[:70]).all()
    assert len(fits) < 70, "requests that were overtaken are dropped"
    assert not dock.label.live.predictions._timer.isActive()


def test_a_label_and_the_map_that_follows_are_painted_once_and_never_later_than_the_pause(
    viewer: Any, dock: Any, qtbot: Any, field: Any, truth: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock.workspace.policy = "in order"
    canvas, pauses, predictions = _canvas(viewer), [], dock.label.live.predictions
    predictions.label_fit_started.connect(lambda: pauses.append(canvas.updatesEnabled()))

    def idle() -> bool:
        return predictions._fit_job is None and not predictions._timer.isActive() and canvas.updatesEnabled()

    qtbot.waitUntil(idle)
    label_current(viewer, dock, truth)
    assert pauses == [False]
    qtbot.waitUntil(lambda: settled(dock) and idle())
    wait = threading.Event()
    session = type(predictions.session)
    predict = session.predict
    monkeypatch.setattr(session, "predict", lambda *args, **more: wait.wait(WINDOW_S) and predict(*args, **more))
    label_current(viewer, dock, truth)
    assert pauses == [False, False]
    qtbot.waitUntil(canvas.updatesEnabled)
    assert not settled(dock), "a fit that takes long does not keep the label from being painted"
    wait.set()
    qtbot.waitUntil(lambda: settled(dock))
    label_current(viewer, dock, truth)
    viewer.window.remove_dock_widget("all")
    assert canvas.updatesEnabled()


def test_a_key_repaints_labels_and_map_but_not_the_list_of_layers(
    viewer: Any, dock: Any, qtbot: Any, field: Any, truth: np.ndarray
) -> None:
    dock.workspace.policy = "in order"
    for _ in range(2):
        label_current(viewer, dock, truth)
    qtbot.waitUntil(lambda: settled(dock) and live_layer(viewer) is not None)
    qtbot.waitUntil(lambda: not dock.map.live.is_building)
    painted, listed = [], []
    live_layer(viewer).events.set_data.connect(lambda event: painted.append(event.type))
    names = [layer.name for layer in viewer.layers]
    note = viewer.layers.events.connect(lambda event: listed.append((names[event.index], event.type)))
    label_current(viewer, dock, truth)
    qtbot.waitUntil(lambda: settled(dock) and bool(painted))
    viewer.layers.events.disconnect(note)
    assert [one for one in listed if "text" not in one[0]] == [], "texts follow once keys rest"


def test_random_tiles_say_how_often_it_is_right(
    viewer: Any, dock: Any, qtbot: Any, field: Any, truth: np.ndarray
) -> None:
    for _ in range(6):
        label_current(viewer, dock, truth)
    qtbot.waitUntil(lambda: settled(dock) and dock.map.live.is_shown and not dock.map.live.is_building)
    assert "Not known" in dock.label.live.figure.text()
    qtbot.mouseClick(dock.label.live.check_button, Qt.MouseButton.LeftButton)
    assert dock.label.policy.currentText() == "at random"
    assert "0 of 20 random tiles" in dock.label.live.figure.text()
    shown = [layer for layer in dock.map.map.all_layers() if layer.visible]
    assert shown == [], "predictions would lead the eye"
    assert "most like" not in describe_current_tile(dock.workspace)
    for count in (15, 5):
        for _ in range(count):
            label_current(viewer, dock, truth)
        qtbot.waitUntil(lambda: settled(dock))
    qtbot.waitUntil(lambda: dock.label.live.predictions.current.accuracy.n == 20)
    qtbot.waitUntil(lambda: dock.label.policy.currentText() == "suggested")  # the check is complete
    assert live_layer(viewer).visible
    assert "most like" in describe_current_tile(dock.workspace) or "%" in describe_current_tile(dock.workspace)
    estimate = dock.label.live.predictions.current.accuracy.estimate
    text = dock.label.live.figure.text()
    assert f"{estimate.value:.2f} ({estimate.lo:.2f} to {estimate.hi:.2f})" in text
    assert "20 random tiles" in text
    assert "other fields not known" in text
    label = dock.label.live.figure
    qtbot.waitUntil(lambda: label.height() == label.heightForWidth(label.width()))  # not cut off
    assert "Fractions of the tiles: class 1 " in text
    curve = dock.label.live.curve
    assert curve.isVisible()
    assert curve.curve[-1].n_labels == 26
    assert f"26: {estimate.value:.2f} ({estimate.lo:.2f} to {estimate.hi:.2f})" in curve.toolTip()
    drawn = curve.grab().toImage()
    assert len({drawn.pixel(x, y) for x in range(curve.width()) for y in range(curve.height())}) > 2


def test_a_map_that_is_deleted_or_switched_off_goes_and_labels_stay(
    viewer: Any, dock: Any, qtbot: Any, field: Any, truth: np.ndarray
) -> None:
    for _ in range(3):
        label_current(viewer, dock, truth)
    qtbot.waitUntil(lambda: settled(dock) and live_layer(viewer) is not None and not dock.map.live.is_building)
    viewer.layers.remove(live_layer(viewer))
    label_current(viewer, dock, truth)
    qtbot.waitUntil(lambda: settled(dock) and live_layer(viewer) is not None and not dock.map.live.is_building)
    dock.label.live.on.click()
    qtbot.waitUntil(lambda: live_layer(viewer) is None)
    label_current(viewer, dock, truth)
    assert (np.asarray(dock.workspace.annotation.labels) >= 0).sum() == 5
    dock.label.live.on.click()
    qtbot.waitUntil(lambda: settled(dock) and live_layer(viewer) is not None)


def test_another_tile_size_or_class_while_features_stream_is_safe(viewer: Any, dock: Any, qtbot: Any) -> None:
    viewer.add_image(checkerboard_field(16, 40, 40)[0], name="field")
    open_field(dock, qtbot, 16)
    dock.workspace.label([0, 1], [0, 1])
    dock.header.tile_px.setValue(32)
    qtbot.waitUntil(lambda: not dock.header.opening and dock.workspace.annotation.grid.tile_px == (32, 32))
    dock.workspace.label([0, 1], [0, 1])
    dock.workspace.edit_classes(lambda annotation: annotation.add_class("third"))
    wait_for_features(dock, qtbot)
    qtbot.waitUntil(lambda: settled(dock) and dock.map.live.is_shown)
    assert dock.map.map.table.scheme.names[2] == "third"
    assert len(dock.label.live.predictions.session.fields) == 1


def test_closing_the_dock_while_features_stream_leaves_nothing_running(viewer: Any, dock: Any, qtbot: Any) -> None:
    viewer.add_image(checkerboard_field(16, 60, 60)[0], name="field")
    open_field(dock, qtbot, 16)
    qtbot.waitUntil(lambda: dock.label.live.predictions._stream_job is not None)


def test_tiles_of_nan_have_no_prediction(viewer: Any, dock: Any, qtbot: Any, truth: np.ndarray) -> None:
    pixels = checkerboard_field(TILE, ROWS, COLUMNS)[0].astype(np.float32)
    pixels[:TILE, :TILE] = np.nan
    viewer.add_image(pixels, name="field")
    open_field(dock, qtbot, TILE)
    wait_for_features(dock, qtbot)
    dock.workspace.label([0, 1, 2, 3], truth[:4])
    live = dock.label.live.predictions
    qtbot.waitUntil(lambda: live.current is not None and sum(live.current.n_labels) == 3)
    assert np.isnan(live.current.prob[0]).all()
    assert np.isfinite(live.current.prob[1:]).all()


def test_where_the_weights_are_missing_one_line_says_so_and_labelling_goes_on(
    viewer: Any, dock: Any, qtbot: Any, truth: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cellclass.engine.features import weights

    monkeypatch.setattr(weights, "_MODULE", "no_such_package_of_weights")
    viewer.add_image(checkerboard_field(TILE, ROWS, COLUMNS)[0], name="field")
    open_field(dock, qtbot, TILE)
    qtbot.waitUntil(lambda: "No live map" in dock.label.live.text.text())
    label_current(viewer, dock, truth)
    assert (np.asarray(dock.workspace.annotation.labels) >= 0).sum() == 1


def test_a_kept_model_predicts_what_the_live_map_shows_on_the_command_line_too(
    viewer: Any, dock: Any, qtbot: Any, truth: np.ndarray, tmp_path: Path, screenshot: Any
) -> None:
    image = tmp_path / "field.tif"
    tifffile.imwrite(image, checkerboard_field(TILE, ROWS, COLUMNS)[0])
    viewer.open(image)
    open_field(dock, qtbot, TILE)
    wait_for_features(dock, qtbot)
    for _ in range(9):
        label_current(viewer, dock, truth)
    qtbot.waitUntil(lambda: settled(dock) and dock.label.live.keep.button.isVisible())
    with qtbot.waitSignal(dock.label.live.kept, timeout=1000 * WINDOW_S) as kept:
        qtbot.mouseClick(dock.label.live.keep.button, Qt.MouseButton.LeftButton)
        assert dock.running_work() == "A model of the labels"
        keep = dock.label.live.keep
        assert keep.isVisible()
        assert keep.button.text() == "Cancel"
        assert keep.bar.isVisible()
        phases: list[str] = []
        keep.job.progressed.connect(lambda update: phases.append(update.phase))
        qtbot.waitUntil(lambda: bool(phases))
        screenshot("keep-as-model")
        label_current(viewer, dock, truth)  # labelling goes on; the model is of the labels before
        dock.workspace.undo()
    (model,) = kept.args
    assert model == tmp_path / "field.cellclass"
    qtbot.waitUntil(lambda: settled(dock) and dock.map.model is not None)
    assert not keep.isVisible()
    assert keep.button.text() == "Keep as model"
    live = dock.label.live.predictions.current.prob
    assert main(["classify", str(image), "--model", str(model), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    table = pd.read_csv(next((tmp_path / "out").rglob("*.tiles.csv")))
    assert table[[f"p_{name}" for name in dock.workspace.scheme.names]].to_numpy() == pytest.approx(live, abs=1e-5)
    again = tmp_path / "again.cellclass"
    split = open_bundle(model).table("split.csv")
    split.drop(columns="split").to_csv(tmp_path / "tiles.csv", index=False)
    scale = str(model.with_suffix(".features.json"))
    words = ("--network", "pretrained", "--standardise", "none", "--feature-scale", scale, "--out", again, "--quiet")
    done = command("train", tmp_path / "tiles.csv", *words)
    assert done.returncode == 0, done.stderr
    assert main(["classify", str(image), "--model", str(again), "--out", str(tmp_path / "out2"), "--quiet"]) == 0
    second = pd.read_csv(next((tmp_path / "out2").rglob("*.tiles.csv")))
    assert second["p_class 1"].to_numpy() == pytest.approx(table["p_class 1"].to_numpy(), abs=1e-5)


def test_refine_trains_in_the_background_and_offers_its_model_only_where_it_is_better(
    viewer: Any, dock: Any, qtbot: Any, field: Any, truth: np.ndarray, striped_model: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    panel = dock.label.live.refine
    asked: list[Any] = []
    found = [Refinement(None, True, "Network 0.93 against live 0.90"), Refinement(None, False, "Not better")]

    def refine(request: Any, held_out: Any, task: Any) -> Refined:
        asked.append((request, held_out))
        if len(asked) == 1:
            while True:
                task.check("cancelled")
        return Refined(found[0], striped_model if found[0].wins else None, request.scale, contextlib.ExitStack())

    monkeypatch.setattr(refine_panel, "refine_model", refine)
    for _ in range(8):
        label_current(viewer, dock, truth)
    qtbot.waitUntil(lambda: settled(dock) and panel.button.isVisible())
    qtbot.mouseClick(panel.button, Qt.MouseButton.LeftButton)
    assert "drawn at random" in panel.text.text()
    assert not asked
    monkeypatch.setattr(HeldOut, "why_not", lambda held_out: "")
    qtbot.mouseClick(panel.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(asked) == 1)
    assert dock.lasting_work() == "A training to refine the live map"
    label_current(viewer, dock, truth)
    qtbot.mouseClick(panel.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not panel.running)
    assert panel.text.text() == "Cancelled; the live map stays."
    request, held_out = asked[0]
    tiles = request.fields[0].tiles
    assert len(tiles) == 8
    assert set(tiles["live"]) <= {"class 1", "class 2"}
    assert len(held_out.tile) == 8

    qtbot.mouseClick(panel.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(panel.use_button.isVisible)
    assert panel.text.text() == found[0].text
    monkeypatch.setattr(panel, "_model_path", lambda: tmp_path / "better.cellclass")
    with qtbot.waitSignal(panel.refined, timeout=1000 * WINDOW_S):
        qtbot.mouseClick(panel.use_button, Qt.MouseButton.LeftButton)
    assert (tmp_path / "better.cellclass").read_bytes() == striped_model.read_bytes()
    assert (tmp_path / "better.features.json").exists()
    qtbot.waitUntil(lambda: dock.map.model is not None and not panel.isVisible())
    found.pop(0)
    qtbot.mouseClick(panel.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: panel.text.text() == "Not better")
    assert not panel.use_button.isVisible()
