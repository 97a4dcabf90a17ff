"""The linear model of a labelling session: fitted anew to all labels at every key, and what it predicts."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.blas import single_threaded_blas
from napari_cellclass.core.models.linear_head import HeadFit, Standardisation, fit_heads
from napari_cellclass.core.selection.label_errors import FieldLabelErrors, nearest_rows, rank_label_errors
from napari_cellclass.core.selection.sample_accuracy import SampleAccuracy, sample_accuracy
from napari_cellclass.core.stats.intervals import Estimate
from napari_cellclass.runs.live.accuracy_curve import AccuracyCurve, CurvePoint, has_settled
from napari_cellclass.runs.live.field_features import FieldFeatures, Labelled, SharedStandardisation
from napari_cellclass.runs.live.fitted import Fitted, drawn_rows, left_out_together
from napari_cellclass.runs.live.refine import HeldOut

PERCENTAGES_FROM = 8
"""Labels of every class from which probabilities are worth a percentage: with fewer they are off by 0.1 and more."""
_HISTORY = 20  # labels over which the share of changed predictions is measured
_STABLE = 0.01  # fraction of tiles


@dataclass(frozen=True, eq=False)
class LivePrediction:
    """What the labels so far predict for one field.

    Parameters
    ----------
    key
        Of the field, see :class:`FieldFeatures`.
    revision
        Of the labels that it was made from.
    prob
        float32, shape (N, K): probabilities; rows of NaN are tiles without features, or whose features are to come.
        Where only one class is labelled, its column holds similarities to it, 0 to 1.
    n_labels
        Number of labels of each class, over all fields.
    accuracy
        Balanced accuracy on the tiles without a label, of the fields where tiles were drawn at random.
    by_group, n_groups
        Balanced accuracy on groups that were left out whole, from the drawn tiles of at least three of them; in how
        many groups (wells, fields) there are labels.
    fractions
        Of the field's tiles in each class; empty where no tiles of this field were drawn at random.
    changed
        Fraction of the field's tiles whose class the last 20 labels changed; None where there are fewer.
    fit, standardisation
        The model and the scale of its features; None where only one class is labelled.
    held_out_by
        What was left out to choose penalty and temperature: ``"group"``, ``"region"`` or ``"tile"``.
    curve
        The estimates of ``accuracy`` of this session by number of labels, those of now included.
    held_out
        What is predicted for labelled tiles without their groups; None where only one class is labelled.
    """

    key: str
    revision: int
    prob: NDArray[np.float32]
    n_labels: tuple[int, ...]
    accuracy: SampleAccuracy
    by_group: Estimate | None = None
    n_groups: int = 0
    fractions: tuple[Estimate, ...] = ()
    changed: float | None = None
    fit: HeadFit | None = None
    standardisation: Standardisation | None = None
    held_out_by: str = ""
    curve: tuple[CurvePoint, ...] = ()
    held_out: HeldOut | None = None

    @property
    def labels_help_little(self) -> bool:
        """Whether the last 20 labels changed at most 1 % of the tiles, and did not move the accuracy either."""
        stable = self.changed is not None and self.changed <= _STABLE
        return stable and has_settled(self.curve, sum(self.n_labels), _HISTORY)

    @property
    def percentages(self) -> bool:
        """Whether there are labels enough for probabilities to be shown as percentages."""
        given = [n for n in self.n_labels if n]
        return len(given) >= 2 and min(given) >= PERCENTAGES_FROM


class LiveSession:
    """Holds the features of all fields, and makes predictions of the labels.

    :meth:`predict` may run in another thread than :meth:`FieldFeatures.put`, but not twice at once.

    Parameters
    ----------
    columns
        Number of features of each feature set, in the order of their columns.
    """

    def __init__(self, columns: tuple[int, ...]) -> None:
        self.columns = columns
        self.fields: dict[str, FieldFeatures] = {}
        self.scale = SharedStandardisation()
        self._past: dict[str, dict[int, NDArray[np.int16]]] = {}
        self._curve = AccuracyCurve()
        self.lock = threading.Lock()  # of the scale, which predictions follow and similar tiles use

    def add(self, field: FieldFeatures) -> None:
        """Take the features of a field, in place of earlier ones of it."""
        self.fields[field.key] = field
        self._past.pop(field.key, None)

    def remove(self, key: str) -> None:
        """Forget a field."""
        self.fields.pop(key, None)
        self._past.pop(key, None)

    def predict(
        self,
        labels: Mapping[str, NDArray[np.int16]],
        n_classes: int,
        shown: str,
        revision: int,
        drawn: Mapping[str, Sequence[int]] | None = None,
    ) -> LivePrediction | None:
        """Fit all labels and predict the tiles of one field.

        Parameters
        ----------
        labels
            By field: int16, shape (N,), class indices, negative where a tile has no class.
        n_classes
            K, the classes of the work, labelled or not.
        shown
            Key of the field whose tiles are predicted.
        revision
            Of the labels.
        drawn
            By field: the labelled tiles that were drawn at random, see
            :class:`~napari_cellclass.core.selection.random_sample.RandomDraws`.

        Returns
        -------
        LivePrediction or None
            None where no labelled tile or no tile of the field has features yet.
        """
        with self.lock:
            standardisation = self.scale.follow(list(self.fields.values()))
            if shown not in self.fields or standardisation is None:
                return None
            found = self.labelled(labels, standardisation)
            if found is None:
                return None
            z = self.fields[shown].standardised(standardisation, self.scale.version)
        if len(np.unique(found.labels)) == 1:
            return _similar_tiles(found, z, n_classes, shown, revision)
        with single_threaded_blas():
            fitted = self._fit(found, *drawn_rows(labels, drawn or {}, found))
            prob = self._probabilities(fitted, z, n_classes)
        fractions: tuple[Estimate, ...] = ()
        if shown in labels:
            fractions = fitted.fractions(found.field == list(labels).index(shown), prob)
        return LivePrediction(
            shown, revision, prob, tuple(np.bincount(found.labels, minlength=n_classes).tolist()), fitted.accuracy,
            fitted.by_group(), len(np.unique(found.group)), fractions, self._changed(shown, prob, len(found.labels)),
            fitted.fit, standardisation, fitted.held_out_by,
            self._curve.add(len(found.labels), fitted.accuracy.estimate), fitted.held_out(tuple(labels)),
        )  # fmt: skip

    def _fit(self, found: Labelled, drawn: NDArray[np.bool_], others: int) -> Fitted:
        """Fit all labels, and estimate the accuracy from the drawn tiles, each predicted by all labels but its own."""
        present, compact = np.unique(found.labels, return_inverse=True)
        groups, held_out_by = left_out_together(found)
        single = [np.arange(len(compact))] if drawn.any() else []
        fit, *alone = fit_heads(self._parts(found.z), compact, [groups, *single], len(present))
        if fit.held_out_by == "tile":
            held_out_by = "tile"
        if not alone:
            none = SampleAccuracy(None, 0, tuple(present.tolist()))
            return Fitted(found, groups, present, compact, drawn, compact, none, fit, held_out_by)
        predicted = alone[0].held_out.argmax(axis=1)
        accuracy = sample_accuracy(compact[drawn], predicted[drawn], len(present), others)
        accuracy = replace(accuracy, missing=tuple(present[list(accuracy.missing)].tolist()))
        return Fitted(found, groups, present, compact, drawn, predicted, accuracy, fit, held_out_by)

    def _probabilities(self, fitted: Fitted, z: NDArray[np.float32], n_classes: int) -> NDArray[np.float32]:
        """Return probabilities (N, K) of all tiles of a field, NaN where a tile has no features."""
        prob = np.zeros((len(z), n_classes), np.float32)
        finite = np.isfinite(z[:, 0])
        prob[~finite] = np.nan
        known = z if finite.all() else z[finite]
        prob[np.ix_(np.flatnonzero(finite), fitted.present)] = fitted.fit.head.predict(self._parts(known))
        return prob

    def label_errors(self, labels: Mapping[str, NDArray[np.int16]], shown: str) -> FieldLabelErrors:
        """Find the labels of a field that are probably wrong, by fits to all labels without them.

        See :func:`~napari_cellclass.core.selection.label_errors.rank_label_errors`; wells or fields are left out, or
        regions of a field, as :meth:`predict` does.

        Parameters
        ----------
        labels
            By field, as for :meth:`predict`.
        shown
            Key of the field.

        Returns
        -------
        FieldLabelErrors
            None of them where fewer than two classes are labelled, or the field has no features yet.
        """
        with self.lock:
            standardisation = self.scale.follow(list(self.fields.values()))
            found = None if standardisation is None else self.labelled(labels, standardisation)
        none = np.zeros(0, np.int64)
        if found is None or shown not in labels or len(present := np.unique(found.labels)) < 2:
            return FieldLabelErrors(none, none, np.zeros(0))
        compact, parts = np.searchsorted(present, found.labels), self._parts(found.z)
        groups, _ = left_out_together(found)
        with single_threaded_blas():
            by_group, by_tile = fit_heads(parts, compact, [groups, np.arange(len(compact))], len(present))
        ranked = rank_label_errors(compact, by_group.held_out, by_tile.held_out)
        suspect = ((ranked.quality < 0.5) | ranked.likely) & (found.field == list(labels).index(shown))
        rows = ranked.order[suspect[ranked.order]]
        return FieldLabelErrors(found.tile[rows], present[ranked.suggested[rows]], ranked.quality[rows])

    def nearest_labelled(
        self, key: str, labels: NDArray[np.int16], tiles: NDArray[np.int64], count: int = 5
    ) -> list[NDArray[np.int64]]:
        """Return, for each of some labelled tiles of a field, the other labelled ones that are most similar to it.

        Parameters
        ----------
        key
            Of the field.
        labels
            int16, shape (N,): its labels.
        tiles
            Indices of labelled tiles.
        count
            How many of each, at most.

        Returns
        -------
        list of int64 arrays
            Indices of tiles, the most similar first; empty for a tile without features.
        """
        none, z = np.zeros(0, np.int64), self.standardised(key)
        if z is None:
            return [none] * len(tiles)
        rows = np.flatnonzero((labels >= 0) & np.isfinite(z[:, 0]))
        known = np.flatnonzero(np.isin(tiles, rows))
        near = nearest_rows(balanced(self._parts(z[rows])), np.searchsorted(rows, tiles[known]), count)
        found = dict(zip(known.tolist(), rows[near], strict=True))
        return [found.get(i, none) for i in range(len(tiles))]

    def standardised(self, key: str) -> NDArray[np.float32] | None:
        """Return the standardised features (N, F) of a field, NaN where a tile has none; None where all are to come."""
        with self.lock:
            standardisation = self.scale.follow(list(self.fields.values()))
            if standardisation is None or key not in self.fields:
                return None
            return self.fields[key].standardised(standardisation, self.scale.version)

    def _parts(self, z: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        ends = np.cumsum(self.columns)
        return [z[:, end - n : end] for n, end in zip(self.columns, ends.tolist(), strict=True)]

    def labelled(self, labels: Mapping[str, NDArray[np.int16]], standardisation: Standardisation) -> Labelled | None:
        """Return the labelled tiles that have features; None where there are none."""
        parts: list[tuple[NDArray[np.float32], ...]] = []
        group_of = {key: one.group for key, one in self.fields.items()}  # another thread may change them meanwhile
        names = sorted(set(group_of.values()))
        for number, (key, values) in enumerate(labels.items()):
            one = self.fields.get(key)
            if one is None or not (values >= 0).any():
                continue
            z = one.standardised(standardisation, self.scale.version)
            tiles = np.flatnonzero(values >= 0)
            tiles = tiles[np.isfinite(z[tiles, 0])]
            n = len(tiles)
            group = np.full(n, names.index(group_of[key]))
            region = one.regions()[tiles] + (number << 32)
            parts.append((z[tiles], values[tiles].astype(np.int64), group, region, np.full(n, number), tiles))
        if not parts or not sum(len(part[1]) for part in parts):
            return None
        return Labelled(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _changed(self, shown: str, prob: NDArray[np.float32], n: int) -> float | None:
        """Return the fraction of tiles whose class the last labels have changed."""
        past = self._past.setdefault(shown, {})
        finite = np.isfinite(prob).all(axis=1)
        past[n] = np.where(finite, np.nan_to_num(prob).argmax(axis=1), -1).astype(np.int16)
        earlier = max((count for count in past if count <= n - _HISTORY), default=None)
        if earlier is None:
            return None
        for count in [count for count in past if count < earlier]:
            del past[count]
        before, now = past[earlier], past[n]
        both = (before >= 0) & (now >= 0)
        return float((before[both] != now[both]).mean()) if both.any() else None


def balanced(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Join feature sets so that each has the same weight in a distance, whatever its number of features."""
    return np.hstack([part / np.float32(np.sqrt(max(1, part.shape[1]))) for part in parts])


def _similar_tiles(
    found: Labelled, z: NDArray[np.float32], n_classes: int, shown: str, revision: int
) -> LivePrediction:
    """Say how similar the tiles of a field are to those of the only class that is labelled."""
    prob = np.zeros((len(z), n_classes), np.float32)
    prob[:, found.labels[0]] = _similarity(z, found.z)
    prob[~np.isfinite(prob).all(axis=1)] = np.nan
    counts = tuple(np.bincount(found.labels, minlength=n_classes).tolist())
    return LivePrediction(shown, revision, prob, counts, SampleAccuracy(None, 0))


def _similarity(z: NDArray[np.float32], examples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 0 to 1: how near each tile is to the nearest of some examples, against the median tile."""
    squares = np.einsum("ij,ij->i", z, z)
    nearest = np.full(len(z), np.inf, np.float32)
    for example in examples[:50]:
        nearest = np.minimum(nearest, np.maximum(squares - 2 * z @ example + example @ example, 0))
    typical = np.nanmedian(nearest) if np.isfinite(nearest).any() else 1.0
    return np.asarray(np.exp(-nearest / max(float(typical), 1e-6)), np.float32)
