"""A run on all planes of a stack: each has its own map, which the sliders show, and its own rows in the export."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.layers import Image, Shapes
from qtpy.QtCore import Qt

from napari_cellclass.core.common.task import NO_TASK
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.samples.realfield import ihc_field
from napari_cellclass.report.planes import planes_figure
from napari_cellclass.runs.classify.field import classify_field, field_grid
from napari_cellclass.runs.common.engine_cache import EngineCache, EngineKey
from napari_cellclass.viewer.common.map_view import FieldLayer
from napari_cellclass.viewer.common.overlay import OverlayStyle
from napari_cellclass.widgets.classify import work


def test_a_run_on_all_planes_gives_each_its_own_map_which_the_sliders_show(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path, tmp_path: Path
) -> None:
    field = ihc_field().data
    stack = np.stack([field[y : y + 128, y : y + 160] for y in (0, 120, 240, 352)])
    viewer.add_image(stack, rgb=True, name="stack", axis_labels=("z", "y", "x"))
    viewer.dims.set_current_step(0, 1)
    classify.model_choice.path.line_edit.native.setText(str(ihc_model))
    qtbot.waitUntil(lambda: classify.model is not None)
    qtbot.waitUntil(classify.planes.isVisible)
    assert [classify.planes.choice.itemText(i) for i in range(2)] == ["this plane", "all Z"]
    classify.planes.choice.setCurrentText("all Z")
    qtbot.mouseClick(classify.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(classify.planes.export_button.isVisible)

    model = open_bundle(ihc_model)
    key = EngineKey(model.model_id, "auto", "f32", None)
    with contextlib.closing(EngineCache()) as engines, engines.use(key, lambda: model) as (m, e):
        alone = [classify_field(s, m, e, field_grid(s, m, 0, "drop")).table for s in map(SourceImage, stack)]
    wanted = [table.class_name.tolist() for table in alone]
    assert len({tuple(names) for names in wanted}) > 1, "all planes look alike"
    layers = list(classify.map.layers)
    for z in (3, 0, 2, 1):
        viewer.dims.set_current_step(0, z)
        assert classify.map.table.class_name.tolist() == wanted[z]
        assert classify.map.layers == layers, "one map, not one per plane"
        assert layers[-1].features["class_name"].tolist() == wanted[z]
        assert f"Z{z}" in layers[-1].name
    counts = classify.planes.counts
    qtbot.waitUntil(lambda: counts.isVisible() and not counts.pixmap().isNull())
    tables = [found.table for found in classify.planes.results.values()]
    drawn = planes_figure(work.plane_counts(tuple(classify.planes.results.values())), tables[0].scheme).axes
    assert [axes.get_xlabel() for axes in drawn] == ["slice"]
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in drawn[0].lines}
    assert lines == {name: ([0, 1, 2, 3], [names.count(name) for names in wanted]) for name in tables[0].scheme.names}
    classify.planes.export(tmp_path / "planes.csv")
    qtbot.waitUntil((tmp_path / "planes.csv").exists)
    written = pd.read_csv(tmp_path / "planes.csv")
    assert [written[written["z"] == z]["class_name"].tolist() for z in range(4)] == wanted


def test_a_flat_image_and_a_run_on_this_plane_have_no_other_planes(
    viewer: Any, classify: Any, qtbot: Any, ihc_model: Path
) -> None:
    viewer.add_image(ihc_field().data[:128, :160], rgb=True)
    classify.model_choice.path.line_edit.native.setText(str(ihc_model))
    qtbot.waitUntil(lambda: classify.model is not None)
    assert not classify.planes.isVisible()
    qtbot.mouseClick(classify.run_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(classify.run_button.isEnabled)
    assert classify.map.table is not None
    assert classify.planes.results == {}
    assert not classify.planes.counts.isVisible()


def test_each_plane_has_the_shapes_that_were_drawn_on_it_and_planes_without_one_are_left_out() -> None:
    image = Image(np.zeros((2, 5, 64, 64), np.uint8), axis_labels=("t", "z", "y", "x"), scale=(1, 3, 0.5, 0.5))
    box = np.array([[0, 0], [0, 30], [30, 30], [30, 0]], float)

    def on(t: float, z: float, shift: float) -> np.ndarray:
        return np.column_stack([np.full(4, t), np.full(4, z), box + shift])

    drawn = Shapes([on(0, 1, 0), on(0, 3, 9), on(0, 3, 20), on(1, 4, 0)], shape_type="polygon", scale=image.scale)
    shown, point = {"T": 0, "Z": 1}, (0.0, 3.0, 0.0, 0.0)
    planes = work.planes_of_stack([image], "Z", shown, point, drawn)
    assert [plane is None for plane in planes] == [True, True, False, True]  # slices 0, 2, 3, 4
    assert planes[2] is not None
    assert planes[2].source.plane == {"T": 0, "Z": 3}
    assert [outline.min() for outline in planes[2].region] == pytest.approx([9, 20])
    both = work.planes_of_stack([image], "TZ", shown, point, drawn)
    assert [dict(plane.source.plane) for plane in both if plane] == [{"T": 0, "Z": 3}, {"T": 1, "Z": 4}]

    flat = Shapes([box], shape_type="polygon", scale=(0.5, 0.5))
    for region, outlines in ((flat, 1), (None, 0)):
        planes = work.planes_of_stack([image], "Z", shown, point, region)
        assert [plane.source.plane["Z"] for plane in planes if plane] == [0, 2, 3, 4]
        assert [len(plane.region) for plane in planes if plane] == [outlines] * 4


def test_of_a_plane_with_a_region_only_the_tiles_in_it_are_classified(ihc_model: Path) -> None:
    model = open_bundle(ihc_model)
    field = ihc_field().data[:128, :160]
    layer = Image(np.stack([field] * 3), rgb=True, axis_labels=("z", "y", "x"))
    left = np.array([[1, 0, 0], [1, 0, 63], [1, 127, 63], [1, 127, 0]], float)
    region = Shapes([left], shape_type="polygon")
    planes = [p for p in work.planes_of_stack([layer], "Z", {"Z": 0}, (0.0, 0.0, 0.0), region) if p]
    planes += [
        p for p in work.planes_of_stack([layer], "Z", {"Z": 0}, (0.0, 0.0, 0.0)) if p and p.source.plane["Z"] == 2
    ]
    request = work.ClassifyRequest(
        planes[0].source, model, (left[:, 1:],), FieldLayer.of(layer), OverlayStyle(), None, 0, "drop"
    )
    found: list[work.PlaneResult] = []
    assert work.run_planes(request, planes, found.append, NO_TASK) == 2
    assert [(one.source.plane["Z"], len(one.table)) for one in found] == [(1, 8), (2, 20)]
    assert found[0].table.grid.boxes[:, 3].max() == 64
