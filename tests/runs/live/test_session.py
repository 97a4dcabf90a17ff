"""A labelling session predicts from all its labels, and says only what these support."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellclass.core.models.linear_head import Standardisation, fit_head
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.runs.live.field_features import FieldFeatures
from napari_cellclass.runs.live.session import LiveSession

COLUMNS = (6, 4)


def _session(fields: int = 1, side: int = 8, known: bool = True) -> tuple[LiveSession, dict[str, np.ndarray]]:
    """A session of fields of two kinds of tiles, and the kind of each."""
    rng, session, kinds = np.random.default_rng(3), LiveSession(COLUMNS), {}
    for number in range(fields):
        grid = TileGrid.regular((side, side), 1)
        kind = rng.integers(0, 2, len(grid))
        features = (rng.normal(size=(len(grid), sum(COLUMNS))) + 3 * kind[:, None]).astype(np.float32)
        field = FieldFeatures(f"field {number}", grid, sum(COLUMNS), f"group {number}")
        if known:
            field.put(np.arange(len(grid)), features)
        session.add(field)
        kinds[field.key] = kind
    return session, kinds


def _labels(kind: np.ndarray, per_class: int) -> np.ndarray:
    labels = np.full(len(kind), -1, np.int16)
    for k in (0, 1):
        labels[np.flatnonzero(kind == k)[:per_class]] = k
    return labels


def test_a_few_labels_predict_the_whole_field() -> None:
    session, kinds = _session()
    found = session.predict({"field 0": _labels(kinds["field 0"], 3)}, 3, "field 0", 7)
    assert found is not None
    assert found.revision == 7
    assert found.n_labels == (3, 3, 0)
    assert (found.prob.argmax(axis=1) == kinds["field 0"]).mean() > 0.95
    assert found.prob.sum(axis=1) == pytest.approx(1)
    assert not found.prob[:, 2].any(), "a class without label is never predicted"
    assert not found.percentages


def test_predictions_are_those_of_the_head_fitted_by_itself() -> None:
    session, kinds = _session(3)
    labels = {key: _labels(kind, 2) for key, kind in kinds.items()}
    found = session.predict(labels, 2, "field 1", 1)
    assert found is not None
    values = np.concatenate([field.values for field in session.fields.values()])
    standardisation = Standardisation.fit(values)
    rows = np.concatenate([session.fields[key].values[one >= 0] for key, one in labels.items()])
    z = standardisation.apply(rows)
    y = np.concatenate([one[one >= 0] for one in labels.values()])
    groups = np.repeat([0, 1, 2], 4)
    fit = fit_head([z[:, :6], z[:, 6:]], y, groups, 2)
    shown = standardisation.apply(session.fields["field 1"].values)
    assert found.prob == pytest.approx(fit.head.predict([shown[:, :6], shown[:, 6:]]), abs=1e-6)
    assert found.held_out_by == "group"


@pytest.mark.parametrize("steps", [(1, 32, 2, 30), (30, 1, 31), (1, 12, 25, 31, 12, 31)])
def test_many_labels_given_or_taken_back_at_once_are_followed(steps: tuple[int, ...]) -> None:
    session, kinds = _session(side=16)
    for revision, per_class in enumerate(steps):
        found = session.predict({"field 0": _labels(kinds["field 0"], per_class)}, 2, "field 0", revision)
        assert found is not None
        assert found.n_labels == (per_class, per_class)
        if revision and per_class - steps[revision - 1] >= 10:
            assert found.changed is not None
            assert 0 <= found.changed <= 1


def test_labels_of_all_fields_count() -> None:
    session, kinds = _session(2)
    both = {"field 0": _labels(kinds["field 0"], 1), "field 1": np.full(64, -1, np.int16)}
    both["field 1"][np.flatnonzero(kinds["field 1"] == 1)[:5]] = 1
    found = session.predict(both, 2, "field 1", 1)
    assert found is not None
    assert found.n_labels == (1, 6)


def test_one_class_alone_gives_similarities() -> None:
    session, kinds = _session()
    labels = np.full(64, -1, np.int16)
    labels[np.flatnonzero(kinds["field 0"] == 1)[:2]] = 1
    found = session.predict({"field 0": labels}, 2, "field 0", 1)
    assert found is not None
    assert found.fit is None
    assert found.prob[labels == 1, 1] == pytest.approx(1)
    assert found.prob[kinds["field 0"] == 1, 1].mean() > 2 * found.prob[kinds["field 0"] == 0, 1].mean()


def test_tiles_without_features_have_no_prediction_and_their_labels_wait() -> None:
    session, kinds = _session()
    field = session.fields["field 0"]
    field.known[40:] = False
    field.values[40:] = np.nan
    field.put(np.array([39]), np.full((1, 10), np.nan, np.float32))  # a tile of NaN
    labels = _labels(kinds["field 0"], 3)
    labels[50] = 0
    found = session.predict({"field 0": labels}, 2, "field 0", 1)
    assert found is not None
    assert np.isnan(found.prob[39:]).all()
    assert np.isfinite(found.prob[:39]).all()
    assert sum(found.n_labels) == 6


def test_nothing_is_predicted_before_there_are_labels_or_features() -> None:
    session, kinds = _session(known=False)
    labels = {"field 0": _labels(kinds["field 0"], 3)}
    assert session.predict(labels, 2, "field 0", 1) is None
    session, _ = _session()
    assert session.predict({"field 0": np.full(64, -1, np.int16)}, 2, "field 0", 1) is None
    assert session.predict(labels, 2, "another field", 1) is None


def test_the_accuracy_is_that_of_random_tiles_only() -> None:
    session, kinds = _session(side=16)
    kind = kinds["field 0"]
    labels = _labels(kind, 20)
    none = session.predict({"field 0": labels}, 2, "field 0", 1)
    assert none is not None
    assert none.accuracy.estimate is None
    drawn = np.flatnonzero(labels >= 0)[5:35].tolist()
    some = session.predict({"field 0": labels}, 2, "field 0", 2, {"field 0": drawn})
    assert some is not None
    assert some.accuracy.n == 30
    assert some.accuracy.estimate is not None
    assert some.accuracy.above_chance
    assert len(some.fractions) == 2
    assert some.percentages
    assert some.by_group is None, "one field says nothing of others"


def test_accuracy_on_left_out_groups_needs_three_of_them() -> None:
    session, kinds = _session(4)
    labels = {key: _labels(kind, 6) for key, kind in kinds.items()}
    drawn = {key: np.flatnonzero(one >= 0).tolist() for key, one in labels.items()}
    two = session.predict({key: labels[key] for key in list(labels)[:2]}, 2, "field 0", 1, drawn)
    four = session.predict(labels, 2, "field 0", 1, drawn)
    assert two is not None
    assert four is not None
    assert two.by_group is None
    assert two.n_groups == 2
    assert four.by_group is not None
    assert four.n_groups == 4


def test_labels_that_change_nothing_any_more_are_noticed() -> None:
    session, kinds = _session(side=16)
    kind = kinds["field 0"]
    for n in (3, 8, 13, 18):
        found = session.predict({"field 0": _labels(kind, n)}, 2, "field 0", n)
    assert found is not None
    assert found.changed is not None
    assert found.changed < 0.05


def test_wrong_labels_come_first_with_the_class_that_they_should_have() -> None:
    session, kinds = _session(3)
    labels = {key: _labels(kind, 10) for key, kind in kinds.items()}
    assert len(session.label_errors(labels, "field 1")) == 0
    wrong = np.flatnonzero(labels["field 1"] == 0)[[2, 5]]
    labels["field 1"][wrong] = 1
    labels["field 2"][np.flatnonzero(labels["field 2"] == 1)[0]] = 0
    found = session.label_errors(labels, "field 1")
    assert sorted(found.tiles.tolist()) == sorted(wrong.tolist()), "those of another field are shown there"
    assert found.suggested.tolist() == [0, 0]
    assert len(session.label_errors(labels, "field 2")) == 1
    assert (
        len(session.label_errors({"field 1": np.where(labels["field 1"] == 0, -1, labels["field 1"])}, "field 1")) == 0
    )


def test_the_tiles_shown_beside_a_label_are_labelled_and_similar() -> None:
    session, kinds = _session()
    labels = _labels(kinds["field 0"], 10)
    tiles = np.flatnonzero(labels >= 0)[[0, 7]]
    near = session.nearest_labelled("field 0", labels, np.append(tiles, np.flatnonzero(labels < 0)[0]), 5)
    for tile, found in zip(tiles.tolist(), near, strict=False):
        assert len(found) == 5
        assert tile not in found
        assert (labels[found] == labels[tile]).all(), "two kinds that lie apart"
    assert len(near[2]) == 0, "a tile without a label has no place among them"


def test_more_labels_help_little_only_where_neither_the_map_nor_its_accuracy_moves() -> None:
    session, kinds = _session(side=16)
    kind = kinds["field 0"]
    for n in (20, 30, 40):
        labels = _labels(kind, n)
        unknown = session.predict({"field 0": labels}, 2, "field 0", n)
    assert unknown is not None
    assert unknown.changed is not None
    assert not unknown.labels_help_little, "an accuracy that is not known does not stand still"
    for n in (20, 30, 40):
        labels = _labels(kind, n)
        known = session.predict({"field 0": labels}, 2, "field 0", n, {"field 0": np.flatnonzero(labels >= 0).tolist()})
    assert known is not None
    assert [point.n_labels for point in known.curve] == [40, 60, 80]
    assert known.labels_help_little
