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


@pytest.mark.usefixtures("live")
def test_the_live_map_is_explained_by_the_labels_of_now(
    viewer: Any, dock: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_work, "MOST_TILES", 3)
    side, grid = 64, (4, 5)
    pixels = np.random.default_rng(0).normal(60, 4, (grid[0] * side, grid[1] * side))
    spotted = np.arange(20) % 2 == 0
    for row, column in zip(*np.divmod(np.flatnonzero(spotted), grid[1]), strict=True):
        pixels[row * side + 8 : row * side + 24 : 4, column * side + 8 : column * side + 24 : 4] += 150
    viewer.add_image(pixels.clip(0, 255).astype(np.uint8), name="spots")
    open_field(dock, qtbot, side)
    page, work = dock.show_page("Classify field"), dock.workspace
    panel = page.evidence
    for tile in range(1, 12):
        work.label([tile], int(spotted[tile]))
        if tile == 1:
            qtbot.waitUntil(lambda: page.live.is_shown)
            click(qtbot, panel.button)
            assert "knows one class only" in panel.text.text()
    qtbot.waitUntil(lambda: dock.live.current is not None and sum(dock.live.current.n_labels) == 11)
    qtbot.waitUntil(lambda: page.live.is_shown and not page.live.is_building)
    work.go_to(14)
    panel.method.setCurrentText("grad-cam")
    click(qtbot, panel.button)
    qtbot.waitUntil(lambda: "choose occlusion" in panel.text.text() and panel.button.isEnabled())
    panel.method.setCurrentText("occlusion")
    click(qtbot, panel.button)
    qtbot.waitUntil(lambda: "The current tile: " in panel.text.text() and panel.button.isEnabled())
    text = panel.text.text()
    assert re.match(r"3 of \d+ tiles in view mapped by the live map\. The current tile: class 2 ", text), text
    shown = evidence_layers(viewer)[0]
    y0, x0 = (int(v) for v in work.annotation.grid.boxes[14][:2])
    y, x = np.round(shown.world_to_data((y0, x0))).astype(int)
    tile = shown.data[y : y + side, x : x + side]
    assert tile[:32, :32].sum() > 0.7 * tile.sum() > 0, "the evidence for spots lies where they are"
