"""Figures of shortcuts compared with the network, and of the network's robustness to perturbations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_cellclass.core.quality.shortcuts import SHORTCUT_TITLES
from napari_cellclass.report.figures import PAGE_INCH, new_figure, save_with_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's blue and vermilion.
_NETWORK, _SHORTCUT = "#0072B2", "#D55E00"
_COLUMNS = 3


def shortcut_figure(table: pd.DataFrame, classes: int) -> Figure:
    """Draw balanced accuracies as bars with 95 % confidence intervals, the network's first, and the chance level.

    Parameters
    ----------
    table
        See :func:`~napari_cellclass.core.quality.shortcuts.shortcut_table`.
    classes
        Number of classes; the chance level is 1 / classes.
    """
    figure = new_figure(PAGE_INCH * 0.8, shortcut_figure_inches(table))
    axes = figure.subplots()
    y = np.arange(len(table))[::-1]
    value = table["balanced_accuracy"].to_numpy(float)
    colours = [_NETWORK if name == "network" else _SHORTCUT for name in table["name"]]
    axes.barh(y, value, height=0.62, color=colours)
    _whiskers(axes, table, y)
    axes.axvline(1 / classes, color="#202020", lw=1, ls=(0, (3, 3)))
    axes.text(1 / classes, len(table) - 0.42, " chance", ha="left", va="center", fontsize=7)
    titles = [SHORTCUT_TITLES.get(name, name) for name in table["name"]]
    axes.set_yticks(y, [f"{title}  {number:.2f}" for title, number in zip(titles, value, strict=True)], fontsize=8)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(-0.6, len(table) - 0.1)
    axes.set_xlabel("balanced accuracy on held-out groups,\n95 % confidence interval", fontsize=8)
    _simplify_axes(axes)
    return figure


def _whiskers(axes: Axes, table: pd.DataFrame, y: np.ndarray) -> None:
    value, lo, hi = (table[name].to_numpy(float) for name in ("balanced_accuracy", "lo", "hi"))
    known = np.isfinite(lo) & np.isfinite(hi)
    axes.errorbar(
        value[known], y[known], xerr=np.stack([value - lo, hi - value])[:, known].clip(0), fmt="none",
        ecolor="#202020", elinewidth=1, capsize=3,
    )  # fmt: skip


def perturbation_figure(table: pd.DataFrame, classes: int) -> Figure:
    """Draw balanced accuracy against the strength of every perturbation, with 95 % confidence intervals as bands.

    Parameters
    ----------
    table
        See :func:`~napari_cellclass.runs.evaluate.trust.measure_robustness`.
    classes
        Number of classes; the chance level is 1 / classes.
    """
    names = _names(table)
    clean = float(table.loc[table["perturbation"] == "none", "balanced_accuracy"].iloc[0])
    figure = new_figure(PAGE_INCH, perturbation_figure_inches(table))
    grid = figure.subplots(-(-len(names) // _COLUMNS), _COLUMNS, sharey=True, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        part = table[table["perturbation"] == name]
        x = part["level"].to_numpy(float)
        lo, hi = (part[column].to_numpy(float) for column in ("lo", "hi"))
        axes.fill_between(x, lo, hi, where=np.isfinite(lo) & np.isfinite(hi), color=_NETWORK, alpha=0.18, lw=0)
        axes.plot(x, part["balanced_accuracy"], marker="o", markersize=3, lw=1.5, color=_NETWORK)
        axes.axhline(clean, color="#202020", lw=0.8, alpha=0.6)
        axes.axhline(1 / classes, color="#202020", lw=0.8, ls=(0, (3, 3)))
        axes.set_title(name, fontsize=8)
        axes.set_xlabel(str(part["unit"].iloc[0]), fontsize=7)
        axes.set_ylim(-0.03, 1.03)
        _simplify_axes(axes)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("balanced accuracy", fontsize=7)
    return figure


def shortcut_figure_inches(table: pd.DataFrame) -> float:
    """Return the height of :func:`shortcut_figure`, in inches."""
    return 0.9 + 0.38 * len(table)


def perturbation_figure_inches(table: pd.DataFrame) -> float:
    """Return the height of :func:`perturbation_figure`, in inches."""
    return 0.3 + 1.75 * -(-len(_names(table)) // _COLUMNS)


def _names(table: pd.DataFrame) -> list[str]:
    return [name for name in dict.fromkeys(table["perturbation"]) if name != "none"]


def _simplify_axes(axes: Axes) -> None:
    axes.tick_params(labelsize=7, width=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def save_trust(shortcuts: pd.DataFrame | None, stress: pd.DataFrame | None, classes: int, out: Path) -> None:
    """Write ``shortcuts`` and ``stress`` for the tables given, each as PNG, SVG and CSV.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    for table, draw, name in ((shortcuts, shortcut_figure, "shortcuts"), (stress, perturbation_figure, "stress")):
        if table is not None:
            save_with_table(draw(table, classes), table, out / name)
