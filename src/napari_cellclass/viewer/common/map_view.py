"""The class maps that this program added to a viewer: recognised, replaced and restyled; never a user's own layer."""

from __future__ import annotations

import functools
import threading
import uuid
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.grid_layout import grid_key
from napari_cellclass.viewer.common.layers import KEY, add_unselected, remove_layers, transform_of
from napari_cellclass.viewer.common.overlay import (
    MAX_SHAPES,
    OverlayStyle,
    restyle,
    tile_layers,
    update_in_steps,
    update_predictions,
)
from napari_cellclass.viewer.common.proxies import unwrap
from napari_cellclass.viewer.common.visible_tiles import (
    contradicting_labels,
    count_text_lines,
    outline_layer,
    text_colour,
    text_colours,
    text_layer,
    tiles_with_outline,
    tiles_with_text,
    write_outlines,
    write_texts,
)

if TYPE_CHECKING:
    from napari.layers import Layer, Points, Shapes
    from napari.viewer import Viewer

    from napari_cellclass.core.images.source import SourceImage

_OUTDATED = " (outdated)"
_warming_up = threading.Lock()
# A layer that a user duplicated has our metadata too; only the object made here is our own.
_made: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def register_layer(layer: Layer) -> None:
    """Register a layer as made here."""
    token = uuid.uuid4().hex
    layer.metadata[KEY] = {**layer.metadata[KEY], "token": token}
    _made[token] = layer


def is_own_layer(layer: Layer) -> bool:
    """Whether a layer was made here, rather than loaded or duplicated by a user."""
    entry = layer.metadata.get(KEY)
    made = _made.get(entry.get("token", "")) if isinstance(entry, dict) else None
    return made is not None and made is unwrap(layer)


@dataclass(frozen=True)
class FieldLayer:
    """Name and transform of an image layer, read in the window's thread for work in another one."""

    name: str
    transform: dict[str, Any]
    layer_id: str = ""

    @classmethod
    def of(cls, layer: Layer) -> FieldLayer:
        """Read a layer's name and transform."""
        return cls(layer.name, transform_of(layer), str(layer.unique_id))


@dataclass(frozen=True, eq=False)
class BuiltMap:
    """A map built outside the window's thread.

    Parameters
    ----------
    table
        The tiles.
    field
        Name and identity of the field; a map of the same field is replaced.
    field_layer
        The image layer's name and transform.
    kind
        ``"shapes"`` or ``"pixels"``, see :func:`tile_layers`.
    layers
        New layers, in no viewer yet; empty where the layers in the viewer have the same tiles.
    text_colour
        Colour of the text on the tiles.
    """

    table: TileTable
    field: str
    field_layer: FieldLayer
    kind: str
    layers: tuple[Layer, ...]
    text_colour: str


def build_map(
    table: TileTable,
    source: SourceImage,
    field_layer: FieldLayer,
    style: OverlayStyle,
    current: BuiltMap | None = None,
    planned: int = 0,
) -> BuiltMap:
    """Build the layers of a map, in any thread; slow for many tiles.

    Parameters
    ----------
    table, source
        The tiles and the field.
    field_layer
        The image layer.
    style
        Which classes will be visible.
    current
        The map in the viewer, whose layers are reused where only the predictions differ.
    planned
        See :func:`tile_layers`.
    """
    # Fills the caches of the table here, rather than in the window's thread.
    table.grid.tile_at(0, 0)
    table.counts()
    field = field_key(source)
    kind = "pixels" if table.is_live or max(planned, len(table)) > MAX_SHAPES else "shapes"
    if (
        current is not None
        and (current.field, current.kind) == (field, kind)
        and _same_tiles(current, table, field_layer)
    ):
        return BuiltMap(table, field, field_layer, kind, (), current.text_colour)
    field_layer = replace(field_layer, name=field_layer.name + describe_plane(source))
    name = _map_name(field_layer, table)
    layers = tile_layers(table, field_layer.transform, name, style.for_scheme(table.scheme), planned)
    for layer in layers:
        layer.metadata[KEY] |= {"source": source}  # for cutting the tiles out later
    return BuiltMap(table, field, field_layer, kind, tuple(layers), text_colour(source))


def _map_name(field_layer: FieldLayer, table: TileTable) -> str:
    """Name a map; a long name is cut off in napari's list of layers."""
    return f"{field_layer.name} {'live map' if table.is_live else 'classes'}"


def _same_tiles(current: BuiltMap, table: TileTable, field_layer: FieldLayer) -> bool:
    old, new = current.table.grid, table.grid
    same_transform = all(
        np.array_equal(current.field_layer.transform[key], field_layer.transform[key])
        for key in field_layer.transform
        if key != "units"
    )
    same_grid = (old.grid_shape, old.step_px, old.tile_px) == (new.grid_shape, new.step_px, new.tile_px)
    # A pixel map has a pixel for every tile of its grid, a map of shapes only the tiles that it was made of.
    same_boxes = current.kind == "pixels" or np.array_equal(old.boxes, new.boxes)
    same_kind = current.table.is_live == table.is_live
    return same_transform and same_grid and same_boxes and same_kind and current.table.scheme == table.scheme


def field_key(source: SourceImage) -> str:
    """Identify a field by its pixels and its plane."""
    return f"{source.image_id} {dict(source.plane)}"


def describe_plane(source: SourceImage) -> str:
    """Describe the plane of a stack, for the name of a map: ``" T3 Z0"``."""
    return "".join(f" {axis}{index}" for axis, index in source.plane.items())


def find_map_table(viewer: Viewer, source: SourceImage, grid: TileGrid) -> TileTable | None:
    """Find the table of a map in the viewer, of the same field with the same tiles."""
    for layer in reversed(list(viewer.layers)):
        entry = layer.metadata.get(KEY, {})
        if is_own_layer(layer) and entry.get("kind") == "map" and entry.get("field") == field_key(source):
            table: TileTable = entry["table"]
            other = table.grid
            if (other.tile_px, other.step_px, other.grid_shape) == (grid.tile_px, grid.step_px, grid.grid_shape):
                return table
    return None


def warm_up() -> None:
    """Build a map of each kind and discard it, once: napari's imports and compiler take seconds. In any thread."""
    with _warming_up:  # who comes meanwhile waits, and finds it done
        _make_unseen_maps()


@functools.cache
def _make_unseen_maps() -> None:
    from napari.layers import Image

    transform = transform_of(Image(np.zeros((2, 1), np.uint8)))
    scheme, grid = ClassScheme(("a", "b")), TileGrid.regular((2, 1), 1)
    table = TileTable(grid, scheme, np.full((2, 2), 0.5, np.float32))
    for planned in (0, MAX_SHAPES + 1):
        for layer in tile_layers(table, transform, "warm-up", OverlayStyle(), planned):
            layer._update_thumbnail()  # compiles how napari colours labels


class MapView:
    """The map of one field in a viewer: its layers, its text and its style.

    Parameters
    ----------
    viewer
        The napari viewer.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self.current: BuiltMap | None = None
        self.style = OverlayStyle()
        self.layers: list[Layer] = []
        self._text: Points | None = None
        self._outlines: Shapes | None = None  # of a map of pixels

    @property
    def table(self) -> TileTable | None:
        """The tiles in the viewer, or None."""
        return None if self.current is None else self.current.table

    def show(self, new: BuiltMap) -> None:
        """Add a map to the viewer; it replaces an earlier one of the same field."""
        for _ in self.show_in_steps(new):
            pass

    def show_in_steps(self, new: BuiltMap) -> Iterator[None]:
        """Add a map as :meth:`show` does, a layer at a time: each takes napari some ten ms, and as long to draw."""
        self.style = self.style.for_scheme(new.table.scheme)
        self.current = new
        if not new.layers and self.is_in_viewer():
            for layer in self.layers:
                yield from update_in_steps(layer, new.table, self.style)
        else:
            yield from self._add(new)
        self.select()
        yield
        self.refresh_view()

    def _add(self, new: BuiltMap) -> Iterator[None]:
        self._remove_maps_of(new)
        yield
        name = _map_name(new.field_layer, new.table)
        self.layers = list(new.layers or tile_layers(new.table, new.field_layer.transform, name, self.style))
        self._text = text_layer(new.table, new.field_layer.transform, f"{new.field_layer.name} text", new.text_colour)
        self._outlines = None
        if new.kind == "pixels" and not new.table.is_live:  # outlines would be made anew at every label
            self._outlines = outline_layer(
                new.table, new.field_layer.transform, f"{new.field_layer.name} tiles in view"
            )
        for layer in self.all_layers():
            layer.metadata[KEY] = {**layer.metadata[KEY], "field": new.field, "over": new.field_layer.layer_id}
            register_layer(layer)
            add_unselected(self._viewer, layer)
            yield

    def select(self) -> None:
        """Make the map the selected layer: only that one gets clicks and describes itself in the status bar."""
        if self.is_in_viewer():
            self._viewer.layers.selection.active = self.layers[-1]

    @property
    def text_layer(self) -> Points | None:
        """The layer with the text of the tiles in view."""
        return self._text

    def mark_outdated(self, outdated: bool) -> None:
        """Let the names of the layers say whether the map belongs to what is chosen now."""
        if self.is_in_viewer():
            for layer in self.layers:
                name = layer.name.removesuffix(_OUTDATED)
                if layer.name != name + _OUTDATED * outdated:
                    layer.name = name + _OUTDATED * outdated

    def all_layers(self) -> list[Layer]:
        """Give the map's layers with those that follow the view, lowest first."""
        return [*self.layers, *(layer for layer in (self._outlines, self._text) if layer is not None)]

    def clickable_layers(self) -> list[Layer]:
        """Give the map's layers but for its text: a click on them means a tile."""
        return [layer for layer in self.all_layers() if layer is not self._text]

    def _remove_maps_of(self, new: BuiltMap) -> None:
        """Remove maps of the same field: of the same image layer, or of one that was removed."""
        present = {str(layer.unique_id) for layer in self._viewer.layers} - {new.field_layer.layer_id}
        others = []
        for layer in self._viewer.layers:
            entry = layer.metadata.get(KEY, {})
            if is_own_layer(layer) and entry.get("field") == new.field and entry.get("over") not in present:
                others.append(layer)
        remove_layers(self._viewer, others)

    def remove(self) -> None:
        """Remove the map from the viewer."""
        remove_layers(self._viewer, self.all_layers())
        self.current, self.layers, self._text, self._outlines = None, [], None, None

    def is_in_viewer(self) -> bool:
        """Whether the map is still in the viewer."""
        names = [unwrap(layer) for layer in self._viewer.layers]
        return bool(self.layers) and all(any(layer is other for other in names) for layer in self.layers)

    def update_predictions(self, table: TileTable, with_texts: bool = True) -> None:
        """Show other predictions for the tiles of the map; without the texts on the tiles where they come later."""
        if self.current is None or not self.is_in_viewer():
            return
        self.current = replace(self.current, table=table)
        with self._viewer.layers.events.blocker():  # else napari's list of layers would be drawn anew at every key
            for layer in self.layers:
                update_predictions(layer, table, self.style)
        if with_texts:
            self.refresh_view()

    def show_plane(self, table: TileTable, source: SourceImage, field_layer: FieldLayer) -> BuiltMap:
        """Show the predictions of another plane of the field in the same layers."""
        assert self.current is not None
        if not np.array_equal(self.current.table.grid.boxes, table.grid.boxes):
            self.remove()
            self.show(build_map(table, source, field_layer, self.style))
            return self.current
        before = self.current.field_layer.name
        field_layer = replace(field_layer, name=field_layer.name + describe_plane(source))
        self.current = replace(self.current, table=table, field=field_key(source), field_layer=field_layer)
        for layer in self.all_layers():
            layer.name = layer.name.replace(before, field_layer.name)
            layer.metadata[KEY] = {**layer.metadata[KEY], "field": self.current.field, "source": source}
        for layer in self.layers:
            update_predictions(layer, table, self.style)
        self.refresh_view()
        return self.current

    def restyle(self, style: OverlayStyle) -> None:
        """Change which classes are visible, or the confidence threshold."""
        self.style = style
        if self.is_in_viewer():
            for layer in self.layers:
                restyle(layer, style)
            self.refresh_view()

    def refresh_view(self) -> None:
        """Update text and outlines of the tiles in view; called when the view has moved."""
        if self.table is None or self._text is None or not self.is_in_viewer():
            return
        present = [unwrap(layer) for layer in self._viewer.layers]
        view, scale = self._view()
        visible = self.layers[-1].visible
        if any(self._text is layer for layer in present):
            tile_indices, lines = np.zeros(0, np.int64), 0
            if visible and self._text.visible:
                tile_indices = tiles_with_text(self.table, self.style, view, scale)
                lines = count_text_lines(self.table, scale)
            annotation = self._annotation()
            labelled = {} if annotation is None else contradicting_labels(annotation, self.table, tile_indices)
            source = self.layers[-1].metadata[KEY].get("source")
            colours = None if source is None else text_colours(source, self.table, tile_indices)
            write_texts(self._text, self.table, tile_indices, lines, labelled, colours)
        if self._outlines is not None and any(self._outlines is layer for layer in present):
            shown = visible and self._outlines.visible
            outlined = tiles_with_outline(self.table, view) if shown else np.zeros(0, np.int64)
            write_outlines(self._outlines, self.table, self.style, outlined)

    def _annotation(self) -> Annotation | None:
        """Find the labels of the tiles of this map in the viewer."""
        for layer in self._viewer.layers:
            entry = layer.metadata.get(KEY, {})
            if entry.get("kind") == "annotation" and self.current and field_key(entry["source"]) == self.current.field:
                annotation: Annotation = entry["annotation"]
                if grid_key(annotation.grid) == grid_key(self.current.table.grid):
                    return annotation
        return None

    def _view(self) -> tuple[Any, float]:
        """Corners of the view in px of the field, and the size of such a pixel on the screen."""
        camera = self._viewer.scene.camera
        height, width = self._viewer.canvas.size
        centre = np.array(camera.center[-2:], float)
        half = np.array([height, width]) / 2 / camera.zoom
        assert self._text is not None
        corners = [
            np.asarray(self._text.world_to_data(centre + half * sign))[-2:]
            for sign in ((-1, -1), (-1, 1), (1, 1), (1, -1))
        ]
        view = np.stack([np.min(corners, axis=0), np.max(corners, axis=0)])
        side = np.linalg.norm(np.asarray(corners[1]) - np.asarray(corners[0]))
        return view, float(width / max(side, 1e-9))
