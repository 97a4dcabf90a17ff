"""Grey values of training tiles, as they are in the files and as they go into the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.tiles.histograms import GreyHistogram
from napari_cellclass.report.curves import Look, figure_pixels, look_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito's, the same for a light and a dark ground.
_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#F0E442")


def draw_histograms(before: GreyHistogram, after: GreyHistogram, look: Look) -> NDArray[np.uint8]:
    """Draw the grey values in the files beside those that the network gets, a line per channel.

    Returns
    -------
    ndarray of uint8, shape (height, width, 4)
        RGBA in px of the screen, on a clear ground.
    """
    figure = look_figure(look)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(
        left=12 / look.width, right=1 - 12 / look.width, bottom=40 / look.height, top=1 - 22 / look.height, wspace=0.1
    )
    _draw(left, before, "in the files", look)
    _draw(right, after, "into the network", look)
    return figure_pixels(figure)


def _draw(axes: Axes, histogram: GreyHistogram, title: str, look: Look) -> None:
    for channel, counts in enumerate(histogram.counts):
        axes.stairs(np.sqrt(counts), histogram.edges, color=_COLOURS[channel % len(_COLOURS)], lw=1.4)
    axes.set_title(title, fontsize=8, color=look.text)
    axes.set_xlabel("grey value", fontsize=8, color=look.text)
    axes.set_yticks([])
    axes.set_ylim(0, None)
    axes.patch.set_alpha(0)
    axes.tick_params(labelsize=7, colors=look.text, width=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(look.text)
        spine.set_linewidth(0.6)
