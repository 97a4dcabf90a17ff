"""Labels of the tiles of one field: every one on disk before it counts, every step undoable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels import class_edits
from napari_cellclass.core.labels.class_edits import RESERVED_KEYS
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.history import CONFLICT, UNLABELLED, UNSURE, Change, Entry, grouped
from napari_cellclass.core.labels.label_file import SUFFIX, AnnotationFile, ImageKey
from napari_cellclass.core.labels.session import LabelLog
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.grid_layout import grid_from_layout, grid_key, grid_layout

__all__ = [
    "CONFLICT", "RESERVED_KEYS", "SUFFIX", "UNLABELLED", "UNSURE", "Annotation", "Change", "ImageKey",
    "earlier_labels", "grid_from_layout", "grid_key", "grid_layout", "open_annotation",
]  # fmt: skip


class Annotation:
    """Labels of the tiles of one image, journaled; the only record that changes.

    Labels belong to tile ids of a grid's layout, so a region of interest, which leaves tiles out, neither
    shifts nor loses them. Another process that restored the same session shares its steps: its entries
    are taken over before a change is made.

    Parameters
    ----------
    image, grid, scheme
        The field, its N tiles and the K classes at the start.
    journal
        Gets every change. Nothing is written before the first one, so an earlier session stays the one to
        restore until then.

    Raises
    ------
    GridError
        The boxes do not follow from the grid's layout, so no tile id could name them.
    """

    def __init__(self, image: ImageKey, grid: TileGrid, scheme: ClassScheme, journal: Journal) -> None:
        self._log = LabelLog(image, grid, scheme, journal)

    @classmethod
    def restored(
        cls, image: ImageKey, grid: TileGrid, journal: Journal, session: str | None = None
    ) -> Annotation | None:
        """Go on with a session, see :meth:`Journal.restore`."""
        log = LabelLog.restored(image, grid, journal, session)
        if log is None:
            return None
        annotation = cls.__new__(cls)
        annotation._log = log
        return annotation

    @property
    def image(self) -> ImageKey:
        """Which image the labels belong to."""
        return self._log.image

    @property
    def grid(self) -> TileGrid:
        """The N tiles."""
        return self._log.grid

    @property
    def journal(self) -> Journal:
        """Where every change goes."""
        return self._log.journal

    @property
    def session(self) -> str:
        """Id of the sitting in the journal."""
        return self._log.session

    @property
    def scheme(self) -> ClassScheme:
        """The classes now; another object whenever they change."""
        return self._log.history.scheme

    @property
    def labels(self) -> NDArray[np.int16]:
        """int16, shape (N,): label of each place of the grid; a read-only view that follows changes."""
        return self._log.history.store.labels

    @property
    def skipped(self) -> int:
        """Journal entries that did not fit and were left out: 0 unless the file was damaged."""
        return self._log.history.skipped

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._log.history.done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step that was taken back."""
        return bool(self._log.history.undone)

    def label(self, places: ArrayLike, label: int) -> Change:
        """Give places one label: one step, on disk before this returns.

        Parameters
        ----------
        places
            Places in the grid, one or many.
        label
            A place in ``scheme.names``, or ``UNLABELLED``, ``UNSURE``, ``CONFLICT``.

        Raises
        ------
        OutputError
            The journal cannot be written; then no label was changed.
        ParamsError
            Another process changed the classes since; see :meth:`refresh`.
        IndexError, ValueError
            No such place or label.
        """
        places = np.atleast_1d(np.asarray(places, np.int64)).ravel()
        return self.label_many(places, np.full(len(places), label))

    def label_many(self, places: ArrayLike, labels: ArrayLike) -> Change:
        """Give places their labels, (M,) each, in one step; the last one counts where a place comes twice.

        Raises
        ------
        OutputError, ParamsError, IndexError, ValueError
            See :meth:`label`.
        """
        places, after = np.asarray(places, np.int64), np.asarray(labels, np.int64)
        if places.shape != after.shape or places.ndim != 1:
            raise ValueError(f"{places.shape} places and {after.shape} labels are not one list each")
        if len(places) and not (places.min() >= 0 and places.max() < len(self.grid)):
            raise IndexError(f"a place is outside 0..{len(self.grid) - 1}")
        if len(places) > 1:
            places, last = np.unique(places[::-1], return_index=True)
            after = after[::-1][last]

        def entry() -> Entry | None:
            if len(after) and not (after.min() >= CONFLICT and after.max() < len(self.scheme)):
                raise ValueError(f"a label is outside {CONFLICT}..{len(self.scheme) - 1}")
            new = self.labels[places] != after
            if not new.any():
                return None
            return {
                "do": "label",
                "set": grouped(self._log.history.store.ids[places[new]], after[new].astype(np.int16)),
            }

        return self._write(entry)

    def undo(self) -> Change | None:
        """Take back the last step, of labels or classes; None where there is none.

        Raises
        ------
        OutputError
            See :meth:`label`.
        """
        return self._back_or_forth("undo")

    def redo(self) -> Change | None:
        """Do again what :meth:`undo` took back last; None where there is nothing, or a new step came since."""
        return self._back_or_forth("redo")

    def refresh(self) -> Change:
        """Take over what another process did in this session since; nothing in most cases."""
        change = self._log.write(lambda: None, any_classes=True) if self._log.started else None
        return Change.none() if change is None else change

    def add_class(self, name: str, colour: str | None = None, key: str | None = None) -> None:
        """Add a class at the end; the first free colour and key where none is given, no key for ``""``.

        Raises
        ------
        ParamsError
            The name is empty or taken, the colour is not ``#RRGGBB``, the key is taken, ``0`` or ``u``.
        OutputError
            See :meth:`label`.
        """
        self._write(lambda: class_edits.added(self.scheme, name, colour, key))

    def change_class(
        self, index: int, name: str | None = None, colour: str | None = None, key: str | None = None
    ) -> None:
        """Rename or recolour a class, or give it another key; None leaves as it is, the key ``""`` is none.

        Raises
        ------
        ParamsError, OutputError
            See :meth:`add_class`.
        IndexError
            No such class.
        """
        self._write(lambda: class_edits.changed(self.scheme, index, name, colour, key))

    def merge_class(self, index: int, into: int) -> Change:
        """Give the tiles of a class to another one and remove it; the classes after it move up by one.

        Raises
        ------
        ParamsError
            Fewer than two classes would be left.
        OutputError
            See :meth:`label`.
        IndexError, ValueError
            No such class, or both are the same.
        """
        return self._write(lambda: class_edits.without(self.scheme, index, into))

    def remove_class(self, index: int) -> Change:
        """Remove a class; its tiles become ``UNLABELLED`` and the classes after it move up by one.

        Raises
        ------
        ParamsError, OutputError, IndexError
            See :meth:`merge_class`.
        """
        return self._write(lambda: class_edits.without(self.scheme, index, None))

    def counts(self) -> pd.DataFrame:
        """Tiles of the grid per class: columns class_name, tiles; last "(unsure)", "(conflict)", "(unlabelled)"."""
        names = [*self.scheme.names, "(unsure)", "(conflict)", "(unlabelled)"]
        tiles = np.bincount(self.labels.astype(np.int64) - CONFLICT, minlength=len(self.scheme) - CONFLICT)
        order = [*range(-CONFLICT, len(tiles)), UNSURE - CONFLICT, 0, UNLABELLED - CONFLICT]
        return pd.DataFrame({"class_name": names, "tiles": tiles[order]})

    def frame(self) -> pd.DataFrame:
        """One row per tile of the grid that has a class: tile_id, row, col, y0, x0, y1, x1 (px), class_name."""
        places = np.flatnonzero(self.labels >= 0)
        boxes = self.grid.boxes[places]
        columns: dict[str, Any] = {"tile_id": self._log.history.store.ids[places]}
        columns |= {"row": self.grid.row[places], "col": self.grid.col[places]}
        columns |= {name: boxes[:, i] for i, name in enumerate(("y0", "x0", "y1", "x1"))}
        columns["class_name"] = np.array(self.scheme.names, object)[self.labels[places]]
        return pd.DataFrame(columns)

    def save(self, path: Path) -> None:
        """Write labels, classes, grid and the image's id as one JSON file, ``NAME.tiles.json``, whole or not at all.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        ids, labels = self._log.history.store.labelled()
        AnnotationFile(self.image, self.grid, self.scheme, ids, labels).write(Path(path))

    def labels_of(self, tile_ids: ArrayLike) -> NDArray[np.int16]:
        """Labels of tile ids, int16, in the grid or left out by its region."""
        return self._log.history.store.get(np.asarray(tile_ids, np.int64))

    def _back_or_forth(self, what: str) -> Change | None:
        def entry() -> Entry | None:
            stack = self._log.history.done if what == "undo" else self._log.history.undone
            return {"do": what, "of": stack[-1].number} if stack else None

        return self._log.write(entry, any_classes=True) if self._log.started else None

    def _write(self, build: Callable[[], Entry | None]) -> Change:
        change = self._log.write(build)
        return Change.none() if change is None else change


def open_annotation(path: Path, journal: Journal, image: ImageKey | None = None) -> Annotation:
    """Open what :meth:`Annotation.save` wrote, as a new session without steps to undo.

    Parameters
    ----------
    path
        The file, ``NAME.tiles.json``.
    journal
        Gets the changes from here on, the first with all labels of the file.
    image
        The image that the labels are for; None takes the file's word.

    Raises
    ------
    DatasetError
        The file is missing, damaged, or of a newer version.
    ImageError
        It is of another image.
    """
    path = Path(path)
    found = AnnotationFile.read(path)
    if image is not None and image.image_id != found.image.image_id:
        raise ImageError(
            f"{path} labels the image {found.image.name} ({found.image.image_id}), not {image.name} "
            f"({image.image_id}); open that image, or choose the file of this one"
        )
    annotation = Annotation(image or found.image, found.grid, found.scheme, journal)
    annotation._log.history.store.set(found.ids, found.labels)
    return annotation


def earlier_labels(
    source: SourceImage,
    grid: TileGrid,
    journal: Journal,
    task: Task = NO_TASK,
) -> tuple[ImageKey, Annotation | None]:
    """Name an image by its content, and bring back the labels that it has from an earlier time, or None.

    Every pixel is read to know the image, and a long journal takes a while: no work for a window's thread.

    Raises
    ------
    ImageError, DatasetError
        The image or the journal cannot be read.
    """
    image = ImageKey(source.image_id, source.name, source.path)
    return image, journal.restore(image, grid)
