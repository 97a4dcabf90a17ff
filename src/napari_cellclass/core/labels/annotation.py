"""Labels of the tiles of one field: each on disk before it counts, every step undoable."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from napari_cellclass.core.common.errors import ImageError, ParamsError
from napari_cellclass.core.common.journal import Entry, Journal, JournalFile, ReadPosition
from napari_cellclass.core.labels import class_edits
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.history import History, LabelChange, Step
from napari_cellclass.core.labels.label_file import AnnotationFile, ImageKey
from napari_cellclass.core.labels.label_store import CONFLICT, UNLABELLED, UNSURE, LabelStore, tiles_by_label
from napari_cellclass.core.labels.session_store import last_session, start_entry
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.grid_layout import grid_key


class Annotation:
    """Labels of the tiles of one image, journaled; the only record that changes.

    Labels belong to tile ids of a grid's layout, so a region of interest, which leaves tiles out, neither
    shifts nor loses them. Neither memory nor journal changes without the other: a change is planned, written
    to disk, and then made. Another process that restored the same session shares its steps: its entries
    are replayed before a change is made.

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
        grid_key(grid)  # raises where the grid cannot be written to a journal
        self.image = image
        self.grid = grid
        self.journal = journal
        self.session = _new_session()
        self.history = History(grid.tile_id, scheme)
        self._read_position: ReadPosition | None = None  # None until the journal knows of this session
        self._label_steps: list[tuple[Step, tuple[NDArray[np.int64], NDArray[np.int16]]]] = []
        self._steps_of: LabelStore | None = None

    @classmethod
    def restore(cls, image: ImageKey, grid: TileGrid, journal: Journal) -> Annotation | None:
        """Continue the last session of an image's grid, with its labels, classes and steps.

        Parameters
        ----------
        image
            Its ``image_id`` names the journal's file.
        grid
            The grid, or a region of it; labels outside the region are kept.
        journal
            Where the session is.

        Returns
        -------
        Annotation or None
            None where there is nothing to restore.
        """
        entries, position = journal.read(image.image_id)
        found = last_session(entries, grid)
        if found is None:
            return None
        annotation = cls(image, grid, found[1].scheme, journal)
        annotation.session, annotation.history = found
        annotation._read_position = position
        return annotation

    @property
    def scheme(self) -> ClassScheme:
        """The classes now; another object whenever they change."""
        return self.history.scheme

    @property
    def labels(self) -> NDArray[np.int16]:
        """int16, shape (N,): label of each tile of the grid; a read-only view that follows changes."""
        return self.history.store.labels

    @property
    def undo_depth(self) -> int:
        """Number of steps that can be undone."""
        return len(self.history.undo_stack)

    def labels_of(self, tile_ids: ArrayLike) -> NDArray[np.int16]:
        """Labels of tile ids, int16, in the grid or outside its region."""
        return self.history.store.get(np.asarray(tile_ids, np.int64))

    # -- changes -----------------------------------------------------------------------------------

    def label(self, tile_indices: ArrayLike, labels: ArrayLike) -> LabelChange:
        """Label tiles in one step, on disk before this returns.

        Parameters
        ----------
        tile_indices
            Indices into the grid, one or many; the last label counts where a tile is named twice.
        labels
            One label for all, or one for each: class indices, or ``UNLABELLED``, ``UNSURE``, ``CONFLICT``.

        Raises
        ------
        OutputError
            The journal cannot be written; then no label was changed.
        ParamsError
            Another process changed the classes: they and its labels are there now, nothing else was done.
        IndexError, ValueError
            No such tile or label.
        """
        indices = np.atleast_1d(np.asarray(tile_indices, np.int64)).ravel()
        after = np.broadcast_to(np.asarray(labels, np.int64), indices.shape)
        if len(indices) and not (indices.min() >= 0 and indices.max() < len(self.grid)):
            raise IndexError(f"a tile index is outside 0..{len(self.grid) - 1}")
        if len(indices) > 1:
            indices, last = np.unique(indices[::-1], return_index=True)
            after = after[::-1][last]

        def entry() -> Entry | None:
            if len(after) and not (after.min() >= CONFLICT and after.max() < len(self.scheme)):
                raise ValueError(f"a label is outside {CONFLICT}..{len(self.scheme) - 1}")
            new = self.labels[indices] != after
            if not new.any():
                return None
            ids = self.history.store.ids[indices[new]]
            return {"do": "label", "set": tiles_by_label(ids, after[new].astype(np.int16))}

        return self._record(entry) or LabelChange.none()

    def undo(self) -> LabelChange | None:
        """Undo the last step, of labels or classes; None where there is none.

        Raises
        ------
        OutputError
            See :meth:`label`.
        """
        return self._undo_or_redo("undo")

    def redo(self) -> LabelChange | None:
        """Redo what :meth:`undo` undid last; None where there is nothing, or a new step came since."""
        return self._undo_or_redo("redo")

    def add_class(self, name: str, colour: str | None = None, key: str | None = None) -> None:
        """Add a class at the end; the first free colour and key where none is given, no key for ``""``.

        Raises
        ------
        ParamsError
            The name is empty or in use, the colour is not ``#RRGGBB``, the key is in use, ``0`` or ``u``.
        OutputError
            See :meth:`label`.
        """
        self._record(lambda: class_edits.add_class(self.scheme, name, colour, key))

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
        self._record(lambda: class_edits.change_class(self.scheme, index, name, colour, key))

    def merge_class(self, index: int, into: int) -> LabelChange:
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
        return self._record(lambda: class_edits.remove_class(self.scheme, index, into)) or LabelChange.none()

    def remove_class(self, index: int) -> LabelChange:
        """Remove a class; its tiles become ``UNLABELLED`` and the classes after it move up by one.

        Raises
        ------
        ParamsError, OutputError, IndexError
            See :meth:`merge_class`.
        """
        return self._record(lambda: class_edits.remove_class(self.scheme, index, None)) or LabelChange.none()

    def _undo_or_redo(self, direction: Literal["undo", "redo"]) -> LabelChange | None:
        if self._read_position is None:
            return None  # there is no step, and nothing is written before the first change
        stack = self.history.undo_stack if direction == "undo" else self.history.redo_stack
        return self._record(lambda: {"do": direction, "of": stack[-1].number} if stack else None, any_classes=True)

    def _record(self, build: Callable[[], Entry | None], any_classes: bool = False) -> LabelChange | None:
        """Replay what other processes wrote, journal the entry that ``build`` gives, then change memory.

        Parameters
        ----------
        build
            Gives the entry for the state as it is then, or None for nothing; may raise.
        any_classes
            Whether the entry makes sense after another process changed the classes.

        Returns
        -------
        LabelChange or None
            What differs from before the call; None where nothing was done.

        Raises
        ------
        OutputError
            The journal cannot be written; then nothing was changed.
        ParamsError
            Another process changed the classes: they and its labels are there now, nothing else was done.
        """
        history = self.history
        before, scheme = None, history.scheme
        with self.journal.open_locked(self.image.image_id) as file:
            news = self._read_news(file)
            if news:
                before = history.store.labels.copy()
                history.replay(news)
                if history.scheme is not scheme and not any_classes:
                    raise ParamsError("another window changed the classes of this image; check them and try again")
            entry = build()
            if entry is not None:
                if entry["do"] in ("label", "classes"):
                    entry["n"] = history.last_number + 1
                direction, step = history.plan(entry)
                self._append(file, entry)
        if entry is None and before is None:
            return None
        if entry is not None:
            if before is None and step.schemes is None:
                history.commit(direction, step)
                return self._change_of(step, undone=direction == "undo")
            before = history.store.labels.copy() if before is None else before
            history.commit(direction, step)
        assert before is not None
        return LabelChange.between(before, history.store.labels, history.scheme is not scheme)

    def _read_news(self, file: JournalFile) -> list[Entry]:
        """Read what other processes have added to this session."""
        if self._read_position is None:
            return []
        news = file.read_since(self._read_position)
        if news is None:
            # Someone removed the journal. A new session begins with all labels; as its steps are gone on
            # disk, they go in memory too.
            self.session, self._read_position = _new_session(), None
            self.history.undo_stack.clear()
            self.history.redo_stack.clear()
            return []
        entries, self._read_position = news
        return [entry for entry in entries if entry.get("s") == self.session]

    def _append(self, file: JournalFile, entry: Entry) -> None:
        entries = [entry | {"s": self.session, "t": round(time.time(), 3)}]
        if self._read_position is None:
            entries.insert(0, start_entry(self.session, self.image, self.grid, self.history))
        self._read_position = file.append(entries)

    def _change_of(self, step: Step, undone: bool) -> LabelChange:
        """Give what a step of labels alone has changed in the grid: faster than comparing all labels."""
        indices = self.history.store.indices_of(step.ids)
        before, after = (step.after, step.before) if undone else (step.before, step.after)
        inside = indices >= 0
        return LabelChange(indices[inside], before[inside], after[inside])

    def label_steps(self) -> list[tuple[NDArray[np.int64], NDArray[np.int16]]]:
        """Give the history of labels: of each step that can be undone, tile indices and labels after it.

        A step that was there at the last call is the same object.
        """
        stack, store = list(self.history.undo_stack), self.history.store
        if store is not self._steps_of:
            self._label_steps, self._steps_of = [], store
        same = takewhile(lambda pair: pair[0][0] is pair[1], zip(self._label_steps, stack, strict=False))
        known = sum(1 for _ in same)
        del self._label_steps[known:]
        for step in stack[known:]:
            indices = store.indices_of(step.ids)
            self._label_steps.append((step, (indices[indices >= 0], step.after[indices >= 0])))
        return [found for _, found in self._label_steps]

    # -- tables and files --------------------------------------------------------------------------

    def counts(self) -> pd.DataFrame:
        """Tiles of the grid per class: columns class_name, tiles; last "(unsure)", "(conflict)", "(unlabelled)"."""
        names = [*self.scheme.names, "(unsure)", "(conflict)", "(unlabelled)"]
        tiles = np.bincount(self.labels.astype(np.int64) - CONFLICT, minlength=len(self.scheme) - CONFLICT)
        order = [*range(-CONFLICT, len(tiles)), UNSURE - CONFLICT, 0, UNLABELLED - CONFLICT]
        return pd.DataFrame({"class_name": names, "tiles": tiles[order]})

    def frame(self) -> pd.DataFrame:
        """One row per tile of the grid that has a class: tile_id, row, col, y0, x0, y1, x1 (px), class_name."""
        indices = np.flatnonzero(self.labels >= 0)
        boxes = self.grid.boxes[indices]
        columns: dict[str, Any] = {"tile_id": self.history.store.ids[indices]}
        columns |= {"row": self.grid.row[indices], "col": self.grid.col[indices]}
        columns |= {name: boxes[:, i] for i, name in enumerate(("y0", "x0", "y1", "x1"))}
        columns["class_name"] = np.array(self.scheme.names, object)[self.labels[indices]]
        return pd.DataFrame(columns)

    def save(self, path: Path) -> None:
        """Write labels, classes, grid and the image's id as one JSON file, ``NAME.tiles.json``, atomically.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        ids, labels = self.history.store.labelled()
        AnnotationFile(self.image, self.grid, self.scheme, ids, labels).write(Path(path))


def _new_session() -> str:
    return uuid.uuid4().hex[:12]


def open_annotation(path: Path, journal: Journal, image: ImageKey | None = None) -> Annotation:
    """Open what :meth:`Annotation.save` wrote, as a new session without steps to undo.

    Parameters
    ----------
    path
        The file, ``NAME.tiles.json``.
    journal
        Gets the changes from here on, the first with all labels of the file.
    image
        The image that the labels must be of; None accepts any.

    Raises
    ------
    DatasetError
        The file is missing, damaged, or of a newer version.
    ImageError
        It is of another image.
    """
    path = Path(path)
    file = AnnotationFile.read(path)
    if image is not None and image.image_id != file.image.image_id:
        raise ImageError(
            f"{path} labels the image {file.image.name} ({file.image.image_id}), not {image.name} "
            f"({image.image_id}); open that image, or choose the file of this one"
        )
    annotation = Annotation(image or file.image, file.grid, file.scheme, journal)
    annotation.history.store.set(file.ids, file.labels)
    return annotation
