"""Histograms of the grey values of training tiles, in the files and as the network's input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.tiles.histograms import GreyHistogram
from napari_cellclass.report.curves import FigureStyle, render_figure, styled_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito's, the same for a light and a dark background.
_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#F0E442")


def draw_histograms(before: GreyHistogram, after: GreyHistogram, style: FigureStyle) -> NDArray[np.uint8]:
    """Draw histograms of the grey values in the files and of the network's input, a line per channel.

    Returns
    -------
    ndarray of uint8, shape (height, width, 4)
        RGBA in device pixels, on a transparent background.
    """
    figure = styled_figure(style)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(
        left=12 / style.width,
        right=1 - 12 / style.width,
        bottom=40 / style.height,
        top=1 - 22 / style.height,
        wspace=0.1,
    )
    _draw(left, before, "in the files", style)
    _draw(right, after, "network input", style)
    return render_figure(figure)


def _draw(axes: Axes, histogram: GreyHistogram, title: str, style: FigureStyle) -> None:
    for channel, counts in enumerate(histogram.counts):
        axes.stairs(np.sqrt(counts), histogram.edges, color=_COLOURS[channel % len(_COLOURS)], lw=1.4)
    axes.set_title(title, fontsize=8, color=style.text)
    axes.set_xlabel("grey value", fontsize=8, color=style.text)
    axes.set_yticks([])
    axes.set_ylim(0, None)
    axes.patch.set_alpha(0)
    axes.tick_params(labelsize=7, colors=style.text, width=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(style.text)
        spine.set_linewidth(0.6)
