"""The labels of all fields of a project: one log on disk, one class scheme, one list of steps to undo."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from napari_cellclass.core.common.errors import CellClassError, DatasetError, OutputError, ParamsError
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.common.journal import Entry, Journal, JournalFile
from napari_cellclass.core.labels import class_edits
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.history import LabelChange, Step
from napari_cellclass.core.labels.label_file import ImageKey
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.grid_layout import grid_key, grid_layout
from napari_cellclass.core.workspace.label_history import LabelHistory, LabelledGrid, Plan
from napari_cellclass.core.workspace.label_tables import LabelTables

LOG = "labels"
"""Key of the log in its journal."""


@dataclass(frozen=True, eq=False)
class LabelStep:
    """What an undo or redo changed.

    Parameters
    ----------
    field, grid_key
        Whose labels; None where the classes of all fields changed.
    change
        Of the annotation that is opened on that grid; None where there is none, and for classes.
    """

    field: str | None
    grid_key: str | None
    change: LabelChange | None = None

    @property
    def classes_changed(self) -> bool:
        """Whether the classes changed, and with them the labels of any field."""
        return self.field is None


class FieldAnnotation(Annotation):
    """The labels of one grid of one field within those of a project; made by :meth:`ProjectLabels.annotation`.

    Changes of labels are those of this field; changes of classes, undo and redo are those of the project.
    """

    def __init__(self, image: ImageKey, grid: TileGrid, labels: ProjectLabels, owner: LabelledGrid) -> None:
        super().__init__(image, grid, labels.scheme, labels.journal)
        self.project_labels = labels
        self.owner = owner

    @property
    def undo_depth(self) -> int:
        """Number of steps of the project that can be undone."""
        return self.project_labels.undo_depth

    def undo(self) -> LabelChange | None:
        """Undo the last step of the project, of whichever field; see :meth:`ProjectLabels.undo`."""
        return self._change_of_all(self.project_labels.undo)

    def redo(self) -> LabelChange | None:
        """Redo what :meth:`undo` undid last."""
        return self._change_of_all(self.project_labels.redo)

    def _change_of_all(self, step: Callable[[], LabelStep | None]) -> LabelChange | None:
        before, scheme = self.labels.copy(), self.scheme
        if step() is None:
            return None
        return LabelChange.between(before, self.labels, self.scheme != scheme)

    def change_of(self, step: Step, undone: bool) -> LabelChange:
        """Give what a step of labels alone has changed in this grid."""
        return self._change_of(step, undone)

    def _record(self, build: Callable[[], Entry | None], any_classes: bool = False) -> LabelChange | None:
        return self.project_labels.record(build, self, any_classes)[1]


class ProjectLabels(LabelTables):
    """Labels of all fields, each on disk before it counts; a change of classes is one step of all of them.

    Every step is one entry of one log, so that after a crash no two fields have different classes, and steps are undone
    in the order in which they were made, also after the log was opened again.

    Parameters
    ----------
    journal
        Where the log is. Nothing is written before the first change.
    scheme
        The classes, where the log has none.
    snapshot
        What :meth:`snapshot` gave, for where the log is missing or its beginning damaged.
    read_only
        Whether changes are refused.

    Attributes
    ----------
    skipped
        How many lines of the log could not be read.

    Raises
    ------
    DatasetError
        The log cannot be read, or the snapshot is damaged.
    """

    def __init__(
        self,
        journal: Journal,
        scheme: ClassScheme,
        snapshot: Sequence[Mapping[str, Any]] = (),
        read_only: bool = False,
    ) -> None:
        self.journal = journal
        self.read_only = read_only
        self._state = LabelHistory(scheme)
        self._annotations: dict[LabelledGrid, FieldAnnotation] = {}
        entries, self._position = journal.read(LOG)
        if self._state.replay([{"do": "start", "v": 1, "classes": scheme.to_json(), "grids": list(snapshot)}]):
            raise DatasetError("the labels of the project file are damaged; open an earlier copy")
        self._started, self.skipped = False, 0
        self._replay(entries)
        self._state.revision = 0

    # -- reading -----------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """Counts the changes since opening: what was made of labels is out of date where it differs."""
        return self._state.revision

    @property
    def undo_depth(self) -> int:
        """Number of steps that can be undone."""
        return len(self._state.undo_stack)

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return self.undo_depth > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to redo."""
        return bool(self._state.redo_stack)

    def annotation(self, image: ImageKey, grid: TileGrid) -> FieldAnnotation:
        """Open the labels of a grid of a field; the same object for the same field and grid.

        Parameters
        ----------
        image
            Its ``image_id`` is the field's key.
        grid
            The grid, or a region of it; labels outside the region are kept.

        Raises
        ------
        GridError
            The boxes do not follow from the grid's layout, so no tile id could name them.
        """
        owner = LabelledGrid(image.image_id, grid_key(grid), grid_layout(grid) | {"tiles": None})
        found = self._annotations.get(owner)
        if found is None:
            found = self._annotations[owner] = FieldAnnotation(image, grid, self, owner)
        if found.history is not self._state.history_of(owner) or not np.array_equal(
            found.history.store.ids, grid.tile_id
        ):
            found.history = self._state.history_of(owner)
            found.history.use_tiles(grid.tile_id)
        found.grid = grid
        return found

    # -- changes -----------------------------------------------------------------------------------

    def label(self, annotation: FieldAnnotation, tile_indices: ArrayLike, labels: ArrayLike) -> LabelChange:
        """Label tiles of a field in one step, on disk before this returns; see :meth:`Annotation.label`."""
        return annotation.label(tile_indices, labels)

    def add_class(self, name: str, colour: str | None = None, key: str | None = None) -> None:
        """Add a class at the end, for all fields; see :meth:`Annotation.add_class`."""
        self.record(lambda: class_edits.add_class(self.scheme, name, colour, key))

    def change_class(
        self, index: int, name: str | None = None, colour: str | None = None, key: str | None = None
    ) -> None:
        """Rename or recolour a class, or give it another key, for all fields; see :meth:`Annotation.change_class`."""
        self.record(lambda: class_edits.change_class(self.scheme, index, name, colour, key))

    def merge_class(self, index: int, into: int) -> None:
        """Give the tiles of a class to another one and remove it, in all fields; see :meth:`Annotation.merge_class`."""
        self.record(lambda: class_edits.remove_class(self.scheme, index, into))

    def remove_class(self, index: int) -> None:
        """Remove a class, in all fields; its tiles become unlabelled."""
        self.record(lambda: class_edits.remove_class(self.scheme, index, None))

    def undo(self) -> LabelStep | None:
        """Undo the last step, of labels of any field or of the classes; None where there is none.

        Raises
        ------
        OutputError
            The log cannot be written; then nothing was changed.
        """
        return self._undo_or_redo("undo")

    def redo(self) -> LabelStep | None:
        """Redo what :meth:`undo` undid last; None where there is nothing, or a new step came since."""
        return self._undo_or_redo("redo")

    def refresh(self) -> bool:
        """Read what another process has added to the log; for a project that was opened read-only.

        Returns
        -------
        bool
            Whether anything has changed.
        """
        revision = self.revision
        entries, position = self.journal.read(LOG)
        if position != self._position:
            self._position = position
            self._replay(entries)
            self._reopen()
        return self.revision != revision

    def _replay(self, entries: Sequence[Entry]) -> None:
        """Replay a log; what has no readable beginning is not: the project file is the next best."""
        for number, entry in enumerate(entries):
            if entry.get("do") == "start" and self._state.replay([entry]) == 0:
                self._started = True
                self.skipped = number + self._state.replay(entries[number + 1 :])
                return
        self.skipped = len(entries)

    def copy_log(self, folder: Path) -> None:
        """Write a log with the same labels, classes and steps to another folder.

        Raises
        ------
        OutputError
            It cannot be written, or this one cannot be read.
        """
        source = self.journal.path(LOG)
        if self._started:
            try:
                content = source.read_bytes()
            except OSError as error:
                raise OutputError(f"cannot read {source}: {error.strerror or error}; check its permissions") from error
        else:
            content = (json.dumps(self._state.start_entry(), ensure_ascii=False) + "\n").encode()
        with atomic_write(Journal(folder).path(LOG)) as temporary:
            temporary.write_bytes(content)

    def _undo_or_redo(self, direction: Literal["undo", "redo"]) -> LabelStep | None:
        state = self._state
        if not self._started:
            return None  # there is no step, and nothing is written before the first change

        def entry() -> Entry | None:
            stack = state.undo_stack if direction == "undo" else state.redo_stack
            return {"do": direction, "of": stack[-1][0]} if stack else None

        plan, _ = self.record(entry, any_classes=True)
        if plan is None:
            return None
        if plan.grid is None:
            return LabelStep(None, None)
        opened, step = self._annotations.get(plan.grid), plan.steps[0][1]
        change = None if opened is None else opened.change_of(step, direction == "undo")
        return LabelStep(plan.grid.field, plan.grid.key, change)

    def record(
        self, build: Callable[[], Entry | None], annotation: FieldAnnotation | None = None, any_classes: bool = False
    ) -> tuple[Plan | None, LabelChange | None]:
        """Write the entry that ``build`` gives to the log, then change the labels in memory.

        Parameters
        ----------
        build
            Gives the entry for the state as it is then, or None for nothing; may raise.
        annotation
            Whose labels the entry names, and whose change is returned.
        any_classes
            Whether the entry makes sense after another process changed the classes.

        Returns
        -------
        plan : Plan or None
            What was done; None for nothing.
        change : LabelChange or None
            What differs in the annotation.

        Raises
        ------
        OutputError
            The log cannot be written, or the project is open for reading only; then nothing was changed.
        ParamsError
            Another process changed the classes: they and its labels are there now, nothing else was done.
        """
        if self.read_only:
            raise OutputError("the project is open for reading only; close it elsewhere, and open it again to label")
        state, scheme, before = self._state, self.scheme, None
        with self.journal.open_locked(LOG) as file:
            if news := self._read_news(file):
                before = None if annotation is None else annotation.labels.copy()
                state.replay(news)
                self._reopen()
                if self.scheme != scheme and not any_classes:
                    raise ParamsError("another program changed the classes of this project; check them and try again")
            plan, entry = None, build()
            if entry is not None:
                plan = self._write(file, entry, None if annotation is None else annotation.owner)
        if plan is not None and entry is not None:
            if before is None and annotation is not None and plan.grid is not None:
                state.commit(plan, entry)
                return plan, annotation.change_of(plan.steps[0][1], undone=False)
            before = annotation.labels.copy() if annotation is not None and before is None else before
            state.commit(plan, entry)
        if annotation is None or before is None:
            return plan, None
        return plan, LabelChange.between(before, annotation.labels, self.scheme != scheme)

    def _write(self, file: JournalFile, entry: Entry, owner: LabelledGrid | None) -> Plan:
        """Append an entry, with those that must stand before it, and give what it does."""
        state, entries = self._state, []
        if not self._started:
            entries.append(state.start_entry())
            state.grids = {
                row["i"]: LabelledGrid(row["field"], row["key"], row["layout"]) for row in entries[0]["grids"]
            }
        declared = dict(state.grids)
        if entry["do"] in ("label", "classes"):
            entry["n"] = state.last_number + 1
        try:
            if entry["do"] == "label" and owner is not None:
                if state.number_of(owner) is None:
                    entries.append(state.grid_entry(owner))
                    state.grids[entries[-1]["i"]] = owner
                entry["g"] = state.number_of(owner)
            plan = state.plan(entry)
            now = round(time.time(), 3)
            self._position = file.append([one | {"t": now} for one in (*entries, entry)])
        except CellClassError:
            state.grids = declared
            raise
        self._started = True
        return plan

    def _read_news(self, file: JournalFile) -> list[Entry]:
        """Read what other processes have added to the log."""
        news = file.read_since(self._position)
        if news is None:
            # Someone removed the log. A new one begins with all labels; as the steps are gone on disk, they go in
            # memory too.
            self._state.forget_steps()
            self._started, self._position = False, None
            return []
        entries, self._position = news
        self._started = self._started or any(entry.get("do") == "start" for entry in entries)
        return entries

    def _reopen(self) -> None:
        """Give the opened annotations their labels again, after another process has begun the log anew."""
        for owner, annotation in self._annotations.items():
            history = self._state.history_of(owner)
            if annotation.history is not history:
                annotation.history = history
                history.use_tiles(annotation.grid.tile_id)
