"""An annotation in a viewer: the label map, grid lines and the frame of the current tile. No Qt."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.history import LabelChange
from napari_cellclass.core.labels.label_store import CONFLICT, UNLABELLED, UNSURE
from napari_cellclass.viewer.common.grid_lines import grid_lines, is_sparse
from napari_cellclass.viewer.common.layers import KEY, add_unselected, lock_layer, matrix_of, remove_layers
from napari_cellclass.viewer.common.map_view import FieldLayer
from napari_cellclass.viewer.common.overlay import grid_transform, show_class_in_status_bar
from napari_cellclass.viewer.common.proxies import unwrap
from napari_cellclass.viewer.common.visible_tiles import text_colour
from napari_cellclass.viewer.features.current_frame import CurrentFrame
from napari_cellclass.viewer.features.selected_tiles import SelectedTiles

if TYPE_CHECKING:
    from napari.viewer import Viewer

# Values of the map's pixels: 0 no label, then these, then the classes.
_CONFLICT_VALUE, _UNSURE_VALUE, _FIRST_CLASS = 1, 2, 3
MIN_TILE_SCREEN_PX = 48
"""Smallest side of the current tile on the screen."""
_MARGIN = 0.2  # fraction of half the view at its edge in which the camera follows the current tile


def pixel_values(labels: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Convert labels to the values of the map's pixels."""
    values = np.where(labels >= 0, labels + _FIRST_CLASS, 0)
    values[labels == UNSURE] = _UNSURE_VALUE
    values[labels == CONFLICT] = _CONFLICT_VALUE
    return values.astype(np.uint8)


def describe_label(annotation: Annotation, tile_index: int) -> str:
    """Say which label a tile has."""
    label = int(annotation.labels[tile_index])
    names = {UNLABELLED: "not labelled", UNSURE: "labelled unsure"}
    return f"labelled {annotation.scheme.names[label]}" if label >= 0 else names.get(label, "in conflict")


def add_grid_lines(viewer: Viewer, annotation: Annotation, source: SourceImage, field_layer: FieldLayer) -> Any:
    """Add the layer with the edges of the tiles to a viewer, and give it."""
    name = f"{field_layer.name} grid"
    lines = grid_lines(annotation.grid, name, field_layer.transform, text_colour(source))
    lines.metadata[KEY] = _entry("annotation-aid", annotation, source)
    lock_layer(lines)
    add_unselected(viewer, lines)
    return lines


def add_in_steps(
    viewer: Viewer, annotation: Annotation, source: SourceImage, field_layer: FieldLayer
) -> Generator[None, None, AnnotationLayers]:
    """Add the layers of an annotation, one in each step; none of them stays where the generator is closed early."""
    lines, made = add_grid_lines(viewer, annotation, source, field_layer), None
    try:
        yield
        made = AnnotationLayers(viewer, annotation, source, field_layer, lines, visible=False)
        yield
        made.map.visible = True  # so that it is drawn in a step of its own
        yield
    except GeneratorExit:
        remove_layers(viewer, [lines])
        if made is not None:
            made.remove()
        raise
    return made


def _entry(kind: str, annotation: Annotation, source: SourceImage) -> dict[str, Any]:
    return {"kind": kind, "annotation": annotation, "source": source, "grid": annotation.grid}


class AnnotationLayers:
    """The layers of one annotation.

    The labels are a map with one pixel per tile: setting one of its pixels is a hundred times faster than
    setting a face colour in a Shapes layer of 10 000 rectangles, and there is no shape that a key could delete. What is
    labelled is outlined, too, so that it stands out from the tint of predictions.

    Parameters
    ----------
    viewer
        The napari viewer.
    annotation, source, field_layer
        The labels, the field, and the image layer's name and transform.
    lines
        The layer with the edges of the tiles, where :func:`add_grid_lines` has added it.
    visible
        Whether the labels are shown at once.
    """

    def __init__(
        self,
        viewer: Viewer,
        annotation: Annotation,
        source: SourceImage,
        field_layer: FieldLayer,
        lines: Any = None,
        visible: bool = True,
    ) -> None:
        self._viewer = viewer
        self.annotation = annotation
        self.source = source
        self.field_layer = field_layer
        grid = annotation.grid
        self._index_at = np.full(grid.grid_shape, -1, np.int64)
        self._index_at[grid.row, grid.col] = np.arange(len(grid))
        # A tile centred on a point is drawn as a dot of several pixels.
        side = max(1, min(grid.tile_px) // 4) if is_sparse(grid) else 1
        self._dot = np.mgrid[0:side, 0:side].reshape(2, -1).T - side // 2
        self.current, self._let_go_of = 0, False
        half = np.array(grid.tile_px) / grid.step_px / 2
        half = half if is_sparse(grid) else np.minimum(half, 0.5)  # overlapping tiles share what lies between them
        middle = np.stack([grid.row, grid.col], axis=1)
        self._cells = np.concatenate([middle - half, middle + half], axis=1)
        self._make_layers(add_grid_lines(viewer, annotation, source, field_layer) if lines is None else lines, visible)
        self.go_to(0, follow=False)

    def _make_layers(self, lines: Any, visible: bool) -> None:
        from napari.layers import Labels

        grid, name = self.annotation.grid, self.field_layer.name
        self.map = Labels(
            self._pixels(),
            name=f"{name} labels",
            opacity=0.45,
            visible=visible,
            **grid_transform(grid, self.field_layer.transform),
        )
        self.recolour()
        # Lines over all layers: moving a layer or its vertices would take 20 ms more per key.
        self._frame = CurrentFrame(self._viewer, self._px_to_world)
        self.map.events.visible.connect(self._follow_visible)
        self._viewer.layers.events.removed.connect(self._follow_removal)
        self.selected = SelectedTiles(self._viewer, grid, self._px_to_world)
        self.map.metadata[KEY] = _entry("annotation", self.annotation, self.source)
        lock_layer(self.map)
        show_class_in_status_bar(self.map, self._describe)
        add_unselected(self._viewer, self.map)
        self.layers: list[Any] = [lines, self.map]
        if not self._map_is_selected():
            self._viewer.layers.selection.active = self.map

    def _map_is_selected(self) -> bool:
        """Whether predictions of this image are selected: they came while it was being opened, and stay selected."""
        active = self._viewer.layers.selection.active
        entry = {} if active is None else active.metadata.get(KEY, {})
        return entry.get("kind") == "map" and entry.get("over") == self.field_layer.layer_id

    def _describe(self, tile_index: int) -> str:
        grid = self.annotation.grid
        place = f"(tile r{grid.row[tile_index]} c{grid.col[tile_index]})"
        return f"{describe_label(self.annotation, tile_index)} {place}"

    def _pixels(self) -> NDArray[np.uint8]:
        grid = self.annotation.grid
        pixels = np.zeros(grid.grid_shape, np.uint8)
        where, values = self._dots(np.arange(len(grid)), pixel_values(self.annotation.labels))
        pixels[where] = values
        return pixels

    def _dots(self, tile_indices: NDArray[np.int64], values: NDArray[np.uint8]) -> tuple[Any, NDArray[np.uint8]]:
        """Pixels of the map that show the tiles, and their values."""
        grid = self.annotation.grid
        points = (
            np.stack([grid.row[tile_indices], grid.col[tile_indices]], axis=-1).astype(np.intp)[:, None] + self._dot
        )
        points = np.clip(points, 0, np.array(grid.grid_shape) - 1).reshape(-1, 2)
        return (points[:, 0], points[:, 1]), np.repeat(values, len(self._dot))

    def recolour(self) -> None:
        """Update the colours of the classes."""
        from napari.utils.colormaps import DirectLabelColormap

        self.map.colormap = DirectLabelColormap(color_dict={None: (0.0, 0.0, 0.0, 0.0), **self._colours()})
        self._outline()

    def _colours(self) -> dict[int | None, Any]:
        """Return the colours of the map's pixels by their value, RGBA in 0..1."""
        colours: dict[int | None, Any] = {0: (0.0, 0.0, 0.0, 0.0)}
        colours |= {_CONFLICT_VALUE: (1.0, 0.0, 0.0, 1.0), _UNSURE_VALUE: (0.6, 0.6, 0.6, 1.0)}
        scheme = self.annotation.scheme
        for i in range(len(scheme)):
            colours[_FIRST_CLASS + i] = (*(v / 255 for v in scheme.rgb(i)), 1.0)
        return colours

    def _outline(self) -> None:
        from napari_cellclass.viewer.common.outline_overlay import Outlines, outline_tiles

        labels = np.asarray(self.annotation.labels)
        labelled = np.flatnonzero(labels != UNLABELLED)
        colours = np.array(list(self._colours().values()))  # of now: an undo may just have brought back a class
        outline_tiles(self.map, Outlines(self._cells[labelled], colours[pixel_values(labels[labelled])]))

    def repaint(self, change: LabelChange | None = None) -> None:
        """Repaint the tiles of a change; all tiles when None."""
        if change is None:
            self.map.data = self._pixels()
        elif len(change.tile_indices):
            where, values = self._dots(change.tile_indices, pixel_values(change.after))
            with self._viewer.layers.events.blocker():  # else napari's list of layers would be drawn anew at every key
                self.map.data_setitem(where, values)  # uploads these pixels only
        self._outline()

    def go_to(self, tile_index: int, follow: bool = True) -> None:
        """Make a tile the current one, and frame it.

        With ``follow`` the camera follows where it is near or beyond the edge of the view, and goes nearer where a
        tile measures less than ``MIN_TILE_SCREEN_PX``: nobody can judge it then.
        """
        self.current = int(tile_index)
        self.selected.show(np.zeros(0, np.int64))
        grid = self.annotation.grid
        self._frame_cells(grid.row[[self.current]], grid.col[[self.current]])
        if follow:
            box = grid.boxes[self.current].astype(float)
            nearer = self._zoom_in()
            self._follow(self._px_to_world(np.array([(box[:2] + box[2:]) / 2 - 0.5]))[0], nearer)

    def _frame_cells(self, rows: NDArray[np.int32], cols: NDArray[np.int32]) -> None:
        grid = self.annotation.grid
        y, x = grid.tile_px[0] / grid.step_px[0] / 2, grid.tile_px[1] / grid.step_px[1] / 2
        low, high = (float(rows.min() - y), float(cols.min() - x)), (float(rows.max() + y), float(cols.max() + x))
        step, centre = np.array(grid.step_px), (np.array(grid.tile_px) - 1) / 2
        self._frame.show(*(np.array(low) * step + centre), *(np.array(high) * step + centre))

    def _follow_visible(self, event: Any = None) -> None:
        self._frame.set_visible(bool(self.map.visible) and self.is_in_viewer())

    def _follow_removal(self, event: Any = None) -> None:
        if not self.is_in_viewer():
            self._let_go()

    def _let_go(self) -> None:
        """Frame nothing any more, and follow nothing."""
        if self._let_go_of:
            return
        self._let_go_of = True
        self._frame.remove()
        self.map.events.visible.disconnect(self._follow_visible)
        self._viewer.layers.events.removed.disconnect(self._follow_removal)

    def _px_to_world(self, points: NDArray[Any]) -> NDArray[np.float64]:
        matrix = matrix_of(self.field_layer.transform)
        return points @ matrix[:2, :2].T + matrix[:2, 2]

    def _zoom_in(self) -> bool:
        grid, camera = self.annotation.grid, self._viewer.scene.camera
        matrix = matrix_of(self.field_layer.transform)[:2, :2]
        side = min(n * float(np.linalg.norm(matrix[:, i])) for i, n in enumerate(grid.tile_px))
        if side * camera.zoom >= MIN_TILE_SCREEN_PX:
            return False
        camera.zoom = MIN_TILE_SCREEN_PX / side
        return True

    def _follow(self, centre: NDArray[np.float64], centred: bool) -> None:
        camera = self._viewer.scene.camera
        half = np.array(self._viewer.canvas.size) / 2 / camera.zoom
        middle = np.array(camera.center[-2:], float)
        if centred or (np.abs(centre - middle) > half * (1 - _MARGIN)).any():
            camera.center = (*camera.center[:-2], *centre)

    def neighbour(self, rows: int, columns: int) -> int:
        """Find the tile at an offset of rows and columns, stopping at the edge; missing tiles are skipped."""
        grid = self.annotation.grid
        row, col = int(grid.row[self.current]), int(grid.col[self.current])
        height, width = grid.grid_shape
        row, col = min(max(row + rows, 0), height - 1), min(max(col + columns, 0), width - 1)
        step = (int(np.sign(rows)), int(np.sign(columns)))
        while 0 <= row < height and 0 <= col < width:
            if self._index_at[row, col] >= 0:
                return int(self._index_at[row, col])
            row, col = row + step[0], col + step[1]
        return self.current

    def frame_tiles(self, tile_indices: NDArray[np.int64]) -> None:
        """Outline several tiles, and frame them where they fill a box, until the current tile moves."""
        grid = self.annotation.grid
        self.selected.show(tile_indices)
        rows, cols = grid.row[tile_indices], grid.col[tile_indices]
        framed = len(rows) > 0 and (np.ptp(rows) + 1) * (np.ptp(cols) + 1) == len(rows)
        one = np.array([self.current])
        self._frame_cells(*((rows, cols) if framed else (grid.row[one], grid.col[one])))

    def field_point(self, world: Any) -> tuple[float, float]:
        """Convert a point of the world to (y, x) in px of the field."""
        grid = self.annotation.grid
        row, col = np.asarray(self.map.world_to_data(world), float)[-2:]
        return row * grid.step_px[0] + (grid.tile_px[0] - 1) / 2, col * grid.step_px[1] + (grid.tile_px[1] - 1) / 2

    def is_visible(self) -> bool:
        """Whether a label that is given now would be seen: the layer of labels is there and shown."""
        return self.is_in_viewer() and bool(self.map.visible) and self.map.opacity > 0

    def tiles_in_box(self, one: tuple[float, float], other: tuple[float, float]) -> NDArray[np.int64]:
        """Find the tiles whose centre is between two corners, in px of the field."""
        boxes = self.annotation.grid.boxes
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5
        low, high = np.minimum(one, other), np.maximum(one, other)
        return np.flatnonzero(((centre >= low) & (centre <= high)).all(axis=1))

    def is_in_viewer(self) -> bool:
        """Whether the map is still in the viewer."""
        return any(unwrap(layer) is self.map for layer in self._viewer.layers)

    def deactivate(self) -> None:
        """Leave the labels in the viewer, for training, without frame and grid lines."""
        self._let_go()
        self.selected.remove()
        remove_layers(self._viewer, [own for own in self.layers if own is not self.map])
        self.layers = [self.map]

    def remove(self) -> None:
        """Remove the layers from the viewer; the annotation stays on disk."""
        self._let_go()
        self.selected.remove()
        remove_layers(self._viewer, self.layers)
