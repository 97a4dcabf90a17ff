"""Figures for files and docks, without a window: matplotlib's Agg canvas, never pyplot's state."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.classes import UNLIKE_NAME
from napari_cellclass.core.predictions.table import TileTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_cellclass.core.stats.metrics import EvalReport

# One journal page is about 180 mm wide.
PAGE_INCH = 7.1
_MAX_SHOWN_PX = 2000
_DOCK_DPI = 85
_MOST_PATHS = 4000  # more tiles would make a file that no program opens in time


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of a size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path, dpi: int = 150, background: str = "white") -> None:
    """Write a figure on a background, white when not given; the suffix chooses PNG, SVG or PDF.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    with atomic_write(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a class in a script without a font here
        figure.savefig(temporary, dpi=dpi, format=path.suffix.lstrip(".") or "png", facecolor=background)


def thumbnail(source: SourceImage, longest: int = _MAX_SHOWN_PX) -> tuple[NDArray[Any], int]:
    """Return every n-th pixel of a field as uint8 (Y, X) or (Y, X, 3), and n.

    Grey values are stretched from the 0.5th to the 99.8th percentile of each channel. Two channels are
    shown magenta and green, more as red, green and blue.
    """
    pixels, step = read_thinned(source, longest)
    return shown_pixels(pixels, None if source.rgb else grey_limits(pixels)), step


def read_thinned(source: SourceImage, longest: int = _MAX_SHOWN_PX) -> tuple[NDArray[np.float32], int]:
    """Return every n-th pixel of a field as float32 (Y, X, C) without NaN and infinity, and n."""
    step = max(1, -(-max(source.shape) // longest))
    rows = [source.read(y, 0, y + 1, source.shape[1])[:, ::step] for y in range(0, source.shape[0], step)]
    pixels = np.concatenate(rows).astype(np.float32)
    return np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0), step


def grey_limits(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the grey values that are shown black and white: percentiles 0.5 and 99.8 of (..., C), as (2, C)."""
    return np.percentile(pixels.reshape(-1, pixels.shape[-1]), [0.5, 99.8], axis=0)


def shown_pixels(pixels: NDArray[np.float32], limits: NDArray[np.float64] | None) -> NDArray[np.uint8]:
    """Return pixels (Y, X, C) as uint8 (Y, X) or (Y, X, 3), stretched over grey values (2, C); None leaves them."""
    if limits is not None:
        low, high = limits
        pixels = 255 * np.clip((pixels - low) / np.maximum(high - low, 1e-9), 0, 1)
    found = pixels.astype(np.uint8)
    if found.shape[2] == 1:
        return found[..., 0]
    if found.shape[2] == 2:
        return found[..., [0, 1, 0]]
    return found[..., :3]


def render_for_dock(figure: Figure, width: int, text: str, ratio: float = 1.0) -> NDArray[np.uint8]:
    """Draw a figure that is made for a file, laid out again to be ``width`` px wide, on a transparent background.

    Parameters
    ----------
    figure
        The figure; its colours are changed.
    width
        In px of the window.
    text
        Colour of what is black or grey in the file: text, axes, lines; ``"#RRGGBB"``.
    ratio
        Device pixels per px of the window.

    Returns
    -------
    ndarray of uint8, shape (height, width, 4)
        RGBA in device pixels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    _recolour(figure, text)
    figure.set_size_inches(width / _DOCK_DPI, figure.get_figheight())
    figure.set_dpi(ratio * _DOCK_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba(), np.uint8)


def _recolour(figure: Figure, text: str) -> None:
    """Make backgrounds transparent, and what is dark and without hue of another colour."""
    from matplotlib.collections import LineCollection
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D
    from matplotlib.spines import Spine
    from matplotlib.text import Text

    figure.patch.set_alpha(0.0)
    for axes in figure.axes:
        axes.patch.set_alpha(0.0)
        axes.tick_params(which="both", color=text, labelcolor=text)
    found: list[Any] = figure.findobj(lambda one: isinstance(one, Text | Line2D | Spine | Legend))
    for artist in found:
        if isinstance(artist, Legend):
            artist.get_frame().set_alpha(0.0)
        elif _is_dark_grey(artist.get_edgecolor() if isinstance(artist, Spine) else artist.get_color()):
            artist.set_color(text)
        edge = artist.get_markeredgecolor() if isinstance(artist, Line2D) else "none"
        if str(edge) != "none" and _is_dark_grey(edge):  # the caps of error bars are markers
            artist.set_markeredgecolor(text)
    drawn: list[Any] = figure.findobj(LineCollection)
    for lines in drawn:
        lines.set_color([text if _is_dark_grey(colour) else colour for colour in lines.get_color()])


def _is_dark_grey(colour: Any) -> bool:
    from matplotlib.colors import to_rgb

    channels = to_rgb(colour)
    return max(channels) - min(channels) < 0.08 and max(channels) < 0.67


def height_in_dock(inches: float) -> int:
    """Return the height in px of the window that :func:`render_for_dock` gives a figure of a height in inches."""
    return round(_DOCK_DPI * inches)


def inches_in_dock(width: int) -> float:
    """Return the width in inches of a figure that :func:`render_for_dock` makes ``width`` px of the window wide."""
    return width / _DOCK_DPI


def save_with_table(figure: Figure, table: pd.DataFrame, stem: Path) -> None:
    """Write a figure as ``STEM.png`` and ``STEM.svg``, and its numbers as ``STEM.csv``.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    for suffix in (".png", ".svg"):
        save_figure(figure, stem.with_name(stem.name + suffix), dpi=300)
    with atomic_write(stem.with_name(stem.name + ".csv")) as temporary:
        escape_formulas(table).to_csv(temporary, index=False, lineterminator="\n", errors="backslashreplace")


def overlay_figure(
    source: SourceImage,
    table: TileTable,
    visible: NDArray[np.bool_] | None = None,
    min_confidence: float = 0.0,
) -> Figure:
    """Draw a field with its tiles coloured by class, and a legend with counts.

    Parameters
    ----------
    source, table
        The field and its predictions.
    visible
        bool, shape (K,): classes to draw; all when None.
    min_confidence
        Tiles below it are drawn grey.
    """
    height, width = source.shape
    map_inch = min(5.6, 5.6 * width / height)
    figure = new_figure(map_inch + 1.5, max(2.2, map_inch * height / width + 0.2))
    axes = figure.subplots()
    picture, _ = thumbnail(source)
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="nearest")
    draw_tiles(axes, table, visible, min_confidence)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.set_axis_off()
    _legend(figure, table, visible, min_confidence)
    return figure


def draw_tiles(
    axes: Axes,
    table: TileTable,
    visible: NDArray[np.bool_] | None,
    min_confidence: float,
    opacity: float = 0.38,
    line_width: float = 0.6,
) -> None:
    """Draw tiles in the colours of their classes; see :func:`overlay_figure`. Many are pixels, also in an SVG."""
    from matplotlib.collections import PolyCollection

    index, k = table.class_or_unsure_index.astype(int), len(table.scheme)
    confident = np.nan_to_num(table.confidence, nan=-1.0) >= min_confidence
    index = np.where(confident, index, -1)
    shown = np.ones(len(table), bool) if visible is None else np.append(visible, (True, True))[index]
    index = np.where(table.unlike_training, k + 1, index)
    colours = np.array([table.scheme.rgb(i) for i in (*range(k + 2), -1)]) / 255
    rgba = np.column_stack([colours[index], np.full(len(index), opacity)])[shown]
    edge = np.column_stack([colours[index], np.full(len(index), 0.9)])[shown]
    corners = table.grid.rects()[shown][..., ::-1]
    axes.add_collection(
        PolyCollection(
            list(corners), facecolors=rgba, edgecolors=edge if line_width else "none", linewidths=line_width,
            rasterized=len(corners) > _MOST_PATHS,
        )
    )  # fmt: skip


def _legend(figure: Figure, table: TileTable, visible: NDArray[np.bool_] | None, min_confidence: float) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(color=colour, label=f"{name}\n{tiles} ({fraction:.0%})")
        for name, colour, tiles, fraction in legend_rows(table, visible, min_confidence)
    ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)


def legend_rows(
    table: TileTable, visible: NDArray[np.bool_] | None, min_confidence: float
) -> list[tuple[str, tuple[float, float, float], int, float]]:
    """List what a legend names: class, colour (0..1), tiles and their fraction; other tiles where there are any."""
    counts = table.counts(min_confidence)
    rows = []
    for i, (name, tiles, fraction) in enumerate(counts[["class_name", "tiles", "fraction"]].itertuples(index=False)):
        classified = i < len(table.scheme)
        if (classified and visible is not None and not visible[i]) or (not classified and tiles == 0):
            continue
        red, green, blue = (v / 255 for v in table.scheme.rgb(-1 if i == len(counts) - 1 else i))
        rows.append((str(name), (red, green, blue), int(tiles), float(fraction)))
    if unlike := int(table.unlike_training.sum()):
        red, green, blue = (v / 255 for v in table.scheme.rgb(len(table.scheme) + 1))
        rows.append((UNLIKE_NAME, (red, green, blue), unlike, unlike / len(table)))
    return rows


def save_overlay(
    source: SourceImage,
    table: TileTable,
    path: Path,
    visible: NDArray[np.bool_] | None = None,
    min_confidence: float = 0.0,
) -> None:
    """Write :func:`overlay_figure` as an image; the suffix chooses PNG, SVG or PDF."""
    save_figure(overlay_figure(source, table, visible, min_confidence), path, dpi=200)


def confusion_figure(report: EvalReport) -> Figure:
    """Draw a confusion matrix, rows the ground truth, with counts and fractions of each row."""
    counts = np.array(report.confusion)
    k = len(report.classes)
    side = min(PAGE_INCH, 2.6 + 0.55 * k)
    figure = new_figure(side, side)
    axes = figure.subplots()
    fraction = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(fraction, cmap="Blues", vmin=0, vmax=1)
    size = 9 if k <= 8 else 6
    for i in range(k):
        for j in range(k):
            text = f"{counts[i, j]}" if k > 8 else f"{counts[i, j]}\n{fraction[i, j]:.0%}"
            axes.text(
                j,
                i,
                text,
                ha="center",
                va="center",
                fontsize=size,
                color="white" if fraction[i, j] > 0.55 else "black",
            )
    axes.set_xticks(range(k), report.classes, rotation=45, ha="right", fontsize=size)
    axes.set_yticks(range(k), report.classes, fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("ground truth")
    value = report.balanced_accuracy
    bounds = "" if value.lo is None else f"\n95 % confidence interval {value.lo:.3f} to {value.hi:.3f}"
    axes.set_title(f"balanced accuracy {value.value:.3f}, n = {report.n}{bounds}", fontsize=9)
    return figure
