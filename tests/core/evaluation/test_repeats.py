from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from napari_cellclass.core.evaluation.repeats import (
    SetPredictions,
    concatenate_predictions,
    epochs_to_reach,
    mean_curve_table,
    mean_interval,
    run_row,
    short_set_names,
    spread_table,
)
from napari_cellclass.core.stats.metrics import evaluate


def answers(name: str = "test", runs: int = 3, seed: int = 0) -> SetPredictions:
    rng = np.random.default_rng(seed)
    truth = np.repeat([0, 1], 12).astype(np.int16)
    prob = rng.dirichlet([1, 1], (runs, 24)).astype(np.float32)
    tiles = pd.DataFrame({"path": ["f.tif"] * 24, "y0": range(24), "x0": 0, "y1": 8, "x1": 8})
    return SetPredictions(
        name, tiles, truth, np.repeat([f"w{i}" for i in range(8)], 3).astype(object), ("a", "b"), prob
    )


def test_the_mean_has_students_interval() -> None:
    values = [0.91, 0.95, 0.93, 0.97, 0.9]
    found = mean_interval(values)
    lo, hi = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (found.value, found.lo, found.hi) == pytest.approx((np.mean(values), lo, hi))
    assert mean_interval([0.5]).lo is None


def test_more_runs_on_the_same_wells_do_not_narrow_the_interval_over_wells() -> None:
    one = answers(runs=1)
    many = SetPredictions(one.name, one.tiles, one.truth, one.groups, one.classes, np.repeat(one.prob, 20, axis=0))
    for end in ("value", "lo", "hi"):
        assert getattr(one.balanced_accuracy(), end) == pytest.approx(getattr(many.balanced_accuracy(), end), abs=1e-6)


def test_tiles_that_flip_are_those_on_which_runs_differ() -> None:
    one = answers()
    table = one.tile_table()
    predicted = table[["run_01", "run_02", "run_03"]]
    assert ((table["flips"] > 0) == (predicted.nunique(axis=1) > 1)).all()
    expected = predicted.eq(table["true_class"], axis=0).mean(axis=1)
    np.testing.assert_allclose(table["fraction_right"], expected)
    classes = np.array(["a", "b"])
    assert predicted["run_02"].tolist() == classes[one.prob[1].argmax(axis=1)].tolist()


def test_the_ensemble_is_the_mean_of_the_runs() -> None:
    one = answers()
    expected = evaluate(one.prob.mean(axis=0), one.truth, one.groups, one.classes)
    assert one.ensemble().balanced_accuracy == expected.balanced_accuracy
    about = {"seed": 0, "model": "m", "train_accuracy": 1, "train_balanced_accuracy": 1, "loss": 0, "val_loss": 0}
    runs = pd.DataFrame([run_row(about | {"run": i}, "test", one.report(prob)) for i, prob in enumerate(one.prob, 1)])
    row = spread_table(runs, [one]).iloc[0]
    assert row["ensemble_balanced_accuracy"] == expected.balanced_accuracy.value
    assert row["mean"] == pytest.approx(row["by_group"])  # every run has the same tiles
    assert row["tiles_that_flip"] == (one.tile_table()["flips"] > 0).sum()


def test_joined_sets_keep_the_wells_of_different_plates_apart() -> None:
    folds = concatenate_predictions([answers(), answers(seed=1)], "both")
    assert (len(folds.truth), len(set(folds.groups))) == (48, 8)
    plates = concatenate_predictions([answers("p1"), answers("p2")], "both")
    assert len(set(plates.groups)) == 16
    assert plates.prob.shape == (3, 48, 2)


def test_tiles_without_finite_pixels_count_as_no_prediction() -> None:
    one = answers()
    prob = one.prob.copy()
    prob[:, 5] = np.nan
    some = SetPredictions(one.name, one.tiles, one.truth, one.groups, one.classes, prob)
    assert some.tile_table().loc[5, ["run_01", "flips"]].tolist() == ["", 0]
    kept = np.arange(24) != 5
    rest = SetPredictions(one.name, one.tiles[kept], one.truth[kept], one.groups[kept], one.classes, one.prob[:, kept])
    assert some.balanced_accuracy() == rest.balanced_accuracy()


def test_the_mean_curve_is_that_of_the_runs_and_its_band_holds_it() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"run": run, "epoch": epoch, **dict.fromkeys(("loss", "val_loss", "accuracy", "val_accuracy"), rng.random())}
        for run in (1, 2, 3)
        for epoch in range(1, 21)
    ]
    histories = pd.DataFrame(rows)
    table = mean_curve_table(histories)
    mean = table[table["series"] == "accuracy"].set_index("epoch")
    np.testing.assert_allclose(mean["mean"], histories.groupby("epoch")["accuracy"].mean())
    assert (mean["runs"] == 3).all()
    assert ((mean["lo"] <= mean["smooth"]) & (mean["smooth"] <= mean["hi"])).all()
    assert np.diff(mean["smooth"]).std() < np.diff(mean["mean"]).std()


def test_the_first_epoch_of_an_accuracy_is_found_for_every_run() -> None:
    frame = pd.DataFrame(
        {"run": [1, 1, 1, 2, 2, 2], "epoch": [1, 2, 3] * 2, "accuracy": [0.5, 0.9, 0.8, 0.1, 0.2, 0.3]}
    )
    found = epochs_to_reach(frame, 0.8)
    assert found[1] == 2
    assert np.isnan(found[2])


def test_test_sets_are_named_shortly_where_that_distinguishes_them() -> None:
    paths = [Path("plates/monday"), Path("a/day"), Path("b/day"), Path("x/validation"), Path("tiles.csv")]
    assert short_set_names(paths) == [
        "monday",
        str(Path("a/day")),
        str(Path("b/day")),
        str(Path("x/validation")),
        "tiles",
    ]
