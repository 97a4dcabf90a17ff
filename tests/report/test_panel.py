from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from napari_cellclass.core.common.task import NO_TASK
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.evaluation.example_tiles import PanelTile, panel_tile_indices, read_panel
from napari_cellclass.core.evaluation.results import EvaluatedSet, Evaluation
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.stats.metrics import evaluate
from napari_cellclass.report.curves import FigureStyle
from napari_cellclass.report.kit import save_panel
from napari_cellclass.report.panel import caption, draw_panel, panel_figure, panel_height, tile_at

CLASSES = ("diffuse", "globs", "rods")
N, SIDE = 40, 12


def evaluation(seed: int = 0) -> Evaluation:
    """Forty tiles of three classes in one field of 12-bit noise, the last with NaN for an answer."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 4096, (SIDE, N * SIDE, 1)).astype(np.uint16)
    left = np.arange(N) * SIDE
    boxes = np.stack([np.zeros(N), left, np.full(N, SIDE), left + SIDE], axis=1).astype(np.int32)
    labels = rng.integers(0, 3, N).astype(np.int16)
    prob = rng.dirichlet([0.4] * 3, N).astype(np.float32)
    prob[-1] = np.nan
    data = TileDataset(
        (Path("field.tif"),),
        ("id",),
        np.zeros(N, np.int32),
        boxes,
        labels,
        np.array([f"g{i % 5}" for i in range(N)], object),
        np.full(N, "", object),
        ClassScheme(CLASSES),
        1,
        np.dtype(np.uint16),
        read=lambda path: SourceImage(pixels, "field"),
    )
    return Evaluation(data, prob, evaluate(prob, labels, data.groups.tolist(), CLASSES))


@given(st.integers(0, 1000), st.sampled_from(["confident", "uncertain", "wrong", "random"]))
def test_every_order_has_every_answered_tile_once(seed: int, order: str) -> None:
    places = panel_tile_indices(evaluation(), order, seed)  # type: ignore[arg-type]
    assert sorted(places.tolist()) == list(range(N - 1))


def test_tiles_come_in_the_order_that_was_chosen() -> None:
    one = evaluation()
    confidence, wrong = one.confidence, one.predicted != one.data.labels
    assert (np.diff(confidence[panel_tile_indices(one, "confident")]) <= 0).all()
    assert (np.diff(confidence[panel_tile_indices(one, "uncertain")]) >= 0).all()
    order = panel_tile_indices(one, "wrong")
    count = int(wrong[:-1].sum())
    assert wrong[order[:count]].all()
    assert not wrong[order[count:]].any()
    assert panel_tile_indices(one, "random", 1).tolist() == panel_tile_indices(one, "random", 1).tolist()
    assert panel_tile_indices(one, "random", 1).tolist() != panel_tile_indices(one, "random", 2).tolist()


def test_the_cells_of_the_matrix_hold_as_many_tiles_as_it_says() -> None:
    one = evaluation()
    for i, row in enumerate(one.report.confusion):
        for j, count in enumerate(row):
            places = panel_tile_indices(one, "uncertain", cell=(i, j))
            assert len(places) == count
            assert (one.data.labels[places] == i).all()
            assert (one.predicted[places] == j).all()


def test_a_tile_is_read_from_its_box_and_says_what_the_table_says() -> None:
    one, places = evaluation(), np.array([7, 2])
    tiles, table = read_panel(one, places), one.frame()
    source = one.data.read(Path("field.tif"))
    for tile, place in zip(tiles, places, strict=True):
        row = table.loc[place]
        assert (tile.tile_index, tile.true_class, tile.class_name) == (place, row["true_class"], row["class_name"])
        assert tile.confidence == pytest.approx(row["confidence"])
        grey = source.read(0, place * SIDE, SIDE, (place + 1) * SIDE)[..., 0].astype(float).ravel()
        assert np.corrcoef(grey, tile.pixels[..., 0].ravel())[0, 1] > 0.99


def test_right_and_wrong_differ_in_sign_colour_and_frame() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    right, wrong = (PanelTile(0, pixels, "globs", said, 0.934) for said in ("globs", "rods"))
    assert caption(right) == ("✓ globs 93%", "true: globs")
    assert caption(wrong) == ("✗ rods 93%", "true: globs")
    frames = panel_figure([right, wrong]).axes[0].patches
    assert frames[0].get_edgecolor() != frames[1].get_edgecolor()
    assert frames[0].get_linestyle() != frames[1].get_linestyle()


@pytest.mark.parametrize("width", [240, 333, 710])
def test_a_point_on_a_page_is_in_the_tile_that_is_drawn_there(width: int) -> None:
    colours = np.random.default_rng(0).integers(1, 256, (12, 3))
    tiles = [PanelTile(i, np.full((6, 8, 3), c, np.uint8), "a", "a", 0.5) for i, c in enumerate(colours)]
    picture = draw_panel(tiles, FigureStyle(width, panel_height(tiles, width)))
    for i, colour in enumerate(colours):
        y, x = np.argwhere((picture[..., :3] == colour).all(axis=2)).mean(axis=0)
        under = tile_at(tiles, width, x, y)
        assert under is not None
        assert under.tile_index == i
    assert tile_at(tiles, width, width / 2, 3 * panel_height(tiles, width)) is None


def test_the_pages_lie_beside_tables_with_the_same_captions(tmp_path: Path) -> None:
    one = EvaluatedSet("set", tmp_path, evaluation())
    places = panel_tile_indices(one.evaluation, "uncertain")[:30]
    save_panel(one, places, tmp_path, NO_TASK)
    names = [f"panel_{page}.{end}" for page in ("01", "02") for end in ("csv", "png", "svg")]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    tables = [pd.read_csv(tmp_path / f"panel_{page}.csv") for page in ("01", "02")]
    assert [len(table) for table in tables] == [25, 5]
    assert pd.concat(tables)["number"].tolist() == list(range(1, 31))
    for table, start in zip(tables, (0, 25), strict=True):
        tiles = read_panel(one.evaluation, places[start : start + 25])
        drawn = [text.get_text() for text in panel_figure(tiles).axes[0].texts]
        expected = []
        for row in table.itertuples():
            sign = "✓" if row.right else "✗"
            expected += [f"{sign} {row.class_name} {row.confidence:.0%}", f"true: {row.true_class}"]
        assert drawn == expected
    assert np.asarray(Image.open(tmp_path / "panel_01.png").convert("L")).std() > 20
