"""Figures of a test set: reliability of the confidence, and accuracy per field."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.evaluation.results import class_table, confusion_table
from napari_cellclass.core.stats.calibration import Calibration
from napari_cellclass.core.stats.metrics import EvalReport
from napari_cellclass.report.curves import FigureStyle, render_figure, styled_figure
from napari_cellclass.report.figures import confusion_figure, new_figure, save_with_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# One column of a journal is about 85 mm wide.
COLUMN_INCH = 3.4
MOST_FIELDS = 40
_BLUE = {False: "#0072B2", True: "#56B4E9"}
_LETTERS = 26


def reliability_figure(report: EvalReport) -> Figure:
    """Draw a reliability diagram: the fraction of correct predictions per confidence, and how many tiles there are."""
    figure = new_figure(COLUMN_INCH, 3.7)
    _reliability(figure, report, FigureStyle())
    return figure


def draw_reliability(report: EvalReport, style: FigureStyle) -> NDArray[np.uint8]:
    """Draw :func:`reliability_figure` in a style, as RGBA in device pixels."""
    figure = styled_figure(style)
    figure.set_layout_engine("constrained")
    _reliability(figure, report, style)
    return render_figure(figure)


def _reliability(figure: Figure, report: EvalReport, style: FigureStyle) -> None:
    from matplotlib.colors import to_rgb

    table = pd.DataFrame(report.reliability)
    filled = table[table["n"] > 0]
    lowest = min(1 / len(report.classes), float(filled["lo"].min()))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    width = float(table["hi"].iloc[0] - table["lo"].iloc[0])
    colour = _BLUE[style.on_dark]
    upper.bar(
        filled["lo"],
        filled["accuracy"].astype(float),
        width,
        align="edge",
        fc=(*to_rgb(colour), 0.45),
        ec=colour,
        lw=0.6,
    )
    upper.plot(filled["confidence"].astype(float), filled["accuracy"].astype(float), "o", ms=4, color=colour)
    upper.plot([0, 1], [0, 1], color=style.text, lw=0.9, ls=(0, (4, 3)))
    upper.set_ylim(0, 1.03)
    upper.set_ylabel("fraction correct", fontsize=8)
    upper.set_title(f"ECE {report.ece:.3f}, n = {report.n:,}", fontsize=8, color=style.text)
    lower.bar(filled["lo"], filled["n"], width, align="edge", color=colour, lw=0)
    lower.set_ylabel("tiles", fontsize=8)
    lower.set_xlabel("confidence", fontsize=8)
    lower.set_xlim(np.floor(lowest * 10) / 10, 1.005)
    for axes in (upper, lower):
        _simplify_axes(axes, style)
    lower.yaxis.get_major_locator().set_params(integer=True)
    figure.align_ylabels()


def draw_calibration(calibration: Calibration, style: FigureStyle) -> NDArray[np.uint8]:
    """Draw reliability diagrams before and after temperature scaling, as RGBA in device pixels."""
    figure = styled_figure(style)
    figure.set_layout_engine("constrained")
    draw_before_and_after(figure, calibration, style)
    return render_figure(figure)


def draw_before_and_after(figure: Figure, calibration: Calibration, style: FigureStyle) -> None:
    """Draw :func:`draw_calibration` into a figure: bars of accuracy per confidence, and the diagonal."""
    from matplotlib.colors import to_rgb

    colour = _BLUE[style.on_dark]
    parts = (
        ("before", calibration.reliability_before, calibration.ece_before),
        ("after", calibration.reliability_after, calibration.ece_after),
    )
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, (name, rows, error) in zip(panels, parts, strict=True):
        some = pd.DataFrame([row for row in rows if row["n"]], columns=["lo", "hi", "n", "confidence", "accuracy"])
        axes.bar(
            some["lo"], some["accuracy"].astype(float), some["hi"] - some["lo"], align="edge",
            fc=(*to_rgb(colour), 0.45), ec=colour, lw=0.6,
        )  # fmt: skip
        axes.plot(some["confidence"].astype(float), some["accuracy"].astype(float), "o", ms=4, color=colour)
        axes.plot([0, 1], [0, 1], color=style.text, lw=0.9, ls=(0, (4, 3)))
        axes.set_title(f"{name}: ECE {error:.3f}", fontsize=8, color=style.text)
        axes.set_xlabel("confidence", fontsize=8)
        axes.set_xlim(0, 1.005)
        axes.set_ylim(0, 1.03)
        _simplify_axes(axes, style)
    panels[0].set_ylabel("fraction correct", fontsize=8)


def field_figure(report: EvalReport) -> Figure:
    """Draw the accuracy of each field with its confidence interval, lowest first; of many fields, the forty lowest."""
    rows = min(len(report.fields), MOST_FIELDS)
    figure = new_figure(COLUMN_INCH, 1.0 + 0.17 * rows)
    _fields(figure.subplots(), report, FigureStyle())
    return figure


def draw_fields(report: EvalReport, style: FigureStyle) -> NDArray[np.uint8]:
    """Draw :func:`field_figure` in a style, as RGBA in device pixels."""
    figure = styled_figure(style)
    figure.set_layout_engine("constrained")
    _fields(figure.subplots(), report, style)
    return render_figure(figure)


def fields_height(report: EvalReport) -> int:
    """Return the height in px that :func:`draw_fields` needs."""
    return 84 + 17 * min(len(report.fields), MOST_FIELDS)


def field_table(report: EvalReport) -> pd.DataFrame:
    """Return field, n, accuracy, lo and hi of each field, lowest accuracy first."""
    return pd.DataFrame(report.fields).sort_values(["accuracy", "field"], kind="stable", ignore_index=True)


def _fields(axes: Axes, report: EvalReport, style: FigureStyle) -> None:
    table = field_table(report)
    shown = table.head(MOST_FIELDS)
    value, lo, hi = (shown[name].to_numpy(float) for name in ("accuracy", "lo", "hi"))
    y = np.arange(len(shown))[::-1]
    axes.errorbar(
        value, y, xerr=np.stack([value - lo, hi - value]).clip(0), fmt="o", ms=4, color=_BLUE[style.on_dark],
        ecolor=style.text, elinewidth=0.8, capsize=2,
    )  # fmt: skip
    axes.axvline(report.accuracy.value, color=style.text, lw=0.9, ls=(0, (4, 3)))
    names = [f"{name} ({n})" for name, n in zip(_names(shown["field"].tolist()), shown["n"], strict=True)]
    axes.set_yticks(y, names)
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("accuracy per field (tiles), 95 % confidence interval", fontsize=8)
    note = "" if len(shown) == len(table) else f"\nthe {len(shown)} lowest of {len(table):,} fields"
    axes.set_title(f"all tiles: {report.accuracy.value:.3f}{note}", fontsize=8, color=style.text)
    _simplify_axes(axes, style)


def _names(fields: list[str]) -> list[str]:
    """Shorten paths to file names, with their folder where two names would be the same."""
    last = Counter(PurePath(field).name for field in fields)
    names = ["/".join(PurePath(f).parts[-1 if last[PurePath(f).name] == 1 else -2 :]) for f in fields]
    return [
        name if len(name) <= _LETTERS else f"{name[: _LETTERS // 2]}…{name[-_LETTERS // 2 + 1 :]}" for name in names
    ]


def _simplify_axes(axes: Axes, style: FigureStyle) -> None:
    axes.patch.set_alpha(0)
    axes.tick_params(labelsize=7, width=0.6, colors=style.text)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(style.text)
        spine.set_linewidth(0.6)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(style.text)


def save_evaluation_figures(report: EvalReport, out: Path) -> None:
    """Write ``confusion``, ``reliability`` and ``fields``, each as PNG, SVG and CSV, and ``classes.csv``.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    save_with_table(confusion_figure(report), confusion_table(report), out / "confusion")
    save_with_table(reliability_figure(report), pd.DataFrame(report.reliability), out / "reliability")
    save_with_table(field_figure(report), field_table(report), out / "fields")
    with atomic_write(out / "classes.csv") as temporary:
        table = escape_formulas(class_table(report))
        table.to_csv(temporary, index=False, lineterminator="\n", errors="backslashreplace")
