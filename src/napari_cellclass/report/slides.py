"""Pictures for slides: a field beside its map, with scale bar and a legend, readable from the last row."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.images.units import length_text, round_length
from napari_cellclass.core.params.slides import SlideBackground
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.report.figures import (
    draw_tiles,
    grey_limits,
    legend_rows,
    new_figure,
    read_thinned,
    save_figure,
    shown_pixels,
)
from napari_cellclass.report.slide_legend import LegendLayout, LegendRow, TextWidth, lay_legend, lay_strip, legend_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SLIDE_INCH = (13.334, 7.5)
"""Width and height of a wide slide, as presentation programs have it."""
_DPI = 192
_SHOWN_PX = 1800
_MARGIN, _GAP, _TITLE, _CAPTION, _LEGEND = 0.4, 0.3, 0.75, 0.4, 3.7  # inches
_TITLE_POINTS, _CAPTION_POINTS, _BAR_POINTS, _FEWEST_POINTS = 26, 18, 18, 12
_COLOURS: dict[SlideBackground, tuple[str, str]] = {"white": ("#FFFFFF", "#1A1A1A"), "dark": ("#121212", "#F2F2F2")}
_MEASURED_POINTS, _HINTING = 40, 1.02
_CAPTION_WIDTH, _LABEL_WIDTH = 0.9, 1.0  # inches: of "image", and of a scale bar's text
_BAR_FRACTION = 0.3  # of the field's width, at most
_BLACK = 90  # the grey value that stands for black below the colours of classes
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luma, ITU-R BT.601
_Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class SlideField:
    """A field and its map for a slide.

    Parameters
    ----------
    source, table
        The field and its predictions.
    visible
        bool, shape (K,): classes to draw; all when None.
    min_confidence
        Tiles below it are drawn grey.
    limits
        float, shape (2, C): grey values shown black and white; those of the field itself when None. RGB images of
        8 bits are shown as they are.
    title
        What stands above; the field's name when empty.
    """

    source: SourceImage
    table: TileTable
    visible: NDArray[np.bool_] | None = None
    min_confidence: float = 0.0
    limits: NDArray[np.float64] | None = None
    title: str = ""


def slide_figure(field: SlideField, background: SlideBackground = "white") -> Figure:
    """Draw a slide of 16:9: the image with a scale bar, where the pixel size is known, its map, and the legend.

    Image and map stand beside each other or, where a wide field is larger so, one above the other. Letters are at
    least 11 points high on a slide of 13.3 inches.
    """
    paper, ink = _COLOURS[background]
    width, height = SLIDE_INCH
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    figure.patch.set_facecolor(paper)
    picture = _picture(field)
    rows = [LegendRow(*row) for row in legend_rows(field.table, field.visible, field.min_confidence)]
    measure = text_width(figure)
    page = _lay_page(field.source.shape, rows, measure)
    first, second = page.image, page.map
    _title(figure, field.title or field.source.name, ink, measure)
    left = _panel(figure, first, picture, field.source.shape, "image", ink)
    _scale_bar(left, field.source, first[2])
    right = _panel(figure, second, _pale_grey(picture), field.source.shape, "classes of the tiles", ink)
    tile_inch = second[2] * float(np.diff(field.table.grid.boxes[:, [1, 3]]).mean()) / field.source.shape[1]
    line = 0.8 if tile_inch > 0.08 else 0.0
    draw_tiles(right, field.table, field.visible, field.min_confidence, 0.55, line)
    _legend(figure, page.legend, page.corner, ink)
    return figure


@dataclass(frozen=True)
class _Page:
    """Where image, map and legend are; the corner is the legend's upper left one."""

    image: _Box
    map: _Box
    legend: LegendLayout
    corner: tuple[float, float]


def _lay_page(shape: tuple[int, int], rows: Sequence[LegendRow], measure: TextWidth) -> _Page:
    """Place the legend beside the images, or as one or two lines below them where these are larger so."""
    width, height = SLIDE_INCH[0] - 2 * _MARGIN, SLIDE_INCH[1] - 2 * _MARGIN - _TITLE
    across = min(_LEGEND, legend_width(rows, measure))
    beside = image_boxes(shape, (_MARGIN, _MARGIN, width - across - _GAP, height))
    strip = lay_strip(rows, width, measure)
    if strip is not None:
        down = strip.height + _GAP
        below = image_boxes(shape, (_MARGIN, _MARGIN + down, width, height - down))
        if below[0][2] > beside[0][2]:
            return _Page(*below, strip, (_MARGIN, min(below[0][1], below[1][1]) - _GAP))
    corner = (_MARGIN + width - across, _MARGIN + height)
    return _Page(*beside, lay_legend(rows, across, height, measure), corner)


def save_slide(field: SlideField, path: Path, background: SlideBackground = "white") -> None:
    """Write :func:`slide_figure`; the suffix chooses PNG, of 2560 x 1440 px, SVG or PDF.

    Raises
    ------
    ImageError
        The field cannot be read.
    OutputError
        The file cannot be written.
    """
    save_figure(slide_figure(field, background), path, _DPI, _COLOURS[background][0])


def image_boxes(shape: tuple[int, int], space: _Box) -> tuple[_Box, _Box]:
    """Place two equal images, each with a line above it, as large as they can be.

    Parameters
    ----------
    shape
        (height, width) of the image in px.
    space
        Left, bottom, width and height that are free, in inches from the lower left corner.

    Returns
    -------
    tuple of two boxes
        Left, bottom, width and height of each, from the top of the space downwards.
    """
    x, y, width, height = space
    aspect = shape[0] / shape[1]
    beside = min((width - _GAP) / 2, (height - _CAPTION) / aspect)
    above = min(width, ((height - _GAP / 2) / 2 - _CAPTION) / aspect)
    top = y + height
    if beside >= above:
        across, down = beside, beside * aspect
        bottom = top - _CAPTION - down
        # The line above a narrow image is wider than it.
        return (x, bottom, across, down), (x + max(across, _CAPTION_WIDTH) + _GAP, bottom, across, down)
    across, down = above, above * aspect
    upper = top - _CAPTION - down
    return (x, upper, across, down), (x, upper - _GAP / 2 - _CAPTION - down, across, down)


def text_width(figure: Figure) -> TextWidth:
    """Make a function that measures a text of a size in points, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.font_manager import FontProperties

    canvas = FigureCanvasAgg(figure)
    renderer: Any = canvas.get_renderer()
    font = FontProperties(size=_MEASURED_POINTS)

    @functools.cache
    def inches(text: str) -> float:
        return float(renderer.get_text_width_height_descent(text, font, False)[0]) / figure.dpi

    # Hinting makes small letters a little wider than their size says.
    return lambda text, points: _HINTING * inches(text) * points / _MEASURED_POINTS


def scale_bar(source: SourceImage) -> tuple[float, str] | None:
    """Return the length of a scale bar in px of the field and its text; None where the pixel size is not known.

    It is the longest of 1, 2 or 5 times a power of ten that is at most 30 % of the field's width.
    """
    if source.pixel_size_um is None:
        return None
    um = round_length(_BAR_FRACTION * source.shape[1] * source.pixel_size_um[1])
    return um / source.pixel_size_um[1], length_text(um)


def _picture(field: SlideField) -> NDArray[np.uint8]:
    pixels, _ = read_thinned(field.source, _SHOWN_PX)
    return shown_pixels(pixels, None if is_shown_as_it_is(field.source) else _limits(field, pixels))


def _limits(field: SlideField, pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    return grey_limits(pixels) if field.limits is None else field.limits


def is_shown_as_it_is(source: SourceImage) -> bool:
    """Whether an image has the colours of a screen already: RGB of 8 bits."""
    return source.rgb and source.dtype == np.uint8


def _pale_grey(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Take the colours out, and make black grey: colours of classes drawn above then look like those of the legend."""
    grey = picture.astype(np.float32) if picture.ndim == 2 else picture @ _GREY
    return np.round(_BLACK + (255 - _BLACK) / 255 * grey).astype(np.uint8)


def _title(figure: Figure, text: str, ink: str, measure: TextWidth) -> None:
    width, height = SLIDE_INCH
    points = _TITLE_POINTS
    while points > _FEWEST_POINTS and measure(text, points) > width - 2 * _MARGIN:
        points -= 1
    while len(text) > 2 and measure(text, points) > width - 2 * _MARGIN:
        half = (len(text) - 2) // 2
        text = f"{text[:half]}…{text[-half:]}"
    figure.text(_MARGIN / width, 1 - _MARGIN / height, text, fontsize=points, color=ink, va="top", parse_math=False)


def _panel(
    figure: Figure, box: _Box, picture: NDArray[np.uint8], shape: tuple[int, int], caption: str, ink: str
) -> Axes:
    width, height = SLIDE_INCH
    axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
    extent = (-0.5, shape[1] - 0.5, shape[0] - 0.5, -0.5)
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="antialiased", aspect="auto")
    axes.set_xlim(-0.5, shape[1] - 0.5)
    axes.set_ylim(shape[0] - 0.5, -0.5)
    axes.set_axis_off()
    figure.text(
        box[0] / width, (box[1] + box[3] + 0.08) / height, caption, fontsize=_CAPTION_POINTS, color=ink, va="bottom"
    )
    return axes


def _scale_bar(axes: Axes, source: SourceImage, width_inch: float) -> None:
    """Draw the bar at the lower right, white on a dark edge, which shows on any field."""
    found = scale_bar(source)
    if found is None:
        return
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    length, text = found
    unit = source.shape[1] / width_inch  # px of the field to the inch
    x, y = source.shape[1] - 0.5 - 0.15 * unit - length, source.shape[0] - 0.5 - 0.22 * unit
    axes.add_patch(Rectangle((x, y), length, 0.08 * unit, facecolor="#FFFFFF", edgecolor="#000000", linewidth=1))
    # The text of a short bar ends where the bar does, so that it stays within the field.
    place, align = (x + length, "right") if length < _LABEL_WIDTH * unit else (x + length / 2, "center")
    axes.text(
        place, y - 0.05 * unit, text, color="#FFFFFF", fontsize=_BAR_POINTS, ha=align, va="bottom",
        path_effects=[withStroke(linewidth=3, foreground="#000000")], parse_math=False,
    )  # fmt: skip


def _legend(figure: Figure, laid: LegendLayout, corner: tuple[float, float], ink: str) -> None:
    from matplotlib.patches import Rectangle

    width, height = SLIDE_INCH
    for entry in laid.entries:
        x, y = corner[0] + entry.left, corner[1] - entry.top
        side = laid.patch
        if entry.colour is not None:
            figure.add_artist(
                Rectangle(
                    (x / width, (y - 1.05 * side) / height),
                    side / width,
                    side / height,
                    facecolor=entry.colour,
                    edgecolor=ink,
                    linewidth=0.8,
                    transform=figure.transFigure,
                )
            )
        common: dict[str, Any] = {"fontsize": laid.points, "color": ink, "va": "top", "parse_math": False}
        for i, line in enumerate(entry.lines):
            figure.text((x + laid.indent) / width, (y - i * laid.line) / height, line, **common)
        figure.text((corner[0] + entry.right) / width, y / height, entry.count, ha="right", **common)


def shared_limits(samples: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Return the grey values shown black and white in all fields: of pixels of each, float32 (N, C), as (2, C)."""
    return grey_limits(np.concatenate(samples))
