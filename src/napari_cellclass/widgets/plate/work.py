"""The jobs of the Classify plate widget, without Qt: classify all fields, and open one with its map."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.task import Task
from napari_cellclass.core.datasets.naming import safe_prefix
from napari_cellclass.core.images.display import DisplayImage, read_display_image
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.interchange.tile_tables import read_tile_geojson
from napari_cellclass.core.params.classify import ClassifyParams
from napari_cellclass.core.params.slides import SlidesParams
from napari_cellclass.core.plates.condition_results import ConditionResults
from napari_cellclass.core.plates.inputs import PLANES_FIGURE, PLATE_FIGURE
from napari_cellclass.core.tiles.writing import tile_suffix, to_storable_dtype, write_tile
from napari_cellclass.report.conditions import conditions_figure, save_conditions
from napari_cellclass.report.curves import FigureStyle
from napari_cellclass.report.figures import inches_in_dock, render_for_dock
from napari_cellclass.report.planes import save_planes
from napari_cellclass.report.plate import plate_colours, save_plate
from napari_cellclass.runs.classify.batch import RunReport, classify_files
from napari_cellclass.runs.classify.field_files import GEOJSON, plane_of_field
from napari_cellclass.runs.classify.slides import SlidesReport
from napari_cellclass.runs.classify.slides import export_slides as draw_slides
from napari_cellclass.runs.common.engine_access import KerasDetails, load_model
from napari_cellclass.viewer.common.map_view import BuiltMap, build_map
from napari_cellclass.viewer.common.overlay import OverlayStyle
from napari_cellclass.viewer.features.plate_layers import field_layer_of_file

LAYER_FOLDER = "layers"


@dataclass(frozen=True, eq=False)
class PlateRequest:
    """A request to classify a plate.

    Parameters
    ----------
    params
        As of the command line.
    layers
        Layers that are in no file; they are written to a folder beside the tables first.
    keras_details
        What a ``.keras`` file does not contain.
    """

    params: ClassifyParams
    layers: tuple[SourceImage, ...] = ()
    keras_details: KerasDetails | None = None


@dataclass(frozen=True, eq=False)
class PlateResult:
    """The report of a run, its request, and 256 colours, uint8 (256, 3), for a fraction of 0 to 1."""

    request: PlateRequest
    report: RunReport
    colours: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class FieldInView:
    """A field of the plate as it is displayed, with the layers of its map."""

    picture: DisplayImage
    new: BuiltMap


def run(request: PlateRequest, task: Task) -> PlateResult:
    """Classify as the command does.

    Raises
    ------
    CellClassError
        In one line, what the user can correct.
    """
    task.progress("opening the model")
    params = request.params
    model = load_model(params.model, request.keras_details or KerasDetails.of(params))
    written = _write_layers(request.layers, params.out / LAYER_FOLDER, task)
    params = params.model_copy(update={"images": [path for path in params.images if path != Path()] + written})
    task.progress("images")
    report = classify_files(params, model, task)
    save_plate(report.wells, params.out / PLATE_FIGURE)
    save_planes(report.fields, model.scheme, params.out / PLANES_FIGURE)
    save_conditions(report.conditions, params.out)
    return PlateResult(request, report, plate_colours())


def draw_conditions(results: ConditionResults, style: FigureStyle) -> NDArray[np.uint8]:
    """Draw the conditions of a plate for the dock, as RGBA in device pixels."""
    return render_for_dock(
        conditions_figure(results, inches_in_dock(style.width)), style.width, style.text, style.ratio
    )


def export_slides(params: SlidesParams, stems: Collection[str], task: Task) -> SlidesReport:
    """Draw pictures for slides of some fields.

    Raises
    ------
    CellClassError
        In one line, what the user can correct.
    """
    task.progress("drawing pictures")
    return draw_slides(params, task, stems)


def _write_layers(layers: tuple[SourceImage, ...], folder: Path, task: Task) -> list[Path]:
    paths: list[Path] = []
    for source in layers:
        task.check("cancelled before the first image")
        stem, number = safe_prefix(source.name), 1
        while (path := folder / f"{stem}{'' if number == 1 else f'_{number}'}{tile_suffix(source)}") in paths:
            number += 1
        height, width = source.shape
        write_tile(path, to_storable_dtype(source.read(0, 0, height, width)), source, source.image_id)
        paths.append(path)
    return paths


def open_field(params: ClassifyParams, image: str, stem: str, task: Task) -> FieldInView:
    """Read a field and the table that was written of it, and make the layers of its map.

    Raises
    ------
    ImageError, DatasetError
        The image or the table cannot be read.
    """
    task.progress("opening the field")
    t, z, scene = plane_of_field(params.out, stem)
    source = read_image(Path(image), t=t, z=z, scene=scene)
    table = read_tile_geojson(params.out / f"{stem}{GEOJSON}")
    new = build_map(table, source, field_layer_of_file(source), OverlayStyle())
    return FieldInView(read_display_image(source), new)
