"""Where in the tiles in view the evidence lies, as a layer of a real window."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests._window_events import click
from tests._windows import open_field

from napari_cellclass.core.samples.realfield import ihc_field
from napari_cellclass.viewer.features.evidence_layer import KIND
from napari_cellclass.widgets.classify import evidence_work


def evidence_layers(viewer: Any) -> list[Any]:
    kinds = [(layer, layer.metadata.get("napari_cellclass")) for layer in viewer.layers]
    return [layer for layer, entry in kinds if isinstance(entry, dict) and entry.get("kind") == KIND]


def test_the_tiles_in_view_are_mapped_over_the_field_and_the_current_one_is_shown(
    viewer: Any, dock: Any, qtbot: Any, ihc_model: Path, screenshot: Callable, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr(evidence_work, "MOST_TILES", 4)
    layer = viewer.add_image(ihc_field().data, name="ihc", rgb=True, scale=(0.5, 0.5), translate=(3, 7))
    open_field(dock, qtbot, 32)
    page = dock.show_page("Classify field")
    page.set_model(ihc_model)
    qtbot.waitUntil(lambda: page.model is not None)
    panel = page.evidence
    dock.workspace.go_to(100)
    active = viewer.layers.selection.active
    click(qtbot, panel.button)
    qtbot.waitUntil(lambda: len(evidence_layers(viewer)) == 1 and panel.button.isEnabled())
    shown = evidence_layers(viewer)[0]
    assert shown.blending == "additive"
    assert viewer.layers.selection.active is active, "keys go on labelling"
    assert shown.data.max() > 0
    box = dock.workspace.annotation.grid.boxes[100]
    corner = layer.data_to_world((*box[:2], 0)[: layer.ndim])[:2]
    y, x = shown.world_to_data(corner)
    np.testing.assert_allclose((y % 32, x % 32), 0, atol=1e-6)
    inside = shown.data[round(y) : round(y) + 32, round(x) : round(x) + 32]
    assert inside.shape == (32, 32), "the current tile is among them"
    assert not panel.picture.pixmap().isNull()
    assert re.match(r"4 of \d+ tiles in view mapped\. The current tile: ", panel.text.text())
    screenshot("where-in-the-tile")
    dock.workspace.go_to(0)
    assert "the current tile is not among them" in panel.text.text()
    click(qtbot, panel.button)
    qtbot.waitUntil(lambda: "The current tile: " in panel.text.text() and panel.button.isEnabled())
    assert len(evidence_layers(viewer)) == 1, "a new one takes its place"
    panel.run()
    panel.cancel()
    qtbot.waitUntil(panel.button.isEnabled)
    assert panel.save_spectrum(tmp_path) is None, "without a map there is nothing to sort"
    assert "press Run first" in panel.text.text()
    page.run()
    qtbot.waitUntil(lambda: page.run_button.isEnabled() and dock.workspace.predictions() is not None)
    panel.save_spectrum(tmp_path)
    qtbot.waitUntil(lambda: "Wrote tiles by the probability of" in panel.text.text())
    assert (tmp_path / "spectrum.png").is_file()
