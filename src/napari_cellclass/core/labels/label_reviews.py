"""Labels that a person has looked at again and found right, so that nobody is asked about them twice."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.journal import Journal

REVIEWS = "label-reviews"
"""Key of the reviews in a journal of labels."""


class LabelReviews:
    """The reviewed labels of all fields whose labels are in a journal.

    A review is of a tile and its class: it counts no more once the tile has another label.

    Parameters
    ----------
    journal
        Of the labels; reviews are a file of their own in it.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._right: dict[str, set[tuple[int, str]]] = {}
        try:
            entries = journal.entries(REVIEWS)
        except DatasetError:  # then nothing is left out
            entries = []
        for entry in entries:
            field, tile, name = (entry.get(word) for word in ("field", "tile", "class"))
            if isinstance(field, str) and isinstance(tile, int) and isinstance(name, str):
                self._right.setdefault(field, set()).add((tile, name))

    def accept(self, field: str, tile_id: int, class_name: str) -> None:
        """Note that the label of a tile is right, on disk before this returns.

        Raises
        ------
        OutputError
            It cannot be written; then it counts until the program ends.
        """
        self._right.setdefault(field, set()).add((tile_id, class_name))
        self._journal.append(REVIEWS, {"do": "accept", "field": field, "tile": tile_id, "class": class_name})

    def accepted(self, field: str, tile_ids: Iterable[int], class_names: Iterable[str]) -> NDArray[np.bool_]:
        """Return which labels were found right: bool, one for each tile id and the class that it has now."""
        right = self._right.get(field, set())
        return np.array([pair in right for pair in zip(tile_ids, class_names, strict=True)], bool)
