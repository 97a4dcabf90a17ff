"""The jobs of the Classify widget, without Qt: load a model, lay the grid, run the network."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.errors import CancelledError, CellClassError, OutputError
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.interchange.coco import SUFFIX as COCO_SUFFIX
from napari_cellclass.core.interchange.coco import write_table_coco
from napari_cellclass.core.interchange.tile_tables import write_wsinfer_csv
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.models.known_models import KnownModels
from napari_cellclass.core.params.shared import EngineName, PrecisionName
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import EdgeRule
from napari_cellclass.core.workspace.outputs import write_map
from napari_cellclass.core.workspace.records import Field, MapRecord
from napari_cellclass.runs.classify.field import FieldResult, classify_field, field_grid
from napari_cellclass.runs.common.engine_access import KerasDetails, choose_precision, load_model
from napari_cellclass.runs.common.engine_cache import EngineCache, EngineKey
from napari_cellclass.viewer.common.map_view import BuiltMap, FieldLayer, build_map, warm_up
from napari_cellclass.viewer.common.overlay import OverlayStyle
from napari_cellclass.viewer.common.preferences import cpu_threads
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
    colours
        Colours of classes by name, where they differ from the model's.
    """

    source: SourceImage
    model: ModelBundle
    region: tuple[NDArray[Any], ...]
    field_layer: FieldLayer
    style: OverlayStyle
    shown: BuiltMap | None
    overlap: float
    edge: EdgeRule
    engine: EngineName = "auto"
    precision: PrecisionName = "f32"
    rescale: bool = False
    centre: tuple[float, float] | None = None
    colours: Mapping[str, str] = field(default_factory=dict)


def load(path: Path, keras_details: KerasDetails | None, task: Task) -> ModelBundle:
    """Open a model; a ``.keras`` file may be converted, which takes seconds."""
    task.progress("opening the model")
    model = load_model(path, keras_details)
    _ = model.sha256  # computed here in the thread, where it may take a while
    warm_up()
    return model


def prepare(
    model: ModelBundle,
    engine: EngineName,
    precision: PrecisionName,
    engines: EngineCache,
    task: Task,
) -> None:
    """Make the network ready before a run is started; an error is reported by the run.

    Not TensorFlow's, which takes a process of its own, and memory.
    """
    task.progress("starting the network")
    if engine != "tensorflow":
        with contextlib.suppress(CellClassError):
            resolved = choose_precision(model, precision, engine)[0]
            engines.prepare(EngineKey(model.model_id, engine, resolved, cpu_threads()), lambda: model)


def run(request: ClassifyRequest, engines: EngineCache, live: LiveMap, task: Task) -> tuple[FieldResult, BuiltMap]:
    """Classify a field as requested, and make the layers of its map; tiles go to ``live`` as they are finished.

    Raises
    ------
    CellClassError
        In one line, what the user can correct.
    CancelledError
        Cancelled before the first tile was finished.
    """
    task.progress("starting the network")
    precision, warning = choose_precision(request.model, request.precision, request.engine)
    grid = field_grid(request.source, request.model, request.overlap, request.edge, request.rescale)
    if request.region:
        grid = grid.within(request.region)
    KnownModels().remember(request.model)
    if request.centre is not None:
        grid = grid.rows_ordered_from(request.centre[0])
    scheme = recoloured(request.model.scheme, request.colours)
    live.create_layer(grid, scheme)
    key = EngineKey(request.model.model_id, request.engine, precision, cpu_threads())
    with engines.use(key, lambda: request.model) as (model, engine):
        result = classify_field(request.source, model, engine, grid, task, live.add)
    table = replace(result.table, scheme=scheme)
    result = replace(result, table=table.take(np.argsort(table.grid.tile_id)))
    result = replace(result, warnings=(warning, *result.warnings)) if warning else result
    if len(result.table) == 0:
        raise CancelledError("cancelled before the first tile was finished")
    new = build_map(result.table, request.source, request.field_layer, request.style, request.shown, len(grid))
    return result, new


@dataclass(frozen=True, eq=False)
class PlaneResult:
    """The tiles of one plane of a field."""

    source: SourceImage
    table: TileTable


def run_planes(
    request: ClassifyRequest,
    sources: Sequence[SourceImage],
    keep: Callable[[PlaneResult], None],
    task: Task,
) -> int:
    """Classify further planes of a field, one after the other, and give each to ``keep``; return how many.

    Only tables are kept, so that memory does not grow with the pixels of the planes.

    Raises
    ------
    CellClassError
        In one line, what the user can correct.
    """
    precision, _ = choose_precision(request.model, request.precision, request.engine)
    key = EngineKey(request.model.model_id, request.engine, precision, cpu_threads())
    with contextlib.closing(EngineCache()) as engines:
        for source in task.track(sources, "planes"):
            grid = field_grid(source, request.model, request.overlap, request.edge, request.rescale)
            if request.region:
                grid = grid.within(request.region)
            with engines.use(key, lambda: request.model) as (model, engine):
                result = classify_field(source, model, engine, grid, Task(cancelled=task.cancelled))
            if not result.complete:
                raise CancelledError("cancelled before the plane was finished")
            _ = source.image_id
            keep(PlaneResult(source, replace(result.table, scheme=recoloured(result.table.scheme, request.colours))))
    return len(sources)


def export_planes(found: Sequence[PlaneResult], path: Path, task: Task) -> Path:
    """Write the tiles of several planes as one CSV with columns t and z, plane by plane.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    task.progress(f"writing {path.name}")
    ordered = sorted(found, key=lambda one: sorted(one.source.plane.items()))
    tables = [replace(one.table, plane={a: n for a, n in one.source.plane.items() if a in "TZ"}) for one in ordered]
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        for i, table in enumerate(tables):
            frame = escape_formulas(pd.DataFrame(table.columns()))
            frame.to_csv(stream, index=False, header=i == 0, float_format="%.6g", lineterminator="\n")
    return path


def keep_in_project(folder: Path, stem: str, table: TileTable, field: Field, model_id: str, task: Task) -> MapRecord:
    """Write a map into a project's folder.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    task.progress("writing the map")
    return write_map(folder, stem, table, field, model_id)


def build_saved(
    table: TileTable,
    source: SourceImage,
    field_layer: FieldLayer,
    style: OverlayStyle,
    colours: Mapping[str, str],
    task: Task,
) -> BuiltMap:
    """Make the layers of a map that was read from a file."""
    task.progress("drawing the map")
    table = replace(table, scheme=recoloured(table.scheme, colours))
    return build_map(table, source, field_layer, style)


def recoloured(scheme: ClassScheme, colours: Mapping[str, str]) -> ClassScheme:
    """Give classes the colours that those of the same name have elsewhere, so that a colour means one class."""
    return replace(scheme, colours=tuple(map(colours.get, scheme.names, scheme.colours)))


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
            f"cannot write {path}: files ending in {kind!r} are not supported; use .csv, .geojson or .png"
        )
    else:
        from napari_cellclass.report.figures import save_overlay

        save_overlay(source, table, path, np.array(visible) if visible else None, min_confidence)
    return path
