"""Sheets of tiles: from one class to the other, and with maps of where the evidence lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.report.figures import PAGE_INCH, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TILES_ACROSS, _PAIRS_ACROSS = 10, 4
_CAPTION_INCH, _TITLE_INCH = 0.17, 0.3
COLORMAP = "inferno"
"""Matplotlib's and napari's name of the colours of maps."""
_OPAQUE_FROM = 0.5  # of the highest value of a map


@dataclass(frozen=True, eq=False)
class SheetTile:
    """A tile of a sheet.

    Parameters
    ----------
    pixels
        uint8, shape (h, w, 3).
    caption
        A few words below it.
    values
        float32, shape (h, w), at least 0: where the evidence lies; None where there is no map.
    """

    pixels: NDArray[np.uint8]
    caption: str
    values: NDArray[np.float32] | None = None


def overlaid(tile: SheetTile, highest: float) -> NDArray[np.uint8]:
    """Lay the map of a tile over it: transparent where it is 0, opaque from half of ``highest`` on.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
    """
    from matplotlib import colormaps

    if tile.values is None or highest <= 0:
        return tile.pixels
    fraction = np.clip(tile.values / highest, 0, 1)
    colours = np.asarray(colormaps[COLORMAP](fraction))[..., :3]
    alpha = np.clip(fraction / _OPAQUE_FROM, 0, 1)[..., None] * 0.75
    grey = tile.pixels.mean(axis=2, keepdims=True) / 255
    return np.asarray(np.round(255 * (grey * (1 - alpha) + colours * alpha)), np.uint8)


def spectrum_figure(tiles: Sequence[SheetTile], title: str) -> Figure:
    """Draw tiles in rows of ten, in the order given."""
    return _sheet([[(tile.pixels, tile.caption)] for tile in tiles], _TILES_ACROSS, title)


def maps_figure(tiles: Sequence[SheetTile], title: str) -> Figure:
    """Draw tiles beside themselves with their maps, four pairs a row; all maps have the colours of one scale."""
    highest = max((float(tile.values.max()) for tile in tiles if tile.values is not None), default=0.0)
    return _sheet([[(t.pixels, t.caption), (overlaid(t, highest), "")] for t in tiles], _PAIRS_ACROSS, title)


def _sheet(cells: Sequence[Sequence[tuple[NDArray[Any], str]]], across: int, title: str) -> Figure:
    """Lay groups of pictures out in rows of so many groups, as wide as a journal page."""
    each = max((len(group) for group in cells), default=1)
    columns, rows = across * each, max(1, -(-len(cells) // across))
    side = PAGE_INCH / columns
    aspect = max((picture.shape[0] / picture.shape[1] for group in cells for picture, _ in group), default=1.0)
    height = rows * (side * aspect + _CAPTION_INCH) + _TITLE_INCH
    figure = new_figure(PAGE_INCH, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, PAGE_INCH)
    axes.set_ylim(height, 0)
    axes.text(0.05, 0.18, title, fontsize=8, va="center")
    for number, group in enumerate(cells):
        top = _TITLE_INCH + number // across * (side * aspect + _CAPTION_INCH)
        for place, (picture, caption) in enumerate(group):
            left = (number % across * each + place) * side
            tall = side * picture.shape[0] / picture.shape[1]
            extent = (left + 0.03 * side, left + 0.97 * side, top + 0.97 * tall, top + 0.03 * tall)
            axes.imshow(picture, extent=extent, interpolation="none", aspect="auto")
            axes.text(left + side / 2, top + tall + 0.02, caption, fontsize=5, ha="center", va="top")
    axes.set_xlim(0, PAGE_INCH)
    axes.set_ylim(height, 0)
    return figure
