"""Images classified and, where it was asked for, written as AnnData and into OME-Zarr."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from napari_cellclass.core.common.errors import CancelledError, ImageError, OutputError, ParamsError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.reading import is_zarr, read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.images.zarr_images import image_folder
from napari_cellclass.core.interchange.anndata_tables import (
    FieldTiles,
    check_anndata_installed,
    tiles_as_anndata,
    write_h5ad,
)
from napari_cellclass.core.interchange.ome_zarr_labels import check_free, write_label_image, write_tile_table
from napari_cellclass.core.interchange.tile_tables import read_tile_geojson
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.classify import ClassifyParams
from napari_cellclass.core.params.features import FeaturesParams
from napari_cellclass.core.plates.inputs import find_fields, find_images
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.workspace.project_file import is_project
from napari_cellclass.runs.classify.batch import RunReport, classify_files
from napari_cellclass.runs.classify.field_files import GEOJSON, channels_of_field, plane_of_field, record_of_field
from napari_cellclass.runs.common.project_data import project_images
from napari_cellclass.runs.features.files import FeatureTable, compute_features

PLATE_FILE = "tiles.h5ad"
_ABOUT = ("well", "site", "condition", "replicate")  # of the columns of fields.csv


@dataclass(frozen=True, eq=False)
class _Field:
    """A classified field: its image, the name of its files, its plane and its table."""

    image: Path
    stem: str
    plane: tuple[int, int, int]
    table: TileTable
    channels: tuple[int, ...]

    def open(self) -> SourceImage:
        t, z, scene = self.plane
        source = read_image(self.image, t=t, z=z, scene=scene)
        return source.select(self.channels) if self.channels else source


def classify_and_export(params: ClassifyParams, model: ModelBundle, task: Task = NO_TASK) -> RunReport:
    """Classify images as :func:`classify_files` does, and write them for other programs as the parameters say.

    Whether that is possible is found out before anything is classified.

    Raises
    ------
    CellClassError
        See there; AnnData is not installed, an image is no OME-Zarr, or has labels or a table of that name.
    """
    _check(params)
    report = classify_files(params, model, task)
    if report.cancelled or not any((params.anndata, params.write_labels, params.write_table)):
        return report
    fields = [_read(params.out, outcome.image, outcome.stem) for outcome in report.outcomes if not outcome.error]
    warnings: list[str] = []
    if params.anndata and fields:
        warnings += _write_anndata(params, fields, report.fields, task)
    if params.write_labels or params.write_table:
        warnings += _write_into_images(params, fields, task)
    return replace(report, warnings=(*report.warnings, *warnings))


def tile_features(
    sources: Sequence[tuple[str, SourceImage]], tables: Sequence[TileTable], task: Task, threads: int | None = None
) -> tuple[FeatureTable, tuple[str, ...]]:
    """Compute features of the tiles of tables, with the names of their fields; and say what went wrong with fields.

    Raises
    ------
    CellClassError
        See :func:`compute_features`.
    """
    opened = [(Path(name), source) for name, source in sources]
    params = FeaturesParams.checked(images=[Path("tiles")], out=Path("tiles.npz"), threads=threads)
    found = compute_features(params, opened, task, [table.grid for table in tables])
    return found.table, (*found.warnings, *found.failed)


def feature_kinds(table: FeatureTable) -> list[str]:
    """Say of each feature of a table what it is a feature of."""
    network, texture = table.spec.columns
    return [str(table.spec.backbone)] * network + ["texture"] * texture


def anndata_of_images(
    images: Sequence[tuple[str, SourceImage]], tables: Sequence[TileTable], task: Task, threads: int | None = None
) -> Any:
    """Give the classified tiles of images, with their features, as AnnData.

    Parameters
    ----------
    images
        Names, no two the same, and fields.
    tables
        Their tiles, in the same order.
    task
        Reports progress and may be cancelled.
    threads
        Number of CPU threads, None for all.

    Returns
    -------
    anndata.AnnData
        See :func:`~napari_cellclass.core.interchange.anndata_tables.tiles_as_anndata`.

    Raises
    ------
    ParamsError
        AnnData is not installed, or the features of an image cannot be computed.
    CellClassError
        See :func:`compute_features`.
    CancelledError
        The task was cancelled.
    """
    check_anndata_installed("AnnData")
    found, problems = tile_features(images, tables, task, threads)
    if len(found.images) < len(tables):
        raise ParamsError(problems[-1])
    fields = [
        FieldTiles(name, table, {}, found.features[found.image == i])
        for i, ((name, _), table) in enumerate(zip(images, tables, strict=True))
    ]
    return tiles_as_anndata(fields, found.names, feature_kinds(found))


def _check(params: ClassifyParams) -> None:
    if params.anndata or params.write_table:
        check_anndata_installed("--anndata" if params.anndata else "--write-table")
    if params.anndata and params.out.is_dir():
        _check_no_strange_file(params)
    kinds = [("labels", params.write_labels), ("tables", params.write_table)]
    for image, scene in _images(params) if params.write_labels or params.write_table else ():
        flag = "--write-labels" if params.write_labels else "--write-table"
        if not is_zarr(image):
            raise ParamsError(f"{flag} writes into OME-Zarr images, but {image.name} is none; convert it, or drop it")
        for kind, name in kinds:
            if name is not None:
                check_free(image_folder(image, scene), kind, name)


def _check_no_strange_file(params: ClassifyParams) -> None:
    ours = any(params.out.glob("*.run.json"))
    strange = [] if ours else sorted(params.out.glob("*.h5ad"))
    if strange:
        raise OutputError(f"{strange[0]} was not written by classify; move it, or choose another folder")


def _images(params: ClassifyParams) -> list[tuple[Path, int]]:
    if is_project(params.images[0]):
        return [(one.path, one.plane[2]) for one in project_images(params.images[0])]
    fields, _ = find_fields(find_images(params.images), params.scene)
    return [(one.path, one.scene) for one in fields]


def _read(out: Path, image: str, stem: str) -> _Field:
    t, z, scene = plane_of_field(out, stem)
    table = replace(read_tile_geojson(out / f"{stem}{GEOJSON}"), record=record_of_field(out, stem))
    return _Field(Path(image), stem, (t, z, scene or 0), table, channels_of_field(out, stem))


def _write_anndata(
    params: ClassifyParams, fields: Sequence[_Field], table: pd.DataFrame, task: Task
) -> tuple[str, ...]:
    opened = [(one.stem, one.open()) for one in fields]
    features, warnings = tile_features(opened, [one.table for one in fields], task, params.threads)
    rows = table.set_index("stem") if "stem" in table else pd.DataFrame()
    by_name = {str(path): number for number, path in enumerate(features.images)}
    found = [
        FieldTiles(one.stem, one.table, _about(rows, one.stem), features.features[features.image == by_name[one.stem]])
        for one in fields
        if one.stem in by_name
    ]
    parts = [(PLATE_FILE, found)] if params.anndata == "plate" else [(f"{one.name}.h5ad", [one]) for one in found]
    kinds = feature_kinds(features)
    for name, part in task.track(parts, "writing AnnData"):
        write_h5ad(tiles_as_anndata(part, features.names, kinds), params.out / name)
    return warnings


def _about(rows: pd.DataFrame, stem: str) -> Mapping[str, str]:
    found = {}
    for name in _ABOUT:
        if name in rows and stem in rows.index:
            value = rows.loc[stem, name]
            found[name] = "" if pd.isna(value) else str(value)
    return found


def _write_into_images(params: ClassifyParams, fields: Sequence[_Field], task: Task) -> list[str]:
    by_image: dict[tuple[Path, int], list[_Field]] = {}
    for one in fields:
        by_image.setdefault((one.image, one.plane[2]), []).append(one)
    problems = []
    for (image, scene), planes in task.track(list(by_image.items()), "writing into OME-Zarr"):
        try:
            folder = image_folder(image, scene)
            if params.write_labels:
                listed = [(one.table, {"T": one.plane[0], "Z": one.plane[1]}) for one in planes]
                write_label_image(folder, params.write_labels, listed)
            if params.write_table:
                write_tile_table(folder, params.write_table, [one.table for one in planes])
        except CancelledError:
            raise
        except (ImageError, OutputError) as error:  # one image must not take the others down
            problems.append(f"{image.name}: {error}")
    return problems
