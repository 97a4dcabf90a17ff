"""Figures of repeated runs and experiments at journal width, each with its table beside it as CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import OutputError
from napari_cellclass.report.curves import FigureStyle, render_figure
from napari_cellclass.report.figures import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN_INCH, PAGE_INCH = 85 / 25.4, 180 / 25.4
_DPI, _SCREEN_DPI = 300, 110
_TEXT = 7  # points
_DARK = "#202020"
# Okabe & Ito: training blue, held-out vermilion, shuffled labels grey, means of runs black.
_TRAINING, _HELD_OUT, _SHUFFLED, _FIT = "#0072B2", "#D55E00", "#7F7F7F", "#009E73"
_JITTER = 0.16


def box_plot_figure(runs: pd.DataFrame, spread: pd.DataFrame) -> Figure:
    """Draw a box plot per test set of the runs' balanced accuracies, with their points and mean.

    The mean has its confidence interval. Beside them, in another colour, the same of the training tiles.

    Parameters
    ----------
    runs, spread
        The tables ``_runs.csv`` and ``_spread.csv``, see :mod:`napari_cellclass.core.evaluation.repeats`.
    """
    wide = len(spread) > 4
    figure = new_figure(PAGE_INCH if wide else COLUMN_INCH, 2.6)
    draw_boxes(figure.subplots(), runs, spread)
    return figure


def draw_boxes(axes: Axes, runs: pd.DataFrame, spread: pd.DataFrame, chance: float | None = None) -> None:
    """Draw :func:`box_plot_figure` into a panel, with a line at chance level where that is known."""
    names = spread["test"].tolist()
    values = [runs.loc[runs["test"] == name, "balanced_accuracy"].to_numpy(float) for name in names]
    values.append(runs.drop_duplicates("run")["train_balanced_accuracy"].to_numpy(float))
    positions = [*range(len(names)), -1]
    axes.boxplot(
        values, positions=positions, widths=0.5, showfliers=False,
        medianprops={"color": _DARK, "lw": 1.0}, boxprops={"lw": 0.7}, whiskerprops={"lw": 0.7}, capprops={"lw": 0.7},
    )  # fmt: skip
    # Spread evenly rather than at random, so that the same runs give the same figure.
    for x, found in zip(positions, values, strict=True):
        offset = _JITTER * (np.arange(len(found)) * 0.618 % 1 * 2 - 1)
        axes.plot(x + offset, found, "o", ms=2.8, mew=0, color=_TRAINING if x < 0 else _HELD_OUT, alpha=0.75)
    mean, lo, hi = (spread[name].to_numpy(float) for name in ("mean", "lo", "hi"))
    axes.errorbar(
        np.arange(len(names)) + 0.38, mean, yerr=np.nan_to_num(np.stack([mean - lo, hi - mean])).clip(0), fmt="D",
        ms=3, color=_DARK, elinewidth=0.9, capsize=2,
    )  # fmt: skip
    if chance is not None:
        _draw_chance(axes, chance, "left")
    axes.set_xlim(-1.6, len(names) - 0.3)
    crowded = len(positions) > 2
    axes.set_xticks(positions, [*(_shortened(name) for name in names), "training"], fontsize=_TEXT)
    for label in axes.get_xticklabels():
        label.set(rotation=30 * crowded, ha="right" if crowded else "center")
    axes.set_ylim(-0.02, 1.04)
    axes.set_ylabel("balanced accuracy", fontsize=_TEXT)
    axes.set_xlabel("a point per run; \N{BLACK DIAMOND} mean over seeds, 95 % CI", fontsize=_TEXT)
    _simplify_axes(axes)


def run_curves_figure(histories: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Draw training and validation accuracy of all runs as thin lines, and their smoothed means with bands.

    Parameters
    ----------
    histories, curves
        The tables ``_histories.csv`` and ``_curves.csv``, see
        :func:`~napari_cellclass.core.evaluation.repeats.mean_curve_table`.
    """
    figure = new_figure(COLUMN_INCH, 2.6)
    draw_accuracies(figure.subplots(), histories, curves)
    return figure


def draw_accuracies(axes: Axes, histories: pd.DataFrame, curves: pd.DataFrame) -> None:
    """Draw :func:`run_curves_figure` into a panel."""
    for series, label, colour in (("accuracy", "training", _TRAINING), ("val_accuracy", "validation", _HELD_OUT)):
        _draw_series(axes, histories, curves, series, label, colour)
    _finish_curves(axes, "accuracy")


def draw_shuffled_labels(axes: Axes, shown: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]) -> None:
    """Draw training accuracies with ``"true"`` and ``"shuffled"`` labels, each of histories and curves."""
    for name, colour in (("true", _TRAINING), ("shuffled", _SHUFFLED)):
        _draw_series(axes, *shown[name], "accuracy", f"{name} labels", colour)
    _finish_curves(axes, "training accuracy")


def shuffled_labels_figure(
    histories: pd.DataFrame, curves: pd.DataFrame, null_histories: pd.DataFrame, null_curves: pd.DataFrame
) -> Figure:
    """Draw :func:`draw_shuffled_labels` as a figure, from the tables of true labels and of shuffled ones."""
    figure = new_figure(COLUMN_INCH, 2.6)
    shown = {"true": (histories, curves), "shuffled": (null_histories, null_curves)}
    draw_shuffled_labels(figure.subplots(), shown)
    return figure


_SAVED: Mapping[str, tuple[Callable[..., Figure], tuple[str, ...]]] = {
    "runs": (box_plot_figure, ("runs", "spread")),
    "curves": (run_curves_figure, ("histories", "curves")),
    "shuffled": (shuffled_labels_figure, ("histories", "curves", "null_histories", "null_curves")),
}


def _draw_series(
    axes: Axes, histories: pd.DataFrame, curves: pd.DataFrame, series: str, label: str, colour: str
) -> None:
    for _, run in histories.groupby("run"):
        axes.plot(run["epoch"], run[series], lw=0.4, color=colour, alpha=0.35)
    mean = curves[curves["series"] == series]
    axes.fill_between(mean["epoch"], mean["lo"].clip(0, 1), mean["hi"].clip(0, 1), color=colour, alpha=0.2, lw=0)
    axes.plot(mean["epoch"], mean["smooth"], lw=1.6, color=colour, label=label)


def _finish_curves(axes: Axes, what: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_ylim(-0.02, 1.04)
    axes.set_xlabel("epoch", fontsize=_TEXT)
    axes.set_ylabel(what, fontsize=_TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=_TEXT, frameon=False, loc="lower right")
    _simplify_axes(axes)


def draw_learning_curve(axes: Axes, points: pd.DataFrame, curve: pd.DataFrame | None, chance: float) -> None:
    """Draw held-out accuracy against the number of training tiles, with the fitted curve and its band.

    Parameters
    ----------
    axes
        The panel.
    points
        Columns tiles, balanced_accuracy; a row per training.
    curve
        Columns tiles, accuracy, lo, hi; None where there is no fit.
    chance
        Balanced accuracy at chance level.
    """
    if curve is not None:
        axes.fill_between(curve["tiles"], curve["lo"].clip(0, 1), curve["hi"].clip(0, 1), color=_FIT, alpha=0.2, lw=0)
        axes.plot(curve["tiles"], curve["accuracy"], lw=1.4, color=_FIT)
    axes.plot(points["tiles"], points["balanced_accuracy"], "o", ms=2.8, mew=0, color=_HELD_OUT, alpha=0.75)
    _draw_chance(axes, chance)
    axes.set_xscale("log")
    axes.set_ylim(-0.02, 1.04)
    shown = np.unique(points["tiles"].to_numpy(int))
    axes.set_xticks(shown, [f"{n:,}" for n in shown], fontsize=_TEXT)
    axes.minorticks_off()
    axes.set_xlabel("training tiles", fontsize=_TEXT)
    axes.set_ylabel("held-out balanced accuracy", fontsize=_TEXT)
    _simplify_axes(axes)


def experiment_figure(tables: Mapping[str, pd.DataFrame], title: str, chance: float) -> Figure:
    """Draw an experiment on one page: runs, curves and, where trained, shuffled labels and the learning curve.

    Parameters
    ----------
    tables
        By the names of their CSV files: runs, spread, histories, curves and, optionally, null_histories,
        null_curves, learning_points and learning_curve.
    title
        Title of the page.
    chance
        Balanced accuracy at chance level.
    """
    null, points = "null_curves" in tables, "learning_points" in tables
    panels = 2 + null + points
    figure = new_figure(PAGE_INCH, 2.3 if panels > 2 else 2.8)
    figure.suptitle(title, fontsize=_TEXT + 2, x=0.01, ha="left")
    grid = iter(figure.subplots(1, panels, squeeze=False)[0])
    draw_boxes(next(grid), tables["runs"], tables["spread"], chance)
    draw_accuracies(next(grid), tables["histories"], tables["curves"])
    if null:
        pair = {"true": (tables["histories"], tables["curves"])}
        draw_shuffled_labels(next(grid), pair | {"shuffled": (tables["null_histories"], tables["null_curves"])})
    if points:
        draw_learning_curve(next(grid), tables["learning_points"], tables.get("learning_curve"), chance)
    return figure


def save_run_figures(tables: Mapping[str, pd.DataFrame], paths: Mapping[str, Path]) -> None:
    """Write the figures of repeated runs as PNG and SVG beside their tables.

    Parameters
    ----------
    tables
        With runs, spread, histories and curves.
    paths
        The CSV files of the same names; the figures take the names of runs and curves.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    save_png_and_svg(box_plot_figure(tables["runs"], tables["spread"]), paths["runs"])
    save_png_and_svg(run_curves_figure(tables["histories"], tables["curves"]), paths["curves"])


def draw_saved_runs(folder: Path, name: str, style: FigureStyle) -> NDArray[np.uint8]:
    """Draw a figure of a finished experiment from its tables, as RGBA in device pixels.

    Parameters
    ----------
    folder
        Where the experiment was written to.
    name
        ``"runs"`` for :func:`box_plot_figure`, ``"curves"`` for :func:`run_curves_figure`, ``"shuffled"`` for
        :func:`shuffled_labels_figure`.
    style
        Size and colours.

    Raises
    ------
    OutputError
        A table is missing or damaged.
    """
    draw, names = _SAVED[name]
    try:
        figure = draw(*(pd.read_csv(folder / f"{one}.csv", keep_default_na=False, na_values=[""]) for one in names))
    except (OSError, ValueError, KeyError) as error:
        raise OutputError(f"cannot draw {name} from the tables in {folder}: {error}") from error
    figure.set_size_inches(style.width / _SCREEN_DPI, style.height / _SCREEN_DPI)
    figure.set_dpi(_SCREEN_DPI * style.ratio)
    _recolour(figure, style)
    return render_figure(figure)


def _recolour(figure: Figure, style: FigureStyle) -> None:
    """Give a figure the text colour of a style and a transparent background, with lighter lines on a dark one."""
    from matplotlib.lines import Line2D
    from matplotlib.text import Text

    figure.patch.set_alpha(0)
    for text in figure.findobj(Text):
        text.set_color(style.text)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
        axes.tick_params(colors=style.text)
        for spine in axes.spines.values():
            spine.set_color(style.text)
    lighter = {_TRAINING: "#56B4E9", _HELD_OUT: "#E69F00"} if style.on_dark else {}
    for line in figure.findobj(Line2D):
        colour = str(line.get_color())
        line.set_color(style.text if colour in (_DARK, "black", "k") else lighter.get(colour, colour))


def save_png_and_svg(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and as SVG, in place of the suffix of ``path``."""
    for suffix in (".png", ".svg"):
        save_figure(figure, path.with_suffix(suffix), dpi=_DPI)


def _draw_chance(axes: Axes, chance: float, side: Literal["left", "right"] = "right") -> None:
    axes.axhline(chance, color=_DARK, lw=0.7, ls=(0, (3, 3)))
    position = (0.01 if side == "left" else 1, chance)
    axes.annotate(
        "chance", position, xycoords=("axes fraction", "data"), ha=side, va="bottom", fontsize=6, color=_DARK,
    )  # fmt: skip


def _shortened(name: str) -> str:
    return name if len(name) <= 18 else "…" + name[-17:]


def _simplify_axes(axes: Axes) -> None:
    axes.tick_params(labelsize=_TEXT, width=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_linewidth(0.6)
