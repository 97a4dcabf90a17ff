"""Files dropped on a real window, the save dialog, and regions of QuPath as labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog
from tests._window_events import drop

from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.samples.synthetic import checkerboard_field
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.viewer.common.layers import KEY
from napari_cellclass.viewer.io.samples import sample_dataset

UM = {"scale": (0.5, 0.5), "translate": (20, 30), "units": ("um", "um")}


def table() -> TileTable:
    grid = TileGrid.regular((96, 128), 16)
    prob = np.random.default_rng(0).dirichlet([1, 1], len(grid)).astype(np.float32)
    return TileTable(grid, ClassScheme(("a", "b"), ("#FF0000", "#00FF00")), prob)


def test_a_map_dropped_lies_on_its_image_and_is_saved_by_the_dialog(
    viewer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, screenshot: Callable
) -> None:
    image = viewer.add_image(checkerboard_field(16, 6, 8)[0], name="field", **UM)
    table().to_geojson(tmp_path / "field.geojson")
    drop(viewer, tmp_path / "field.geojson")
    layer = next(one for one in viewer.layers if KEY in one.metadata)
    np.testing.assert_allclose(layer.data_to_world(layer.data[0][0]), image.data_to_world((-0.5, -0.5)))
    screenshot("dropped-map")
    viewer.layers.selection = {layer}
    asked = []

    def choose(*_: Any, filter: str = "", **__: Any) -> tuple[str, str]:  # noqa: A002 - Qt's name
        asked.extend(filter.split(";;"))
        return str(tmp_path / "out"), next(one for one in asked if "WSInfer" in one)

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    viewer.window._qt_viewer._save_layers_dialog(selected=True)
    assert (tmp_path / "out.wsinfer.csv").is_file()
    assert "napari builtins" in asked[0], "a user's own shapes are saved by napari unless another type is chosen"
    ours = [one for one in asked if one.startswith("Cell Class")]
    assert [one.split(" (")[0].removeprefix("Cell Class ") for one in ours] == [
        "tiles CSV", "WSInfer CSV", "GeoJSON for QuPath", "COCO", "class folders",
    ]  # fmt: skip


def test_a_data_set_folder_dropped_is_shown_by_class(
    viewer: Any, monkeypatch: pytest.MonkeyPatch, screenshot: Callable
) -> None:
    from napari._qt.dialogs.qt_reader_dialog import QtReaderDialog

    monkeypatch.setattr(QtReaderDialog, "get_user_choices", lambda *_: ("Cell Class", False))
    folder = sample_dataset()
    drop(viewer, folder)
    sheets = [layer for layer in viewer.layers if layer.metadata[KEY]["kind"] == "dataset"]
    assert [layer.name for layer in sheets] == ["diffuse (48 of 48)", "globs (48 of 48)"]
    assert {layer.metadata[KEY]["folder"] for layer in sheets} == {str(folder)}
    viewer.reset_view()
    screenshot("dropped-dataset")
