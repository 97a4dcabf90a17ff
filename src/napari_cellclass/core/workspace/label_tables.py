"""Tables of the labels of all fields: counts, tiles with their classes, and the grids that have labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.grid_layout import grid_from_layout, id_ranges
from napari_cellclass.core.workspace.label_history import LabelHistory


class LabelTables:
    """The labels of all fields, for reading."""

    _state: LabelHistory

    @property
    def scheme(self) -> ClassScheme:
        """The classes of all fields; another object whenever they change."""
        return self._state.scheme

    def fields_labelled(self) -> dict[str, dict[str, int]]:
        """Count the labelled tiles of each field, by the text ids of its grids; those without any are left out."""
        found: dict[str, dict[str, int]] = {}
        for grid, history in self._state.histories.items():
            if tiles := len(history.store.labelled()[0]):
                found.setdefault(grid.field, {})[grid.key] = tiles
        return found

    def counts(self, grid_keys: Mapping[str, str] | None = None) -> pd.DataFrame:
        """Count the labelled tiles of each class: columns class_name, tiles, fields.

        Parameters
        ----------
        grid_keys
            For each field the text id of the grid that counts; all grids of all fields when None.
        """
        names = self.scheme.names
        tiles, fields = np.zeros(len(names), np.int64), [set[str]() for _ in names]
        for grid, history in self._state.histories.items():
            if grid_keys is not None and grid_keys.get(grid.field) != grid.key:
                continue
            labels = history.store.labelled()[1]
            counted = np.bincount(labels[labels >= 0], minlength=len(names))
            tiles += counted
            for index in np.flatnonzero(counted):
                fields[index].add(grid.field)
        return pd.DataFrame({"class_name": names, "tiles": tiles, "fields": [len(one) for one in fields]})

    def frame(self, field: str, key: str) -> pd.DataFrame:
        """One row per tile of a field's grid that has a class: tile_id, y0, x0, y1, x1 (px), class_name, colour.

        Parameters
        ----------
        field, key
            The field's key and its grid's text id.
        """
        history = next((h for g, h in self._state.histories.items() if (g.field, g.key) == (field, key)), None)
        ids, labels = (np.zeros(0, np.int64), np.zeros(0, np.int16)) if history is None else history.store.labelled()
        ids, labels = ids[labels >= 0], labels[labels >= 0]
        boxes = self.grid_of(field, key, ids).boxes if len(ids) else np.zeros((0, 4), np.int32)
        columns: dict[str, Any] = {"tile_id": ids}
        columns |= {name: boxes[:, i] for i, name in enumerate(("y0", "x0", "y1", "x1"))}
        columns["class_name"] = np.array(self.scheme.names, object)[labels]
        columns["colour"] = np.array(self.scheme.colours, object)[labels]
        return pd.DataFrame(columns)

    def grid_of(self, field: str, key: str, ids: ArrayLike | None = None) -> TileGrid:
        """Rebuild a grid that has labels, or only the tiles of it with these ids, ascending.

        Raises
        ------
        KeyError
            No label is on such a grid.
        """
        tiles = None if ids is None else id_ranges(np.asarray(ids, np.int64))
        return grid_from_layout({**self.layout_of(field, key), "tiles": tiles})

    def layout_of(self, field: str, key: str) -> Mapping[str, Any]:
        """Give the description of a grid that has labels: sizes in px as [y, x], and the edge rule.

        See :func:`~napari_cellclass.core.tiles.grid_layout.grid_layout`.

        Raises
        ------
        KeyError
            No label is on such a grid.
        """
        found = next((grid for grid in self._state.histories if (grid.field, grid.key) == (field, key)), None)
        if found is None:
            raise KeyError(f"{field} has no labels on {key!r}")
        return found.layout

    def snapshot(self) -> list[dict[str, Any]]:
        """Give all labels as JSON, without the steps that led to them."""
        return self._state.to_json()
