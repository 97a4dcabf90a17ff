"""Principal components: against scikit-learn, and what a plot relies on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from napari_cellclass.core.common.errors import CancelledError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.selection import projection
from napari_cellclass.core.selection.projection import Projection


def features(n: int, columns: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(columns, columns)) * np.geomspace(3, 0.1, columns)
    return (rng.normal(size=(n, columns)) @ mixing.T + rng.normal(size=columns) * 10).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 60), st.integers(2, 8), st.integers(0, 2**16))
def test_coordinates_are_the_principal_components_of_standardised_features(n: int, columns: int, seed: int) -> None:
    x = features(n, columns, seed)
    found = Projection.fit([x])
    assert found is not None
    z = (x.astype(float) - x.mean(axis=0, dtype=float)) / x.std(axis=0, dtype=float)
    reference = PCA(2, svd_solver="full").fit(z)
    expected = reference.transform(z)
    mine = found.apply(x)
    signs = np.sign((mine * expected).sum(axis=0))
    np.testing.assert_allclose(mine, expected * signs, atol=2e-3)
    np.testing.assert_allclose(found.explained, reference.explained_variance_ratio_, atol=1e-5)


def test_a_tile_without_features_has_no_place_and_moves_no_other() -> None:
    x = features(50, 6)
    gaps = np.insert(x, [0, 20, 50], np.nan, axis=0)
    whole, with_gaps = Projection.fit([x]), Projection.fit([gaps[:30], gaps[30:]])
    assert whole is not None and with_gaps is not None  # noqa: PT018
    places = with_gaps.apply(gaps)
    assert np.isnan(places[[0, 21, 52]]).all()
    np.testing.assert_allclose(places[np.isfinite(places[:, 0])], whole.apply(x), rtol=1e-4, atol=1e-4)


def test_the_same_tiles_lie_in_the_same_places_whichever_way_the_decomposition_turns_them() -> None:
    x = features(40, 5)
    found = Projection.fit([x])
    assert found is not None
    weights = found.components
    assert (weights[np.abs(weights * x.std(axis=0)[:, None]).argmax(axis=0), [0, 1]] > 0).all()


def test_more_tiles_than_the_components_are_fitted_on_all_get_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "FITTED_ON", 100)
    monkeypatch.setattr(projection, "_BLOCK", 64)
    x = features(1000, 5)
    sampled = Projection.fit([x[:300], x[300:]])
    assert sampled is not None
    assert np.isfinite(sampled.apply(x)).all()
    monkeypatch.setattr(projection, "FITTED_ON", 10_000)
    exact = Projection.fit([x])
    assert exact is not None
    assert abs(np.corrcoef(sampled.apply(x)[:, 0], exact.apply(x)[:, 0])[0, 1]) > 0.9


@pytest.mark.parametrize("x", [np.ones((5, 3)), np.arange(6.0).reshape(6, 1), np.full((4, 3), 1e6)])
def test_features_that_do_not_vary_give_places_that_are_finite(x: np.ndarray) -> None:
    found = Projection.fit([x.astype(np.float32)])
    assert found is not None
    assert np.isfinite(found.apply(x.astype(np.float32))).all()
    assert np.isfinite(found.explained).all()


def test_one_tile_alone_has_no_place() -> None:
    assert Projection.fit([features(1, 4)]) is None
    assert Projection.fit([np.full((3, 4), np.nan, np.float32)]) is None
    assert Projection.fit([]) is None


def test_a_cancelled_projection_ends() -> None:
    x = features(10, 3)
    found = Projection.fit([x])
    assert found is not None
    with pytest.raises(CancelledError):
        found.apply(x, Task(cancelled=lambda: True))
