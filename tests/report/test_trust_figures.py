from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from napari_cellclass.core.quality.shortcuts import Shortcut, shortcut_table
from napari_cellclass.core.stats.metrics import Estimate
from napari_cellclass.report.trust_figures import perturbation_figure, save_trust, shortcut_figure


@pytest.fixture
def shortcuts() -> pd.DataFrame:
    found = [
        Shortcut("brightness", 1, None, Estimate(0.8, 0.7, 0.9), 12, 100, 2),
        Shortcut("texture", 33, None, Estimate(0.6, None, None), 12, 100, 2),
    ]
    return shortcut_table(found, Estimate(0.9, 0.85, 0.95))


@pytest.fixture
def stress() -> pd.DataFrame:
    rows = [("none", "", 0.0, 0.9), ("gain", "times", 0.5, 0.6), ("gain", "times", 1.0, 0.9), ("blur", "px", 0.0, 0.9)]
    frame = pd.DataFrame(rows, columns=["perturbation", "unit", "level", "balanced_accuracy"])
    return frame.assign(lo=frame["balanced_accuracy"] - 0.1, hi=[None, 0.7, 1.0, 1.0])


def test_the_bars_are_as_long_as_the_table_says_and_the_network_has_its_own_colour(shortcuts: pd.DataFrame) -> None:
    axes = shortcut_figure(shortcuts, 2).axes[0]
    assert [bar.get_width() for bar in axes.patches] == shortcuts["balanced_accuracy"].tolist()
    colours = [bar.get_facecolor() for bar in axes.patches]
    assert colours[0] != colours[1] == colours[2]


def test_the_curves_run_through_the_table(stress: pd.DataFrame) -> None:
    axes = perturbation_figure(stress, 2).axes[0]
    line = axes.lines[0]
    assert axes.get_title() == "gain"
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == ([0.5, 1.0], [0.6, 0.9])


def test_pictures_and_tables_lie_beside_each_other(
    tmp_path: Path, shortcuts: pd.DataFrame, stress: pd.DataFrame
) -> None:
    save_trust(shortcuts, stress, 2, tmp_path)
    for name, table in (("shortcuts", shortcuts), ("stress", stress)):
        assert np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")).std() > 5
        np.testing.assert_allclose(
            pd.read_csv(tmp_path / f"{name}.csv")["balanced_accuracy"], table["balanced_accuracy"], rtol=1e-15
        )


def test_nothing_is_written_of_what_was_not_asked_for(tmp_path: Path, stress: pd.DataFrame) -> None:
    save_trust(None, stress, 2, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"stress.png", "stress.svg", "stress.csv"}
