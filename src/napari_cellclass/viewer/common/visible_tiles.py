"""Layers that show only the tiles in view: text, and outlines where the map itself is pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.viewer.common.layers import KEY, lock_layer
from napari_cellclass.viewer.common.overlay import (
    FACE_ALPHA,
    OverlayStyle,
    displayed_class,
    show_class_in_status_bar,
    table_features,
    tile_colours,
)

if TYPE_CHECKING:
    from napari.layers import Points, Shapes

    from napari_cellclass.core.images.source import SourceImage

# Text costs 0.4 ms a tile and zoom step, and more would not be legible anyway.
MAX_TEXTS = 300
MAX_OUTLINES = 300
"""napari needs longer than a frame to make more rectangles."""
_LETTER_SCREEN_PX = 9
_LUMA = np.array([0.2126, 0.7152, 0.0722])  # of red, green, blue; ITU-R BT.709


def count_text_lines(table: TileTable, screen_px_per_px: float) -> int:
    """Count the lines of text that fit on a tile: 2 class and confidence, 1 confidence alone, 0 nothing."""
    free_px = min(*table.grid.tile_px, *table.grid.step_px)  # overlapping tiles share it
    letters = free_px * screen_px_per_px / _LETTER_SCREEN_PX
    return 2 if letters >= max(map(len, table.scheme.names)) + 1 and letters >= 5 else 1 if letters >= 5 else 0


def tiles_with_text(
    table: TileTable, style: OverlayStyle, view: NDArray[Any], screen_px_per_px: float
) -> NDArray[np.int64]:
    """Choose the tiles that get text: in view, shown, large enough on the screen; at most ``MAX_TEXTS``.

    Parameters
    ----------
    table, style
        The tiles, and which of them are visible.
    view
        Shape (2, 2): upper-left and lower-right corner of the view as (y, x) in px of the field.
    screen_px_per_px
        Size on the screen of a pixel of the field.

    Returns
    -------
    int64 array
        Tile indices, the largest tiles first, then those nearest to the view's centre.
    """
    if count_text_lines(table, screen_px_per_px) == 0:
        return np.zeros(0, np.int64)
    tile_indices = table.grid.tiles_between(view[0], view[1])
    tile_indices = tile_indices[displayed_class(table, style, tile_indices) >= -1]
    boxes = table.grid.boxes[tile_indices].astype(float)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    distance = np.square((boxes[:, :2] + boxes[:, 2:]) / 2 - np.mean(view, axis=0)).sum(axis=1)
    return tile_indices[np.lexsort((distance, -area))][:MAX_TEXTS]


def text_layer(table: TileTable, transform: Mapping[str, Any], name: str, colour: str) -> Points:
    """Make the layer with the text of the tiles in view; empty until :func:`write_texts`.

    It is a layer of its own, because napari lays out the text of the map's layer for every tile at every
    zoom: 8 s for 10 000 tiles (napari 0.9.2).
    """
    from napari.layers import Points

    layer = Points(
        np.zeros((0, 2)),
        features={"label": np.zeros(0, object), "colour": np.zeros(0, object)},
        text={"string": "{label}", "color": {"feature": "colour", "fallback": colour}, "size": 9, "anchor": "center"},
        size=0.001,
        face_color="transparent",  # only the text is visible
        border_color="transparent",
        opacity=1.0,
        name=name,
        **transform,
    )
    layer.metadata[KEY] = {"kind": "text", "table": table, "colour": colour}
    lock_layer(layer)
    return layer


def text_colour(source: SourceImage) -> str:
    """Choose black text for a bright-field image, white for fluorescence, from a sample of pixels."""
    if not source.rgb:
        return "white"
    height, width = source.shape
    samples = [
        source.read(y, x, y + 8, x + 8) for y in (0, height // 2, height - 8) for x in (0, width // 2, width - 8)
    ]
    top = np.iinfo(source.dtype).max if source.dtype.kind in "ui" else 1.0
    return "black" if np.mean(samples) > 0.5 * top else "white"


def text_colours(source: SourceImage, table: TileTable, tile_indices: NDArray[np.int64]) -> list[str] | None:
    """Choose black or white for the text of each tile, whichever is seen better on its tinted pixels.

    Parameters
    ----------
    source
        The field. Where it is no image in colours, or not in memory, the answer is None: how bright it is shown is not
        known here, or reading it would block the window.
    table, tile_indices
        The map, and which of its tiles have text.
    """
    if not source.rgb or not isinstance(source.data, np.ndarray):
        return None
    top = np.iinfo(source.dtype).max if source.dtype.kind in "ui" else 1.0
    colours = []
    for i, (y0, x0, y1, x1) in zip(tile_indices.tolist(), table.grid.boxes[tile_indices].tolist(), strict=True):
        step = max(1, min(y1 - y0, x1 - x0) // 8)
        pixels = source.data[max(0, y0) : y1 : step, max(0, x0) : x1 : step]
        below = pixels.reshape(-1, 3).mean(axis=0) / top if pixels.size else np.zeros(3)
        tint = np.array(table.scheme.rgb(int(table.class_index[i]))) / 255
        seen = (1 - FACE_ALPHA) * below + FACE_ALPHA * tint
        colours.append("black" if float(seen @ _LUMA) > 0.5 else "white")
    return colours


def contradicting_labels(annotation: Annotation, table: TileTable, tile_indices: NDArray[np.int64]) -> dict[int, str]:
    """Give the classes that tiles are labelled with, by index, where the map predicts another one.

    Parameters
    ----------
    annotation
        The labels of the same field and grid; of a class that the map does not have nothing is said.
    table, tile_indices
        The map, and which of its tiles are asked for.
    """
    names, labels = annotation.scheme.names, annotation.labels_of(table.grid.tile_id[tile_indices])
    known = set(table.scheme.names)
    found = {}
    for i, label in zip(tile_indices.tolist(), labels.tolist(), strict=True):
        if label >= 0 and table.class_index[i] >= 0 and names[label] in known and names[label] != table.class_name[i]:
            found[i] = names[label]
    return found


def write_texts(
    layer: Points,
    table: TileTable,
    tile_indices: NDArray[np.int64],
    lines: int = 2,
    labelled: Mapping[int, str] = MappingProxyType({}),
    colours: Sequence[str] | None = None,
) -> None:
    """Put class and confidence on some tiles.

    Parameters
    ----------
    layer
        Of :func:`text_layer`.
    table
        The tiles.
    tile_indices
        Which of them, see :func:`tiles_with_text`.
    lines
        Number of lines, see :func:`count_text_lines`.
    labelled
        Of :func:`contradicting_labels`: what these tiles are labelled with is written below, after a ``≠``.
    colours
        Of :func:`text_colours`; None for that of the layer.
    """
    boxes = table.grid.boxes[tile_indices].astype(float)
    if table.has_percentages:
        names = [f"{table.class_name[i]}\n" if lines > 1 else "" for i in tile_indices]
        confidences = [f"{table.confidence[i]:.0%}" if table.class_index[i] >= 0 else "?" for i in tile_indices]
        labels = [name + text for name, text in zip(names, confidences, strict=True)]
    else:
        labels = [str(table.class_name[i]) if lines > 1 else "" for i in tile_indices]
    for row, i in enumerate(tile_indices.tolist()):
        if i in labelled:
            labels[row] = f"{labels[row]}\n≠ {labelled[i]}" if lines > 1 else f"≠ {labels[row]}"
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5
    entry = layer.metadata[KEY]
    colours = [entry["colour"]] * len(labels) if colours is None else list(colours)
    written = centres.tobytes(), labels, colours
    if entry.get("written", (b"", [], [])) == written:
        return  # each change of the layer costs some ten ms
    layer.metadata[KEY] = {**entry, "written": written}
    hidden = not layer.visible
    if hidden:
        layer.visible = True  # on a hidden layer napari would look up the points of before
    layer.data = centres
    layer.features = pd.DataFrame({"label": np.array(labels, object), "colour": np.array(colours, object)})
    if hidden:
        layer.visible = False


def outline_layer(table: TileTable, transform: Mapping[str, Any], name: str) -> Shapes:
    """Make the layer of the tiles in view of a map of pixels; empty until :func:`write_outlines`."""
    from napari.layers import Shapes

    layer = Shapes(None, ndim=2, name=name, opacity=1.0, **transform)
    layer.metadata[KEY] = {"kind": "in-view", "table": table}
    lock_layer(layer)
    show_class_in_status_bar(layer)
    return layer


def tiles_with_outline(table: TileTable, view: NDArray[Any]) -> NDArray[np.int64]:
    """Choose the tiles to outline: all whose centre is in view, none where there are too many."""
    return np.sort(table.grid.tiles_between(view[0], view[1], MAX_OUTLINES))


def write_outlines(layer: Shapes, table: TileTable, style: OverlayStyle, tile_indices: NDArray[np.int64]) -> None:
    """Outline some tiles in the colours of their classes, with their columns as features."""
    entry = layer.metadata[KEY]
    same = entry.get("outlined") is table and entry.get("style") == style
    if same and np.array_equal(entry["places"], tile_indices):
        return  # as after a zoom between two tiles
    chosen = table.take(tile_indices)
    layer.metadata[KEY] = {**entry, "table": chosen, "places": tile_indices, "outlined": table, "style": style}
    with layer.events.data.blocker():
        layer.data = []
    if len(tile_indices):
        layer.add_rectangles(
            chosen.grid.rects(),
            edge_width=max(0.5, 0.02 * min(table.grid.tile_px)),
            face_color="transparent",
            edge_color=tile_colours(chosen, style)[1],
        )
    layer.features = table_features(chosen)
