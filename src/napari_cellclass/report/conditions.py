"""The figure and files of conditions: fields as dots, means of replicates, and their 95 % confidence intervals."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.files import atomic_write, write_text
from napari_cellclass.core.labels.classes import palette
from napari_cellclass.core.plates.condition_results import ConditionResults
from napari_cellclass.core.plates.inputs import CONDITION_FILES, CONDITIONS_FIGURE, CONDITIONS_TABLE, CONDITIONS_TEXT
from napari_cellclass.report.figures import PAGE_INCH, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_PANELS = 12
_PANEL_INCH, _LEGEND_INCH = 2.7, 0.35
_MOST_BESIDE = 5  # conditions of panels that stand beside each other
_MARKERS = "osD^vPX<>"
_SPREAD = 0.28  # half the width of a condition's dots
_LEGEND_COLUMNS, _MAX_LEGEND = 5, 10
_LETTERS = 16  # of a line of a condition's name
_CAPTION = "small dots: fields; large: means of replicates; bars: mean and 95 % confidence interval over replicates"


def conditions_figure(results: ConditionResults, width: float | None = None) -> Figure:
    """Draw a panel per class, the first 12: a SuperPlot of its fraction in each condition.

    Each field is a dot, each replicate a larger one, coloured by replicate; replicates of several conditions are
    joined by a line. The bars are the mean and its 95 % confidence interval over replicates; above a condition stands
    the p-value of its comparison with the control, adjusted for the number of comparisons. See Lord et al., J. Cell
    Biol. 219:e202001064 (2020).

    Parameters
    ----------
    results
        The conditions, one at least.
    width
        In inches; that of a journal page, or less, when not given.
    """
    classes = results.classes[:_MAX_PANELS]
    columns = 1 if len(classes) == 1 or len(results.conditions) > _MOST_BESIDE else 2
    rows = -(-len(classes) // columns)
    names = list(dict.fromkeys(results.replicates["replicate"]))
    page = PAGE_INCH if columns == 2 or len(results.conditions) > _MOST_BESIDE else 0.62 * PAGE_INCH
    width = page if width is None else width
    figure = new_figure(width, conditions_inch(results, width))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(classes) :]:
        axes.set_axis_off()
    styles = {name: (colour, _MARKERS[i % len(_MARKERS)]) for i, (name, colour) in enumerate(
        zip(names, palette(max(1, len(names))), strict=False)
    )}  # fmt: skip
    for axes, name in zip(grid.flat, classes, strict=False):
        _draw(axes, results, name, styles)
    _legend(figure, styles)
    figure.supxlabel("\n".join(_caption_lines(results, width)), fontsize=7)
    return figure


def conditions_inch(results: ConditionResults, width: float = PAGE_INCH) -> float:
    """Return the height of :func:`conditions_figure` of a width, both in inches."""
    classes = min(_MAX_PANELS, len(results.classes))
    columns = 1 if classes == 1 or len(results.conditions) > _MOST_BESIDE else 2
    entries = min(_MAX_LEGEND, results.replicates["replicate"].nunique())
    panels = -(-classes // columns) * _PANEL_INCH
    return panels + _LEGEND_INCH * -(-entries // _LEGEND_COLUMNS) + 0.12 * len(_caption_lines(results, width)) + 0.18


def save_conditions(results: ConditionResults | None, out: Path) -> bool:
    """Write figure, tables and sentences of conditions; without any, what an earlier run left of these is removed.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    if results is None:
        for name in CONDITION_FILES:
            (out / name).unlink(missing_ok=True)
        return False
    figure = conditions_figure(results)
    for suffix in (".png", ".svg"):
        save_figure(figure, (out / CONDITIONS_FIGURE).with_suffix(suffix), dpi=300)
    _write(results.table(), out / CONDITIONS_TABLE)
    _write(results.replicates, out / "conditions_replicates.csv")
    write_text(out / CONDITIONS_TEXT, "".join(f"{text}.\n" for text in results.sentences()))
    return True


def _write(frame: pd.DataFrame, path: Path) -> None:
    with atomic_write(path) as temporary:
        safe = escape_formulas(frame)
        safe.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n", errors="backslashreplace")


def _caption(results: ConditionResults) -> str:
    if all(one.p_holm is None for one in results.tests):
        return _CAPTION
    many = f", adjusted for {results.comparisons} comparisons (Holm)" if results.comparisons > 1 else ""
    return f"{_CAPTION}; p: against {results.control}, on means of replicates{many}"


def _caption_lines(results: ConditionResults, width: float) -> list[str]:
    return textwrap.wrap(_caption(results), round(15 * width))


def _draw(axes: Axes, results: ConditionResults, name: str, styles: dict[str, tuple[str, str]]) -> None:
    column = f"fraction_{name}"
    places = {condition: i for i, condition in enumerate(results.conditions)}
    replicates = results.replicates
    for replicate, (colour, marker) in styles.items():
        fields = results.fields[results.fields["replicate"] == replicate]
        x = np.array([places[one] for one in fields["condition"]], float)
        axes.scatter(
            x + _jitter(len(x)),
            fields[column],
            s=7,
            marker=marker,
            color=colour,
            alpha=0.45,
            linewidths=0,
        )
        means = replicates[replicates["replicate"] == replicate]
        xs = [places[one] + _offset(styles, replicate) for one in means["condition"]]
        order = np.argsort(xs)
        axes.plot(
            np.array(xs)[order], means[column].to_numpy()[order], color="#808080", linewidth=0.7, marker=marker,
            markersize=6, markerfacecolor=colour, markeredgecolor="#000000", markeredgewidth=0.6, zorder=3,
        )  # fmt: skip
    loose = results.fields[results.fields["replicate"] == ""]
    x = np.array([places[one] for one in loose["condition"]], float)
    axes.scatter(x + _jitter(len(x)), loose[column], s=7, color="#808080", alpha=0.45, linewidths=0)
    for condition, place in places.items():
        mean = results.means[condition, name].mean
        axes.plot([place - 0.2, place + 0.2], [mean.value] * 2, color="#000000", linewidth=1.3, zorder=4)
        if mean.lo is not None and mean.hi is not None:
            below, above = mean.value - mean.lo, mean.hi - mean.value
            axes.errorbar(place, mean.value, [[below], [above]], color="#000000", capsize=4, linewidth=1.1, zorder=4)
    _label(axes, results, name)


def _label(axes: Axes, results: ConditionResults, name: str) -> None:
    top = axes.get_ylim()[1]
    top = 1.02 if top > 0.8 else top * 1.1
    axes.set_ylim(-0.02 * top, top)  # dots at 0 are whole
    wrapped = [_wrapped(condition) for condition in results.conditions]
    many = len(wrapped) > _MOST_BESIDE or max(map(len, wrapped)) > 2 * _LETTERS
    axes.set_xticks(
        range(len(wrapped)), wrapped, fontsize=8, rotation=30 if many else 0, ha="right" if many else "center"
    )
    axes.set_xlim(-0.5, len(wrapped) - 0.5)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_ylabel("fraction of tiles", fontsize=8)
    tests = {one.condition: one for one in results.tests if one.class_name == name}
    for place, condition in enumerate(results.conditions):
        value = tests[condition].p_holm if condition in tests else None
        if value is not None:
            text = "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
            axes.text(place, 1.0, text, transform=axes.get_xaxis_transform(), ha="center", va="bottom", fontsize=7)
    axes.set_title(_wrapped(name, 40), fontsize=9, pad=14 if tests else 6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _legend(figure: Figure, styles: dict[str, tuple[str, str]]) -> None:
    from matplotlib.lines import Line2D

    shown = list(styles.items())[:_MAX_LEGEND]
    handles = [
        Line2D([], [], linestyle="", marker=marker, color=colour, markeredgecolor="#000000", label=_wrapped(name))
        for name, (colour, marker) in shown
    ]
    if handles:
        more = len(styles) - len(shown)
        title = "replicate" + (f" (the first {len(shown)} of {len(styles)})" if more else "")
        figure.legend(
            handles=handles, title=title, loc="outside upper center", ncols=min(_LEGEND_COLUMNS, len(handles)),
            fontsize=7, title_fontsize=7, frameon=False,
        )  # fmt: skip


def _jitter(n: int) -> np.ndarray:
    """Spread n dots evenly, in an order that looks random and is the same each time."""
    if n == 0:
        return np.zeros(0)
    return _SPREAD * (2 * ((np.arange(n) * 0.61803398875) % 1.0) - 1)


def _offset(styles: dict[str, tuple[str, str]], replicate: str) -> float:
    """Set the means of replicates beside each other."""
    names = list(styles)
    return 0.0 if len(names) < 2 else 0.3 * (names.index(replicate) / (len(names) - 1) - 0.5)


def _wrapped(text: str, letters: int = _LETTERS) -> str:
    return "\n".join(textwrap.wrap(text, letters, max_lines=3, placeholder="…") or [text])
