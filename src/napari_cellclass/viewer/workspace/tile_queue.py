"""Which tile of the field that is open comes next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.predictions.active_learning import Policy, rank_tiles
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.selection.label_errors import FieldLabelErrors
from napari_cellclass.core.selection.random_sample import sampling_order
from napari_cellclass.core.selection.suggestions import suggest_tiles


@dataclass(frozen=True, eq=False)
class LiveState:
    """What the features of a field's tiles say without any model.

    Parameters
    ----------
    key
        Identifies the field with its plane and grid.
    typical
        Tiles that stand for the different kinds there are.
    prob
        Shape (N, K): the probabilities that the labels so far give; None where two classes are not labelled yet.
    errors
        Labels of this field that are probably wrong, without those that were reviewed; None where there are too few
        labels to tell.
    """

    key: str
    typical: NDArray[np.int64]
    prob: NDArray[np.float32] | None = None
    errors: FieldLabelErrors | None = None


def rank_field_tiles(
    policy: Policy, annotation: Annotation, key: str, table: TileTable | None, live: LiveState | None
) -> NDArray[np.int64]:
    """Give the indices of the tiles to label next, the most urgent first.

    Parameters
    ----------
    policy
        See :func:`~napari_cellclass.core.predictions.active_learning.rank_tiles`.
    annotation, key
        The labels, and the id of field and grid, from which the random order follows.
    table, live
        A map of the same tiles, and what their features say; None where there is none.
    """
    labels = np.asarray(annotation.labels)
    if policy == "suggested" and live is not None:
        suggested = suggest_tiles(live.prob, live.typical, labels)
        if len(suggested):
            return suggested
    if policy == "label errors" and live is not None and live.errors is not None:
        now = labels[live.errors.tiles]  # a label may have been corrected since
        return live.errors.take((now >= 0) & (now != live.errors.suggested)).tiles
    order = sampling_order(key, len(labels)) if policy == "at random" else None
    return rank_tiles(policy, labels, annotation.grid.tile_id, table, annotation.scheme.names, order)


def why_empty(policy: Policy, table: TileTable | None, live: LiveState | None) -> str:
    """Say why no tile comes next; the parameters are those of :func:`rank_field_tiles`."""
    if table is None and policy == "least certain":
        return "No map of these tiles is there, so nothing is least certain; classify the field first."
    if table is None and policy == "label errors" and (live is None or live.errors is None):
        return "No label errors are known: label tiles of each class with live predictions, or classify the field."
    return "No tile is left in this queue."
