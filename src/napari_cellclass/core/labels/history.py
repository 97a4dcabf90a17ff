"""Labels and classes of a grid with every step that led to them, to undo and redo: what journal entries do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cellclass.core.common.errors import MALFORMED_JSON, ParamsError
from napari_cellclass.core.common.journal import Entry
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.label_store import CONFLICT, UNLABELLED, LabelStore, parse_tiles_by_label

Direction = Literal["do", "undo", "redo"]


@dataclass(frozen=True, eq=False)
class LabelChange:
    """What a call changed, for a layer to repaint.

    Parameters
    ----------
    tile_indices
        int64, shape (M,): the tiles, as indices into the grid.
    before, after
        int16, shape (M,): their labels.
    classes_changed
        Whether the class scheme changed: labels before belong to the old one, those after to the new one.
    """

    tile_indices: NDArray[np.int64]
    before: NDArray[np.int16]
    after: NDArray[np.int16]
    classes_changed: bool = False

    @classmethod
    def none(cls) -> LabelChange:
        """Nothing was changed."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int16), np.zeros(0, np.int16))

    @classmethod
    def between(cls, before: NDArray[np.int16], after: NDArray[np.int16], classes_changed: bool) -> LabelChange:
        """Compare all labels of a grid, int16 (N,), before and after."""
        indices = np.flatnonzero(before != after)
        return cls(indices, before[indices], after[indices], classes_changed)


@dataclass(frozen=True, eq=False)
class Step:
    """One change that can be undone.

    Parameters
    ----------
    number
        Counts the steps of a session.
    ids, before, after
        Tiles and their labels before and after; where classes change too, only the tiles whose class
        ``new_of_old`` and ``old_of_new`` alone would not bring back.
    schemes
        The classes before and after, or None where they stay.
    new_of_old, old_of_new
        int16: the new index of each old class, and the old index of each new class.
    """

    number: int
    ids: NDArray[np.int64]
    before: NDArray[np.int16]
    after: NDArray[np.int16]
    schemes: tuple[ClassScheme, ClassScheme] | None = None
    new_of_old: NDArray[np.int16] | None = None
    old_of_new: NDArray[np.int16] | None = None


class History:
    """Labels and classes, and the steps to undo and redo; every state is reached by journal entries.

    Parameters
    ----------
    ids
        int64, shape (N,): tile ids of the grid.
    scheme
        The classes at the start.
    """

    def __init__(self, ids: ArrayLike, scheme: ClassScheme) -> None:
        self.store = LabelStore(ids)
        self.scheme = scheme
        self.undo_stack: list[Step] = []
        self.redo_stack: list[Step] = []
        self.last_number = 0

    def use_tiles(self, ids: ArrayLike) -> None:
        """Hold the labels of other tiles densely, int64 (N,) without duplicates; no label is lost."""
        store = LabelStore(ids)
        store.set(*self.store.labelled())
        self.store = store

    def plan(self, entry: Entry) -> tuple[Direction, Step]:
        """Work out what an entry would do, without doing it.

        Raises
        ------
        ParamsError
            The entry does not fit this state: damaged, or one before it was lost.
        """
        try:
            if entry["do"] == "label":
                return "do", self._label_step(int(entry["n"]), entry["set"])
            if entry["do"] == "classes":
                return "do", self._class_step(int(entry["n"]), entry["classes"], entry["map"])
            if entry["do"] in ("undo", "redo"):
                stack = self.undo_stack if entry["do"] == "undo" else self.redo_stack
                # After a lost entry an undo would otherwise undo another step than it did.
                if stack and stack[-1].number == entry["of"]:
                    return entry["do"], stack[-1]
        except MALFORMED_JSON as error:
            raise ParamsError(f"a step of the journal cannot be read ({type(error).__name__}: {error})") from error
        raise ParamsError(f"a step of the journal, {entry['do']!r}, does not follow from those before it")

    def commit(self, direction: Direction, step: Step) -> None:
        """Do what :meth:`plan` gave."""
        if direction == "undo":
            self.redo_stack.append(self.undo_stack.pop())
            self._move(step.old_of_new, step.ids, step.before, step.schemes and step.schemes[0])
            return
        if direction == "redo":
            self.redo_stack.pop()
        else:
            self.redo_stack.clear()
        self.undo_stack.append(step)
        self.last_number = max(self.last_number, step.number)
        self._move(step.new_of_old, step.ids, step.after, step.schemes and step.schemes[1])

    def replay(self, entries: Iterable[Entry]) -> None:
        """Do what entries say; those that do not fit are skipped."""
        for entry in entries:
            try:
                direction, step = self.plan(entry)
            except ParamsError:
                continue
            self.commit(direction, step)

    def _move(
        self,
        class_indices: NDArray[np.int16] | None,
        ids: NDArray[np.int64],
        labels: NDArray[np.int16],
        scheme: ClassScheme | None,
    ) -> None:
        if class_indices is not None and scheme is not None:
            self.store.remap(class_indices)
            self.scheme = scheme
        self.store.set(ids, labels)

    def _label_step(self, number: int, content: Mapping[str, Sequence[int]]) -> Step:
        ids, after = parse_tiles_by_label(content)
        if len(after) and not (after.min() >= CONFLICT and after.max() < len(self.scheme)):
            raise ValueError(f"a label is outside {CONFLICT}..{len(self.scheme) - 1}")
        return Step(number, ids, self.store.get(ids), after)

    def _class_step(self, number: int, classes: Sequence[Mapping[str, str]], mapping: Sequence[int]) -> Step:
        scheme = ClassScheme.from_json([dict(row) for row in classes])
        new_of_old = np.array(mapping, np.int16)
        if new_of_old.shape != (len(self.scheme),) or new_of_old.min() < UNLABELLED or new_of_old.max() >= len(scheme):
            raise ValueError(f"{mapping} does not map {len(self.scheme)} classes to {len(scheme)}")
        old_of_new = np.full(len(scheme), UNLABELLED, np.int16)
        for old in range(len(new_of_old) - 1, -1, -1):
            new = int(new_of_old[old])
            if new >= 0 and (old_of_new[new] < 0 or self.scheme.names[int(old_of_new[new])] != scheme.names[new]):
                old_of_new[new] = old
        ids, before = self.store.labelled()
        ids, before = ids[before >= 0], before[before >= 0]
        after = new_of_old[before]
        # index -1 of `old_of_new` is never used: such tiles are always among the lost
        lost = (after < 0) | (old_of_new[after] != before)
        return Step(number, ids[lost], before[lost], after[lost], (self.scheme, scheme), new_of_old, old_of_new)
