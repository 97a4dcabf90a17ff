from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from napari_cellclass.core.common.errors import CancelledError, ParamsError
from napari_cellclass.core.common.task import Progress, Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.tiles.background import BackgroundLevels, background_scores, foreground_tiles
from napari_cellclass.core.tiles.grid import TileGrid

RULES = ("mean", "variance", "otsu")


def field(bright: bool, dtype: str = "uint16") -> np.ndarray:
    """Four rows of four tiles of 32 px: background with noise, cells in the upper left 2 x 2."""
    rng = np.random.default_rng(0)
    pixels = rng.normal(400, 6, (128, 128, 1))
    cells = ndimage.gaussian_filter(rng.normal(0, 1, (64, 64)), 3) > 0
    pixels[:64, :64, 0] += 600 * cells
    return (pixels if bright else 1500 - pixels).astype(dtype)


@pytest.mark.parametrize("bright", [True, False], ids=["cells brighter", "cells darker"])
@pytest.mark.parametrize("rule", RULES)
def test_the_tiles_with_cells_are_kept_and_no_other(rule: str, bright: bool) -> None:
    source = SourceImage(field(bright))
    grid = TileGrid.regular(source.shape, 32)
    scores = background_scores(source, grid, rule)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(foreground_tiles(scores, rule), (grid.row < 2) & (grid.col < 2))


def test_blurred_tiles_are_dropped_by_focus() -> None:
    sharp = field(True).astype(np.float32)
    sharp[:64, :64] = ndimage.gaussian_filter(sharp[:64, :64, 0], 4)[..., None]
    source = SourceImage(sharp)
    grid = TileGrid.regular(source.shape, 32)
    kept = foreground_tiles(background_scores(source, grid, "focus"), "focus")
    np.testing.assert_array_equal(kept, (grid.row >= 2) | (grid.col >= 2))


def test_focus_does_not_depend_on_the_brightness_of_poisson_noise() -> None:
    rng = np.random.default_rng(1)
    scores = [
        background_scores(
            SourceImage(rng.poisson(level, (64, 64, 1)).astype(float)), TileGrid.regular((64, 64), 64), "focus"
        )[0]
        for level in (100, 1000)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=0.1)


@pytest.mark.parametrize("rule", ["mean", "variance", "otsu", "focus"])
def test_a_higher_limit_never_keeps_more(rule: str) -> None:
    source = SourceImage(field(True))
    scores = background_scores(source, TileGrid.regular(source.shape, 32), rule)
    kept = [foreground_tiles(scores, rule, limit) for limit in np.linspace(0, float(scores.max()) * 1.01, 20)]
    assert kept[0].all()
    assert not kept[-1].any()
    assert all((more >= fewer).all() for more, fewer in itertools.pairwise(kept))


def test_the_gain_of_the_camera_changes_nothing() -> None:
    for rule in RULES:
        one, other = (
            background_scores(SourceImage(field(True, "float64") * gain), TileGrid.regular((128, 128), 32), rule)
            for gain in (1, 7)
        )
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)


def test_a_field_of_one_grey_value_has_scores() -> None:
    source = SourceImage(np.full((64, 64, 3), 7, np.uint8))
    for rule in RULES:
        scores = background_scores(source, TileGrid.regular(source.shape, 32), rule)
        assert np.isfinite(scores).all()
        assert not foreground_tiles(scores, rule).any()


def test_tiles_with_nan_are_left_for_others_to_judge() -> None:
    pixels = field(True, "float32")
    pixels[100, 100] = np.nan
    source = SourceImage(pixels)
    grid = TileGrid.regular(source.shape, 32)
    for rule in (*RULES, "focus"):
        scores = background_scores(source, grid, rule)
        assert np.isnan(scores).sum() == 1
        assert foreground_tiles(scores, rule)[np.isnan(scores)].all()


def test_no_rule_keeps_everything_and_an_unknown_one_is_refused() -> None:
    source = SourceImage(field(True))
    grid = TileGrid.regular(source.shape, 32)
    assert foreground_tiles(background_scores(source, grid, "none"), "none").all()
    with pytest.raises(ParamsError, match="unknown background rule 'median'"):
        foreground_tiles(np.ones(3, np.float32), "median")  # type: ignore[arg-type]


def test_progress_is_reported_and_cancelling_stops() -> None:
    source = SourceImage(field(True))
    grid = TileGrid.regular(source.shape, 32)
    reports: list[Progress] = []
    background_scores(source, grid, "mean", Task(reports.append))
    assert [(r.done, r.total) for r in reports] == [(i, 4) for i in (1, 2, 3, 4)]
    with pytest.raises(CancelledError):
        background_scores(source, grid, "mean", Task(cancelled=lambda: True))


def test_levels_are_those_of_the_field() -> None:
    levels = BackgroundLevels.of(SourceImage(field(True)))
    assert levels.background == pytest.approx(400, abs=15)
    assert 412 < levels.otsu < 970
    assert levels.span == pytest.approx(640, abs=60)
