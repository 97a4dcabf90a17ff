"""A table of tiles as napari layers: colours, threshold and status bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import EdgeRule, TileGrid
from napari_cellclass.viewer.common.layers import KEY, lock_layer, matrix_of

if TYPE_CHECKING:
    from napari.layers import Layer

# Above this a Shapes layer takes seconds to make; measured with napari 0.9.2: 10 000 rectangles 2 s.
MAX_SHAPES = 10_000
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


def displayed_class(
    table: TileTable, style: OverlayStyle, places: NDArray[np.int64] | slice = slice(None)
) -> NDArray[np.int16]:
    """Class of tiles as they are shown, int16, shape (N,) or that of ``places``: K is unsure, -1 grey, -2 hidden."""
    index, confidence = table.class_or_unsure_index[places], table.confidence[places]
    # The last entry is that of tiles without class, which have no confidence either.
    look = np.append(np.arange(len(table.scheme) + 1), -1).astype(np.int16)
    for i, visible in enumerate(style.visible):
        look[i] = i if visible else -2
    shown = look[index]
    shown[~(confidence >= style.min_confidence) & (shown >= 0)] = -1
    return shown


def tile_colours(table: TileTable, style: OverlayStyle) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Face and edge colours of the tiles: float32, shape (N, 4), RGBA in 0..1."""
    k = len(table.scheme)
    rgb = np.array([table.scheme.rgb(i) for i in (*range(k + 1), -1, -1)], np.float32) / 255
    alpha = np.ones(k + 3, np.float32)
    alpha[k + 1] = 0.0  # -2 counts from the end: the hidden
    shown = displayed_class(table, style)
    colour = np.column_stack([rgb, alpha])[shown]
    scale = np.array([1, 1, 1, _FACE_ALPHA], np.float32), np.array([1, 1, 1, _EDGE_ALPHA], np.float32)
    return colour * scale[0], colour * scale[1]


def table_features(table: TileTable) -> pd.DataFrame:
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
        show_class_in_status_bar(layer)
    return layers


def _shapes(table: TileTable, place: Mapping[str, Any], name: str, style: OverlayStyle) -> list[Layer]:
    from napari.layers import Shapes

    face, edge = tile_colours(table, style)
    layer = Shapes(
        list(table.grid.rects()),
        shape_type="rectangle",
        features=table_features(table),
        face_color=face,
        edge_color=edge,
        edge_width=max(0.5, 0.02 * min(table.grid.tile_px)),
        name=name,
        **place,
    )
    lock_layer(layer)
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
    labels.colormap = class_colormap(table.scheme)
    lock_layer(labels)
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
    pixels[table.grid.row, table.grid.col] = (displayed_class(table, style) + 2).astype(np.uint8)
    return MapAxes.of(table.grid).spread(pixels)


def class_colormap(scheme: ClassScheme) -> Any:
    """Colours of a map of pixels: 0 nothing, 1 grey, 2 and up the classes, then unsure."""
    from napari.utils.colormaps import DirectLabelColormap

    colours: dict[int | None, Any] = {None: (0, 0, 0, 0), 0: (0, 0, 0, 0)}
    for index in range(-1, len(scheme) + 1):
        colours[index + 2] = (*(v / 255 for v in scheme.rgb(index)), 1.0)
    return DirectLabelColormap(color_dict=colours)


def grid_transform(grid: TileGrid, own: Mapping[str, Any]) -> dict[str, Any]:
    """Transform of a layer with one pixel per tile: the field's, after that of :class:`MapAxes`."""
    axes = MapAxes.of(grid)
    (sy, sx), (oy, ox) = axes.scale, axes.offset
    matrix = matrix_of(own) @ np.array([[sy, 0, oy], [0, sx, ox], [0, 0, 1]])
    return {"affine": matrix, "units": own["units"]}


def update_predictions(layer: Layer, table: TileTable, style: OverlayStyle) -> None:
    """Show other answers for the same tiles in a map's layer."""
    layer.metadata[KEY] = {**layer.metadata[KEY], "table": table}
    kind = type(layer).__name__
    if kind == "Shapes":
        layer.features = table_features(table)
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
    if table.class_or_unsure_index[place] != table.class_index[place]:
        possible = [name for name, yes in zip(table.scheme.names, table.prediction_sets[place], strict=True) if yes]
        told = f"unsure: {' or '.join(possible) or 'like none of the classes'}; likeliest {told}"
    return f"{told} (tile r{row} c{col})"


def field_point(layer: Layer, grid: TileGrid, position: Any) -> tuple[float, float]:
    """Give the point of the field, (y, x) in px, under a position in the world, for a map's layer of any kind."""
    y, x = np.asarray(layer.world_to_data(position), float)[-2:]
    if type(layer).__name__ not in ("Shapes", "Points"):  # one pixel per tile: back to px of the field
        axes = MapAxes.of(grid)
        y, x = y * axes.scale[0] + axes.offset[0], x * axes.scale[1] + axes.offset[1]
    return float(y), float(x)


def show_class_in_status_bar(layer: Layer, describe: Callable[[int], str] | None = None) -> None:
    """Make a map's layer answer for the status bar with the class under the mouse, found by arithmetic.

    Parameters
    ----------
    layer
        Its metadata has the table, or at least the grid.
    describe
        Says what to tell of a place; :func:`describe_tile` where it is None.
    """
    original = layer.get_status

    def get_status(position: Any = None, **kwargs: Any) -> dict[str, str]:
        status: dict[str, str] = original(position, **kwargs)
        if position is not None:
            ours = layer.metadata[KEY]
            grid: TileGrid = ours["grid"] if describe is not None else ours["table"].grid
            world = position if kwargs.get("world") else layer.data_to_world(position)
            place = grid.tile_at(*field_point(layer, grid, world))
            told = "no tile"
            if place >= 0:
                told = describe_tile(ours["table"], place) if describe is None else describe(place)
            status["value"] = told
            status["coordinates"] = f"{status.get('coords', '')}: {told}"
        return status

    layer.get_status = get_status
