"""Labels of a field become predictions for all of its tiles, once and without a window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import DatasetError, ImageError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.runs.live.features import LiveExtractor
from napari_cellclass.runs.live.field_features import FieldFeatures
from napari_cellclass.runs.live.session import LivePrediction, LiveSession


def live_table(found: LivePrediction, grid: TileGrid, scheme: ClassScheme, source: SourceImage) -> TileTable:
    """Make the table of a field's tiles from what the labels so far predict."""
    record = {
        "live": {"labels": int(sum(found.n_labels)), "revision": found.revision},
        "percentages": found.percentages,
        "image": {"name": source.name, "id": source.image_id},
    }
    return TileTable(grid, scheme, found.prob, source.pixel_size_um, record)


def predict_from_labels(
    source: SourceImage,
    grid: TileGrid,
    labels: NDArray[np.int16],
    scheme: ClassScheme,
    threads: int | None = None,
    task: Task = NO_TASK,
) -> TileTable:
    """Predict all tiles of a field from the labels of some, as the page *Label* does after every key.

    Features are kept in the cache folder, so that only the first call has to compute them.

    Parameters
    ----------
    source, grid
        The field and its N tiles.
    labels
        int16, shape (N,): class indices, negative where a tile has no label.
    scheme
        The K classes.
    threads
        Number of CPU threads, None for all.
    task
        Reports the tiles whose features are known, and may be cancelled.

    Raises
    ------
    DatasetError
        Fewer than two classes have labels.
    ImageError
        The pixels cannot be read, or no tile with a label is finite.
    ModelError
        The weights of the backbone are not installed.
    CancelledError
        The task was cancelled.
    """
    given = [scheme.names[k] for k in np.unique(labels[labels >= 0])]
    if len(given) < 2:
        raise DatasetError(
            f"{source.name}: {f'all labels are {given[0]!r}' if given else 'no tile is labelled'}; label tiles of at "
            "least two classes"
        )
    extractor = LiveExtractor.for_field(source, threads)
    session = LiveSession(extractor.columns)
    field = FieldFeatures("field", grid, sum(extractor.columns), source.name)
    session.add(field)
    for tiles, features in extractor.iterate(source, grid, np.arange(len(grid)), task):
        task.check("cancelled while features were computed; those finished are kept for the next time")
        field.put(tiles, features)
        task.progress("features", int(field.known.sum()), len(grid))
    found = session.predict({"field": labels}, len(scheme), "field", 0)
    if found is None or not np.isfinite(found.prob).any():
        raise ImageError(f"{source.name}: no labelled tile has finite pixels; check the image")
    return live_table(found, grid, scheme, source)
