"""The labelled tiles of a labelling session that are most similar to a tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.stats.neighbours import NeighbourIndex
from napari_cellclass.runs.live.field_features import Labelled
from napari_cellclass.runs.live.session import LiveSession


@dataclass(frozen=True)
class SimilarLabel:
    """A labelled tile that is similar to another one.

    Parameters
    ----------
    key, tile, label
        Its field, its index there, and its class.
    similarity
        Cosine of the standardised features, -1 to 1.
    """

    key: str
    tile: int
    label: int
    similarity: float


class SimilarLabels:
    """Finds similar labelled tiles; what it compares with is kept until labels or features change.

    Parameters
    ----------
    session
        Knows the features.
    """

    def __init__(self, session: LiveSession) -> None:
        self.session = session
        self._known: tuple[object, Labelled, NeighbourIndex] | None = None

    def find(self, labels: Mapping[str, NDArray[np.int16]], shown: str, tile: int, count: int) -> list[SimilarLabel]:
        """Find the labelled tiles that are most similar to a tile, which may have a label itself.

        Parameters
        ----------
        labels
            By field, as for :meth:`LiveSession.predict`.
        shown, tile
            Key of the tile's field, and its index there.
        count
            How many at most; fewer where fewer labelled tiles have features.
        """
        session = self.session
        with session.lock:  # the scale is that of the last prediction, which another thread may be using
            scale = session.scale.current or session.scale.follow(list(session.fields.values()))
            if shown not in session.fields or scale is None:
                return []
            z = session.fields[shown].standardised(scale, session.scale.version)[tile].copy()
            known = {key: int(field.known.sum()) for key, field in session.fields.items()}
            state = (session.scale.version, known, {key: values.tobytes() for key, values in labels.items()})
            if self._known is None or self._known[0] != state:
                labelled = session.labelled(labels, scale)
                if labelled is None:
                    return []
                self._known = state, labelled, NeighbourIndex(labelled.z)
        _, found, index = self._known
        keys = list(labels)
        field = keys.index(shown) if shown in keys else -1
        own = np.flatnonzero((found.tile == tile) & (found.field == field)).tolist()
        rows, similarities = index.nearest(z, count, own[0] if own else None)
        return [
            SimilarLabel(keys[int(found.field[i])], int(found.tile[i]), int(found.labels[i]), similarity)
            for i, similarity in zip(rows.tolist(), similarities.tolist(), strict=True)
        ]
