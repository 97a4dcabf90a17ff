"""Labels by tile id, with their classes, and every step that led to them: what journal entries mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.labels.classes import ClassScheme

UNLABELLED = -1
UNSURE = -2
CONFLICT = -3
"""Label values, int16; those from 0 on are places in a scheme's names. A conflict is claimed by two classes."""

Entry = dict[str, Any]
Direction = Literal["do", "undo", "redo"]


def grouped(ids: NDArray[np.int64], labels: NDArray[np.int16]) -> dict[str, list[int]]:
    """Give the tile ids of each label, as a journal writes them."""
    return {str(int(label)): ids[labels == label].tolist() for label in np.unique(labels)}


def ungrouped(content: Mapping[str, Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
    """Read what :func:`grouped` gave.

    Raises
    ------
    ValueError, TypeError, OverflowError, AttributeError
        It is something else.
    """
    parts = [(int(label), np.array(ids, np.int64).reshape(-1)) for label, ids in content.items()]
    if len(parts) == 1:  # a key press: three times as fast as the general way
        label, ids = parts[0]
        return ids, np.full(len(ids), label, np.int16)
    values = np.repeat(np.array([label for label, _ in parts], np.int16), [len(ids) for _, ids in parts])
    return np.concatenate([np.zeros(0, np.int64), *(ids for _, ids in parts)]), values


class TileStore:
    """A label per tile id; dense for the tiles of a grid, sparse for those that a region left out.

    Parameters
    ----------
    ids
        int64, shape (N,): the grid's tile ids, without repeats.
    """

    def __init__(self, ids: ArrayLike) -> None:
        self.ids = np.asarray(ids, np.int64)
        self._order = np.argsort(self.ids, kind="stable")
        self._sorted = self.ids[self._order]
        self._plain = bool((self.ids == np.arange(len(self.ids))).all())
        self._labels = np.full(len(self.ids), UNLABELLED, np.int16)
        self.labels = self._labels.view()
        self.labels.flags.writeable = False
        self._outside: dict[int, int] = {}

    def places(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places of tile ids in the grid, -1 for tiles that are not in it."""
        n = len(self.ids)
        if n == 0 or self._plain:
            return np.where((ids >= 0) & (ids < n), ids, -1)
        at = np.minimum(np.searchsorted(self._sorted, ids), n - 1)
        return np.where(self._sorted[at] == ids, self._order[at], -1)

    def get(self, ids: NDArray[np.int64]) -> NDArray[np.int16]:
        """Labels of tile ids: int16."""
        places = self.places(ids)
        labels = self._labels[places] if len(self.ids) else np.full(len(ids), UNLABELLED, np.int16)
        for i in np.flatnonzero(places < 0).tolist():
            labels[i] = self._outside.get(int(ids[i]), UNLABELLED)
        return labels

    def set(self, ids: NDArray[np.int64], labels: NDArray[np.int16]) -> None:
        """Give tile ids their labels."""
        places = self.places(ids)
        inside = places >= 0
        if inside.all():
            self._labels[places] = labels
            return
        self._labels[places[inside]] = labels[inside]
        for tile, label in zip(ids[~inside].tolist(), labels[~inside].tolist(), strict=True):
            if label == UNLABELLED:
                self._outside.pop(tile, None)
            else:
                self._outside[tile] = label

    def remap(self, table: NDArray[np.int16]) -> None:
        """Replace every label by ``table[label]``; labels below 0 stay."""
        full = np.concatenate([np.arange(CONFLICT, 0, dtype=np.int16), table])
        self._labels[:] = full[self._labels - CONFLICT]
        moved = {tile: int(full[label - CONFLICT]) for tile, label in self._outside.items()}
        self._outside = {tile: label for tile, label in moved.items() if label != UNLABELLED}

    def labelled(self) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
        """Tile ids, ascending, and labels of all tiles that are not unlabelled, in the grid or not."""
        mine = np.flatnonzero(self._labels != UNLABELLED)
        ids = np.concatenate([self.ids[mine], np.fromiter(self._outside, np.int64, len(self._outside))])
        labels = np.concatenate([self._labels[mine], np.fromiter(self._outside.values(), np.int16, len(self._outside))])
        order = np.argsort(ids)
        return ids[order], labels[order]


@dataclass(frozen=True, eq=False)
class Change:
    """What a call changed, for a layer to repaint.

    Parameters
    ----------
    places
        int64, shape (M,): places in the grid.
    before, after
        int16, shape (M,): their labels.
    classes_changed
        Whether the scheme is another one: labels before belong to the old, those after to the new.
    """

    places: NDArray[np.int64]
    before: NDArray[np.int16]
    after: NDArray[np.int16]
    classes_changed: bool = False

    @classmethod
    def none(cls) -> Change:
        """Nothing was changed."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int16), np.zeros(0, np.int16))

    @classmethod
    def between(cls, before: NDArray[np.int16], after: NDArray[np.int16], classes_changed: bool) -> Change:
        """Compare all labels of a grid, int16 (N,), before and after."""
        places = np.flatnonzero(before != after)
        return cls(places, before[places], after[places], classes_changed)


@dataclass(frozen=True, eq=False)
class Step:
    """One change that can be taken back.

    Parameters
    ----------
    number
        Counts the steps of a session.
    ids, before, after
        Tiles and their labels before and after; where classes change too, only the tiles whose class
        ``there`` and ``back`` alone would not bring back.
    schemes
        The classes before and after, or None where they stay.
    there, back
        int16: the new index of each old class, and the old one of each new class.
    """

    number: int
    ids: NDArray[np.int64]
    before: NDArray[np.int16]
    after: NDArray[np.int16]
    schemes: tuple[ClassScheme, ClassScheme] | None = None
    there: NDArray[np.int16] | None = None
    back: NDArray[np.int16] | None = None


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
        self.store = TileStore(ids)
        self.scheme = scheme
        self.done: list[Step] = []
        self.undone: list[Step] = []
        self.number = 0
        self.skipped = 0

    def plan(self, entry: Entry) -> tuple[Direction, Step]:
        """Tell what an entry would do, and do nothing.

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
                stack = self.done if entry["do"] == "undo" else self.undone
                # After a lost entry an undo would otherwise take back another step than it did.
                if stack and stack[-1].number == entry["of"]:
                    return entry["do"], stack[-1]
        except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError) as error:
            raise ParamsError(f"a step of the journal cannot be read ({type(error).__name__}: {error})") from error
        raise ParamsError(f"a step of the journal, {entry['do']!r}, does not follow from those before it")

    def commit(self, direction: Direction, step: Step) -> None:
        """Do what :meth:`plan` gave."""
        if direction == "undo":
            self.undone.append(self.done.pop())
            self._move(step.back, step.ids, step.before, step.schemes and step.schemes[0])
            return
        if direction == "redo":
            self.undone.pop()
        else:
            self.undone.clear()
        self.done.append(step)
        self.number = max(self.number, step.number)
        self._move(step.there, step.ids, step.after, step.schemes and step.schemes[1])

    def replay(self, entries: Iterable[Entry]) -> None:
        """Do what entries say; those that do not fit are left out and counted in ``skipped``."""
        for entry in entries:
            try:
                direction, step = self.plan(entry)
            except ParamsError:
                self.skipped += 1
            else:
                self.commit(direction, step)

    def _move(
        self,
        table: NDArray[np.int16] | None,
        ids: NDArray[np.int64],
        labels: NDArray[np.int16],
        scheme: ClassScheme | None,
    ) -> None:
        if table is not None and scheme is not None:
            self.store.remap(table)
            self.scheme = scheme
        self.store.set(ids, labels)

    def _label_step(self, number: int, content: Mapping[str, Sequence[int]]) -> Step:
        ids, after = ungrouped(content)
        if len(after) and not (after.min() >= CONFLICT and after.max() < len(self.scheme)):
            raise ValueError(f"a label is outside {CONFLICT}..{len(self.scheme) - 1}")
        return Step(number, ids, self.store.get(ids), after)

    def _class_step(self, number: int, classes: Sequence[Mapping[str, str]], mapping: Sequence[int]) -> Step:
        scheme = ClassScheme.from_json([dict(row) for row in classes])
        there = np.array(mapping, np.int16)
        if there.shape != (len(self.scheme),) or there.min() < UNLABELLED or there.max() >= len(scheme):
            raise ValueError(f"{mapping} does not take {len(self.scheme)} classes to {len(scheme)}")
        back = np.full(len(scheme), UNLABELLED, np.int16)
        for old in range(len(there) - 1, -1, -1):
            new = int(there[old])
            if new >= 0 and (back[new] < 0 or self.scheme.names[int(back[new])] != scheme.names[new]):
                back[new] = old
        ids, before = self.store.labelled()
        ids, before = ids[before >= 0], before[before >= 0]
        after = there[before]
        # index -1 of `back` is never used: such tiles are always among the lost
        lost = (after < 0) | (back[after] != before)
        return Step(number, ids[lost], before[lost], after[lost], (self.scheme, scheme), there, back)
