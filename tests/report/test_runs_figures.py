from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image

from napari_cellclass.core.common.errors import OutputError
from napari_cellclass.core.evaluation.repeats import mean_curve_table, mean_interval
from napari_cellclass.report.curves import FigureStyle
from napari_cellclass.report.runs_figures import (
    box_plot_figure,
    draw_saved_runs,
    experiment_figure,
    run_curves_figure,
    save_run_figures,
)


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(0)
    runs = pd.DataFrame({"run": np.tile(np.arange(1, 7), 2), "test": np.repeat(["validation", "other plate"], 6)})
    runs["balanced_accuracy"] = rng.uniform(0.7, 1, 12)
    runs["train_balanced_accuracy"] = np.tile(rng.uniform(0.9, 1, 6), 2)
    rows = []
    for name, part in runs.groupby("test", sort=False):
        mean = mean_interval(part["balanced_accuracy"])
        rows.append({"test": name, "mean": mean.value, "lo": mean.lo, "hi": mean.hi})
    epochs = pd.DataFrame([(run, epoch) for run in range(1, 7) for epoch in range(1, 10)], columns=["run", "epoch"])
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        epochs[name] = rng.uniform(0.4, 1, len(epochs))
    points = pd.DataFrame({"tiles": [10, 20, 40], "balanced_accuracy": [0.6, 0.7, 0.8]})
    curve = pd.DataFrame(
        {"tiles": [10.0, 40, 80], "accuracy": [0.6, 0.8, 0.85], "lo": [0.5, 0.7, 0.7], "hi": [0.7, 0.9, 1]}
    )
    found = {"runs": runs, "spread": pd.DataFrame(rows), "histories": epochs, "curves": mean_curve_table(epochs)}
    return found | {
        "null_histories": epochs, "null_curves": found["curves"], "learning_points": points, "learning_curve": curve,
    }  # fmt: skip


def test_every_run_is_a_point_at_its_value_and_the_mean_has_its_interval(
    tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    runs, spread = written(tables["runs"], tmp_path), written(tables["spread"], tmp_path)
    axes = box_plot_figure(runs, spread).axes[0]
    points = [line.get_ydata() for line in axes.lines if line.get_marker() == "o"]
    for drawn, name in zip(points[:-1], spread["test"], strict=True):
        np.testing.assert_array_equal(drawn, runs.loc[runs["test"] == name, "balanced_accuracy"])
    np.testing.assert_array_equal(points[-1], runs["train_balanced_accuracy"][:6])
    (means,) = [line.get_ydata() for line in axes.lines if line.get_marker() == "D"]
    np.testing.assert_array_equal(means, spread["mean"])
    bars = np.array([segment[:, 1] for segment in axes.collections[0].get_segments()])
    np.testing.assert_allclose(bars, spread[["lo", "hi"]].to_numpy())


def written(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The table as its CSV holds it."""
    table.to_csv(folder / "t.csv", index=False)
    return pd.read_csv(folder / "t.csv")


def test_every_run_is_a_thin_curve_and_the_smooth_mean_a_thick_one_with_its_band(
    tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    histories, curves = written(tables["histories"], tmp_path), written(tables["curves"], tmp_path)
    axes = run_curves_figure(histories, curves).axes[0]
    thick = [line for line in axes.lines if line.get_linewidth() > 1]
    thin = [line for line in axes.lines if line.get_linewidth() < 1]
    assert [line.get_label() for line in thick] == ["training", "validation"]
    for line, band, series in zip(thick, axes.collections, ("accuracy", "val_accuracy"), strict=True):
        rows = curves[curves["series"] == series]
        np.testing.assert_array_equal(line.get_ydata(), rows["smooth"])
        corners = band.get_paths()[0].vertices[:, 1]
        assert corners.min() == pytest.approx(rows["lo"].clip(0, 1).min())
        assert corners.max() == pytest.approx(rows["hi"].clip(0, 1).max())
    assert len(thin) == 12
    np.testing.assert_array_equal(thin[0].get_ydata(), histories.loc[histories["run"] == 1, "accuracy"])


def test_an_experiment_has_a_panel_for_what_was_made_and_draws_its_tables(tables: dict[str, pd.DataFrame]) -> None:
    figure = experiment_figure(tables, "plate: learned", 0.5)
    assert len(figure.axes) == 4
    curve, points = figure.axes[3].lines[:2]
    np.testing.assert_array_equal(curve.get_ydata(), tables["learning_curve"]["accuracy"])
    np.testing.assert_array_equal(points.get_ydata(), tables["learning_points"]["balanced_accuracy"])
    few = {name: tables[name] for name in ("runs", "spread", "histories", "curves")}
    assert len(experiment_figure(few, "plate: learned", 0.5).axes) == 2


def test_figures_have_a_journals_width_and_letters_that_can_be_read(
    tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    save_run_figures(tables, {name: tmp_path / f"m_{name}.csv" for name in tables})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "m_curves.png",
        "m_curves.svg",
        "m_runs.png",
        "m_runs.svg",
    ]
    for name in ("m_runs", "m_curves"):
        assert Image.open(tmp_path / f"{name}.png").width == pytest.approx(85 / 25.4 * 300, abs=2)
        assert (tmp_path / f"{name}.svg").read_text().lstrip().startswith("<?xml")
    figures = [box_plot_figure(tables["runs"], tables["spread"]), experiment_figure(tables, "plate: learned", 0.5)]
    assert figures[1].get_size_inches()[0] == pytest.approx(180 / 25.4)
    for figure in figures:
        figure.canvas.draw()
        sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text().strip()]
        assert min(sizes) >= 6


@pytest.mark.parametrize("name", ["runs", "curves", "shuffled"])
@pytest.mark.parametrize("text", ["#F0F0F0", "#101010"])
def test_a_finished_experiment_is_drawn_in_the_colours_of_the_window(
    tables: dict[str, pd.DataFrame], tmp_path: Path, name: str, text: str
) -> None:
    for one in ("runs", "spread", "histories", "curves", "null_histories", "null_curves"):
        tables[one].to_csv(tmp_path / f"{one}.csv", index=False)
    pixels = draw_saved_runs(tmp_path, name, FigureStyle(400, 300, 1.5, text))
    assert pixels.shape == (450, 600, 4)
    assert pixels[0, 0, 3] == 0, "no white page"
    seen = pixels[pixels[..., 3] == 255][:, :3]
    assert (np.abs(seen.astype(int) - int(text[1:3], 16)).max(axis=1) < 8).sum() > 50, "letters and axes"


def test_a_missing_table_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot draw runs from the tables in"):
        draw_saved_runs(tmp_path, "runs", FigureStyle())
