"""The class map: a table of tiles as napari layers, with colours, confidence threshold and status bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.map_axes import MapAxes
from napari_cellclass.viewer.common.layers import KEY, lock_layer, matrix_of

if TYPE_CHECKING:
    from napari.layers import Layer

# Above this a Shapes layer takes seconds to make; measured with napari 0.9.2: 10 000 rectangles 2 s.
MAX_SHAPES = 10_000
FACE_ALPHA, _EDGE_ALPHA = 0.35, 0.9
"""Opacity of the colour that a map lays over its tiles."""
_LIVE_OPACITY = 0.32
# Of a live map of pixels: the fainter, the less sure; each level is a value per class, and a pixel has 256 values.
_LIVE_ALPHAS = (1.0, 0.75, 0.5, 0.3)
_MAX_LIVE_CLASSES = 256 // len(_LIVE_ALPHAS) - 4


@dataclass(frozen=True)
class OverlayStyle:
    """Which tiles of a map are visible, and how.

    Parameters
    ----------
    visible
        One bool per class; empty means all.
    min_confidence
        Tiles below it are grey, in 0..1.
    """

    visible: tuple[bool, ...] = ()
    min_confidence: float = 0.0

    def for_scheme(self, scheme: ClassScheme) -> OverlayStyle:
        """Give the style for other classes: all are visible when their number differs."""
        return self if len(self.visible) in (0, len(scheme)) else OverlayStyle((), self.min_confidence)


def displayed_class(
    table: TileTable, style: OverlayStyle, tile_indices: NDArray[np.int64] | slice = slice(None)
) -> NDArray[np.int16]:
    """Class index of tiles as displayed, int16 (N,): K is unsure, K + 1 unlike training, -1 grey, -2 hidden."""
    index, confidence = table.class_or_unsure_index[tile_indices], table.confidence[tile_indices]
    # The last entry is for tiles without class, which have no confidence either.
    displayed = np.append(np.arange(len(table.scheme) + 1), -1).astype(np.int16)
    for i, visible in enumerate(style.visible):
        displayed[i] = i if visible else -2
    shown = displayed[index]
    shown[~(confidence >= style.min_confidence) & (shown >= 0)] = -1
    if table.novelty_rate is not None:
        shown[table.unlike_training[tile_indices] & (shown >= -1)] = len(table.scheme) + 1
    return shown


def tile_colours(table: TileTable, style: OverlayStyle) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Face and edge colours of the tiles: float32, shape (N, 4), RGBA in 0..1."""
    k = len(table.scheme)
    rgb = np.array([table.scheme.rgb(i) for i in (*range(k + 2), -1, -1)], np.float32) / 255
    alpha = np.ones(k + 4, np.float32)
    alpha[k + 2] = 0.0  # index -2, from the end, is that of hidden tiles
    shown = displayed_class(table, style)
    colour = np.column_stack([rgb, alpha])[shown]
    scale = np.array([1, 1, 1, FACE_ALPHA], np.float32), np.array([1, 1, 1, _EDGE_ALPHA], np.float32)
    return colour * scale[0], colour * scale[1]


def table_features(table: TileTable) -> pd.DataFrame:
    """Columns of the table as ``layer.features``."""
    return pd.DataFrame(table.columns())


def tile_layers(
    table: TileTable, transform: Mapping[str, Any], name: str, style: OverlayStyle, planned: int = 0
) -> list[Layer]:
    """Make the layers of a map; they are in no viewer yet, so any thread may call this.

    Parameters
    ----------
    table
        The tiles.
    transform
        Of :func:`transform_of`: scale, translate, rotate, shear, affine and units of the field's layer.
    name
        Name of the map.
    style
        Which classes are visible.
    planned
        Number of tiles of the whole run: the kind of map does not depend on when it was cancelled.

    Returns
    -------
    list of Layer
        One Shapes layer with a rectangle per tile, up to ``MAX_SHAPES`` tiles; above, and for a live map, a confidence
        Image and a class Labels layer with one pixel per tile.
    """
    make = _pixel_maps if table.is_live or max(planned, len(table)) > MAX_SHAPES else _shapes
    layers = make(table, transform, name, style)
    for layer in layers:
        layer.metadata[KEY] = {"kind": "map", "table": table, "style": style}
        show_class_in_status_bar(layer)
    return layers


def _shapes(table: TileTable, transform: Mapping[str, Any], name: str, style: OverlayStyle) -> list[Layer]:
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
        **transform,
    )
    lock_layer(layer)
    return [layer]


def _pixel_maps(table: TileTable, transform: Mapping[str, Any], name: str, style: OverlayStyle) -> list[Layer]:
    from napari.layers import Image, Labels

    transform = grid_transform(table.grid, transform)
    image = Image(
        _confidence_pixels(table),
        name=f"{name} confidence",
        colormap="viridis",
        contrast_limits=(0, 1),
        opacity=0.5,
        visible=False,
        **transform,
    )
    # Labels, which lie over a live map, must stand out from it.
    opacity = _LIVE_OPACITY if table.is_live else 0.5
    labels = Labels(_class_pixels(table, style), name=name, opacity=opacity, **transform)
    labels.colormap = class_colormap(table.scheme, _alphas(table))
    lock_layer(labels)
    return [image, labels]


def _confidence_pixels(table: TileTable) -> NDArray[np.float32]:
    """One pixel per tile, NaN where there is no tile."""
    pixels = np.full(table.grid.grid_shape, np.nan, np.float32)
    pixels[table.grid.row, table.grid.col] = table.confidence
    return MapAxes.of(table.grid).expand(pixels)


def _class_pixels(table: TileTable, style: OverlayStyle) -> NDArray[np.uint8]:
    """One pixel per tile: 0 hidden or no tile, 1 grey, 2 and up the classes, then the same again, fainter."""
    pixels = np.zeros(table.grid.grid_shape, np.uint8)
    values = displayed_class(table, style) + 2
    alphas = _alphas(table)
    if len(alphas) > 1:
        chance = 1 / max(2, int((table.prob > 0).any(axis=0).sum()))
        sureness = np.nan_to_num((table.confidence - chance) / (1 - chance))
        level = np.clip(((1 - sureness) * len(alphas)).astype(np.int16), 0, len(alphas) - 1)
        values = np.where(values > 1, values + level * (len(table.scheme) + 2), np.where(values == 1, 0, values))
    pixels[table.grid.row, table.grid.col] = values.astype(np.uint8)
    return MapAxes.of(table.grid).expand(pixels)


def _alphas(table: TileTable) -> tuple[float, ...]:
    """Opacities of a class by how sure its prediction is, the surest first."""
    return _LIVE_ALPHAS if table.is_live and len(table.scheme) <= _MAX_LIVE_CLASSES else (1.0,)


def class_colormap(scheme: ClassScheme, alphas: tuple[float, ...] = (1.0,)) -> Any:
    """Colours of a pixel map: 0 nothing, 1 grey, then classes, unsure, unlike training, for each opacity in turn."""
    from napari.utils.colormaps import DirectLabelColormap

    colours: dict[int | None, Any] = {None: (0, 0, 0, 0), 0: (0, 0, 0, 0), 1: (*(v / 255 for v in scheme.rgb(-1)), 1.0)}
    k = len(scheme) + 2
    for level, alpha in enumerate(alphas):
        for index in range(k):
            colours[index + 2 + level * k] = (*(v / 255 for v in scheme.rgb(index)), alpha)
    return DirectLabelColormap(color_dict=colours)


def grid_transform(grid: TileGrid, own: Mapping[str, Any]) -> dict[str, Any]:
    """Transform of a layer with one pixel per tile: the field's, after that of :class:`MapAxes`."""
    axes = MapAxes.of(grid)
    (sy, sx), (oy, ox) = axes.scale, axes.offset
    matrix = matrix_of(own) @ np.array([[sy, 0, oy], [0, sx, ox], [0, 0, 1]])
    return {"affine": matrix, "units": own["units"]}


def update_predictions(layer: Layer, table: TileTable, style: OverlayStyle) -> None:
    """Show other predictions for the same tiles in a map's layer."""
    for _ in update_in_steps(layer, table, style):
        pass


def update_in_steps(layer: Layer, table: TileTable, style: OverlayStyle) -> Iterator[None]:
    """Show other predictions as :func:`update_predictions` does, in steps."""
    layer.metadata[KEY] = {**layer.metadata[KEY], "table": table}
    kind = type(layer).__name__
    if kind == "Shapes":
        layer.features = table_features(table)
    elif kind == "Image":
        _replace_pixels(layer, _confidence_pixels(table))
    yield
    yield from _restyle_in_steps(layer, style)


def restyle(layer: Layer, style: OverlayStyle) -> None:
    """Show a map's layer in another style; nothing is recomputed."""
    for _ in _restyle_in_steps(layer, style):
        pass


def _restyle_in_steps(layer: Layer, style: OverlayStyle) -> Iterator[None]:
    entry = layer.metadata[KEY]
    table: TileTable = entry["table"]
    layer.metadata[KEY] = {**entry, "style": style}
    kind = type(layer).__name__
    if kind == "Shapes":
        face, edge = tile_colours(table, style)
        for name, colours in (("face_color", face), ("edge_color", edge)):
            if not np.array_equal(getattr(layer, name), colours):  # napari needs 0.1 s for a thousand tiles
                setattr(layer, name, colours)
                yield
    elif kind == "Labels":
        _replace_pixels(layer, _class_pixels(table, style))


def _replace_pixels(layer: Layer, pixels: NDArray[Any]) -> None:
    """Show other pixels of the same shape, without what napari does for new data: that takes five times as long."""
    layer.data[...] = pixels
    layer.refresh(thumbnail=False, highlight=False, extent=False)


def describe_tile(table: TileTable, tile_index: int) -> str:
    """Describe class and confidence of a tile, as the status bar shows it."""
    row, col = table.grid.row[tile_index], table.grid.col[tile_index]
    if table.class_index[tile_index] < 0:
        return f"tile r{row} c{col}: not classified"
    name = table.scheme.names[table.class_index[tile_index]]
    text = f"{name} {table.confidence[tile_index]:.1%}" if table.has_percentages else f"most like {name}"
    if table.class_or_unsure_index[tile_index] != table.class_index[tile_index]:
        possible = [
            name for name, yes in zip(table.scheme.names, table.prediction_sets[tile_index], strict=True) if yes
        ]
        text = f"unsure: {' or '.join(possible) or 'like none of the classes'}; most probable: {text}"
    if table.novelty_p is not None and table.unlike_training[tile_index]:
        text = f"unlike training (p {table.novelty_p[tile_index]:.2g}); most probable: {text}"
    return f"{text} (tile r{row} c{col})"


def field_point(layer: Layer, grid: TileGrid, position: Any) -> tuple[float, float]:
    """Convert a world position to the point of the field, (y, x) in px, for a map's layer of any kind."""
    y, x = np.asarray(layer.world_to_data(position), float)[-2:]
    if type(layer).__name__ not in ("Shapes", "Points"):  # one pixel per tile: convert to px of the field
        axes = MapAxes.of(grid)
        y, x = y * axes.scale[0] + axes.offset[0], x * axes.scale[1] + axes.offset[1]
    return float(y), float(x)


def show_class_in_status_bar(layer: Layer, describe: Callable[[int], str] | None = None) -> None:
    """Make a map's layer show the class under the mouse in the status bar, found by arithmetic.

    Parameters
    ----------
    layer
        Its metadata holds the table, or at least the grid.
    describe
        Describes the tile of an index; :func:`describe_tile` where it is None.
    """
    original = layer.get_status

    def get_status(position: Any = None, **kwargs: Any) -> dict[str, str]:
        status: dict[str, str] = original(position, **kwargs)
        if position is not None:
            entry = layer.metadata[KEY]
            grid: TileGrid = entry["grid"] if describe is not None else entry["table"].grid
            world = position if kwargs.get("world") else layer.data_to_world(position)
            tile_index = grid.tile_at(*field_point(layer, grid, world))
            text = "no tile"
            if tile_index >= 0:
                text = describe_tile(entry["table"], tile_index) if describe is None else describe(tile_index)
            status["value"] = text
            status["coordinates"] = f"{status.get('coords', '')}: {text}"
        return status

    layer.get_status = get_status
