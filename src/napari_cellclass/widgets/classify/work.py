"""The jobs of the Classify widget, without Qt: load a model, lay the grid, run the network."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.errors import CancelledError, CellClassError, ImageError, OutputError
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.interchange.anndata_tables import SUFFIX as ANNDATA_SUFFIX
from napari_cellclass.core.interchange.anndata_tables import write_h5ad
from napari_cellclass.core.interchange.coco import SUFFIX as COCO_SUFFIX
from napari_cellclass.core.interchange.coco import write_table_coco
from napari_cellclass.core.interchange.tile_tables import write_wsinfer_csv
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.models.known_models import KnownModels
from napari_cellclass.core.params.export import ENDINGS, ExportFormat, ExportParams
from napari_cellclass.core.params.shared import EngineName, PrecisionName
from napari_cellclass.core.params.slides import SlideBackground
from napari_cellclass.core.plates.field_summary import FieldSummary
from napari_cellclass.core.plates.tables import FieldRow, WellList, field_table
from napari_cellclass.core.predictions.novelty_warnings import novelty_warnings, why_no_novelty
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import EdgeRule
from napari_cellclass.core.workspace.outputs import write_map
from napari_cellclass.core.workspace.records import Field, MapRecord
from napari_cellclass.report.curves import FigureStyle
from napari_cellclass.report.figures import render_for_dock
from napari_cellclass.report.planes import planes_figure
from napari_cellclass.runs.classify.field import FieldResult, classify_field, field_grid
from napari_cellclass.runs.common.engine_access import KerasDetails, choose_precision, load_model
from napari_cellclass.runs.common.engine_cache import EngineCache, EngineKey
from napari_cellclass.runs.exchange.plate import anndata_of_images
from napari_cellclass.viewer.common.layer_axes import read_layer_axes
from napari_cellclass.viewer.common.layer_planes import plane_position
from napari_cellclass.viewer.common.layers import image_from_layers, region_polygons
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
    novelty_rate
        Error rate at which tiles are called unlike training; None calls none so.
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
    novelty_rate: float | None = None


def load(path: Path, keras_details: KerasDetails | None, task: Task) -> ModelBundle:
    """Open a model; a ``.keras`` file may be converted, which takes seconds."""
    task.progress("opening the model")
    model = load_model(path, keras_details)
    _ = model.sha256  # computed here in the thread, where it may take a while
    warm_up()
    return model


def export_model(model: Path, path: Path, task: Task) -> list[str]:
    """Write a model for other programs, over a file that is there, and say what was written."""
    from napari_cellclass.runs.export.exporting import export_model  # ONNX and its libraries, which few need

    kind: ExportFormat = "bioimageio" if path.name.lower().endswith(ENDINGS["bioimageio"]) else "onnx"
    params = ExportParams.checked(model=model, format=kind, out=path, force=path.exists())
    return export_model(params, task).lines()


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
    table = replace(result.table, scheme=scheme).with_novelty_rate(request.novelty_rate)
    result = replace(result, table=table.take(np.argsort(table.grid.tile_id)))
    without = why_no_novelty(request.model.carries_training_tiles, request.engine, precision)
    notes = (*filter(None, (warning, without)), *result.warnings, *novelty_warnings(result.table))
    result = replace(result, warnings=notes)
    if len(result.table) == 0:
        raise CancelledError("cancelled before the first tile was finished")
    new = build_map(result.table, request.source, request.field_layer, request.style, request.shown, len(grid))
    return result, new


@dataclass(frozen=True, eq=False)
class PlaneResult:
    """The tiles of one plane of a field."""

    source: SourceImage
    table: TileTable


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane of a stack, and outlines in px of what is to be classified of it; none for all of it."""

    source: SourceImage
    region: tuple[NDArray[Any], ...] = ()


def planes_of_stack(
    layers: Sequence[Any], letters: str, shown: Mapping[str, int], point: Sequence[float], region: Any = None
) -> list[Plane | None]:
    """List the planes of a stack beside the one that is shown.

    Parameters
    ----------
    layers
        The image layers of the field.
    letters
        The axes of which all planes are taken; of others the one that is shown.
    shown
        The plane that is shown, by axis.
    point
        World coordinates of the viewer's sliders.
    region
        A Shapes layer: of each plane what was drawn on it, or in two dimensions; None for whole planes.

    Returns
    -------
    list of Plane or None
        None for a plane on which the region has no shape.

    Raises
    ------
    CellClassError
        A plane cannot be made a field.
    """
    axes = read_layer_axes(layers[0])
    ranges = [range(n) if a in letters else [shown.get(a, 0)] for a, n in zip(axes.letters, axes.lengths, strict=True)]
    found: list[Plane | None] = []
    for index in itertools.product(*ranges):
        corner = np.zeros(layers[0].ndim)
        corner[: len(index)] = index
        world = np.array(point, float)
        world[-layers[0].ndim :] = layers[0].data_to_world(corner)
        there = [float(value) for value in world]
        source = image_from_layers(layers, there)
        if dict(source.plane) == dict(shown):
            continue
        try:
            position = plane_position(layers[0], there)
            outlines = () if region is None else tuple(region_polygons(region, layers[0], position))
            found.append(Plane(source, outlines))
        except ImageError:  # no shape of the region was drawn on it
            found.append(None)
    return found


def run_planes(
    request: ClassifyRequest,
    planes: Sequence[Plane],
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
        for plane in task.track(planes, "planes"):
            source = plane.source
            grid = field_grid(source, request.model, request.overlap, request.edge, request.rescale)
            if plane.region:
                grid = grid.within(plane.region)
            with engines.use(key, lambda: request.model) as (model, engine):
                result = classify_field(source, model, engine, grid, Task(cancelled=task.cancelled))
            if not result.complete:
                raise CancelledError("cancelled before the plane was finished")
            _ = source.image_id
            table = replace(result.table, scheme=recoloured(result.table.scheme, request.colours))
            keep(PlaneResult(source, table.with_novelty_rate(request.novelty_rate)))
    return len(planes)


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


def plane_counts(found: Sequence[PlaneResult]) -> pd.DataFrame:
    """Make the table of fields of several planes, with columns t and z where several were classified."""
    axes = [axis for axis in "TZ" if len({one.source.plane.get(axis) for one in found}) > 1]
    rows = []
    for one in found:
        plane = {axis: one.source.plane[axis] for axis in axes}
        rows.append(FieldRow(one.source.name, "", "done", FieldSummary.of(one.table), plane=plane))
    return field_table(rows, found[0].table.scheme.names, WellList())


def draw_counts(found: Sequence[PlaneResult], style: FigureStyle) -> NDArray[np.uint8]:
    """Draw the counts of each class over time and depth, as RGBA in device pixels."""
    figure = planes_figure(plane_counts(found), found[0].table.scheme)
    return render_for_dock(figure, style.width, style.text, style.ratio)


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
    """Write a map; the suffix chooses CSV, GeoJSON, COCO (``.coco.json``), WSInfer's CSV, AnnData, or a picture.

    Raises
    ------
    OutputError
        The file cannot be written.
    CellClassError
        AnnData is not installed, or the features of the tiles, which it holds, cannot be computed, or were cancelled.
    """
    if (kind := path.suffix.lower()) == ANNDATA_SUFFIX:
        made = anndata_of_images([(source.name, source)], [table], task, cpu_threads())
        task.progress(f"writing {path.name}")
        write_h5ad(made, path)
        return path
    task.progress(f"writing {path.name}")
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


def export_slide(
    table: TileTable,
    source: SourceImage,
    path: Path,
    visible: tuple[bool, ...],
    min_confidence: float,
    background: SlideBackground,
    task: Task,
) -> Path:
    """Write a field beside its map as a picture for a slide; the suffix chooses PNG or SVG.

    Raises
    ------
    ImageError
        The field cannot be read.
    OutputError
        The file cannot be written, or is the field itself.
    """
    task.progress(f"writing {path.name}")
    if source.path is not None and path.resolve() == source.path.resolve():
        raise OutputError(f"{path} is the image itself; choose another name")
    from napari_cellclass.report.slides import SlideField, save_slide

    save_slide(SlideField(source, table, np.array(visible) if visible else None, min_confidence), path, background)
    return path
