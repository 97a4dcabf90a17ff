"""The widget Experiment, opened from Train and clicked as a user does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from qtpy.QtCore import QPoint
from tests._models import write_grain
from tests._window_events import click

from napari_cellclass.core.evaluation.repeats import mean_curve_table
from napari_cellclass.core.evaluation.verdict import BY_TILE
from napari_cellclass.widgets.experiment.work import ExperimentResult

pytestmark = pytest.mark.training


def children() -> list[psutil.Process]:
    """The experiments that this process has started and that are still there."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "experiment" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four fields of 48 x 48 px of each of two classes: grain, and grain with spots."""
    return write_grain(tmp_path_factory.mktemp("grain"), 48, 4)


@pytest.fixture
def train(dock: Any) -> Iterator[Any]:
    """The page Train of the dock Cell Class."""
    widget = dock.show_page("Train")
    yield widget
    assert not children()
    assert "tensorflow" not in sys.modules


def said(widget: Any) -> str:
    return widget.panel.message.text()


def idle(widget: Any) -> bool:
    return widget.start_button.isEnabled() and not widget.panel.running


@pytest.mark.usefixtures("forked_children")
def test_a_cancelled_experiment_keeps_its_runs_and_ends_with_both_accuracies_and_a_verdict(
    viewer: Any, train: Any, qtbot: Any, folders: Path, tmp_path: Path, screenshot: Callable[[str], Path]
) -> None:
    train.data.from_folders.click()
    train.data.folder.line_edit.native.setText(str(folders))
    train.data.cutting.fields["tile_px"].value = 16
    train.form.fields["epochs"].value = 15
    click(qtbot, train.experiment_button)
    widget = train.experiment()
    assert widget.data.values()["data"] == folders
    assert widget.network.values()["epochs"] == 15
    assert str(widget.out.value) == str(folders.parent / f"{folders.name}_experiment")
    widget.out.value = out = tmp_path / "out"
    widget.compared.fields["runs"].value = 3
    widget.compared.fields["repeats"].value = 1

    click(qtbot, train.pair_button)
    qtbot.waitUntil(lambda: said(widget).startswith("Training 2 of 4") or idle(widget))
    assert children(), said(widget)
    click(qtbot, widget.panel.cancel_button)
    qtbot.waitUntil(lambda: idle(widget))
    assert not children()
    assert said(widget).startswith("Cancelled; finished trainings are kept")
    kept = out / "models" / "run01.cellclass"
    written = kept.stat().st_mtime_ns
    assert not list(out.glob("models/*.partial.cellclass"))

    click(qtbot, widget.pair_button)
    qtbot.waitUntil(lambda: idle(widget))
    assert widget.result is not None, said(widget)
    assert kept.stat().st_mtime_ns == written
    assert said(widget).startswith("4 trainings; verdict, tables and figures are in")
    verdict = widget.result.verdict
    assert verdict["settings"]["tile_px"] == 16
    by_group, by_tile = (verdict["numbers"][name]["value"] for name in ("held_out", "by_tile"))
    results, headline = widget.results, widget.window_of_results.headline.text()
    assert f"Held out by group: {by_group:.3f}" in results.pair.text()
    assert f"Held out at random: {by_tile:.3f}" in results.pair.text()
    assert pd.read_csv(out / "runs.csv")["balanced_accuracy"].mean() == pytest.approx(by_group)
    assert headline.startswith(f"Verdict: {verdict['verdict']}, balanced accuracy {by_group:.2f} (95 % CI")
    assert all(warning.partition("; ")[0] in headline for warning in verdict["warnings"][:1])
    assert widget.window_of_results.summary.headline.text() == headline
    assert all(text in results.text.text() for text in verdict["sentences"] if not text.startswith(BY_TILE))
    pictures = [results.pictures[name] for name in ("runs", "curves")]
    qtbot.waitUntil(lambda: all(not picture.pixmap().isNull() for picture in pictures))
    assert [picture.window() for picture in pictures] == [widget.window_of_results] * 2
    assert results.pictures["shuffled"].isHidden(), "nothing was trained on shuffled labels"
    window = widget.window_of_results
    window.resize(900, 700)
    qtbot.waitUntil(lambda: len({picture.mapTo(window, QPoint(0, 0)).y() for picture in pictures}) == 1)

    window = viewer.window._qt_window
    for theme in ("dark", "light"):
        viewer.theme = theme
        for size, (width, height) in {"small": (900, 620), "large": (1500, 1100)}.items():
            window.resize(width, height)
            widget.window_of_results.resize(width, height)
            screenshot(f"experiment_{theme}_{size}")


def test_trainings_on_shuffled_labels_are_drawn_beside_those_on_true_ones_where_they_were_asked_for(
    viewer: Any, qtbot: Any, screenshot: Callable, tmp_path: Path
) -> None:
    _, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", "Experiment")
    rng = np.random.default_rng(0)
    for name, last in (("", 0.95), ("null_", 0.6)):
        rows = [(run, epoch, 0.5 + (last - 0.5) * epoch / 9) for run in (1, 2, 3) for epoch in range(1, 10)]
        history = pd.DataFrame(rows, columns=["run", "epoch", "accuracy"])
        history["accuracy"] += rng.normal(0, 0.01, len(history))
        for column in ("loss", "val_loss", "val_accuracy"):
            history[column] = history["accuracy"]
        history.to_csv(tmp_path / f"{name}histories.csv", index=False)
        mean_curve_table(history).to_csv(tmp_path / f"{name}curves.csv", index=False)
    (tmp_path / "curves.png").write_bytes(b"as it was saved")
    about: dict[str, Any] = {"numbers": {"by_tile": None}, "meaning": "", "sentences": [], "notes": [], "warnings": []}
    results, window = widget.results, widget.window_of_results
    window.open_results()
    for asked in (True, False):
        results.show_result(ExperimentResult(tmp_path, about | {"settings": {"null": asked}}))
        assert results.pictures["shuffled"].isHidden() != asked
        if asked:
            shown = [results.pictures[name] for name in ("curves", "shuffled")]
            qtbot.waitUntil(lambda shown=shown: all(not picture.pixmap().isNull() for picture in shown))
            window.grab().save(str(screenshot("experiment-shuffled")))


def test_what_is_missing_is_a_line(viewer: Any, qtbot: Any) -> None:
    _, widget = viewer.window.add_plugin_dock_widget("napari-cellclass", "Experiment")
    widget.data.from_folders.click()
    click(qtbot, widget.start_button)
    assert said(widget).startswith("no folder is chosen")
    assert idle(widget)
