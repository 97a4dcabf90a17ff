from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_cellclass.report.curves import (
    FigureStyle,
    best_epoch,
    draw_curves,
    draw_tiles,
    label_curve_figure,
    save_curves,
    tiles_height,
)

HISTORY = [
    {"epoch": i, "loss": 1 / i, "accuracy": 1 - 0.5 / i, "val_loss": abs(i - 4) + 0.5, "val_accuracy": 0.5 + 0.04 * i}
    for i in range(1, 9)
]


def near(pixels: np.ndarray, colour: str) -> int:
    """How many opaque pixels have about this colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int(((np.abs(pixels[..., :3].astype(int) - wanted).sum(-1) < 30) & (pixels[..., 3] > 200)).sum())


def test_the_best_epoch_is_that_of_the_lowest_validation_loss() -> None:
    assert best_epoch(HISTORY) == 4


@pytest.mark.parametrize(
    ("text", "colours"), [("#F0F0F0", ("#56B4E9", "#E69F00")), ("#202020", ("#0072B2", "#D55E00"))]
)
def test_curves_fit_the_window_and_its_theme(text: str, colours: tuple[str, str]) -> None:
    pixels = draw_curves(HISTORY, 20, FigureStyle(360, 280, 2.0, text))
    assert pixels.shape == (560, 720, 4)
    assert pixels.dtype == np.uint8
    assert pixels[0, 0, 3] == 0, "the ground is clear"
    assert all(near(pixels, colour) > 100 for colour in colours)
    assert near(pixels, text) > 20


@pytest.mark.parametrize("n", [0, 1])
def test_curves_can_be_drawn_from_the_start(n: int) -> None:
    assert draw_curves(HISTORY[:n], 5, FigureStyle(300, 200)).shape == (200, 300, 4)


def test_a_curve_of_labels_has_its_chance_and_interval_and_starts_at_its_first_point() -> None:
    points = [(100, 0.6), (150, 0.7), (200, 0.72)]
    axes = label_curve_figure(points, FigureStyle(360, 280), chance=0.5, interval=(0.55, 0.9)).axes[0]
    low, high = axes.get_xlim()
    assert 90 < low < 100
    assert 200 < high < 210
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["95 % CI with all tiles", "chance"]
    chance = [line for line in axes.get_lines() if line.get_label() == "chance"]
    assert [set(line.get_ydata()) for line in chance] == [{0.5}]
    assert label_curve_figure(points, FigureStyle(360, 280)).axes[0].get_legend() is None


def test_the_file_is_on_white(tmp_path: Path) -> None:
    save_curves(HISTORY, 8, tmp_path / "c.png")
    picture = np.asarray(Image.open(tmp_path / "c.png"))
    assert (picture[0, 0] == 255).all()
    assert picture.shape[2] == 3


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_tiles_of_any_number_of_channels_are_shown(channels: int) -> None:
    tiles = np.zeros((25, 20, 30, channels), np.float32)
    tiles[..., 0] = 1.0
    height = tiles_height(25, (20, 30), 400)
    pixels = draw_tiles(
        tiles, ["a"] * 12 + ["a very long name of a class"] * 13, FigureStyle(400, height, 1.0, "#202020")
    )
    assert pixels.shape == (height, 400, 4)
    colour = {1: "#FFFFFF", 2: "#FF00FF"}.get(channels, "#FF0000")
    assert near(pixels, colour) > 0.35 * pixels.shape[0] * pixels.shape[1]
