"""The panel of example tiles: predicted class, confidence and true class, marked as correct or incorrect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.evaluation.example_tiles import PanelTile
from napari_cellclass.report.curves import FigureStyle, render_figure, styled_figure
from napari_cellclass.report.figures import PAGE_INCH, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS, _FEWEST = 5, 3
_NARROW_PX = 92  # captions do not fit above a narrower tile
# Okabe & Ito's green and vermilion, safe for colour-blind readers, and their lighter variants for a dark background.
_CORRECT, _INCORRECT = {False: "#009E73", True: "#2CC79B"}, {False: "#D55E00", True: "#FF8A3D"}
_GAP, _MARGIN = 0.1, 0.03  # in widths of a tile
_LINE = 1.45  # of the font size
_POINTS = 7
_POINT_PX = 100 / 72  # figures for docks count 100 px to the inch


def columns_at(width: int) -> int:
    """Return the tiles per row: five, in a narrow dock down to three."""
    return max(_FEWEST, min(_COLUMNS, width // _NARROW_PX))


def caption(tile: PanelTile) -> tuple[str, str]:
    """Return the caption above a tile and the one below it."""
    return f"{'✓' if tile.correct else '✗'} {tile.class_name} {tile.confidence:.0%}", f"true: {tile.true_class}"


def panel_figure(tiles: Sequence[PanelTile]) -> Figure:
    """Draw a page of tiles for a file, as wide as a journal page."""
    width, height = round(100 * PAGE_INCH), panel_height(tiles, round(100 * PAGE_INCH))
    figure = new_figure(width / 100, height / 100)
    figure.set_layout_engine("none")
    _draw(figure.add_axes((0, 0, 1, 1)), tiles, FigureStyle(width, height))
    return figure


def draw_panel(tiles: Sequence[PanelTile], style: FigureStyle) -> NDArray[np.uint8]:
    """Draw a page of tiles.

    Parameters
    ----------
    tiles
        The page.
    style
        Size and colours; :func:`panel_height` gives the height for a width.

    Returns
    -------
    ndarray of uint8, shape (height, width, 4)
        RGBA in device pixels, on a transparent background.
    """
    figure = styled_figure(style)
    _draw(figure.add_axes((0, 0, 1, 1)), tiles, style)
    return render_figure(figure)


def panel_height(tiles: Sequence[PanelTile], width: int) -> int:
    """Return the height in px that a page needs at a width."""
    rows = max(1, -(-len(tiles) // columns_at(width)))
    return round(rows * _step(tiles, width)[0]) + 4


def tile_at(tiles: Sequence[PanelTile], width: int, x: float, y: float) -> PanelTile | None:
    """Return the tile at a point of a drawn page, in px from its upper left corner; its captions belong to it."""
    (down, across), columns = _step(tiles, width), columns_at(width)
    column = int((x - _MARGIN * across / (1 + _GAP)) // across)
    index = int(y // down) * columns + column
    return tiles[index] if y >= 0 and 0 <= column < columns and index < len(tiles) else None


def _step(tiles: Sequence[PanelTile], width: int) -> tuple[float, float]:
    """Return the px from a tile to the one below and to the one beside it."""
    across = width / (columns_at(width) + (2 * _MARGIN - _GAP) / (1 + _GAP))
    unit = across / (1 + _GAP)
    aspect = max((tile.pixels.shape[0] / tile.pixels.shape[1] for tile in tiles), default=1.0)
    return unit * aspect + 2 * _LINE * _POINTS * _POINT_PX + unit * _GAP, across


def _draw(axes: Axes, tiles: Sequence[PanelTile], style: FigureStyle) -> None:
    from matplotlib.patches import Rectangle

    down, across = _step(tiles, style.width)
    columns = columns_at(style.width)
    unit, line = across / (1 + _GAP), _LINE * _POINTS * _POINT_PX
    letters = max(5, round(across / (0.6 * _POINTS * _POINT_PX)))
    for index, tile in enumerate(tiles):
        x = _MARGIN * unit + index % columns * across
        y = index // columns * down + line
        height = unit * tile.pixels.shape[0] / tile.pixels.shape[1]
        colour = (_CORRECT if tile.correct else _INCORRECT)[style.on_dark]
        axes.imshow(tile.pixels, extent=(x, x + unit, y + height, y), interpolation="none", aspect="auto")
        dashes = "-" if tile.correct else (0, (3, 1.5))
        axes.add_patch(Rectangle((x, y), unit, height, fill=False, edgecolor=colour, lw=2, ls=dashes))
        above, below = caption(tile)
        text: dict[str, Any] = {"ha": "center", "fontsize": _POINTS}
        axes.text(x + unit / 2, y - 3, _shortened(above, letters), color=colour, va="bottom", **text)
        axes.text(x + unit / 2, y + height + 2, _shortened(below, letters), color=style.text, va="top", **text)
    axes.set_xlim(0, style.width)
    axes.set_ylim(style.height, 0)
    axes.set_axis_off()


def _shortened(text: str, letters: int) -> str:
    """Shorten a caption in its middle: mark and percentage are at its ends."""
    if len(text) <= letters:
        return text
    end = 4
    return f"{text[: letters - end - 1]}…{text[-end:]}"
