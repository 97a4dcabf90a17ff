"""Which labels are most likely wrong, from predictions of tiles that were left out (confident learning)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.stats.neighbours import NeighbourIndex


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """How likely each of n labels is wrong.

    Parameters
    ----------
    order
        int64, shape (n,): rows, the label that is most likely wrong first.
    quality
        float64, shape (n,): 1 for a label that everything supports, 0 for one that everything contradicts.
    suggested
        int64, shape (n,): the class that is the most probable one beside the label's own.
    likely
        bool, shape (n,): whether confident learning counts the label as an error: the tile is predicted to be of
        another class with at least the mean probability that labels of that class have.
    """

    order: NDArray[np.int64]
    quality: NDArray[np.float64]
    suggested: NDArray[np.int64]
    likely: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.order)


@dataclass(frozen=True, eq=False)
class FieldLabelErrors:
    """The labels of a field that are most likely wrong, the most likely first.

    Parameters
    ----------
    tiles
        int64, shape (m,): indices of the tiles.
    suggested
        int64, shape (m,): the class that each probably is of, as an index of the work's classes.
    quality
        float64, shape (m,): see :class:`LabelErrors`.
    """

    tiles: NDArray[np.int64]
    suggested: NDArray[np.int64]
    quality: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.tiles)

    def take(self, keep: NDArray[np.bool_]) -> FieldLabelErrors:
        """Keep some of them, bool of shape (m,)."""
        return FieldLabelErrors(self.tiles[keep], self.suggested[keep], self.quality[keep])


def class_thresholds(labels: NDArray[np.integer[Any]], prob: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the mean probability of each class among the tiles with its label, float64 of shape (K,).

    Northcutt, Jiang & Chuang (J. Artif. Intell. Res. 70:1373, 2021), equation 2. Infinite for a class without a label.
    """
    counts = np.bincount(labels, minlength=prob.shape[1])
    sums = np.bincount(labels, weights=prob[np.arange(len(labels)), labels], minlength=prob.shape[1])
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)


def confident_classes(labels: NDArray[np.integer[Any]], prob: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Return the class that each tile is confidently of, int64 of shape (n,); -1 where there is none.

    The most probable of the classes whose probability is at least their threshold, see :func:`class_thresholds`
    (equation 1 of the same article). Where it is not the label, the tile is off the diagonal of the confident joint.
    """
    above = np.where(prob >= class_thresholds(labels, prob) - 1e-12, prob, -1.0)
    return np.where(above.max(axis=1) >= 0, above.argmax(axis=1), -1).astype(np.int64)


def normalised_margin(labels: NDArray[np.integer[Any]], prob: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return probability of the label less that of the best other class, float64 (n,) of -1 to 1."""
    rows = np.arange(len(labels))
    others = prob.astype(np.float64)
    own = others[rows, labels].copy()
    others[rows, labels] = -np.inf
    return own - others.max(axis=1)


def nearest_rows(features: NDArray[np.floating[Any]], of: NDArray[np.integer[Any]], count: int) -> NDArray[np.int64]:
    """Return the rows that are most similar to some rows, the most similar first: int64, shape (m, count).

    By the cosine of standardised features; a row is never its own neighbour. Fewer columns where there are fewer rows.

    Parameters
    ----------
    features
        Shape (n, D), finite.
    of
        Shape (m,): the rows whose neighbours are wanted.
    count
        How many of each.
    """
    index, count = NeighbourIndex(features), max(0, min(count, len(features) - 1))
    found = np.empty((len(of), count), np.int64)
    for place, row in enumerate(of.tolist() if count else ()):
        found[place] = index.nearest(features[row], count, without=row)[0]
    return found


def rank_label_errors(
    labels: NDArray[np.integer[Any]], by_group: NDArray[np.floating[Any]], by_tile: NDArray[np.floating[Any]]
) -> LabelErrors:
    """Rank labels by how likely they are wrong, by the normalised margin of left-out probabilities.

    A tile that was left out alone is compared with the others of its group too, which share staining and light, and so
    finds a slip of the finger best; the one that was left out with its group does not believe a whole group of wrong
    labels. The mean of both is used.

    Parameters
    ----------
    labels
        Class indices, shape (n,).
    by_group, by_tile
        Shape (n, K), K of at least 2, finite: probabilities of each tile by a model that was fitted without its group,
        and by one without it alone, such as the ``held_out`` of fits of linear models.
    """
    labels = np.asarray(labels, np.int64)
    prob = (by_group.astype(np.float64) + by_tile) / 2
    margin = normalised_margin(labels, prob)
    others = prob.astype(np.float64)
    others[np.arange(len(labels)), labels] = -np.inf
    confident = confident_classes(labels, prob)
    return LabelErrors(
        np.argsort(margin, kind="stable"), (margin + 1) / 2, others.argmax(axis=1),
        (confident >= 0) & (confident != labels),
    )  # fmt: skip
