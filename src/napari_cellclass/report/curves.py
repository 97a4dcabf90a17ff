"""Training curves and example tiles, drawn as pixels for a dock or as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 100
# Okabe & Ito's blue and vermilion, and their lighter variants for a dark background.
_COLOURS = {False: ("#0072B2", "#D55E00"), True: ("#56B4E9", "#E69F00")}
_COLUMNS = 5


@dataclass(frozen=True)
class FigureStyle:
    """Size and text colour of a figure that is drawn for a dock.

    Parameters
    ----------
    width, height
        In px of the window, 50 or more.
    ratio
        Device pixels per px of the window.
    text
        Colour of text and axes, ``"#RRGGBB"``.
    """

    width: int = 640
    height: int = 400
    ratio: float = 1.0
    text: str = "#202020"

    @property
    def on_dark(self) -> bool:
        """Whether the background is dark, which is so where the text is light."""
        return sum(int(self.text[i : i + 2], 16) for i in (1, 3, 5)) > 3 * 127


def draw_curves(
    history: Sequence[Mapping[str, float]], epochs: int, style: FigureStyle, kept: int | None = None
) -> NDArray[np.uint8]:
    """Draw loss and accuracy over the epochs, as RGBA in device pixels; see :func:`curves_figure`."""
    return render_figure(curves_figure(history, epochs, style, kept))


def curves_figure(
    history: Sequence[Mapping[str, float]], epochs: int, style: FigureStyle, kept: int | None = None
) -> Figure:
    """Draw loss and accuracy over the epochs, on a transparent background.

    Parameters
    ----------
    history
        A row per finished epoch: epoch, loss, accuracy, val_loss, val_accuracy.
    epochs
        Epochs of the whole training.
    style
        Size and colours.
    kept
        The epoch whose weights are in the model; None while training goes on, when the lowest loss is marked.
    """
    figure = styled_figure(style)
    loss, accuracy = figure.subplots(2, 1, sharex=True)
    # In px: a layout engine would draw everything several times.
    figure.subplots_adjust(
        left=58 / style.width,
        right=1 - 12 / style.width,
        bottom=40 / style.height,
        top=1 - 28 / style.height,
        hspace=0.14,
    )
    figure.align_ylabels()
    _draw_measure(loss, history, "loss", style)
    _draw_measure(accuracy, history, "accuracy", style)
    accuracy.set_ylim(-0.03, 1.03)
    # Else the first epochs of many would lie in a corner.
    shown = min(epochs, max(10, round(1.5 * len(history))))
    accuracy.set_xlim(0.5, max(2, shown) + 0.5)
    loss.set_ylim(0, 1.08 * max([1e-3, *(row[name] for row in history for name in ("loss", "val_loss"))]))
    accuracy.set_xlabel("epoch", fontsize=8, color=style.text)
    accuracy.xaxis.get_major_locator().set_params(integer=True)
    if history:
        lowest = best_epoch(history)
        text = f"lowest loss: epoch {lowest}" if kept is None else f"kept: epoch {kept}"
        _mark_epoch(loss, accuracy, lowest if kept is None else kept, text, style)
        figure.legend(*loss.get_legend_handles_labels(), loc="upper center", ncols=2, fontsize=8, borderaxespad=0.2,
                      frameon=False, labelcolor=style.text)  # fmt: skip
    return figure


def draw_label_curve(
    points: Sequence[tuple[int, float]],
    style: FigureStyle,
    chance: float | None = None,
    interval: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """Draw accuracy against the number of tiles, as RGBA in device pixels; see :func:`label_curve_figure`."""
    return render_figure(label_curve_figure(points, style, chance, interval))


def label_curve_figure(
    points: Sequence[tuple[int, float]],
    style: FigureStyle,
    chance: float | None = None,
    interval: tuple[float, float] | None = None,
) -> Figure:
    """Draw the accuracy on left-out groups against the number of labelled tiles, on a transparent background.

    Parameters
    ----------
    points
        Numbers of tiles, ascending, and the balanced accuracies with so many.
    style
        Size and colours.
    chance
        Balanced accuracy of a model that knows nothing, 1 / classes, drawn as a line; None for no line.
    interval
        95 % confidence interval of the last point, drawn as a band: how far the others may be from it by chance.
    """
    figure = styled_figure(style)
    axes = figure.subplots()
    figure.subplots_adjust(
        left=58 / style.width, right=1 - 12 / style.width, bottom=40 / style.height, top=1 - 28 / style.height
    )
    tiles, accuracy = zip(*points, strict=True) if points else ((), ())
    colour = _COLOURS[style.on_dark][1]
    axes.plot(tiles, accuracy, marker="o", markersize=4, lw=1.6, color=colour)
    if interval is not None:
        axes.axhspan(*interval, color=colour, alpha=0.15, lw=0, label="95 % CI with all tiles")
    if chance is not None:
        axes.axhline(chance, color=style.text, lw=1, ls=":", label="chance")
    if interval is not None or chance is not None:
        axes.legend(loc="lower right", fontsize=8, frameon=False, labelcolor=style.text)
    axes.set_ylim(-0.03, 1.03)
    around = max(1.0, 0.05 * (max(tiles, default=1) - min(tiles, default=0)))
    axes.set_xlim(min(tiles, default=0) - around, max(tiles, default=1) + around)
    axes.set_xlabel("labelled tiles", fontsize=8, color=style.text)
    axes.set_ylabel("balanced accuracy", fontsize=8, color=style.text)
    axes.set_title("left-out groups, by the number of tiles fitted to", fontsize=8, color=style.text)
    _style_axes(axes, style)
    return figure


def best_epoch(history: Sequence[Mapping[str, float]]) -> int:
    """Return the epoch of the lowest validation loss."""
    return int(min(history, key=lambda row: row["val_loss"])["epoch"])


def save_curves(history: Sequence[Mapping[str, float]], epochs: int, path: Path, kept: int | None = None) -> None:
    """Write the curves as a PNG on white.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    _save_picture(draw_curves(history, epochs, FigureStyle(900, 640, 2.0), kept), path)


def save_label_curve(
    points: Sequence[tuple[int, float]],
    path: Path,
    chance: float | None = None,
    interval: tuple[float, float] | None = None,
) -> None:
    """Write the curve of :func:`label_curve_figure` as a PNG on white.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    _save_picture(draw_label_curve(points, FigureStyle(900, 640, 2.0), chance, interval), path)


def _save_picture(pixels: NDArray[np.uint8], path: Path) -> None:
    from PIL import Image

    picture = Image.fromarray(pixels, "RGBA")
    page = Image.new("RGBA", picture.size, "white")
    page.alpha_composite(picture)
    with atomic_write(path) as temporary:
        page.convert("RGB").save(temporary, format="PNG")


def draw_tiles(tiles: NDArray[np.float32], titles: Sequence[str], style: FigureStyle) -> NDArray[np.uint8]:
    """Draw up to 25 tiles with their classes above them.

    Parameters
    ----------
    tiles
        Shape (n, H, W, C), 0 to 1, clipped. Two channels are shown magenta and green, of more than three
        the first three.
    titles
        n class names.
    style
        Size and colours.

    Returns
    -------
    ndarray of uint8, shape (height, width, 4)
        RGBA in device pixels, on a transparent background.
    """
    figure = styled_figure(style)
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    aspect = tiles.shape[1] / tiles.shape[2]
    rows = max(1, -(-len(tiles) // _COLUMNS))
    # One unit is a tile's width.
    step_x, strip = 1.08, 1.2 * _COLUMNS * 13 / style.width
    step_y = aspect + strip
    for index, (tile, title) in enumerate(zip(tiles, titles, strict=True)):
        x, y = index % _COLUMNS * step_x, index // _COLUMNS * step_y + strip
        axes.imshow(_as_rgb(tile), extent=(x, x + 1, y + aspect, y), interpolation="nearest")
        axes.text(x + 0.5, y - 0.02, _shortened(title, style), ha="center", va="bottom", fontsize=7, color=style.text)
    axes.set_xlim(0, _COLUMNS * step_x - 0.08)
    axes.set_ylim(rows * step_y, 0)
    axes.set_aspect("equal")
    axes.set_axis_off()
    return render_figure(figure)


def tiles_height(count: int, tile_shape: tuple[int, int], width: int) -> int:
    """Return the height in px that :func:`draw_tiles` fills at a width."""
    rows = max(1, -(-count // _COLUMNS))
    unit = width / (_COLUMNS * 1.08)
    return round(rows * (unit * tile_shape[0] / tile_shape[1] + 17)) + 8


def _shortened(title: str, style: FigureStyle) -> str:
    letters = max(4, round(style.width / _COLUMNS / 5.6))
    return title if len(title) <= letters else title[: letters - 1] + "…"


def _as_rgb(tile: NDArray[np.float32]) -> NDArray[np.uint8]:
    grey = (255 * np.clip(np.nan_to_num(tile), 0, 1)).astype(np.uint8)
    if grey.shape[2] == 1:
        return np.repeat(grey, 3, axis=2)
    return grey[..., [0, 1, 0]] if grey.shape[2] == 2 else grey[..., :3]


def styled_figure(style: FigureStyle) -> Figure:
    """Make an empty figure of a style, on a transparent background."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = max(50, style.width) / _DPI, max(50, style.height) / _DPI
    figure = Figure(figsize=size, dpi=_DPI * style.ratio, facecolor=(0, 0, 0, 0))
    FigureCanvasAgg(figure)
    return figure


def render_figure(figure: Figure) -> NDArray[np.uint8]:
    """Draw a figure: uint8, shape (height, width, 4), RGBA in device pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    return np.array(canvas.buffer_rgba(), np.uint8)


def _draw_measure(axes: Axes, history: Sequence[Mapping[str, float]], name: str, style: FigureStyle) -> None:
    x = [row["epoch"] for row in history]
    marker = "o" if len(history) < 30 else ""
    for column, label, colour in zip((name, f"val_{name}"), ("training", "validation"), _COLOURS[style.on_dark],
                                     strict=True):  # fmt: skip
        axes.plot(x, [row[column] for row in history], marker=marker, markersize=3, lw=1.6, color=colour, label=label)
    axes.set_ylabel(name, fontsize=8, color=style.text)
    _style_axes(axes, style)


def _style_axes(axes: Axes, style: FigureStyle) -> None:
    axes.patch.set_alpha(0)
    axes.tick_params(labelsize=7, colors=style.text, width=0.6)
    axes.grid(color=style.text, alpha=0.15, lw=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(style.text)
        spine.set_linewidth(0.6)


def _mark_epoch(loss: Axes, accuracy: Axes, epoch: int, text: str, style: FigureStyle) -> None:
    for axes in (loss, accuracy):
        axes.axvline(epoch, color=style.text, lw=1, ls=(0, (3, 3)), alpha=0.7)
    on_right = epoch > (accuracy.get_xlim()[1]) * 0.6
    accuracy.annotate(
        text, (epoch, 0.02), xytext=(-4 if on_right else 4, 0), textcoords="offset points",
        ha="right" if on_right else "left", va="bottom", fontsize=8, color=style.text,
    )  # fmt: skip
