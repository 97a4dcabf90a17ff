"""Tiles unlike training on the map, and the training and labelled tiles that are most similar to the current one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests._window_events import click
from tests._windows import open_field

from napari_cellclass.core.labels.classes import UNLIKE_NAME
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.samples.realfield import IHC_TILE_PX, ihc_field
from napari_cellclass.viewer.common.overlay import describe_tile
from napari_cellclass.widgets.common.choices.similar_tiles import SHOWN


def _legend(classify: Any) -> dict[str, int]:
    table = classify.results.classes
    rows = [row for row in range(table.rowCount()) if not table.isRowHidden(row)]
    return {table.item(row, 0).text(): int(table.item(row, 1).text().replace(",", "")) for row in rows}


def test_tiles_unlike_training_have_a_look_a_count_and_a_text_of_their_own(
    viewer: Any, dock: Any, classify: Any, qtbot: Any, ihc_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    pixels = ihc_field().data.copy()
    pixels[:, 256:] = np.random.default_rng(0).integers(0, 255, (512, 256, 3))
    viewer.add_image(pixels, name="half noise", rgb=True)
    open_field(dock, qtbot, IHC_TILE_PX)
    classify.model_choice.path.line_edit.native.setText(str(ihc_model))
    qtbot.waitUntil(lambda: classify.model is not None)
    click(qtbot, classify.run_button)
    qtbot.waitUntil(classify.run_button.isEnabled)
    table, layer = classify.map.table, classify.map.layers[-1]
    noise = table.grid.boxes[:, 1] >= 256
    assert table.novelty_rate == 0.05
    assert table.unlike_training[noise].mean() > 0.7
    assert table.unlike_training[~noise].mean() < 0.5
    assert "unlike all training tiles" in classify.message.text()
    assert _legend(classify)[UNLIKE_NAME] == table.unlike_training.sum()
    purple = np.isclose(layer.face_color[:, :3], np.array(table.scheme.rgb(len(table.scheme) + 1)) / 255).all(axis=1)
    np.testing.assert_array_equal(purple, table.unlike_training)
    assert layer.features["novelty_p"].to_numpy() == pytest.approx(table.novelty_p)
    unlike = int(np.flatnonzero(table.unlike_training)[0])
    assert describe_tile(table, unlike).startswith("unlike training (p ")
    classify.results.novelty.setCurrentIndex(0)  # not marked
    assert UNLIKE_NAME not in _legend(classify)
    assert not describe_tile(classify.map.table, unlike).startswith("unlike")
    np.testing.assert_array_equal(classify.map.table.prob, table.prob)

    # the training tiles that are most similar to the current one
    similar, known = classify.state.similar, open_bundle(ihc_model).training_tiles
    assert known is not None
    dock.workspace.go_to(3)
    qtbot.waitUntil(lambda: len(similar.shown) == SHOWN)
    values = [tile.similarity for tile in similar.shown]
    assert values == sorted(values, reverse=True)
    assert similar.list.count() == SHOWN
    assert {tile.class_name for tile in similar.shown} <= {"stained", "unstained"} | set(table.scheme.names)
    said: list[str] = []
    dock.workspace.message.connect(lambda text, _: said.append(text))
    similar.list.itemClicked.emit(similar.list.item(0))
    assert similar.shown[0].place.name in said[-1], "its image is not open, so it is named"


@pytest.mark.usefixtures("live")
def test_the_labelled_tiles_that_are_most_similar_are_shown_and_gone_to(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    viewer.add_image(ihc_field().data, name="ihc", rgb=True)
    open_field(dock, qtbot, 64)
    label, workspace = dock.label, dock.workspace
    live, key = label.live.predictions, workspace.field_key
    dock.pages.setCurrentWidget(label)
    qtbot.waitUntil(
        lambda: live.session is not None and key in live.session.fields and live.session.fields[key].complete
    )
    chosen = list(range(0, 24, 2))
    for number, tile in enumerate(chosen):
        workspace.label([tile], number % 2)
    workspace.go_to(31)
    qtbot.waitUntil(lambda: len(label.similar.shown) == SHOWN)
    boxes = workspace.annotation.grid.boxes
    places = {tuple(boxes[tile].tolist()): number % 2 for number, tile in enumerate(chosen)}
    names = workspace.scheme.names
    assert all(names[places[one.place.box]] == one.class_name for one in label.similar.shown)
    wanted = label.similar.shown[1].place
    label.similar.list.itemClicked.emit(label.similar.list.item(1))
    assert tuple(boxes[workspace.current_tile].tolist()) == wanted.box
    qtbot.waitUntil(lambda: label.similar.shown and all(one.place.box != wanted.box for one in label.similar.shown))
