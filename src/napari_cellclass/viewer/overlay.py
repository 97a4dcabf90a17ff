"""A table of tiles as napari layers: colours, threshold, status bar, and text for the tiles in view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.classes import ClassScheme
from napari_cellclass.core.grid import EdgeRule, TileGrid
from napari_cellclass.core.table import TileTable
from napari_cellclass.viewer.layers import KEY, matrix_of

if TYPE_CHECKING:
    from napari.layers import Layer, Points

    from napari_cellclass.core.image import SourceImage

# Above this a Shapes layer takes seconds to make; measured with napari 0.9.2: 10 000 rectangles 2 s.
MAX_SHAPES = 10_000
# Text costs 0.4 ms a tile and zoom step, and more would not be legible anyway.
MAX_TEXTS = 300
_LETTER_SCREEN_PX = 9
_FINE = 8
_FACE_ALPHA, _EDGE_ALPHA = 0.35, 0.9


@dataclass(frozen=True)
class OverlayStyle:
    """What of a map is shown.

    Parameters
    ----------
    visible
        One bool per class; empty stands for all.
    min_confidence
        Tiles below it are grey, in 0..1.
    """

    visible: tuple[bool, ...] = ()
    min_confidence: float = 0.0

    def fitting(self, scheme: ClassScheme) -> OverlayStyle:
        """Give the style for other classes: all are shown when their number differs."""
        return self if len(self.visible) in (0, len(scheme)) else OverlayStyle((), self.min_confidence)


def shown_class(table: TileTable, style: OverlayStyle) -> NDArray[np.int64]:
    """Class of every tile as it is shown, shape (N,): K is unsure, -1 grey, -2 hidden."""
    index = table.shown_index.astype(np.int64)
    visible = np.array([*(style.visible or (True,) * len(table.scheme)), True])
    hidden = (index >= 0) & ~visible[index]
    below = np.nan_to_num(table.confidence, nan=-1.0) < style.min_confidence
    return np.where(hidden, -2, np.where(below, -1, index))


def tile_colours(table: TileTable, style: OverlayStyle) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Face and edge colours of the tiles: float32, shape (N, 4), RGBA in 0..1."""
    k = len(table.scheme)
    rgb = np.array([table.scheme.rgb(i) for i in (*range(k + 1), -1, -1)], np.float32) / 255
    alpha = np.ones(k + 3, np.float32)
    alpha[k + 1] = 0.0  # -2 counts from the end: the hidden
    shown = shown_class(table, style)
    colour = np.column_stack([rgb, alpha])[shown]
    scale = np.array([1, 1, 1, _FACE_ALPHA], np.float32), np.array([1, 1, 1, _EDGE_ALPHA], np.float32)
    return colour * scale[0], colour * scale[1]


def features(table: TileTable) -> pd.DataFrame:
    """Columns of the table as ``layer.features``."""
    return pd.DataFrame(table.columns())


def tile_layers(
    table: TileTable, place: Mapping[str, Any], name: str, style: OverlayStyle, planned: int = 0
) -> list[Layer]:
    """Make the layers of a map; they are in no viewer yet, so any thread may do it.

    Parameters
    ----------
    table
        The tiles.
    place
        Of :func:`transform_of`: scale, translate, rotate, shear, affine and units of the field's layer.
    name
        What to call the map.
    style
        What is shown.
    planned
        Tiles of the whole run, where it was cancelled: the kind of map does not depend on when that was.

    Returns
    -------
    list of Layer
        One Shapes layer with a rectangle per tile, up to ``MAX_SHAPES`` tiles; above, a confidence Image
        and a class Labels layer with one pixel per tile.
    """
    make = _shapes if max(planned, len(table)) <= MAX_SHAPES else _pixel_maps
    layers = make(table, place, name, style)
    for layer in layers:
        layer.metadata[KEY] = {"kind": "map", "table": table, "style": style}
        tell_class_in_status_bar(layer)
    return layers


def _shapes(table: TileTable, place: Mapping[str, Any], name: str, style: OverlayStyle) -> list[Layer]:
    from napari.layers import Shapes

    face, edge = tile_colours(table, style)
    layer = Shapes(
        list(table.grid.rects()),
        shape_type="rectangle",
        features=features(table),
        face_color=face,
        edge_color=edge,
        edge_width=max(0.5, 0.02 * min(table.grid.tile_px)),
        name=name,
        **place,
    )
    layer.editable = False  # a stray key or drag must not change a result
    return [layer]


def _pixel_maps(table: TileTable, place: Mapping[str, Any], name: str, style: OverlayStyle) -> list[Layer]:
    from napari.layers import Image, Labels

    place = grid_transform(table.grid, place)
    image = Image(
        _confidence_pixels(table),
        name=f"{name} confidence",
        colormap="viridis",
        contrast_limits=(0, 1),
        opacity=0.5,
        visible=False,
        **place,
    )
    labels = Labels(_class_pixels(table, style), name=name, opacity=0.5, **place)
    labels.colormap = _class_colormap(table)
    labels.editable = False
    return [image, labels]


@dataclass(frozen=True)
class MapAxes:
    """How a map of pixels shows a grid: which tile each row and column of pixels belongs to.

    One pixel is one tile. Only where the edge rule ``shift`` has moved the last row or column out of step are
    there eight pixels a step along that axis, each of the tile whose centre is nearest.

    Parameters
    ----------
    rows, cols
        Row and column of the grid for each row and column of pixels.
    scale, offset
        (y, x): pixel i lies at ``i * scale + offset`` px of the field.
    """

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    scale: tuple[float, float]
    offset: tuple[float, float]

    @classmethod
    def of(cls, grid: TileGrid) -> MapAxes:
        """Lay the axes out for a grid."""
        sides = zip(grid.image_shape, grid.tile_px, grid.step_px, grid.grid_shape, strict=True)
        (rows, sy, oy), (cols, sx, ox) = (cls._axis(*side, grid.edge) for side in sides)
        return cls(rows, cols, (sy, sx), (oy, ox))

    @staticmethod
    def _axis(length: int, tile: int, step: int, n: int, edge: EdgeRule) -> tuple[NDArray[np.int64], float, float]:
        first = (tile - 1) / 2  # centre of the first tile, pixel centres on integers
        last = length - tile if edge == "shift" else (n - 1) * step
        if n < 2 or last == (n - 1) * step:
            return np.arange(n), float(step), first
        scale = step / _FINE
        offset = first - (_FINE - 1) / 2 * scale
        centres = np.append(np.arange(n - 1) * step, last) + first
        pixels = offset + scale * np.arange(int(np.ceil((last + step) / scale)))
        middles = (centres[1:] + centres[:-1]) / 2
        return np.searchsorted(middles, pixels), scale, offset

    def spread(self, cells: NDArray[Any]) -> NDArray[Any]:
        """Give every pixel the value of its tile."""
        plain = len(self.rows) == cells.shape[0] and len(self.cols) == cells.shape[1]
        return cells if plain else cells[np.ix_(self.rows, self.cols)]


def _confidence_pixels(table: TileTable) -> NDArray[np.float32]:
    """One pixel per tile, NaN where there is no tile."""
    pixels = np.full(table.grid.grid_shape, np.nan, np.float32)
    pixels[table.grid.row, table.grid.col] = table.confidence
    return MapAxes.of(table.grid).spread(pixels)


def _class_pixels(table: TileTable, style: OverlayStyle) -> NDArray[np.uint8]:
    """One pixel per tile: 0 hidden or no tile, 1 grey, 2 and up the classes."""
    pixels = np.zeros(table.grid.grid_shape, np.uint8)
    pixels[table.grid.row, table.grid.col] = (shown_class(table, style) + 2).astype(np.uint8)
    return MapAxes.of(table.grid).spread(pixels)


def _class_colormap(table: TileTable) -> Any:
    from napari.utils.colormaps import DirectLabelColormap

    colours: dict[int | None, Any] = {None: (0, 0, 0, 0), 0: (0, 0, 0, 0)}
    for index in range(-1, len(table.scheme) + 1):
        colours[index + 2] = (*(v / 255 for v in table.scheme.rgb(index)), 1.0)
    return DirectLabelColormap(color_dict=colours)


def grid_transform(grid: TileGrid, own: Mapping[str, Any]) -> dict[str, Any]:
    """Transform of a layer with one pixel per tile: the field's, after that of :class:`MapAxes`."""
    axes = MapAxes.of(grid)
    (sy, sx), (oy, ox) = axes.scale, axes.offset
    matrix = matrix_of(own) @ np.array([[sy, 0, oy], [0, sx, ox], [0, 0, 1]])
    return {"affine": matrix, "units": own["units"]}


def retell(layer: Layer, table: TileTable, style: OverlayStyle) -> None:
    """Show other answers for the same tiles in a map's layer."""
    layer.metadata[KEY] = {**layer.metadata[KEY], "table": table}
    kind = type(layer).__name__
    if kind == "Shapes":
        layer.features = features(table)
    elif kind == "Image":
        layer.data = _confidence_pixels(table)
    restyle(layer, style)


def restyle(layer: Layer, style: OverlayStyle) -> None:
    """Show a map's layer in another style; nothing is computed anew."""
    ours = layer.metadata[KEY]
    table: TileTable = ours["table"]
    layer.metadata[KEY] = {**ours, "style": style}
    kind = type(layer).__name__
    if kind == "Shapes":
        layer.face_color, layer.edge_color = tile_colours(table, style)
    elif kind == "Labels":
        layer.data = _class_pixels(table, style)


def describe_tile(table: TileTable, place: int) -> str:
    """Say class and confidence of a tile, as the status bar shows it."""
    row, col = table.grid.row[place], table.grid.col[place]
    if table.class_index[place] < 0:
        return f"tile r{row} c{col}: not classified"
    name = table.scheme.names[table.class_index[place]]
    told = f"{name} {table.confidence[place]:.1%}"
    if table.shown_index[place] != table.class_index[place]:
        possible = [name for name, yes in zip(table.scheme.names, table.possible[place], strict=True) if yes]
        told = f"unsure: {' or '.join(possible) or 'like none of the classes'}; likeliest {told}"
    return f"{told} (tile r{row} c{col})"


def tell_class_in_status_bar(layer: Layer) -> None:
    """Make a map's layer answer for the status bar with the class under the mouse, found by arithmetic."""
    original = layer.get_status

    def get_status(position: Any = None, **kwargs: Any) -> dict[str, str]:
        status: dict[str, str] = original(position, **kwargs)
        if position is not None:
            table: TileTable = layer.metadata[KEY]["table"]
            data = layer.world_to_data(position) if kwargs.get("world") else position
            y, x = np.asarray(data, float)[-2:]
            if type(layer).__name__ != "Shapes":  # one pixel per tile: back to px of the field
                axes = MapAxes.of(table.grid)
                y, x = y * axes.scale[0] + axes.offset[0], x * axes.scale[1] + axes.offset[1]
            place = table.grid.tile_at(y, x)
            text = describe_tile(table, place) if place >= 0 else "no tile"
            status["value"] = text
            status["coordinates"] = f"{status.get('coords', '')}: {text}"
        return status

    layer.get_status = get_status


def text_lines(table: TileTable, screen_px_per_px: float) -> int:
    """Say how much text fits on a tile: 2 class and confidence, 1 confidence alone, 0 nothing."""
    letters = min(table.grid.tile_px) * screen_px_per_px / _LETTER_SCREEN_PX
    return 2 if letters >= max(map(len, table.scheme.names)) + 1 and letters >= 5 else 1 if letters >= 5 else 0


def tiles_with_text(
    table: TileTable, style: OverlayStyle, view: NDArray[Any], screen_px_per_px: float
) -> NDArray[np.int64]:
    """Choose the tiles that get text: in view, shown, large enough on the screen; at most ``MAX_TEXTS``.

    Parameters
    ----------
    table, style
        The tiles and what of them is shown.
    view
        Shape (2, 2): upper-left and lower-right corner of the view as (y, x) in px of the field.
    screen_px_per_px
        How large a pixel of the field is on the screen.

    Returns
    -------
    int64 array
        Places of the tiles, the largest first, then those nearest to the view's centre.
    """
    boxes = table.grid.boxes.astype(float)
    if text_lines(table, screen_px_per_px) == 0:
        return np.zeros(0, np.int64)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((centre >= view[0]) & (centre <= view[1])).all(axis=1) & (shown_class(table, style) >= -1)
    places = np.flatnonzero(inside)
    area = (boxes[places, 2:] - boxes[places, :2]).prod(axis=1)
    distance = np.square(centre[places] - np.mean(view, axis=0)).sum(axis=1)
    return places[np.lexsort((distance, -area))][:MAX_TEXTS]


def text_layer(table: TileTable, place: Mapping[str, Any], name: str, colour: str) -> Points:
    """Make the layer that carries the text of the tiles in view; empty until :func:`write_texts`.

    It is a layer of its own, because text in the map's layer would be laid out for every tile at every
    zoom: 8 s for 10 000 tiles (napari 0.9.2).
    """
    from napari.layers import Points

    layer = Points(
        np.zeros((0, 2)),
        features={"label": np.zeros(0, object)},
        text={"string": "{label}", "color": colour, "size": 9, "anchor": "center"},
        size=0.001,
        opacity=1.0,
        name=name,
        **place,
    )
    layer.metadata[KEY] = {"kind": "text", "table": table}
    layer.editable = False
    return layer


def text_colour(source: SourceImage) -> str:
    """Choose black text for a bright-field image, white for fluorescence, by a few pixels."""
    if not source.rgb:
        return "white"
    height, width = source.shape
    spots = [source.read(y, x, y + 8, x + 8) for y in (0, height // 2, height - 8) for x in (0, width // 2, width - 8)]
    top = np.iinfo(source.dtype).max if source.dtype.kind in "ui" else 1.0
    return "black" if np.mean(spots) > 0.5 * top else "white"


def write_texts(layer: Points, table: TileTable, places: NDArray[np.int64], lines: int = 2) -> None:
    """Put class and confidence on some tiles.

    Parameters
    ----------
    layer
        Of :func:`text_layer`.
    table
        The tiles.
    places
        Which of them, see :func:`tiles_with_text`.
    lines
        How much fits, see :func:`text_lines`.
    """
    boxes = table.grid.boxes[places].astype(float)
    names = [f"{table.class_name[i]}\n" if lines > 1 else "" for i in places]
    sure = [f"{table.confidence[i]:.0%}" if table.class_index[i] >= 0 else "?" for i in places]
    labels = [name + text for name, text in zip(names, sure, strict=True)]
    layer.data = (boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5
    layer.face_color = layer.border_color = "transparent"  # only the text is to be seen
    layer.features = pd.DataFrame({"label": np.array(labels, object)})


def is_map(layer: Layer) -> bool:
    """Tell whether a layer is a map of ours, by its metadata."""
    return isinstance(layer.metadata.get(KEY), dict) and layer.metadata[KEY].get("kind") == "map"
