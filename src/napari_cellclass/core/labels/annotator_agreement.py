"""Two annotators of one image: their agreement, and their labels merged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import GridError, ImageError, ParamsError
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.label_store import CONFLICT, UNLABELLED, UNSURE
from napari_cellclass.core.labels.tile_labels import Conflict
from napari_cellclass.core.stats.agreement import cohen_kappa
from napari_cellclass.core.stats.metrics import confusion_matrix
from napari_cellclass.core.tiles.grid_layout import grid_key


@dataclass(frozen=True, eq=False)
class AnnotatorAgreement:
    """Agreement of two annotators of one image on the tiles that both gave a class.

    Parameters
    ----------
    n, only_a, only_b
        Tiles that both, or one of them, gave a class.
    agreement
        Fraction of the n tiles with the same class; NaN where n is 0.
    kappa
        Cohen's kappa (Educ. Psychol. Meas. 20:37, 1960): agreement beyond what their class frequencies
        give by chance; NaN where chance agreement is complete, as with one class.
    differing
        int64: indices into a's grid of the tiles that differ, ascending.
    classes
        Names of all classes of either, in a's order.
    confusion
        int64, shape (K, K): tiles per class, rows are a's.
    """

    n: int
    only_a: int
    only_b: int
    agreement: float
    kappa: float
    differing: NDArray[np.int64]
    classes: tuple[str, ...]
    confusion: NDArray[np.int64]


def compare_annotators(a: Annotation, b: Annotation) -> AnnotatorAgreement:
    """Compare two annotations of one image and grid, classes by their names.

    Raises
    ------
    ImageError
        They are of different images.
    GridError
        They are of different grids.
    """
    _check_same(a, b)
    names = (*a.scheme.names, *(name for name in b.scheme.names if name not in a.scheme.names))
    labels_a, labels_b = a.labels, _labels_of(b, a, names)
    both = (labels_a >= 0) & (labels_b >= 0)
    confusion = confusion_matrix(labels_a[both], labels_b[both], len(names))
    n = int(both.sum())
    agreement = float(np.trace(confusion) / n) if n else math.nan
    kappa = float(cohen_kappa(confusion)) if n else math.nan
    return AnnotatorAgreement(
        n, int(((labels_a >= 0) & ~both).sum()), int(((labels_b >= 0) & ~both).sum()),
        agreement, kappa, np.flatnonzero(both & (labels_a != labels_b)), names, confusion,
    )  # fmt: skip


def merge_annotations(a: Annotation, b: Annotation) -> tuple[NDArray[np.int16], tuple[Conflict, ...]]:
    """Merge two annotations of one image and grid.

    Where one has no label, the other's is used. Two classes are a conflict; unsure stays unsure whatever the
    other label is, and a conflict of one stays a conflict, since nobody has resolved it.

    Returns
    -------
    labels
        int16, shape (N,): for a's grid and classes.
    conflicts
        (tile index, (a's class, b's class)), in a's class indices, of each new conflict.

    Raises
    ------
    ImageError, GridError
        See :func:`compare_annotators`.
    ParamsError
        b labelled a tile with a class that a does not have.
    """
    _check_same(a, b)
    names = (*a.scheme.names, *(name for name in b.scheme.names if name not in a.scheme.names))
    labels_a, labels_b = a.labels, _labels_of(b, a, names)
    unknown = labels_b[labels_b >= len(a.scheme)]
    if len(unknown):
        raise ParamsError(f"the class {names[unknown[0]]!r} is in one annotation only; add it to the other first")
    labels = np.where(labels_a == UNLABELLED, labels_b, labels_a)
    differing = (labels_a >= 0) & (labels_b >= 0) & (labels_a != labels_b)
    labels[(labels_a == UNSURE) | (labels_b == UNSURE)] = UNSURE
    labels[differing | (labels_a == CONFLICT) | (labels_b == CONFLICT)] = CONFLICT
    conflicts = tuple((int(p), (int(labels_a[p]), int(labels_b[p]))) for p in np.flatnonzero(differing))
    return labels.astype(np.int16), conflicts


def _check_same(a: Annotation, b: Annotation) -> None:
    if a.image.image_id != b.image.image_id:
        raise ImageError(f"{a.image.name} and {b.image.name} are different images; compare labels of one image")
    if grid_key(a.grid) != grid_key(b.grid):
        raise GridError(
            f"the two annotations of {a.image.name} have different grids ({grid_key(a.grid)}; {grid_key(b.grid)}); "
            "compare labels of one grid"
        )


def _labels_of(b: Annotation, a: Annotation, names: Sequence[str]) -> NDArray[np.int16]:
    """B's labels of the tiles of a, as indices into ``names``."""
    table = np.array([CONFLICT, UNSURE, UNLABELLED, *(names.index(name) for name in b.scheme.names)], np.int16)
    return table[b.labels_of(a.grid.tile_id) - CONFLICT]
