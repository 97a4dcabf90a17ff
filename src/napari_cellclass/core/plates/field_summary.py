"""Summary of one classified field, as in the tables of a plate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from napari_cellclass.core.labels.classes import UNSURE_NAME
from napari_cellclass.core.predictions.table import TileTable


@dataclass(frozen=True)
class FieldSummary:
    """A classified field in a few numbers; the same in ``STEM.run.json``, ``report.json`` and ``fields.csv``.

    Parameters
    ----------
    tiles
        All tiles of the field.
    counts
        The tiles of each class; None where the field was not classified.
    no_class
        Tiles that could not be classified.
    mean_confidence
        Of the classified tiles; None where there is none.
    unsure
        Tiles called unsure; None where no error rate was chosen.
    unlike_training
        Tiles unlike all that the model was trained on; None where the model does not tell.
    warnings
        Sentences about the field that a user should read.
    """

    tiles: int = 0
    counts: Mapping[str, int] | None = None
    no_class: int = 0
    mean_confidence: float | None = None
    unsure: int | None = None
    warnings: tuple[str, ...] = ()
    unlike_training: int | None = None

    @classmethod
    def of(cls, table: TileTable, warnings: tuple[str, ...] = ()) -> FieldSummary:
        """Sum up the predictions of all tiles of a field."""
        counts = table.counts()
        classified = np.isfinite(table.confidence)
        per_class = {
            name: int(n) for name, n in zip(counts["class_name"][:-1], counts["tiles"][:-1], strict=True)
        }  # the last row are those without a class
        mean = float(table.confidence[classified].mean(dtype=np.float64)) if classified.any() else None
        unlike = None if table.novelty_rate is None else int(table.unlike_training.sum())
        unsure = per_class.get(UNSURE_NAME)
        return cls(len(table), per_class, int((~classified).sum()), mean, unsure, warnings, unlike)
