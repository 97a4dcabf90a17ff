"""Features of a labelling session: described once, for its first field, and computed for all its fields."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.feature_spec import FEATURE_INPUT_PX, FeatureSpec, is_colour
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.engine.features.backbone import backbone_columns
from napari_cellclass.engine.features.extractor import FeatureExtractor
from napari_cellclass.engine.features.store import FeatureStore
from napari_cellclass.engine.features.texture import texture_columns
from napari_cellclass.engine.features.weights import find_weights
from napari_cellclass.runs.features.choosing import choose_features
from napari_cellclass.runs.features.extraction import iterate_features, open_extractor, open_store


class LiveExtractor:
    """Computes the features of all fields of a session from the same grey-value ranges: those of the first field.

    Parameters
    ----------
    channels, colour
        Of the fields, see :class:`~napari_cellclass.core.models.feature_spec.FeatureSpec`.
    threads
        Number of CPU threads, None for all.
    """

    def __init__(self, channels: int, colour: bool, threads: int | None = None) -> None:
        self.channels, self.colour, self._threads = channels, colour, threads
        self.spec: FeatureSpec | None = None
        self.problem: str | None = None
        self._lock = threading.Lock()
        self._extractors: dict[tuple[tuple[int, int], str], FeatureExtractor] = {}

    @classmethod
    def for_field(cls, source: SourceImage, threads: int | None = None) -> LiveExtractor:
        """Make the extractor for a field and others like it; no pixel is read yet.

        Raises
        ------
        ModelError
            The weights of the backbone are not installed.
        """
        find_weights()
        return cls(source.channels, is_colour(source), threads)

    @property
    def columns(self) -> tuple[int, int]:
        """Number of features of the backbone, and of texture."""
        return backbone_columns(self.channels, self.colour), texture_columns(self.channels, FEATURE_INPUT_PX)

    def takes(self, source: SourceImage) -> bool:
        """Whether the features of a field have the same meaning as those of the first one."""
        return source.channels == self.channels and is_colour(source) == self.colour

    def prepare(self, source: SourceImage, task: Task = NO_TASK) -> FeatureSpec:
        """Measure the grey-value ranges of a field, unless they are known.

        Raises
        ------
        ImageError
            The pixels cannot be read.
        ModelError
            The weights of the backbone are not those of this version.
        """
        with self._lock:
            if self.spec is None:
                self.spec = choose_features([source], task=task.silent())
            return self.spec

    def for_tiles(self, source: SourceImage, grid: TileGrid, task: Task = NO_TASK) -> FeatureExtractor:
        """Give what computes features of raw tiles of a field; it is compiled once for a size and dtype.

        Raises
        ------
        ImageError
            The pixels cannot be read.
        ModelError
            The features cannot be computed.
        """
        spec = self.prepare(source, task)
        key = (grid.tile_px, source.dtype.name)
        with self._lock:
            if key not in self._extractors:
                self._extractors[key] = open_extractor(source, grid, spec, self._threads)
            return self._extractors[key]

    def iterate(
        self, source: SourceImage, grid: TileGrid, order: NDArray[np.int64], task: Task = NO_TASK
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Give the features of tiles in an order, as :func:`iterate_features` does, from disk where they are there.

        ``problem`` says afterwards why they could not be kept on disk.

        Raises
        ------
        ImageError
            The pixels cannot be read.
        ModelError
            The features cannot be computed.
        """
        extractor = self.for_tiles(source, grid, task)
        store: FeatureStore = open_store(source, extractor.spec, task.silent())
        yield from iterate_features(source, grid, extractor, order, store, task.silent())
        self.problem = store.problem
