"""Several tiles that were chosen together, on the map or elsewhere: the next key labels all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.history import LabelChange
from napari_cellclass.core.labels.label_store import UNLABELLED

Selected = Sequence[tuple[Annotation, NDArray[np.int64]]]
"""Tiles of several fields, by the annotation that holds their labels."""


class TileSelection:
    """The tiles that are selected; ``changed`` is sent after it holds others.

    Attributes
    ----------
    tiles
        int64, shape (M,): indices of tiles of the field that is open.
    elsewhere
        Tiles of other fields of the project, by the annotation that holds their labels.
    """

    changed = Signal()

    def __init__(self) -> None:
        self.tiles: NDArray[np.int64] = np.zeros(0, np.int64)
        self.elsewhere: Selected = ()

    def __len__(self) -> int:
        return len(self.tiles) + sum(len(tiles) for _, tiles in self.elsewhere)

    def describe(self, annotation: Annotation | None) -> str:
        """Say how many tiles are selected, and of how many of them a key would change the label.

        Parameters
        ----------
        annotation
            The labels of the field that is open.
        """
        labelled = 0 if annotation is None else _count_labelled(annotation, self.tiles)
        labelled += sum(_count_labelled(other, tiles) for other, tiles in self.elsewhere)
        already = f", {labelled:,} of them labelled already" if labelled else ""
        return f"{counted(len(self), 'tile is', 'tiles are')} selected{already}"

    def set(self, tile_indices: NDArray[np.int64], elsewhere: Selected = ()) -> None:
        """Select these tiles and no others."""
        self.tiles = np.asarray(tile_indices, np.int64)
        self.elsewhere = tuple((annotation, tiles) for annotation, tiles in elsewhere if len(tiles))
        self.changed.emit()

    def clear(self) -> None:
        """Select nothing."""
        if len(self):
            self.set(np.zeros(0, np.int64))

    def take(self) -> TileSelection:
        """Give what is selected, and select nothing any more."""
        taken = TileSelection()
        taken.set(self.tiles, self.elsewhere)
        self.clear()
        return taken


def _count_labelled(annotation: Annotation, tile_indices: NDArray[np.int64]) -> int:
    return int((np.asarray(annotation.labels)[tile_indices] != UNLABELLED).sum())


class LabelPath(Protocol):
    """How a workspace changes labels."""

    def label(self, tile_indices: NDArray[np.int64], label: int) -> bool:
        """Give tiles of the field that is open one label."""

    def apply(self, action: Callable[[Annotation], LabelChange | None]) -> bool:
        """Change labels, and tell all that show them."""

    def as_one_step(self, action: Callable[[], None]) -> None:
        """Do what one undo takes back together."""


def label_selected(workspace: LabelPath, selected: TileSelection, label: int) -> bool:
    """Give all selected tiles one label, which one undo takes back; False where one could not be written to disk.

    The fields of a project share their classes and their steps to undo, so that tiles of all of them are labelled.
    """
    if not selected.elsewhere:
        return workspace.label(selected.tiles, label)
    done: list[bool] = []

    def change() -> None:
        if len(selected.tiles):
            done.append(workspace.label(selected.tiles, label))
        for annotation, tiles in selected.elsewhere:
            done.append(workspace.apply(partial(_label_unseen, annotation, tiles, label)))

    workspace.as_one_step(change)
    return all(done)


def _label_unseen(annotation: Annotation, tile_indices: NDArray[np.int64], label: int, shown: Annotation) -> None:
    """Label tiles of a field that is not shown, so that no layer has to be repainted."""
    annotation.label(tile_indices, label)
