from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.stats.metrics import evaluate
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.report.figures import (
    confusion_figure,
    new_figure,
    overlay_figure,
    render_for_dock,
    save_overlay,
    thumbnail,
)


def make(channels: int = 1) -> tuple[SourceImage, TileTable]:
    source = SourceImage(np.full((64, 96, channels), 100, np.uint16))
    grid = TileGrid.regular(source.shape, 32)
    prob = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]] * 2, np.float32)
    return source, TileTable(grid, ClassScheme(("a", "b")), prob)


def test_the_picture_shows_each_class_in_its_colour(tmp_path: Path) -> None:
    source, table = make()
    save_overlay(source, table, tmp_path / "o.png")
    pixels = np.asarray(Image.open(tmp_path / "o.png").convert("RGB")).reshape(-1, 3).astype(int)
    for index in (0, 1):
        distance = np.abs(pixels - np.array(table.scheme.rgb(index))).sum(axis=1)
        assert (distance < 12).sum() > 50, "edges and the legend carry the class's own colour"


def test_the_legend_counts_what_the_table_counts() -> None:
    source, table = make()
    texts = [text.get_text() for text in overlay_figure(source, table, min_confidence=0.7).legends[0].get_texts()]
    assert texts == ["a\n2 (33%)", "b\n2 (33%)", "(below threshold)\n2 (33%)"]


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_any_number_of_channels_can_be_shown(channels: int) -> None:
    picture, step = thumbnail(make(channels)[0], longest=48)
    assert step == 2
    assert picture.shape[:2] == (32, 48)
    assert picture.dtype == np.uint8


def test_the_confusion_matrix_shows_its_counts() -> None:
    rng = np.random.default_rng(0)
    report = evaluate(
        rng.dirichlet([1, 1, 1], 60), rng.integers(0, 3, 60), [str(i % 6) for i in range(60)], ["x", "y", "z"]
    )
    texts = [text.get_text().split("\n")[0] for text in confusion_figure(report).axes[0].texts]
    assert texts == [str(v) for row in report.confusion for v in row]


@pytest.mark.parametrize("text", ["#F0F1F2", "#3B3A39"])
def test_a_figure_for_a_dock_is_transparent_and_has_the_colour_of_its_text(text: str) -> None:
    figure = new_figure(4, 3)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="black", label="line")
    axes.bar([0.5], [0.5], color="#D55E00")
    axes.set_xlabel("epoch")
    axes.legend()
    pixels = render_for_dock(figure, 400, text)
    assert pixels.shape[1] == 400
    assert (pixels[..., 3] == 0).mean() > 0.5
    opaque = pixels[pixels[..., 3] == 255][:, :3].astype(int)
    named = np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)])
    assert (np.abs(opaque - named).max(axis=1) <= 2).sum() > 200
    assert (np.abs(opaque - [0xD5, 0x5E, 0x00]).max(axis=1) <= 2).sum() > 200
    for other in ((0, 0, 0), (255, 255, 255)):
        assert not (np.abs(opaque - other).max(axis=1) <= 2).any()
