"""The model of all labels of a session, and what it says of labelled tiles that it did not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.models.linear_head import HeadFit
from napari_cellclass.core.selection.sample_accuracy import SampleAccuracy, sample_fractions
from napari_cellclass.core.stats.intervals import Estimate
from napari_cellclass.core.stats.metrics import GroupedMetrics, confusion_matrix
from napari_cellclass.runs.live.field_features import Labelled
from napari_cellclass.runs.live.refine import HeldOut

_FEWEST_GROUPS = 3


@dataclass(frozen=True, eq=False)
class Fitted:
    """The model of all labels, and what it says of labelled tiles that it did not see.

    Parameters
    ----------
    found, groups
        The labelled tiles, and what was left out together.
    present, compact
        The classes that occur; the tiles' labels as indices of these.
    drawn
        Which tiles were drawn at random.
    predicted
        Class of each tile among ``present``, by the fit without that tile; meaningless where none was drawn.
    accuracy
        Of the drawn tiles.
    fit, held_out_by
        See :class:`~napari_cellclass.runs.live.session.LivePrediction`.
    """

    found: Labelled
    groups: NDArray[np.int64]
    present: NDArray[np.int64]
    compact: NDArray[np.int64]
    drawn: NDArray[np.bool_]
    predicted: NDArray[np.int64]
    accuracy: SampleAccuracy
    fit: HeadFit
    held_out_by: str

    def fractions(self, of_field: NDArray[np.bool_], prob: NDArray[np.float32]) -> tuple[Estimate, ...]:
        """Return the fraction of a field's tiles in each class; empty where none of them was drawn."""
        here = self.drawn & of_field
        if self.accuracy.estimate is None or not here.any():
            return ()
        known = prob[np.isfinite(prob[:, 0])]
        shares = np.bincount(known.argmax(axis=1), minlength=prob.shape[1]) / max(1, len(known))
        return sample_fractions(shares, self.found.labels[here], self.present[self.predicted[here]])

    def by_group(self) -> Estimate | None:
        """Return the balanced accuracy of the drawn tiles of groups that were left out whole, or None."""
        if self.held_out_by != "group":
            return None
        held = self.fit.held_out[self.drawn].argmax(axis=1)
        return _group_accuracy(self.compact[self.drawn], held, self.found.group[self.drawn])

    def held_out(self, keys: tuple[str, ...]) -> HeldOut:
        """Return what is predicted for the labelled tiles without their groups; ``keys`` are those of the fields."""
        predicted = self.present[self.fit.held_out.argmax(axis=1)]
        found = self.found
        return HeldOut(keys, found.field, found.tile, predicted, self.groups, self.drawn, self.held_out_by)


def drawn_rows(
    labels: Mapping[str, NDArray[np.int16]], drawn: Mapping[str, Sequence[int]], found: Labelled
) -> tuple[NDArray[np.bool_], int]:
    """Return which labelled tiles were drawn at random, and how many tiles of their fields have no label."""
    chosen, others = np.zeros(len(found.labels), bool), 0
    for number, (key, values) in enumerate(labels.items()):
        inside = (found.field == number) & np.isin(found.tile, drawn.get(key, ()))
        chosen |= inside
        others += int((values < 0).sum()) * bool(inside.any())
    return chosen, others


def _group_accuracy(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], group: NDArray[np.int64]
) -> Estimate | None:
    """Return balanced accuracy with its interval over groups; None with fewer than three, which tell nothing."""
    names = np.unique(group)
    if len(names) < _FEWEST_GROUPS:
        return None
    k = int(max(truth.max(), predicted.max())) + 1
    tables = np.stack([confusion_matrix(truth[group == name], predicted[group == name], k) for name in names])
    return GroupedMetrics(tables).accuracies()[1]


def left_out_together(found: Labelled) -> tuple[NDArray[np.int64], str]:
    """Return what is left out together: wells or fields where every class is in two, else regions of a field."""
    if all(len(np.unique(found.group[found.labels == k])) > 1 for k in np.unique(found.labels)):
        return found.group, "group"
    return found.region, "region"
