"""The annotation session that all parts of *Annotate tiles* share: labels, classes, and their layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from qtpy.QtCore import QObject, Signal

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.history import LabelChange
from napari_cellclass.core.labels.label_store import UNLABELLED
from napari_cellclass.core.labels.session_store import user_journal
from napari_cellclass.core.predictions.active_learning import Policy, rank_tiles
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.viewer.common.map_view import FieldLayer, find_map_table
from napari_cellclass.viewer.features.annotation_layers import AnnotationLayers

if TYPE_CHECKING:
    from napari.viewer import Viewer

PLACEHOLDERS = ("class 1", "class 2")


class AnnotateSession(QObject):
    """The annotation of one field, its layers in the viewer, and every way to change it.

    ``opened`` is sent after another annotation was shown, ``changed`` with the :class:`LabelChange` of tiles, or None,
    ``classes_changed`` after names, colours or keys may have changed, and ``message`` with a text for the user and
    whether it is a warning.

    Parameters
    ----------
    viewer
        The viewer.
    """

    opened = Signal()
    changed = Signal(object)
    classes_changed = Signal()
    message = Signal(str, bool)
    annotation: Annotation | None
    journal: Journal

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.journal = user_journal()
        self.annotation = None
        self.layers: AnnotationLayers | None = None
        self.source: SourceImage | None = None
        self._retired: list[AnnotationLayers] = []

    def open(self, annotation: Annotation, source: SourceImage, field_layer: FieldLayer) -> None:
        """Show an annotation in the viewer; it replaces one of the same image."""
        if self.layers is not None:
            self.layers.deactivate()
            self._retired.append(self.layers)
        for layers in [one for one in self._retired if one.annotation.image.image_id == annotation.image.image_id]:
            layers.remove()
            self._retired.remove(layers)
        self.annotation, self.source = annotation, source
        self.layers = AnnotationLayers(self.viewer, annotation, source, field_layer)
        self.opened.emit()
        self.announce_classes()

    def close(self) -> None:
        """Disconnect keys and listeners; labels are on disk already, and their layers stay."""
        if self.layers is None:
            return
        if self.layers.is_in_viewer():
            self.layers.deactivate()

    # -- labels ----------------------------------------------------------------------------------

    def apply(self, action: Callable[[Annotation], LabelChange | None]) -> bool:
        """Change the annotation and its layers; False, with a message, where that could not be written to disk."""
        if self.annotation is None or self.layers is None:
            return False
        try:
            change = action(self.annotation)
        except CellClassError as error:
            self.message.emit(str(error), True)
            return False
        if change is not None:
            self.layers.repaint(change)
        self.changed.emit(change)
        return True

    def label(self, tile_indices: ArrayLike, label: int) -> bool:
        """Give tiles one label; False, with a message, where that could not be written to disk."""
        return self.apply(lambda annotation: annotation.label(tile_indices, label))

    def label_as(self, tile_index: int, name: str, colour: str) -> bool:
        """Give a tile a class by its name, which is added in its colour where it is missing."""
        assert self.annotation is not None
        if name not in self.annotation.scheme.names:
            if not self.apply(lambda annotation: annotation.add_class(name, colour)):
                return False
            self.drop_placeholders()
            self.announce_classes()
        return self.label([tile_index], self.annotation.scheme.index(name))

    def add_labels(
        self,
        tile_indices: NDArray[np.int64],
        labels: NDArray[np.integer[Any]],
        names: Sequence[str],
        colours: Mapping[str, str] | None = None,
    ) -> None:
        """Label tiles with other classes than the annotation's; those that are missing are added.

        Parameters
        ----------
        tile_indices, labels
            (M,) each; a label is an index into ``names``, or one of the negative labels.
        names, colours
            The other classes; colours by name.
        """
        self.add_missing_classes(names, colours)
        assert self.annotation is not None
        ours = np.array([self.annotation.scheme.index(name) for name in names] or [0])
        translated = np.where(labels >= 0, ours[np.maximum(labels, 0)], labels)
        self.apply(lambda annotation: annotation.label(tile_indices, translated))
        self.drop_placeholders()
        self.announce_classes()

    def undo(self) -> None:
        """Undo the last change."""
        self._step(lambda annotation: annotation.undo())

    def redo(self) -> None:
        """Redo the change that was undone last."""
        self._step(lambda annotation: annotation.redo())

    def _step(self, action: Callable[[Annotation], LabelChange | None]) -> None:
        self.apply(action)
        # A step may bring a class back, and with it colours and keys.
        if self.annotation is not None and self.annotation.scheme != self._announced:
            self.announce_classes()

    # -- classes ---------------------------------------------------------------------------------

    def announce_classes(self) -> None:
        """Notify everything that shows classes."""
        assert self.annotation is not None
        self._announced = self.annotation.scheme
        self.classes_changed.emit()

    def edit_classes(self, action: Callable[[Annotation], object]) -> None:
        """Change the classes; an error becomes a message."""
        if self.annotation is None:
            return
        try:
            action(self.annotation)
        except CellClassError as error:
            self.message.emit(str(error), True)
        self.announce_classes()

    def add_missing_classes(self, names: Sequence[str], colours: Mapping[str, str] | None = None) -> None:
        """Add the classes that the annotation does not have yet, in these colours or free ones.

        Raises
        ------
        ParamsError, OutputError
            See :meth:`Annotation.add_class`.
        """
        assert self.annotation is not None
        for name in names:
            if name not in self.annotation.scheme.names:
                self.annotation.add_class(name, (colours or {}).get(name))

    def drop_placeholders(self) -> None:
        """Remove the unused classes that a new annotation starts with, once there are two others."""
        assert self.annotation is not None
        for name in PLACEHOLDERS:
            names = self.annotation.scheme.names
            unused = name in names and not (self.annotation.labels == names.index(name)).any()
            if unused and len([n for n in names if n not in PLACEHOLDERS]) >= 2:
                index = names.index(name)
                self.apply(partial(Annotation.remove_class, index=index))
        keys = [key.strip() for key in self.annotation.scheme.keys]
        for i, key in enumerate(keys):
            if key.isdigit() and str(i + 1) not in keys:
                self.apply(partial(Annotation.change_class, index=i, key=str(i + 1)))

    # -- predictions -----------------------------------------------------------------------------

    def predictions(self) -> TileTable | None:
        """Give the map of this field that is in the viewer, when it has the same tiles."""
        if self.source is None or self.annotation is None:
            return None
        return find_map_table(self.viewer, self.source, self.annotation.grid)

    def rank_tiles(self, policy: Policy) -> NDArray[np.int64]:
        """Give the indices of the tiles to label next, the most urgent first."""
        assert self.annotation is not None
        a = self.annotation
        return rank_tiles(policy, np.asarray(a.labels), a.grid.tile_id, self.predictions(), a.scheme.names)

    def accept_predictions(self, tile_indices: NDArray[np.int64] | None) -> None:
        """Label tiles with the classes of the map: some tiles, or all that have no label yet."""
        table, annotation = self.predictions(), self.annotation
        if table is None or annotation is None:
            self.message.emit(
                "There is no map of these tiles; classify this field with the same tile size first.", True
            )
            return
        index_of = {int(tile): i for i, tile in enumerate(annotation.grid.tile_id)}
        wanted = set(np.flatnonzero(annotation.labels == UNLABELLED) if tile_indices is None else tile_indices)
        rows = [i for i, tile in enumerate(table.grid.tile_id) if index_of.get(int(tile), -1) in wanted]
        rows = [i for i in rows if table.class_index[i] >= 0]
        chosen = np.array([index_of[int(table.grid.tile_id[i])] for i in rows], np.int64)
        colours = dict(zip(table.scheme.names, table.scheme.colours, strict=True))
        self.add_labels(chosen, table.class_index[rows], table.scheme.names, colours)
        self.message.emit(f"{len(rows):,} tiles were labelled with the map's class.", False)
