from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_cellclass.core.models.linear_head import Standardisation, fit_head, fit_head_in_batches, fit_heads

WIDTHS = (30, 7)


def problem(
    seed: int, tiles: int, classes: int, groups: int, signal: float = 1.5
) -> tuple[list[NDArray[np.float32]], NDArray[np.int64], NDArray[np.int64]]:
    """Return two sets of standardised features, labels and groups; each group has all classes if tiles suffice."""
    rng = np.random.default_rng(seed)
    labels = np.arange(tiles) % classes
    parts = []
    for width in WIDTHS:
        centres = rng.normal(0, signal, (classes, width))
        features = rng.normal(0, 1, (tiles, width)) + centres[labels]
        parts.append(Standardisation.fit(features).apply(features))
    return parts, labels, np.arange(tiles) // classes % groups


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6), tiles=st.integers(1, 120), classes=st.integers(1, 20), groups=st.integers(1, 9)
)  # fmt: skip
def test_probabilities_add_up_to_1_however_few_the_tiles(seed: int, tiles: int, classes: int, groups: int) -> None:
    parts, labels, group = problem(seed, tiles, classes, groups)
    fit = fit_head(parts, labels, group, classes)
    for prob in (fit.held_out, fit.head.predict(parts), *fit.held_out_parts):
        assert prob.dtype == np.float32
        np.testing.assert_allclose(prob.sum(axis=1), 1, atol=1e-5)
        assert not prob[:, np.bincount(labels, minlength=classes) == 0].any()


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), tiles=st.integers(6, 80), classes=st.integers(2, 5), groups=st.integers(1, 6))
def test_the_order_of_tiles_classes_and_feature_sets_changes_nothing(
    seed: int, tiles: int, classes: int, groups: int
) -> None:
    rng = np.random.default_rng(seed)
    parts, labels, group = problem(seed, tiles, classes, groups)
    fit = fit_head(parts, labels, group, classes)
    order, renamed = rng.permutation(tiles), rng.permutation(classes)
    other = fit_head([part[order] for part in parts[::-1]], renamed[labels[order]], group[order], classes)
    np.testing.assert_allclose(other.held_out[:, renamed], fit.held_out[order], atol=1e-4)
    np.testing.assert_allclose(other.head.predict(parts[::-1])[:, renamed], fit.head.predict(parts), atol=1e-4)


def test_a_feature_set_given_twice_changes_nothing() -> None:
    (part, _), labels, groups = problem(0, 60, 3, 5)
    once, twice = fit_head([part], labels, groups, 3), fit_head([part, part], labels, groups, 3)
    np.testing.assert_allclose(twice.held_out, once.held_out, atol=1e-6)
    np.testing.assert_allclose(twice.head.predict([part, part]), once.head.predict([part]), atol=1e-6)


def test_left_out_predictions_are_those_of_a_fit_to_the_other_groups() -> None:
    # Without the choice of penalty and sharpness, which a fit to fewer tiles makes anew, classes and order agree.
    parts, labels, groups = problem(3, 90, 3, 6, signal=0.25)
    fit = fit_head(parts, labels, groups, 3)
    assert fit.held_out_by == "group"
    agreement = []
    for group in range(6):
        rest, own = groups != group, groups == group
        other = fit_head([part[rest] for part in parts], labels[rest], groups[rest], 3).head
        agreement.append(np.abs(other.predict([part[own] for part in parts]) - fit.held_out[own]).max(axis=1))
    assert np.median(np.concatenate(agreement)) < 0.1
    fitted = (fit.head.predict(parts).argmax(axis=1) == labels).mean()
    assert (fit.held_out.argmax(axis=1) == labels).mean() < fitted


def test_single_tiles_are_left_out_where_a_class_has_one_group_only() -> None:
    parts, labels, groups = problem(0, 40, 2, 4)
    assert fit_head(parts, labels, groups, 2).held_out_by == "group"
    assert fit_head(parts, labels, np.where(labels == 1, 9, groups), 2).held_out_by == "tile"
    assert fit_head(parts, labels, np.zeros(40), 2).held_out_by == "tile"


def test_features_that_say_nothing_are_not_believed() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, 1, (60, width)).astype(np.float32) for width in WIDTHS]
    fit = fit_head(parts, np.arange(60) % 2, np.arange(60) // 6, 2)
    assert np.log(fit.held_out[np.arange(60), np.arange(60) % 2]).mean() > np.log(0.5) - 0.1


def test_batches_give_the_same_classifier_as_all_tiles_at_once() -> None:
    parts, labels, groups = problem(1, 90, 3, 6)

    def batches() -> Iterator[list[NDArray[np.float32]]]:
        for start in range(0, 90, 13):
            yield [part[start : start + 13] for part in parts]

    whole, batched = fit_head(parts, labels, groups, 3), fit_head_in_batches(batches, labels, groups, 3)
    np.testing.assert_allclose(batched.held_out, whole.held_out, atol=1e-5)
    np.testing.assert_allclose(batched.head.predict(parts), whole.head.predict(parts), atol=1e-5)


def test_of_many_groups_a_class_is_never_left_out_as_a_whole() -> None:
    # 2 of 200 groups hold the rare class; cross-validation has 64 folds of groups.
    parts, _, _ = problem(0, 400, 2, 1)
    groups = np.arange(400) // 2
    labels = np.isin(groups, (5, 69)).astype(np.int64)
    parts[1][:, 0] = np.where(labels == 1, 8, 0)
    parts[1][:, 1:] = 0
    fit = fit_head_in_batches(lambda: [parts], labels, groups, 2)
    assert fit.held_out_by == "group"
    assert (fit.held_out_parts[1].argmax(axis=1) == labels).all()


def test_more_tiles_than_one_batch_holds_are_fitted_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, labels, groups = problem(1, 90, 3, 6)
    whole = fit_head(parts, labels, groups, 3)
    monkeypatch.setattr("napari_cellclass.core.models.linear_head._MANY", 40)
    np.testing.assert_allclose(fit_head(parts, labels, groups, 3).held_out, whole.held_out, atol=1e-5)


def test_a_constant_feature_counts_for_nothing_and_a_far_value_for_little() -> None:
    features = np.random.default_rng(0).normal(5, 2, (50, 4))
    features[:, 2] = 1e4 + 1e-3 * np.arange(50)
    features[7] = np.nan
    standard = Standardisation.fit(features)
    z = standard.apply(np.array([[5, 5, 2e4, 1e9], [5, np.nan, 0, 5]]))
    assert z.dtype == np.float32
    assert z[0, 2] == 0
    assert z[0, 3] == 8
    assert np.isnan(z[1, 1])
    np.testing.assert_allclose(np.delete(standard.apply(features), 7, axis=0)[:, [0, 1, 3]].std(axis=0), 1, atol=1e-4)


def test_features_without_a_finite_row_are_refused() -> None:
    with pytest.raises(ValueError, match="no row"):
        Standardisation.fit(np.full((3, 2), np.nan))


@pytest.mark.parametrize("count", [30, 200], ids=["fewer tiles than features", "more tiles than features"])
def test_several_groupings_at_once_give_what_each_gives_by_itself(count: int) -> None:
    rng = np.random.default_rng(count)
    parts = [rng.normal(size=(count, width)).astype(np.float32) for width in (60, 20)]
    labels = rng.integers(0, 3, count)
    parts[0][:, 0] += labels
    groupings = [np.arange(count) % 5, np.arange(count)]
    for groups, fit in zip(groupings, fit_heads(parts, labels, groupings, 3), strict=True):
        alone = fit_head(parts, labels, groups, 3)
        assert fit.held_out == pytest.approx(alone.held_out, abs=1e-6)
        assert fit.head.predict(parts) == pytest.approx(alone.head.predict(parts), abs=1e-6)
        assert (fit.penalties, fit.held_out_by) == (alone.penalties, alone.held_out_by)
