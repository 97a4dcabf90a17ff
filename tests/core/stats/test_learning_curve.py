from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.stats.learning_curve import fit_learning_curve, learning_curve_advice

TILES = np.array([20, 20, 40, 40, 80, 80, 160, 160, 160])


def points(accuracy: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"tiles": TILES, "balanced_accuracy": accuracy})


@settings(max_examples=20, deadline=None)
@given(st.floats(0.6, 0.98), st.floats(0.4, 2.0), st.floats(0.3, 1.2))
def test_the_fit_goes_through_a_power_law_and_never_falls(limit: float, scale: float, exponent: float) -> None:
    accuracy = limit - scale * TILES**-exponent
    curve = fit_learning_curve(points(accuracy))
    band = curve.at(TILES)
    np.testing.assert_allclose(band["accuracy"], accuracy, atol=0.01)
    assert (band["lo"] <= band["accuracy"]).all()
    assert (band["accuracy"] <= band["hi"]).all()
    ahead = curve.at(np.geomspace(20, 5000, 30))["accuracy"]
    assert (np.diff(ahead) >= 0).all()
    assert ahead.max() <= 1


def test_the_interval_of_the_limit_holds_the_truth_as_often_as_it_says() -> None:
    held = 0
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(0, 0.01, len(TILES))
        limit = fit_learning_curve(points(0.9 - 2 * TILES**-0.8 + noise), seed).limit
        held += limit.lo <= 0.9 <= limit.hi
    assert held >= 50


def test_it_says_how_many_more_tiles_an_accuracy_asks_for() -> None:
    curve = fit_learning_curve(points(0.95 - 2.0 * TILES**-0.7))
    needed = (2.0 / 0.05) ** (1 / 0.7) - 160
    assert curve.target() == 0.9
    more = curve.more_tiles(0.9)
    assert more is not None
    assert more.value == pytest.approx(needed, rel=0.25)
    text = learning_curve_advice(curve, {"Snf7": 40, "control": 120}, "Snf7")
    assert text.startswith("about ")
    assert "more tiles for 90 %" in text
    assert "of them of 'Snf7', which has the lowest recall (95 % confidence interval" in text


def test_a_flat_curve_says_that_more_tiles_would_not_help() -> None:
    curve = fit_learning_curve(points(np.array([0.5, 0.52, 0.49, 0.51, 0.5, 0.5, 0.51, 0.49, 0.5])))
    text = learning_curve_advice(curve, {"a": 80, "b": 80}, "a")
    assert text.startswith("more tiles of this kind would not help: the curve levels off at 50 %")


def test_a_noisy_curve_does_not_promise_anything() -> None:
    noisy = 0.6 + np.random.default_rng(3).normal(0, 0.15, len(TILES))
    text = learning_curve_advice(fit_learning_curve(points(noisy)), {"a": 80, "b": 80}, "a")
    assert "cannot be decided" in text or "no upper limit" in text


def test_what_is_perfect_needs_no_more() -> None:
    text = learning_curve_advice(fit_learning_curve(points(np.ones(len(TILES)))), {"a": 80, "b": 80}, "a")
    assert text == "100 % is reached already: more tiles of this kind cannot help much"


def test_two_sizes_make_no_curve() -> None:
    with pytest.raises(DatasetError, match="three or more numbers of tiles, but there are 2"):
        fit_learning_curve(pd.DataFrame({"tiles": [10, 20, 20], "balanced_accuracy": [0.5, 0.6, 0.6]}))
