"""One model of the work in a viewer: field, grid, classes, labels, current tile, active class, undo. No Qt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from psygnal import Signal

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.history import LabelChange
from napari_cellclass.core.labels.session_store import user_journal
from napari_cellclass.core.predictions.active_learning import Policy
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid_layout import grid_key
from napari_cellclass.viewer.common.layers import plane_of
from napari_cellclass.viewer.common.map_view import FieldLayer, find_map_table
from napari_cellclass.viewer.common.proxies import unwrap
from napari_cellclass.viewer.features.annotation_layers import AnnotationLayers, add_in_steps
from napari_cellclass.viewer.workspace.keys import KeyTable, labels_by_key, list_keys
from napari_cellclass.viewer.workspace.pointer import Pointer
from napari_cellclass.viewer.workspace.project_session import ProjectSession
from napari_cellclass.viewer.workspace.selection import Selected, TileSelection, label_selected
from napari_cellclass.viewer.workspace.tile_queue import LiveState, rank_field_tiles, why_empty

if TYPE_CHECKING:
    from napari.viewer import Viewer

_STRIDES = {"Left": (0, -1), "Right": (0, 1), "Up": (-1, 0), "Down": (1, 0)}


class Workspace:
    """What is labelled in a viewer and how; pages, layers, keys and mouse are views on it and change it.

    There is one current tile, one table of classes, one active class and one stack of steps to undo. Signals:
    ``field_changed`` after another field or grid was opened, ``tile_changed`` after another tile became the current
    one, ``labels_changed`` with the :class:`LabelChange`, or None, ``classes_changed`` after names, colours or keys may
    have changed, ``active_changed`` after another class became active or the brush was taken or put down,
    ``policy_changed`` after another order of tiles was chosen, ``neighbour_wanted`` with 1 for the next field and -1
    for the one before, ``message`` with a text for the user and whether it is a warning.

    Parameters
    ----------
    viewer
        The viewer.
    journal
        Where labels are kept; None for the journal of this user.
    """

    field_changed = Signal()
    tile_changed = Signal()
    labels_changed = Signal(object)
    classes_changed = Signal()
    active_changed = Signal()
    policy_changed = Signal()
    neighbour_wanted = Signal(int)
    message = Signal(str, bool)

    def __init__(self, viewer: Viewer, journal: Journal | None = None) -> None:
        self.viewer = viewer
        self.journal = journal or user_journal()
        self.annotation: Annotation | None = None
        self.source: SourceImage | None = None
        self.layers: AnnotationLayers | None = None
        self.session = ProjectSession(viewer)
        self.policy: Policy = "suggested"
        self.live: LiveState | None = None
        self.field_key = ""  # identifies the field that is open and its grid; '' where none is
        self.active: int | None = None
        self._image_layers, self._map_layers = list[Any](), list[Any]()
        self.brush, self.selection = False, TileSelection()
        self._retired: list[AnnotationLayers] = []
        self._groups: dict[int, int] = {}  # number of steps before and after several that one undo takes back
        self._announced: ClassScheme | None = None
        self.matched: dict[str, str] = {}  # classes of models that stand for one of ours of another name
        self._pointer = Pointer(self)
        self._keys = KeyTable(viewer, lambda key: self.message.emit(f"The key {key!r} belongs to no class.", False))

    # -- the field ---------------------------------------------------------------------------------

    def open(
        self, annotation: Annotation, source: SourceImage, field_layer: FieldLayer, image_layers: Sequence[Any] = ()
    ) -> None:
        """Show the labels of a field in the viewer; keys and mouse work on its image layers, too, or those before."""
        for _ in self.open_in_steps(annotation, source, field_layer, image_layers):
            pass

    def open_in_steps(
        self, annotation: Annotation, source: SourceImage, field_layer: FieldLayer, image_layers: Sequence[Any] = ()
    ) -> Iterator[None]:
        """Do what :meth:`open` does, a layer at a time: each takes napari some ten ms. The field is open in the end."""
        if self.layers is not None and self.layers not in self._retired:
            self.layers.deactivate()
            self._retired.append(self.layers)
            yield
        for layers in [one for one in self._retired if one.annotation.image.image_id == annotation.image.image_id]:
            layers.remove()
            yield
        made = yield from add_in_steps(self.viewer, annotation, source, field_layer)
        self._retired = [one for one in self._retired if one.annotation.image.image_id != annotation.image.image_id]
        self.annotation, self.source, self.layers, self._groups = annotation, source, made, {}
        self.field_key = f"{source.image_id} {grid_key(annotation.grid)}"
        self._image_layers = [unwrap(layer) for layer in image_layers] or self._image_layers
        self._listen()
        self.announce_classes()
        self.field_changed.emit()
        self.go_to(int(next(iter(self.queue()), 0)))

    def close_field(self) -> None:
        """Show no labels any more; they are on disk, and the layers of those of other fields stay."""
        if self.layers is not None:
            self.layers.remove()
        self.annotation = self.source = self.layers = None
        self.selection.clear()
        self._image_layers, self.field_key = [], ""
        self._listen()
        self.field_changed.emit()
        self.classes_changed.emit()

    def close(self) -> None:
        """Let go of keys and mouse; labels are on disk already, and their layers stay."""
        self._keys.release()
        self._pointer.detach()
        if self.layers is not None and self.layers.is_in_viewer():
            self.layers.deactivate()

    def watch_map(self, layers: Sequence[Any]) -> None:
        """Let clicks and keys on the layers of a map do what they do on those of the labels."""
        self._map_layers = [unwrap(layer) for layer in layers]
        self._listen()

    def select_with(self, layer: Any) -> None:
        """Let every drag on a layer select tiles; None where that takes Shift on all."""
        self._pointer.selecting_layer = layer

    def _listen(self) -> None:
        own = [*(self.layers.layers if self.layers is not None else ()), *self._map_layers]
        self._pointer.detach()
        self._pointer.attach([*own, *self._image_layers])
        self._keys.set_layers(own, self._image_layers)

    def why_not_visible(self) -> str:
        """Tell why a label that is given now would not be seen, or that there is none to give; else ''."""
        if self.layers is None or self.source is None:
            return "Nothing is labelled: no field is open. Open an image and choose it."
        if self.layers in self._retired:
            return "Nothing was labelled: another field is being opened."
        name = self.layers.map.name
        if not self.layers.is_in_viewer():
            return f"Nothing was labelled: the layer {name!r} was removed. Press Show labels to have it again."
        if not self.layers.is_visible():
            return f"Nothing was labelled: the layer {name!r} is hidden. Show it first."
        if self._image_layers and plane_of(self._image_layers[:1], self.viewer.dims.point) != dict(self.source.plane):
            return "Nothing was labelled: another plane is shown than the one that these labels belong to."
        return ""

    def image_layers(self) -> list[Any]:
        """Give the image layers of the field."""
        return list(self._image_layers)

    def show_labels(self) -> None:
        """Bring the labels back into the viewer, after their layer was removed or hidden."""
        if self.layers is None or self.annotation is None or self.source is None:
            return
        if self.layers.is_in_viewer():
            self.layers.map.visible = True
            return
        current, field_layer = self.layers.current, self.layers.field_layer
        self.open(self.annotation, self.source, field_layer)
        self.go_to(current)

    @property
    def scheme(self) -> ClassScheme:
        """The classes of the field that is open."""
        assert self.annotation is not None
        return self.annotation.scheme

    # -- the current tile --------------------------------------------------------------------------

    @property
    def current_tile(self) -> int | None:
        """Index of the tile that the next key labels, or None where no field is open."""
        return None if self.layers is None else self.layers.current

    def go_to(self, tile_index: int, follow: bool = True) -> None:
        """Make a tile the current one; with ``follow`` the view moves where the tile is outside or too small."""
        if self.layers is None or self.annotation is None or not 0 <= tile_index < len(self.annotation.grid):
            return
        self.selection.clear()
        self.layers.go_to(tile_index, follow and self.layers.is_in_viewer())
        self.tile_changed.emit()

    def walk(self, rows: int, columns: int) -> None:
        """Make a neighbour of the current tile the current one."""
        if self.layers is not None:
            self.go_to(self.layers.neighbour(rows, columns))

    def select(self, tile_indices: NDArray[np.int64], elsewhere: Selected = ()) -> None:
        """Choose several tiles, here and in other fields of the project; the next key labels all of them."""
        self.selection.set(tile_indices, elsewhere)
        if self.layers is not None:
            self.layers.frame_tiles(self.selection.tiles)
        if len(self.selection):
            self.message.emit(f"{self.selection.describe(self.annotation)}: the key of a class labels all.", False)

    def queue(self) -> NDArray[np.int64]:
        """Give the indices of the tiles to label next, the most urgent first."""
        return self.rank_tiles(self.policy)

    def go_to_next(self) -> None:
        """Make the next tile of the queue the current one, or tell why there is none."""
        if self.layers is None:
            return
        queue, current = self.queue(), self.layers.current
        in_order = self.policy == "in order" or (self.policy == "suggested" and self.live_here() is None)
        wanted = queue > current if in_order else queue != current
        queue = queue if in_order and not wanted.any() else queue[wanted]  # in order, start again after the last
        if len(queue):
            self.go_to(int(queue[0]))
        else:
            self.message.emit(why_empty(self.policy, self.predictions(), self.live_here()), False)

    # -- keys and the active class -----------------------------------------------------------------

    def set_active(self, label: int | None) -> None:
        """Choose the class that the brush paints with; no label changes."""
        if label != self.active:
            self.active = label
            self.active_changed.emit()

    def set_brush(self, taken: bool) -> None:
        """Take the brush, with which click and drag paint and a key chooses the class, or put it down."""
        if taken != self.brush:
            self.brush = taken
            if taken and self.active is None and self.annotation is not None:
                self.active = 0
            self.active_changed.emit()

    def press_class_key(self, label: int | None) -> None:
        """Do what the key of a class does: label the selected tiles or the current one; with the brush choose it."""
        if label is None:
            return
        if label >= 0 or self.brush:
            self.set_active(label)
        if self.brush and not len(self.selection):
            return
        if why_not := self.why_not_visible():
            self.message.emit(why_not, True)
            return
        assert self.layers is not None
        selected = self.selection.take()
        if not len(selected):
            if self.label([self.layers.current], label):
                self.go_to_next()
            return
        if label_selected(self, selected, label):
            self.message.emit(f"{counted(len(selected), 'tile was', 'tiles were')} labelled.", False)
        self.go_to(self.layers.current, follow=False)

    def paint(self, tile_indices: NDArray[np.int64]) -> None:
        """Label tiles with the active class, where the labels can be seen."""
        if why_not := self.why_not_visible():
            self.message.emit(why_not, True)
        elif self.active is None:
            self.message.emit("Choose a class first, by a click on it or by its key; the brush paints with it.", False)
        else:
            self.label(tile_indices, self.active)

    def keys(self) -> dict[str, Callable[[], None]]:
        """Give the table of keys: what each of them does."""
        if self.annotation is None:
            return {}
        keys: dict[str, Callable[[], None]] = {
            key: partial(self.press_class_key, label) for key, label in labels_by_key(self.annotation.scheme).items()
        }
        keys |= {"Control-Z": self.undo, "Control-Shift-Z": self.redo}
        keys |= {"PageDown": partial(self.neighbour_wanted.emit, 1), "PageUp": partial(self.neighbour_wanted.emit, -1)}
        if self.viewer.dims.ndim == 2:  # else the arrows move napari's sliders
            for name, (rows, cols) in _STRIDES.items():
                keys[name] = partial(self.walk, rows, cols)
                keys[f"Shift-{name}"] = partial(self.walk, 10 * rows, 10 * cols)
        return keys

    # -- labels ------------------------------------------------------------------------------------

    def apply(self, action: Callable[[Annotation], LabelChange | None]) -> bool:
        """Change the annotation and its layers; False, with a message, where that could not be written to disk."""
        if self.annotation is None or self.layers is None:
            return False
        self._forget_undone_groups()
        try:
            change = action(self.annotation)
        except CellClassError as error:
            self.message.emit(str(error), True)
            return False
        if change is not None:
            self.layers.repaint(change)
        self.labels_changed.emit(change)
        return True

    def _forget_undone_groups(self) -> None:
        """Forget which steps belong together where a new one takes the place of some that were undone."""
        assert self.annotation is not None
        self._groups = {start: end for start, end in self._groups.items() if end <= self.annotation.undo_depth}

    def label(self, tile_indices: ArrayLike, label: int) -> bool:
        """Give tiles one label; False, with a message, where that could not be written to disk."""
        return self.apply(lambda annotation: annotation.label(tile_indices, label))

    def as_one_step(self, action: Callable[[], None]) -> None:
        """Do what changes labels and classes in several steps, which one undo takes back together."""
        assert self.annotation is not None
        before = self.annotation.undo_depth
        action()
        if self.annotation.undo_depth > before:  # else one undo would take nothing back
            self._groups[before] = self.annotation.undo_depth
        self.announce_classes()

    def undo(self) -> None:
        """Undo the last change, of labels or classes."""
        if self.annotation is None:
            return
        depth = self.annotation.undo_depth
        target = next((start for start, end in self._groups.items() if end == depth), depth - 1)
        while self.annotation.undo_depth > max(0, target) and self._step(lambda annotation: annotation.undo()):
            pass

    def redo(self) -> None:
        """Redo the change that was undone last."""
        if self.annotation is None:
            return
        target = self._groups.get(self.annotation.undo_depth, self.annotation.undo_depth + 1)
        while self.annotation.undo_depth < target and self._step(lambda annotation: annotation.redo()):
            pass

    def _step(self, action: Callable[[Annotation], LabelChange | None]) -> bool:
        """Undo or redo one step; False where there is none."""
        assert self.annotation is not None
        depth, groups = self.annotation.undo_depth, self._groups
        done = self.apply(action) and self.annotation.undo_depth != depth
        self._groups = groups
        # A step may bring a class back, and with it colours and keys.
        if self.annotation.scheme != self._announced:
            self.announce_classes()
        return done

    # -- classes -----------------------------------------------------------------------------------

    def announce_classes(self) -> None:
        """Let layers, keys and everything that shows classes follow them."""
        assert self.annotation is not None
        assert self.layers is not None
        scheme = self._announced = self.annotation.scheme
        if self.active is not None and self.active >= len(scheme):
            self.set_active(None)
        self._keys.set_keys(self.keys(), ", ".join(f"{key} {what}" for key, what in list_keys(scheme)))
        self.layers.recolour()
        self.layers.repaint()
        self.classes_changed.emit()

    def edit_classes(self, action: Callable[[Annotation], object]) -> None:
        """Change the classes; an error becomes a message."""
        if self.annotation is None:
            return
        self._forget_undone_groups()
        try:
            action(self.annotation)
        except CellClassError as error:
            self.message.emit(str(error), True)
        self.announce_classes()
        self.labels_changed.emit(None)

    def colours(self) -> dict[str, str]:
        """Give the colours of the classes by name."""
        return {} if self.annotation is None else dict(zip(self.scheme.names, self.scheme.colours, strict=True))

    # -- predictions -------------------------------------------------------------------------------

    def predictions(self) -> TileTable | None:
        """Give the map of this field that is in the viewer, when it has the same tiles."""
        if self.source is None or self.annotation is None:
            return None
        return find_map_table(self.viewer, self.source, self.annotation.grid)

    def rank_tiles(self, policy: Policy) -> NDArray[np.int64]:
        """Give the indices of the tiles to label next, the most urgent first."""
        assert self.annotation is not None
        return rank_field_tiles(policy, self.annotation, self.field_key, self.predictions(), self.live_here())

    def live_here(self) -> LiveState | None:
        """Give what is known of the field that is open without any model."""
        return self.live if self.live is not None and self.live.key == self.field_key else None
