"""What was labelled: tiles of each class in each field, and what is not labelled or not shown."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.label_store import UNLABELLED, UNSURE
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.workspace.project import Project
from napari_cellclass.viewer.common.layers import KEY
from napari_cellclass.viewer.common.proxies import unwrap
from napari_cellclass.viewer.workspace.workspace import Workspace


@dataclass(frozen=True)
class FieldLabels:
    """The labels of one field.

    Parameters
    ----------
    name
        Of the field.
    counts
        Tiles by class name.
    unsure
        Tiles labelled unsure, or in conflict.
    unlabelled
        Tiles without a label; None where the field was not opened, so that its size is not known.
    hidden
        Labels of tiles of another size.
    trained_on
        Whether the model was trained on tiles of this field.
    """

    name: str
    counts: dict[str, int]
    unsure: int
    unlabelled: int | None
    hidden: int
    trained_on: bool


def summarise_labels(workspace: Workspace, trained_images: Collection[str] = ()) -> list[FieldLabels]:
    """Count the labels of all fields of the project, or else of all annotated layers in the viewer.

    Parameters
    ----------
    workspace
        The work in the viewer.
    trained_images
        Content hashes of the images that a model was trained on.
    """
    project = workspace.session.project
    if project is not None:
        return [_of_project(workspace, project, number, trained_images) for number in range(len(project.fields))]
    found = []
    for layer in map(unwrap, workspace.viewer.layers):
        record = layer.metadata.get(KEY)
        if isinstance(record, dict) and record.get("kind") == "annotation":
            annotation: Annotation = record["annotation"]
            trained = annotation.image.image_id in trained_images
            found.append(_of_labels(annotation.image.name, annotation, 0, trained))
    return found


def _of_project(workspace: Workspace, project: Project, number: int, trained_images: Collection[str]) -> FieldLabels:
    field, shown = project.fields[number], workspace.annotation
    grids = project.labels.fields_labelled().get(field.key, {})
    own = next((key for key in grids if project.grid.fits(project.labels.layout_of(field.key, key))), None)
    hidden = sum(n for key, n in grids.items() if key != own)
    trained = field.image_id in trained_images
    if shown is not None and shown.image.image_id == field.key:
        return _of_labels(field.name, shown, hidden, trained)
    if own is None:
        return FieldLabels(field.name, {}, 0, None, hidden, trained)
    names = project.labels.frame(field.key, own)["class_name"].value_counts().to_dict()
    counts = {str(name): int(n) for name, n in names.items()}
    tiles = len(project.labels.grid_of(field.key, own))
    return FieldLabels(field.name, counts, grids[own] - sum(counts.values()), tiles - grids[own], hidden, trained)


def _of_labels(name: str, annotation: Annotation, hidden: int, trained_on: bool) -> FieldLabels:
    labels: NDArray[np.int16] = np.asarray(annotation.labels)
    n = np.bincount(labels[labels >= 0], minlength=len(annotation.scheme))
    counts = dict(zip(annotation.scheme.names, map(int, n), strict=True))
    unlabelled = int((labels == UNLABELLED).sum())
    return FieldLabels(name, counts, int((labels <= UNSURE).sum()), unlabelled, hidden, trained_on)


@dataclass(frozen=True)
class Disagreement:
    """A labelled tile that the map classifies differently.

    Parameters
    ----------
    tile_index
        In the grid of the labels.
    label, predicted
        Class names.
    confidence
        Of the prediction, 0 to 1.
    """

    tile_index: int
    label: str
    predicted: str
    confidence: float


def find_disagreements(annotation: Annotation, table: TileTable | None) -> list[Disagreement]:
    """Compare the labels of a field with its map; give the tiles that differ, most confident predictions first.

    Labels and map are compared by class names, tile by tile; unsure tiles and those without a prediction are left out.

    Parameters
    ----------
    annotation
        The labels.
    table
        The map of the same grid; None for none.
    """
    if table is None:
        return []
    names, labels = annotation.scheme.names, np.asarray(annotation.labels)
    rows = {int(tile_id): row for row, tile_id in enumerate(table.grid.tile_id.tolist())}
    found = []
    for tile_index in np.flatnonzero(labels >= 0).tolist():
        row = rows.get(int(annotation.grid.tile_id[tile_index]))
        if row is None or table.class_index[row] < 0:
            continue
        label, predicted = names[labels[tile_index]], str(table.class_name[row])
        if label != predicted:
            found.append(Disagreement(tile_index, label, predicted, float(table.confidence[row])))
    return sorted(found, key=lambda one: -one.confidence)
