"""Labels by tile id: their values, their store, and their form in JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

UNLABELLED = -1
UNSURE = -2
CONFLICT = -3
"""Label values, int16; those from 0 on are class indices. A conflict is claimed by two classes."""


def tiles_by_label(ids: NDArray[np.int64], labels: NDArray[np.int16]) -> dict[str, list[int]]:
    """Give the tile ids of each label, as a journal writes them."""
    return {str(int(label)): ids[labels == label].tolist() for label in np.unique(labels)}


def parse_tiles_by_label(content: Mapping[str, Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
    """Read what :func:`tiles_by_label` gave: tile ids and their labels.

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


class LabelStore:
    """A label per tile id; dense for the tiles of a grid, sparse for those outside its region of interest.

    Parameters
    ----------
    ids
        int64, shape (N,): the grid's tile ids, without duplicates.
    """

    def __init__(self, ids: ArrayLike) -> None:
        self.ids = np.asarray(ids, np.int64)
        self._order = np.argsort(self.ids, kind="stable")
        self._sorted = self.ids[self._order]
        self._ids_are_indices = bool((self.ids == np.arange(len(self.ids))).all())
        self._labels = np.full(len(self.ids), UNLABELLED, np.int16)
        self.labels = self._labels.view()
        self.labels.flags.writeable = False
        self._outside: dict[int, int] = {}

    def indices_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Find the indices of tile ids in the grid, -1 for tiles that are not in it."""
        n = len(self.ids)
        if n == 0 or self._ids_are_indices:
            return np.where((ids >= 0) & (ids < n), ids, -1)
        nearest = np.minimum(np.searchsorted(self._sorted, ids), n - 1)
        return np.where(self._sorted[nearest] == ids, self._order[nearest], -1)

    def get(self, ids: NDArray[np.int64]) -> NDArray[np.int16]:
        """Labels of tile ids: int16."""
        if len(self.ids) == 0:  # all are outside, as while the labels of many fields are read
            return np.array([self._outside.get(tile, UNLABELLED) for tile in ids.tolist()], np.int16)
        indices = self.indices_of(ids)
        labels = self._labels[indices]
        for i in np.flatnonzero(indices < 0).tolist():
            labels[i] = self._outside.get(int(ids[i]), UNLABELLED)
        return labels

    def set(self, ids: NDArray[np.int64], labels: NDArray[np.int16]) -> None:
        """Give tile ids their labels."""
        if len(self.ids):
            indices = self.indices_of(ids)
            inside = indices >= 0
            if inside.all():
                self._labels[indices] = labels
                return
            self._labels[indices[inside]] = labels[inside]
            ids, labels = ids[~inside], labels[~inside]
        for tile, label in zip(ids.tolist(), labels.tolist(), strict=True):
            if label == UNLABELLED:
                self._outside.pop(tile, None)
            else:
                self._outside[tile] = label

    def remap(self, new_labels: NDArray[np.int16]) -> None:
        """Replace every label from 0 on by ``new_labels[label]``; labels below 0 stay."""
        table = np.concatenate([np.arange(CONFLICT, 0, dtype=np.int16), new_labels])
        self._labels[:] = table[self._labels - CONFLICT]
        moved = {tile: int(table[label - CONFLICT]) for tile, label in self._outside.items()}
        self._outside = {tile: label for tile, label in moved.items() if label != UNLABELLED}

    def labelled(self) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
        """Tile ids, ascending, and labels of all tiles that are not unlabelled, in the grid or not."""
        inside = np.flatnonzero(self._labels != UNLABELLED)
        outside = np.fromiter(self._outside.values(), np.int16, len(self._outside))
        ids = np.concatenate([self.ids[inside], np.fromiter(self._outside, np.int64, len(self._outside))])
        labels = np.concatenate([self._labels[inside], outside])
        order = np.argsort(ids)
        return ids[order], labels[order]
