"""What the Classify widget does away from the window: load a model, lay the grid, run the network."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import CancelledError, CellClassError, OutputError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.interchange.coco import SUFFIX as COCO_SUFFIX
from napari_cellclass.core.interchange.coco import write_table_coco
from napari_cellclass.core.interchange.tile_tables import write_wsinfer_csv
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.models.known_models import KnownModels
from napari_cellclass.core.params.verbs import EngineName, PrecisionName
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import EdgeRule, TileGrid
from napari_cellclass.core.tiles.resampling import rescaled_tile
from napari_cellclass.runs.classify.field import FieldResult, classify_field
from napari_cellclass.runs.common.engine_access import Engine, KerasAnswers, load_model, open_engine, usable_precision
from napari_cellclass.viewer.common.overlay import OverlayStyle
from napari_cellclass.viewer.common.session import FieldLayer, NewMap, build_map, warm_up
from napari_cellclass.viewer.features.live import LiveMap


@dataclass(frozen=True, eq=False)
class ClassifyRequest:
    """All that a run needs, read from the window before it starts.

    Parameters
    ----------
    source
        The field.
    model
        Its tile size is used.
    region
        Outlines in px of the field; empty for the whole field.
    over, style, shown
        The image layer, how the map will be shown, and the map that is shown now; see :func:`build_map`.
    overlap, edge
        Of the tiles.
    engine, precision
        What runs the network, and in which numbers.
    rescale
        Whether the tiles are to cover what those of the model did, where the field has another pixel size.
    centre
        (y, x) of the view's centre in px of the field: the tiles there come first; None for no preference.
    """

    source: SourceImage
    model: ModelBundle
    region: tuple[NDArray[Any], ...]
    over: FieldLayer
    style: OverlayStyle
    shown: NewMap | None
    overlap: float
    edge: EdgeRule
    engine: EngineName = "auto"
    precision: PrecisionName = "f32"
    rescale: bool = False
    centre: tuple[float, float] | None = None


class EngineKeeper:
    """Keeps the engine of the last model, so that a run starts at once.

    It may be made ready as soon as a model is chosen; a run that starts meanwhile waits for that, and an engine
    that a run uses is never closed under it.
    """

    def __init__(self) -> None:
        self._key: tuple[str, str, str] | None = None
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        self._closed = False

    @contextlib.contextmanager
    def using(self, model: ModelBundle, name: EngineName, precision: PrecisionName = "f32") -> Iterator[Engine]:
        """Open the model's engine, or give the one that is open, and keep it open meanwhile."""
        with self._lock:
            try:
                yield self._get(model, name, precision)
            finally:
                if self._closed:
                    self._end()

    def prepare(self, model: ModelBundle, name: EngineName, precision: PrecisionName = "f32") -> None:
        """Open the model's engine, unless a run is using one."""
        if self._lock.acquire(blocking=False):
            try:
                if not self._closed:
                    self._get(model, name, precision)
            finally:
                if self._closed:
                    self._end()
                self._lock.release()

    def _get(self, model: ModelBundle, name: EngineName, precision: PrecisionName) -> Engine:
        key = (model.model_id, name, precision)
        if self._engine is None or self._key != key:
            self._end()
            self._engine, self._key = open_engine(model, name, precision=precision), key
        return self._engine

    def close(self) -> None:
        """End the engine that is open, now or when nothing uses it any more."""
        self._closed = True
        if self._lock.acquire(blocking=False):
            self._end()
            self._lock.release()

    def _end(self) -> None:
        if self._engine is not None:
            self._engine.close()
        self._engine = self._key = None


def load(path: Path, answers: KerasAnswers | None, task: Task) -> ModelBundle:
    """Open a model away from the window; a ``.keras`` file may be converted, which takes seconds."""
    task.progress("opening the model")
    model = load_model(path, answers)
    _ = model.sha256  # here, where it may take a while
    warm_up()
    return model


def prepare(
    model: ModelBundle,
    engine: EngineName,
    precision: PrecisionName,
    keeper: EngineKeeper,
    task: Task,
) -> None:
    """Make the network ready before anybody asks for a run; a defect is told by the run.

    Not TensorFlow's, which takes a process of its own, and memory.
    """
    task.progress("starting the network")
    if engine != "tensorflow":
        with contextlib.suppress(CellClassError):
            keeper.prepare(model, engine, usable_precision(model, precision, engine)[0])


def run(request: ClassifyRequest, keeper: EngineKeeper, live: LiveMap, task: Task) -> tuple[FieldResult, NewMap]:
    """Classify a field as requested, and make the layers of its map; tiles go to ``live`` as they are finished.

    Raises
    ------
    CellClassError
        In one line, what the user can mend.
    CancelledError
        Cancelled before the first tile was finished.
    """
    task.progress("starting the network")
    precision, why = usable_precision(request.model, request.precision, request.engine)
    source, manifest = request.source, request.model.manifest
    tile_px = manifest.tile_px
    if request.rescale:
        tile_px = rescaled_tile(tile_px, manifest.pixel_size_um, source.pixel_size_um, source.name)
    grid = TileGrid.regular(source.shape, tile_px, request.overlap, request.edge)
    if request.region:
        grid = grid.within(request.region)
    KnownModels().remember(request.model)
    if request.centre is not None:
        grid = grid.from_row_nearest(request.centre[0])
    live.begin(grid, request.model.scheme)
    with keeper.using(request.model, request.engine, precision) as engine:
        result = classify_field(request.source, request.model, engine, grid, task, live.add)
    result = replace(result, table=result.table.take(np.argsort(result.table.grid.tile_id)))
    result = replace(result, warnings=(why, *result.warnings)) if why else result
    if len(result.table) == 0:
        raise CancelledError("cancelled before the first tile was finished")
    new = build_map(result.table, request.source, request.over, request.style, request.shown, len(grid))
    return result, new


def export(
    table: TileTable,
    source: SourceImage,
    path: Path,
    visible: tuple[bool, ...],
    min_confidence: float,
    task: Task,
) -> Path:
    """Write a map; the suffix chooses CSV, GeoJSON, COCO (``.coco.json``), WSInfer's CSV, or a picture.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    task.progress(f"writing {path.name}")
    kind = path.suffix.lower()
    if path.name.lower().endswith(COCO_SUFFIX):
        write_table_coco(table, path, source.name)
    elif path.name.lower().endswith(".wsinfer.csv"):
        write_wsinfer_csv(table, path)
    elif kind == ".csv":
        table.to_csv(path)
    elif kind in (".geojson", ".json"):
        table.to_geojson(path)
    elif kind not in (".png", ".svg", ".pdf"):
        raise OutputError(
            f"cannot write {path}: what a name ending in {kind!r} should be is not known; use .csv, .geojson or .png"
        )
    else:
        from napari_cellclass.report.figures import save_overlay

        save_overlay(source, table, path, np.array(visible) if visible else None, min_confidence)
    return path
