"""What the labels so far predict, as a model of raw tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.linear_head import LinearHead, Standardisation
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.engine.features.extractor import FeatureExtractor
from napari_cellclass.runs.live.features import LiveExtractor
from napari_cellclass.runs.live.session import LivePrediction


@dataclass(frozen=True, eq=False)
class LiveModel:
    """The features of a session with the linear model that its labels were fitted by.

    Attributes
    ----------
    extractor
        Of the session.
    standardisation, head
        Scale of the features, and the model of the classes that are labelled.
    present
        int64: which classes these are.
    names
        All K classes.
    """

    extractor: LiveExtractor
    standardisation: Standardisation
    head: LinearHead
    present: NDArray[np.int64]
    names: tuple[str, ...]

    @classmethod
    def of(
        cls, extractor: LiveExtractor | None, found: LivePrediction | None, names: tuple[str, ...]
    ) -> LiveModel | None:
        """Make the model of what is predicted now; None where fewer than two classes are labelled."""
        if extractor is None or found is None or found.fit is None or found.standardisation is None:
            return None
        present = np.flatnonzero(found.n_labels)
        return cls(extractor, found.standardisation, found.fit.head, present, names)

    def for_tiles(self, source: SourceImage, grid: TileGrid) -> LiveTiles:
        """Give the model for tiles of a field.

        Raises
        ------
        ImageError, ModelError
            The pixels cannot be read, or the features cannot be computed.
        """
        return LiveTiles(self, self.extractor.for_tiles(source, grid))


@dataclass(frozen=True, eq=False)
class LiveTiles:
    """A live model for raw tiles of one size and dtype."""

    model: LiveModel
    features: FeatureExtractor

    def __call__(self, tiles: NDArray[Any]) -> NDArray[np.float32]:
        """Return probabilities (n, K), float32, of raw tiles (n, h, w, C); NaN where a pixel is NaN or infinite."""
        z = self.model.standardisation.apply(self.features(tiles))
        finite = np.isfinite(z).all(axis=1)
        prob = np.full((len(z), len(self.model.names)), np.nan, np.float32)
        prob[finite] = 0
        parts = np.split(z[finite], np.cumsum(self.model.extractor.columns)[:-1], axis=1)
        if finite.any():
            prob[np.ix_(np.flatnonzero(finite), self.model.present)] = self.model.head.predict(parts)
        return prob
