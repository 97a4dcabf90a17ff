"""Labels of all fields with one list of steps: what the entries of a project's label log do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import MALFORMED_JSON, CellClassError, ParamsError
from napari_cellclass.core.common.journal import Entry
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.history import Direction, History, Step
from napari_cellclass.core.labels.label_store import CONFLICT, parse_tiles_by_label, tiles_by_label
from napari_cellclass.core.tiles.grid_layout import grid_from_layout, grid_key, grid_layout

VERSION = 1
_NO_IDS = np.zeros(0, np.int64)


@dataclasses.dataclass(frozen=True)
class LabelledGrid:
    """One grid of one field.

    Parameters
    ----------
    field
        The field's key.
    key, layout
        The grid's text id and its description, see :mod:`napari_cellclass.core.tiles.grid_layout`; a region
        of interest is not part of it.
    """

    field: str
    key: str
    layout: Mapping[str, Any] = dataclasses.field(compare=False, repr=False)

    @property
    def tiles(self) -> int:
        """How many tiles the whole grid has."""
        rows, columns = self.layout["grid_shape"]
        return int(rows) * int(columns)

    def to_json(self) -> dict[str, Any]:
        """Give the grid as entries declare it."""
        return {"field": self.field, "key": self.key, "layout": dict(self.layout)}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What an entry would do: to the labels of one grid, or to the classes of all of them."""

    direction: Direction
    number: int
    grid: LabelledGrid | None
    steps: tuple[tuple[History, Step], ...]


class LabelHistory:
    """Labels of the grids of all fields, their one class scheme, and the steps to undo and redo in order of time.

    Every change of the classes is a step of every grid, so no two fields can have different classes.

    Parameters
    ----------
    scheme
        The classes at the start.
    """

    def __init__(self, scheme: ClassScheme) -> None:
        self.grids: dict[int, LabelledGrid] = {}
        self.histories: dict[LabelledGrid, History] = {}
        self.undo_stack: list[tuple[int, LabelledGrid | None]] = []
        self.redo_stack: list[tuple[int, LabelledGrid | None]] = []
        self.last_number = 0
        self.revision = 0
        self._first_scheme = scheme
        self._classes = History(_NO_IDS, scheme)
        self._class_entries: list[Entry] = []

    @property
    def scheme(self) -> ClassScheme:
        """The classes now; another object whenever they change."""
        return self._classes.scheme

    def history_of(self, grid: LabelledGrid) -> History:
        """Give the labels of a grid; where there are none yet, with all changes of the classes so far."""
        found = self.histories.get(grid)
        if found is None:
            found = self.histories[grid] = History(_NO_IDS, self._first_scheme)
            found.replay(self._class_entries)
        return found

    def number_of(self, grid: LabelledGrid) -> int | None:
        """Give the number by which entries name a grid, or None where no entry has declared it yet."""
        return next((number for number, one in self.grids.items() if one == grid), None)

    def forget_steps(self) -> None:
        """Forget all steps; labels and classes stay."""
        self._first_scheme = self.scheme
        self._classes = History(_NO_IDS, self.scheme)
        self._class_entries.clear()
        for history in self.histories.values():
            history.undo_stack.clear()
            history.redo_stack.clear()
        self.undo_stack.clear()
        self.redo_stack.clear()
        self.grids.clear()

    def plan(self, entry: Entry) -> Plan:
        """Work out what an entry would do, without doing it.

        Raises
        ------
        ParamsError
            The entry does not fit this state: damaged, or one before it was lost.
        """
        try:
            action = entry["do"]
            if action == "label":
                grid: LabelledGrid | None = self.grids[entry["g"]]
                number = int(entry["n"])
            elif action == "classes":
                grid, number = None, int(entry["n"])
            else:
                stack = self.undo_stack if action == "undo" else self.redo_stack
                if action not in ("undo", "redo") or not stack or stack[-1][0] != entry["of"]:
                    raise ParamsError(f"a step of the labels, {action!r}, does not follow from those before it")
                number, grid = stack[-1]
            owners = [self._classes, *self.histories.values()] if grid is None else [self.history_of(grid)]
            planned = [(history, history.plan(entry)) for history in owners]
            if grid is not None:
                _check_ids(planned[0][1][1].ids, grid)
        except MALFORMED_JSON as error:
            raise ParamsError(f"a step of the labels cannot be read ({type(error).__name__}: {error})") from error
        steps = tuple((history, step) for history, (_, step) in planned)
        return Plan(planned[0][1][0], number, grid, steps)

    def commit(self, plan: Plan, entry: Entry) -> None:
        """Do what :meth:`plan` gave for an entry."""
        for history, step in plan.steps:
            history.commit(plan.direction, step)
        source = {"do": None, "undo": self.undo_stack, "redo": self.redo_stack}[plan.direction]
        if source is not None:
            source.pop()
        else:
            self.redo_stack.clear()
            self.last_number = max(self.last_number, plan.number)
        target = self.redo_stack if plan.direction == "undo" else self.undo_stack
        target.append((plan.number, plan.grid))
        if plan.grid is None:
            self._class_entries.append(entry)
        self.revision += 1

    def replay(self, entries: Iterable[Entry]) -> int:
        """Do what entries say, from the last start on where there is one.

        Returns
        -------
        int
            How many did not fit, because they or some before them are damaged, and were left out.
        """
        skipped = 0
        for entry in entries:
            try:
                action = entry.get("do")
                if action == "start":
                    self._start(entry)
                elif action == "grid":
                    self._declare(entry)
                else:
                    self.commit(self.plan(entry), entry)
            except (*MALFORMED_JSON, CellClassError):
                skipped += 1
        return skipped

    def start_entry(self) -> Entry:
        """Give the entry that begins a log with the classes and labels as they are now, without steps."""
        return {"do": "start", "v": VERSION, "classes": self.scheme.to_json(), "grids": self.to_json()}

    def grid_entry(self, grid: LabelledGrid) -> Entry:
        """Give the entry that declares a grid, before the first entry that names it by its number."""
        return {"do": "grid", "i": max(self.grids, default=-1) + 1} | grid.to_json()

    def to_json(self) -> list[dict[str, Any]]:
        """Give the labels of all grids that have any: number, field, key, layout, and tile ids by label."""
        rows: list[dict[str, Any]] = []
        for grid, history in self.histories.items():
            ids, labels = history.store.labelled()
            if len(ids):
                rows.append({"i": len(rows)} | grid.to_json() | {"set": tiles_by_label(ids, labels)})
        return rows

    def _start(self, entry: Entry) -> None:
        if entry["v"] != VERSION:
            raise ParamsError(f"labels of version {entry['v']!r} cannot be read; update this program")
        fresh = LabelHistory(ClassScheme.from_json(entry["classes"]))
        for row in entry["grids"]:
            fresh._declare(row)
            ids, labels = parse_tiles_by_label(row["set"])
            _check_ids(ids, fresh.grids[row["i"]])
            if len(labels) and not (labels.min() >= CONFLICT and labels.max() < len(fresh.scheme)):
                raise ParamsError(f"a label is not among {len(fresh.scheme)} classes")
            fresh.history_of(fresh.grids[row["i"]]).store.set(ids, labels)
        opened = {grid: history.store.ids for grid, history in self.histories.items() if len(history.store.ids)}
        self.__dict__.update(fresh.__dict__, revision=self.revision + 1)
        for grid, ids in opened.items():
            self.history_of(grid).use_tiles(ids)

    def _declare(self, row: Mapping[str, Any]) -> None:
        grid = grid_from_layout({**row["layout"], "tiles": []})
        if not (isinstance(row["i"], int) and isinstance(row["field"], str) and grid_key(grid) == row["key"]):
            raise ParamsError("a grid of the labels cannot be read")
        self.grids[row["i"]] = LabelledGrid(row["field"], row["key"], grid_layout(grid) | {"tiles": None})


def _check_ids(ids: NDArray[np.int64], grid: LabelledGrid) -> None:
    if len(ids) and not (ids.min() >= 0 and ids.max() < grid.tiles):
        raise ParamsError("a label is for a tile outside its grid")
