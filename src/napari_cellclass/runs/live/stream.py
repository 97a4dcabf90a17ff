"""Features of the tiles of fields stream in, in the order in which they are needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import GridError, ImageError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.workspace.records import GridSettings
from napari_cellclass.runs.live.features import LiveExtractor
from napari_cellclass.runs.live.field_features import FieldFeatures

_PHASE = "features"


class Priority:
    """Which tiles are needed first: set in the window's thread, read by the one that computes.

    Tiles that a user works on come before those in view, the nearest to its centre first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._centre = (0.0, 0.0)
        self._wanted: NDArray[np.int64] = np.zeros(0, np.int64)
        self.version = 0

    def set_centre(self, y: float, x: float) -> None:
        """Say where the view is, in px of the field."""
        with self._lock:
            if self._centre != (y, x):
                self._centre = (y, x)
                self.version += 1

    def set_wanted(self, tile_indices: NDArray[np.int64]) -> None:
        """Say which tiles are needed before all others, such as the labelled ones."""
        with self._lock:
            self._wanted = np.asarray(tile_indices, np.int64)
            self.version += 1

    def order(self, field: FieldFeatures, only_wanted: bool = False) -> tuple[NDArray[np.int64], int]:
        """Return the tiles whose features are not known yet, those needed first at first; and the version of this."""
        with self._lock:
            centre, wanted, version = self._centre, self._wanted, self.version
        if only_wanted:
            return wanted[~field.known[wanted]], version
        missing = np.flatnonzero(~field.known)
        boxes = field.grid.boxes[missing]
        distance = np.square((boxes[:, :2] + boxes[:, 2:]) / 2 - centre).sum(axis=1)
        distance[np.isin(missing, wanted)] = -1
        return missing[np.argsort(distance, kind="stable")], version


@dataclass(frozen=True, eq=False)
class FieldToRead:
    """A field whose features are wanted.

    Parameters
    ----------
    features
        Where they go.
    open_source
        Opens the field; called in the thread that computes.
    priority
        Which tiles come first.
    """

    features: FieldFeatures
    open_source: Callable[[], SourceImage]
    priority: Priority


def stream_features(
    fields: Sequence[FieldToRead], extractor: LiveExtractor, task: Task = NO_TASK
) -> Iterator[FieldFeatures]:
    """Compute the features of fields, one field after the other, and give the field after each batch of its tiles.

    Parameters
    ----------
    fields
        In the order in which they are needed; first the tiles of all of them that are wanted, then all others.
    extractor
        Computes them, or finds them on disk.
    task
        Reports how many tiles of a field are known; checked before each batch.

    Raises
    ------
    ImageError
        The pixels of the first field cannot be read; a later one that cannot is left out.
    ModelError
        The features cannot be computed.
    CancelledError
        The task was cancelled.
    """
    sources: dict[str, SourceImage] = {}
    for only_wanted in (True, False):
        for number, one in enumerate(fields):
            try:
                if one.features.key not in sources:
                    sources[one.features.key] = one.open_source()
                yield from _stream(one, number, sources[one.features.key], extractor, only_wanted, task)
            except ImageError:
                if number == 0:
                    raise


def _stream(
    one: FieldToRead, number: int, source: SourceImage, extractor: LiveExtractor, only_wanted: bool, task: Task
) -> Iterator[FieldFeatures]:
    field = one.features
    while True:
        task.check("the features of a field were no longer needed")
        order, version = one.priority.order(field, only_wanted)
        if not len(order):
            return
        for tiles, features in extractor.iterate(source, field.grid, order, task):
            task.check("the features of a field were no longer needed")
            field.put(tiles, features)
            task.progress(_PHASE, int(field.known.sum()), len(field.grid), field=number)
            yield field
            if one.priority.version != version:
                break  # the view has moved: others are needed first now


def fill_store(
    sources: Iterable[Callable[[], SourceImage]], grid: GridSettings, extractor: LiveExtractor, task: Task = NO_TASK
) -> None:
    """Compute the features of fields that are not open, so that they are on disk when one is.

    Parameters
    ----------
    sources
        Open the fields; one that cannot be read or cut into tiles is left out.
    grid
        How they are cut into tiles.
    extractor
        Computes the features.
    task
        Checked before each batch.

    Raises
    ------
    ModelError
        The features cannot be computed.
    CancelledError
        The task was cancelled.
    """
    for open_source in sources:
        try:
            source = open_source()
            if not extractor.takes(source):
                continue
            tiles = grid.lay(source.shape)
            for _ in extractor.iterate(source, tiles, np.arange(len(tiles)), task):
                task.check("the features of other fields were no longer needed")
        except (ImageError, GridError):
            continue
