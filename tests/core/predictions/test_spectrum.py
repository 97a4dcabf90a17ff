"""A spectrum goes from the lowest probability to the highest in even steps of the rank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.predictions.spectrum import spectrum_rows, spectrum_table
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid


@given(st.integers(0, 60), st.integers(1, 30), st.integers(0, 1000))
def test_the_lowest_and_the_highest_are_shown_and_all_are_in_order(n: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    probability = np.where(rng.random(n) < 0.1, np.nan, rng.random(n))
    rows = spectrum_rows(probability, count)
    shown = probability[rows]
    assert len(rows) == len(set(rows.tolist())) == min(count, int(np.isfinite(probability).sum()))
    assert (np.diff(shown) >= 0).all()
    if len(rows) > 1:
        assert (shown[0], shown[-1]) == (np.nanmin(probability), np.nanmax(probability))


def test_the_table_says_which_tiles_they_are() -> None:
    grid = TileGrid.regular((20, 30), 10)
    prob = np.linspace(0, 1, 6)[::-1].astype(np.float32)
    table = TileTable(grid, ClassScheme(("a", "b")), np.stack([1 - prob, prob], axis=1))
    frame = spectrum_table(table, spectrum_rows(prob, 3), 1)
    assert frame["tile_id"].tolist() == [5, 3, 0]
    assert frame["probability"].tolist() == pytest.approx([0.0, 0.4, 1.0])
    assert frame[["y0", "x0", "y1", "x1"]].iloc[0].tolist() == [10, 20, 20, 30]
    assert set(frame["class_name"]) == {"b"}
