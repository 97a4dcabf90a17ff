"""Figures of trust: what shortcuts reach beside the network, and what the network stands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_cellclass.core.quality.shortcuts import TITLES
from napari_cellclass.report.figures import PAGE_INCH, new_figure, save_with_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's blue and vermilion.
_NETWORK, _SHORTCUT = "#0072B2", "#D55E00"
_COLUMNS = 3


def shortcut_figure(table: pd.DataFrame, classes: int) -> Figure:
    """Draw balanced accuracies as bars with their 95 % intervals, the network's first, and a line for guessing.

    Parameters
    ----------
    table
        See :func:`~napari_cellclass.core.quality.shortcuts.shortcut_table`.
    classes
        How many classes there are to guess among.
    """
    figure = new_figure(PAGE_INCH * 0.8, shortcut_inches(table))
    axes = figure.subplots()
    place = np.arange(len(table))[::-1]
    value = table["balanced_accuracy"].to_numpy(float)
    colours = [_NETWORK if name == "network" else _SHORTCUT for name in table["name"]]
    axes.barh(place, value, height=0.62, color=colours)
    _whiskers(axes, table, place)
    axes.axvline(1 / classes, color="#202020", lw=1, ls=(0, (3, 3)))
    axes.text(1 / classes, len(table) - 0.42, " guessing", ha="left", va="center", fontsize=7)
    titles = [TITLES.get(name, name) for name in table["name"]]
    axes.set_yticks(place, [f"{title}  {number:.2f}" for title, number in zip(titles, value, strict=True)], fontsize=8)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(-0.6, len(table) - 0.1)
    axes.set_xlabel("balanced accuracy on held-out groups,\n95 % interval", fontsize=8)
    _plain(axes)
    return figure


def _whiskers(axes: Axes, table: pd.DataFrame, place: np.ndarray) -> None:
    value, lo, hi = (table[name].to_numpy(float) for name in ("balanced_accuracy", "lo", "hi"))
    known = np.isfinite(lo) & np.isfinite(hi)
    axes.errorbar(
        value[known], place[known], xerr=np.stack([value - lo, hi - value])[:, known].clip(0), fmt="none",
        ecolor="#202020", elinewidth=1, capsize=3,
    )  # fmt: skip


def stress_figure(table: pd.DataFrame, classes: int) -> Figure:
    """Draw balanced accuracy against the degree of every change, with 95 % intervals as bands.

    Parameters
    ----------
    table
        See :func:`~napari_cellclass.runs.evaluate.trust.measure_robustness`.
    classes
        How many classes there are to guess among.
    """
    names = _names(table)
    clean = float(table.loc[table["perturbation"] == "none", "balanced_accuracy"].iloc[0])
    figure = new_figure(PAGE_INCH, stress_inches(table))
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
        _plain(axes)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("balanced accuracy", fontsize=7)
    return figure


def shortcut_inches(table: pd.DataFrame) -> float:
    """Give the height of :func:`shortcut_figure`."""
    return 0.9 + 0.38 * len(table)


def stress_inches(table: pd.DataFrame) -> float:
    """Give the height of :func:`stress_figure`."""
    return 0.3 + 1.75 * -(-len(_names(table)) // _COLUMNS)


def _names(table: pd.DataFrame) -> list[str]:
    return [name for name in dict.fromkeys(table["perturbation"]) if name != "none"]


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=7, width=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def save_trust(shortcuts: pd.DataFrame | None, stress: pd.DataFrame | None, classes: int, out: Path) -> None:
    """Write ``shortcuts`` and ``stress`` of the tables that there are, each as PNG, SVG, and its numbers as CSV.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    for table, draw, name in ((shortcuts, shortcut_figure, "shortcuts"), (stress, stress_figure, "stress")):
        if table is not None:
            save_with_table(draw(table, classes), table, out / name)
