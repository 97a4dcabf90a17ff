"""One field from its image to its finished table: tiles laid, classified, and marked where unsure or unlike."""

from __future__ import annotations

from dataclasses import dataclass, replace

from napari_cellclass.core.common.errors import CancelledError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.stats.novelty import NOVELTY_RATE
from napari_cellclass.core.tiles.grid import EdgeRule
from napari_cellclass.runs.classify.field import FieldResult, Predictor, classify_field, field_grid


@dataclass(frozen=True)
class FieldSettings:
    """How a field is classified.

    Parameters
    ----------
    overlap, edge, resample
        See :func:`~napari_cellclass.runs.classify.field.field_grid`; the model's overlap and edge rule where None.
    error_rate, novelty_rate
        See :meth:`~napari_cellclass.core.predictions.table.TileTable.with_error_rate` and ``with_novelty_rate``.
    """

    overlap: float | None = None
    edge: EdgeRule | None = None
    resample: bool = False
    error_rate: float | None = None
    novelty_rate: float | None = NOVELTY_RATE


def classify_whole_field(
    source: SourceImage,
    model: ModelBundle,
    engine: Predictor,
    settings: FieldSettings,
    task: Task = NO_TASK,
) -> FieldResult:
    """Classify every tile of a field.

    Raises
    ------
    CellClassError
        See :func:`~napari_cellclass.runs.classify.field.field_grid` and ``classify_field``; an error rate for a model
        without calibration.
    CancelledError
        The task was cancelled before the field was finished.
    """
    manifest = model.manifest
    overlap = manifest.overlap if settings.overlap is None else settings.overlap
    edge = manifest.edge if settings.edge is None else settings.edge
    grid = field_grid(source, model, overlap, edge, settings.resample)
    result = classify_field(source, model, engine, grid, task)
    if not result.complete or task.cancelled():
        raise CancelledError("cancelled before the field was finished")
    table = result.table.with_error_rate(settings.error_rate, manifest.calibration)
    table = table.with_novelty_rate(settings.novelty_rate)
    if len(table) != len(grid):
        raise RuntimeError(f"{len(grid)} tiles went in, but {len(table)} came out")
    return replace(result, table=table)
