from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_cellclass.core.stats.metrics import EvalReport, evaluate
from napari_cellclass.report.curves import FigureStyle
from napari_cellclass.report.evaluation_figures import (
    MOST_FIELDS,
    draw_fields,
    draw_reliability,
    field_figure,
    fields_height,
    reliability_figure,
    save_evaluation_figures,
)


def report(fields: int = 6) -> EvalReport:
    rng = np.random.default_rng(0)
    n = 12 * fields
    truth = rng.integers(0, 3, n)
    prob = rng.dirichlet([0.5] * 3, n)
    prob[np.arange(n), truth] += 1.0
    prob /= prob.sum(axis=1, keepdims=True)
    names = [f"/plate/day{i % fields % 2}/well{i % fields // 2}.tif" for i in range(n)]
    return evaluate(prob, truth, names, ["a", "b", "c"])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("figures")
    save_evaluation_figures(report(), out)
    return out


def test_each_figure_lies_beside_its_table(written: Path) -> None:
    names = {f"{name}.{end}" for name in ("confusion", "reliability", "fields") for end in ("png", "svg", "csv")}
    assert {path.name for path in written.iterdir()} == names | {"classes.csv"}


def test_the_reliability_diagram_is_drawn_through_its_table(written: Path) -> None:
    table = pd.read_csv(written / "reliability.csv")
    some = table[table["n"] > 0]
    upper, lower = reliability_figure(report()).axes
    dots = upper.lines[0]
    np.testing.assert_allclose(dots.get_xdata(), some["confidence"])
    np.testing.assert_allclose(dots.get_ydata(), some["accuracy"])
    np.testing.assert_allclose([bar.get_height() for bar in upper.patches], some["accuracy"])
    assert [bar.get_height() for bar in lower.patches] == some["n"].tolist()
    error = (some["n"] * (some["accuracy"] - some["confidence"]).abs()).sum() / some["n"].sum()
    assert upper.get_title() == f"ECE {error:.3f}, n = {some['n'].sum()}"


def test_the_fields_are_drawn_as_in_their_table_lowest_first_and_names_that_are_alike_with_their_folder(
    written: Path,
) -> None:
    table = pd.read_csv(written / "fields.csv")
    axes = field_figure(report()).axes[0]
    dots = axes.lines[0]
    np.testing.assert_allclose(dots.get_xdata(), table["accuracy"])
    assert (np.diff(dots.get_ydata()) < 0).all()
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [f"{row.field.removeprefix('/plate/')} ({row.n})" for row in table.itertuples()]


def test_of_many_fields_the_lowest_are_drawn_and_it_is_said() -> None:
    many = report(fields=2 * MOST_FIELDS)
    axes = field_figure(many).axes[0]
    assert len(axes.lines[0].get_xdata()) == MOST_FIELDS
    assert f"the {MOST_FIELDS} lowest of {2 * MOST_FIELDS} fields" in axes.get_title()
    assert max(axes.lines[0].get_xdata()) <= sorted(row["accuracy"] for row in many.fields)[MOST_FIELDS]


def test_the_confusion_matrix_and_the_classes_are_those_of_the_report(written: Path) -> None:
    found = report()
    table = pd.read_csv(written / "confusion.csv")
    assert table["truth"].tolist() == list(found.classes)
    assert table[list(found.classes)].to_numpy().tolist() == [list(row) for row in found.confusion]
    classes = pd.read_csv(written / "classes.csv")
    for row, expected in zip(classes.to_dict("records"), found.per_class, strict=True):
        assert row["recall"] == pytest.approx(expected["recall"])
        assert [row["recall_lo"], row["recall_hi"]] == pytest.approx(expected["recall_interval"])


def test_figures_for_docks_have_the_size_that_was_asked_for_and_a_clear_ground() -> None:
    found = report()
    for draw, height in ((draw_reliability, 330), (draw_fields, fields_height(found))):
        picture = draw(found, FigureStyle(320, height, 2.0, "#F0F0F0"))
        assert picture.shape == (2 * height, 640, 4)
        assert picture[0, 0, 3] == 0
