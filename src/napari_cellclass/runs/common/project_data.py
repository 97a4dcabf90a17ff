"""The labelled tiles and the fields of a project, as data sets and images for the verbs."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from napari_cellclass.core.common.errors import DatasetError, ImageError, ParamsError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.class_images import OpenedCallback, ReadImage, group_name, ignore_images
from napari_cellclass.core.datasets.dataset import GridOf, TileDataset
from napari_cellclass.core.datasets.naming import safe_prefix
from napari_cellclass.core.datasets.tiles_csv import dataset_from_table, read_dataset
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.plates.conditions import NOTHING, Assignment, ConditionList
from napari_cellclass.core.workspace.project import Project
from napari_cellclass.core.workspace.project_file import is_project
from napari_cellclass.core.workspace.records import Field, ModelVersion


def open_dataset(
    data: Path,
    grid: GridOf | None = None,
    group_by: str | None = None,
    read: ReadImage = read_image,
    classes: Sequence[str] | None = None,
    task: Task = NO_TASK,
    on_opened: OpenedCallback = ignore_images,
) -> TileDataset:
    """Make a data set of a project, of class folders, or of a list of tiles, whichever ``data`` is.

    Of a project the tiles are its labelled ones, and every field is read as the project says; ``grid`` and ``read``
    are not used. See :func:`project_dataset` and :func:`~napari_cellclass.core.datasets.tiles_csv.read_dataset`.
    """
    if is_project(data):
        return project_dataset(data, group_by, classes, task, on_opened)
    return read_dataset(data, grid, group_by, read, classes, task, on_opened)


def project_dataset(
    path: Path,
    group_by: str | None = None,
    classes: Sequence[str] | None = None,
    task: Task = NO_TASK,
    on_opened: OpenedCallback = ignore_images,
) -> TileDataset:
    """Make a data set of the labelled tiles of a project's fields, on its grid.

    Parameters
    ----------
    path
        The project file; it is only read.
    group_by
        A regular expression on the names of fields, in place of the project's groups.
    classes
        The classes of a model: labels count in their order, and must be among them. Else those with labels, in the
        project's order.
    task, on_opened
        As in :func:`~napari_cellclass.core.datasets.tiles_csv.read_tiles_csv`.

    Raises
    ------
    DatasetError
        The project cannot be read; no tile is labelled, or of one class only; an image has other pixels than when it
        was labelled.
    CancelledError
        The task was cancelled.
    """
    project = Project.open(path, read_only=True)
    fields: dict[Path, Field] = {}
    tables = []
    for field in project.fields:
        key = _labelled_grid(project, field)
        tiles = None if key is None else project.labels.frame(field.key, key)
        if tiles is None or tiles.empty:
            continue
        place = _name_for(field, path.parent, fields)
        fields[place] = field
        tiles["path"] = str(place)
        tiles["group"] = project.group_of(field) if group_by is None else group_name(Path(field.name), group_by)
        tables.append(tiles)
    found = sorted({name for table in tables for name in table["class_name"]}, key=project.labels.scheme.index)
    if len(found) < (2 if classes is None else 1):
        what = f"all labelled tiles are {found[0]!r}" if found else f"no tile is labelled{_on_grid(project)}"
        raise DatasetError(f"{path}: {what}; label tiles of at least two classes")
    frame = pd.concat(tables, ignore_index=True).astype(str)
    read = functools.partial(_read_field, fields)  # a partial can be sent to another process
    data = dataset_from_table(frame, path, task, read=read, classes=classes or found, on_opened=on_opened)
    for place, image_id in zip(data.paths, data.image_ids, strict=True):
        if image_id != fields[place].image_id:
            raise DatasetError(
                f"{fields[place].path} has other pixels than when it was labelled; restore it, or remove the field"
            )
    return data


def _labelled_grid(project: Project, field: Field) -> str | None:
    """Return the text id of the grid of a field that has labels and is laid as the project says."""
    for key in project.labels.fields_labelled().get(field.key, {}):
        if project.grid.fits(project.labels.layout_of(field.key, key)):
            return key
    return None


def _on_grid(project: Project) -> str:
    tile = project.grid.tile_px
    hidden = sum(sum(grids.values()) for grids in project.labels.fields_labelled().values())
    return f" on tiles of {tile[1]} x {tile[0]} px, but {hidden:,} of other sizes are" if tile and hidden else ""


def _name_for(field: Field, folder: Path, taken: Mapping[Path, Field]) -> Path:
    """Name a field as an image of a data set: by its file, with the key where that holds several fields."""
    path = folder.absolute() / field.name if field.path is None else field.path
    if path not in taken:
        return path
    return path.with_name(f"{path.name} [{field.key}]")


def _read_field(fields: Mapping[Path, Field], place: Path) -> SourceImage:
    field = fields[place]
    if field.path is None:
        raise ImageError(f"{field.name} was added without a file; save it as an image and add that")
    return field.read(field.path)


def untrained_tiles(data: TileDataset, model: ModelBundle, path: Path) -> TileDataset:
    """Keep the tiles of groups, and of images, that a model was not trained on.

    Raises
    ------
    DatasetError
        There are none.
    """
    trained = ModelVersion.of(model, 1)
    images = np.isin(np.array(data.image_ids, str), trained.images)[data.image]
    left = np.flatnonzero(~np.isin(data.groups.astype(str), trained.groups) & ~images)
    if len(left) == 0:
        raise DatasetError(
            f"{path}: {model.path.name} was trained on all groups with labelled tiles, so there is nothing to evaluate "
            "it on; label fields of another group"
        )
    kept, image = np.unique(data.image[left], return_inverse=True)
    return replace(
        data.take(left),
        paths=tuple(data.paths[i] for i in kept),
        image_ids=tuple(data.image_ids[i] for i in kept),
        image=image.ravel().astype(np.int32),
    )


@dataclass(frozen=True)
class ProjectImage:
    """One field of a project as an image to classify: what its results are called, and how it is read."""

    path: Path
    stem: str
    channels: tuple[int, ...]
    plane: tuple[int, int, int]


def project_images(path: Path) -> list[ProjectImage]:
    """List the fields of a project as images to classify.

    Raises
    ------
    DatasetError
        The project cannot be read.
    ParamsError
        It has no field.
    """
    project = Project.open(path, read_only=True)
    if not project.fields:
        raise ParamsError(f"{path} has no fields yet; add images in napari")
    found: dict[str, ProjectImage] = {}
    for field in project.fields:
        stem = plain = safe_prefix(Path(field.name).stem)[:100]
        number = 1
        while stem.casefold() in found:
            number += 1
            stem = f"{plain}_{number}"
        place = Path(field.name) if field.path is None else field.path
        found[stem.casefold()] = ProjectImage(place, stem, field.channels, (field.t, field.z, field.scene))
    return list(found.values())


def project_conditions(path: Path) -> ConditionList:
    """Return the conditions of a project's fields, by the stems of :func:`project_images`.

    A field's group is its replicate, where the project or the user says one; its own image alone is none. A field
    whose name a rule does not match has no condition.

    Raises
    ------
    DatasetError
        The project cannot be read.
    """
    project = Project.open(path, read_only=True)
    grouped = project.rules.group_by is not None
    stems = {}
    for field, image in zip(project.fields, project_images(path), strict=True):
        try:
            replicate = project.group_of(field) if grouped or field.group is not None else ""
            stems[image.stem] = Assignment(project.condition_of(field), replicate)
        except DatasetError:
            stems[image.stem] = NOTHING
    return ConditionList(stems=stems)


def project_defaults(path: Path, verb: str) -> dict[str, Any]:
    """Give what a project says of the parameters of a verb that were not given: model, results, grid.

    Parameters
    ----------
    path
        The project file; it is only read.
    verb
        ``train``, ``classify`` or ``evaluate``; others have none.

    Returns
    -------
    dict
        Values by the parameters' names.

    Raises
    ------
    DatasetError
        The project cannot be read.
    """
    project = Project.open(path, read_only=True)
    grid = {"overlap": project.grid.overlap, "edge": project.grid.edge}
    if verb == "train":
        return {"out": str(project.next_model_path()), **grid}
    if verb not in ("classify", "evaluate"):
        return {}
    newest = project.newest_model
    found = {} if newest is None else {"model": str(newest.path)}
    return found | (grid if verb == "classify" else {})


def results_folder(path: Path, verb: str, model: Path) -> Path:
    """Return where the results of ``classify`` or ``evaluate`` with a model go in a project's folder."""
    project = Project.open(path, read_only=True)
    folder = project.maps_folder if verb == "classify" else project.folder / "evaluations"
    return folder / model.stem
