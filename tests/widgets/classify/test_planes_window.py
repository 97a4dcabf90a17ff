"""A stack from labels to counts: two planes are labelled, a model is trained, and all planes are classified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import Qt
from tests._stacks import COLUMNS, ROWS, TILE, striped_field
from tests._window_events import canvas, click, press
from tests._windows import open_field

from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.widgets.classify import work

pytestmark = pytest.mark.training
STRIPED = [2, 6, 9, 5, 11]  # tiles of each plane, its first ones
TILES = ROWS * COLUMNS


@pytest.mark.usefixtures("forked_children")
def test_a_stack_labelled_on_two_planes_is_trained_on_and_classified_on_all(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    truth = [np.arange(TILES) < n for n in STRIPED]
    stack = np.stack([striped_field(n, z) for z, n in enumerate(STRIPED)])
    viewer.add_image(stack, name="stack", axis_labels=("z", "c", "y", "x"))
    for z in (1, 3):
        viewer.dims.set_current_step(0, z)
        open_field(dock, qtbot, TILE)
        qtbot.waitUntil(lambda z=z: dock.workspace.source.plane == {"Z": z})
        assert (dock.workspace.annotation.labels < 0).all(), "no label of another plane"
        canvas(viewer).setFocus()
        for striped in truth[z]:
            press(viewer, Qt.Key.Key_2 if striped else Qt.Key.Key_1)
        np.testing.assert_array_equal(dock.workspace.annotation.labels, truth[z])

    train = dock.show_page("Train")
    assert train.data.layers.count() == 2
    out = tmp_path / "stack.cellclass"
    train.form.fields["network"].value = "pretrained"
    train.out.line_edit.native.setText(str(out))
    click(qtbot, train.train_button)
    qtbot.waitUntil(lambda: train.train_button.isEnabled() and not train.training)
    assert out.is_file(), train.progress.message.text()
    split = open_bundle(out).table("split.csv")
    assert len(split) == 2 * TILES
    assert split["group"].nunique() == 1, "planes of a stack are one group"

    classify = dock.show_page("Classify field")
    qtbot.waitUntil(lambda: classify.model is not None and classify.map.table is not None)
    qtbot.waitUntil(classify.run_button.isEnabled)
    classify.planes.choice.setCurrentText("all Z")
    click(qtbot, classify.run_button)
    qtbot.waitUntil(classify.planes.export_button.isVisible)
    names = np.array(dock.workspace.annotation.scheme.names[:2])
    wanted = [names[plane.astype(int)].tolist() for plane in truth]
    for z in (4, 0, 2, 3, 1):
        viewer.dims.set_current_step(0, z)
        table, layer = classify.map.table, classify.map.layers[-1]
        assert table.class_name.tolist() == wanted[z]
        assert layer.features["class_name"].astype(str).tolist() == wanted[z]
        assert table.counts()["tiles"].tolist()[:2] == [TILES - STRIPED[z], STRIPED[z]]
    counts = work.plane_counts(tuple(classify.planes.results.values())).set_index("z").sort_index()
    assert counts[f"n_{names[1]}"].tolist() == STRIPED
    assert counts["tiles"].tolist() == [TILES] * 5
    qtbot.waitUntil(lambda: not classify.planes.counts.pixmap().isNull())
    classify.planes.export(tmp_path / "planes.csv")
    qtbot.waitUntil((tmp_path / "planes.csv").exists)
    written = pd.read_csv(tmp_path / "planes.csv")
    assert [written[written["z"] == z]["class_name"].tolist() for z in range(5)] == wanted

    keep = classify.planes._keep

    def stopped(found: Any) -> None:
        keep(found)
        if len(classify.planes.results) == 3:
            classify.planes.job.cancel()

    monkeypatch.setattr(classify.planes, "_keep", stopped)
    click(qtbot, classify.run_button)
    qtbot.waitUntil(lambda: len(classify.planes.results) == 3 and classify.planes.export_button.isVisible())
    assert "3 planes of 5" in classify.message.text()
    assert sum(work.plane_counts(tuple(classify.planes.results.values()))["tiles"]) == 3 * TILES
    qtbot.waitUntil(lambda: not classify.planes.counts.pixmap().isNull())
