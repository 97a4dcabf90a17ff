"""What is known of the tiles of all open fields, as the scatter plot shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.labels.label_store import UNLABELLED
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.workspace.labels import FieldAnnotation
from napari_cellclass.viewer.features.tile_points import PointField, PointStates, TilePoints
from napari_cellclass.viewer.workspace.live_labels import LabelledField
from napari_cellclass.viewer.workspace.selection import Selected
from napari_cellclass.viewer.workspace.workspace import Workspace


def point_field(labelled: LabelledField) -> PointField:
    """Name a field for the plot."""
    image = labelled.annotation.image
    return PointField(labelled.key, image.name, image.path)


def point_states(
    workspace: Workspace,
    points: TilePoints,
    fields: Mapping[str, LabelledField],
    probabilities: Mapping[str, NDArray[np.float32]],
) -> PointStates:
    """Tell label and prediction of all points.

    The field that is open has the predictions of the map that is shown, so that both have the same colours.

    Parameters
    ----------
    workspace
        Where a field is open.
    points
        The tiles.
    fields
        Labels by field.
    probabilities
        float32, shape (N, K), of the classes of the workspace, by field.
    """
    states, names = PointStates.unknown(len(points)), workspace.scheme.names
    for field in points.fields:
        rows = points.rows_of(field.key)
        tiles = points.tile[rows]
        if field.key in fields:
            states.label[rows] = fields[field.key].labels_in(names)[tiles]
        table = workspace.predictions() if field.key == workspace.field_key else None
        if table is not None and "live" in table.record and field.key in probabilities:
            table = None  # the live map is drawn in steps, after its predictions are known here
        if table is not None:
            _fill_from_map(states, rows, tiles, table, workspace)
        elif field.key in probabilities and probabilities[field.key].shape[1] == len(names):
            prob = probabilities[field.key][tiles]
            known = np.isfinite(prob[:, 0])
            states.predicted[rows] = np.where(known, np.nan_to_num(prob).argmax(axis=1), -1)
            states.confidence[rows] = np.where(known, np.nan_to_num(prob).max(axis=1), np.nan)
    return states


def _fill_from_map(
    states: PointStates, rows: slice, tiles: NDArray[np.int64], table: TileTable, workspace: Workspace
) -> None:
    assert workspace.annotation is not None
    names = workspace.scheme.names
    wanted = workspace.annotation.grid.tile_id[tiles]
    order = np.argsort(table.grid.tile_id, kind="stable")
    ids = table.grid.tile_id[order]
    ranks = np.minimum(np.searchsorted(ids, wanted), max(len(ids) - 1, 0))
    found = ids[ranks] == wanted if len(ids) else np.zeros(len(wanted), bool)
    ours = np.array([names.index(name) if name in names else -1 for name in table.scheme.names], np.int16)
    index = table.class_index[order][ranks]
    known = found & (index >= 0) & (index < len(ours))
    states.predicted[rows] = np.where(known, ours[np.where(known, index, 0)], -1)
    states.confidence[rows] = np.where(known, table.confidence[order][ranks], np.nan)


def split_selection(
    workspace: Workspace, points: TilePoints, chosen: NDArray[np.int64], fields: Mapping[str, LabelledField]
) -> tuple[NDArray[np.int64], Selected, int]:
    """Divide points by the field that their tiles are in.

    Returns
    -------
    tiles : int64 array
        Of the field that is open.
    elsewhere : sequence
        Tiles of other fields of the project, which can be labelled with it.
    others : int
        Number of tiles of all other fields, which cannot.
    """
    here, elsewhere, others = np.zeros(0, np.int64), [], 0
    for field in points.fields:
        tiles = points.tiles_of(field.key, chosen)
        labelled = fields.get(field.key)
        if field.key == workspace.field_key:
            here = tiles
        elif labelled is not None and _shares_steps(workspace, labelled):
            elsewhere.append((labelled.annotation, tiles))
        else:
            others += len(tiles)
    return here, elsewhere, others


def _shares_steps(workspace: Workspace, labelled: LabelledField) -> bool:
    """Whether one undo takes back labels of a field together with those of the field that is open."""
    one, other = workspace.annotation, labelled.annotation
    if not isinstance(one, FieldAnnotation) or not isinstance(other, FieldAnnotation):
        return False
    return one.project_labels is other.project_labels


def selected_points(workspace: Workspace, points: TilePoints, fields: Mapping[str, LabelledField]) -> NDArray[np.int64]:
    """Find the points of the tiles that are selected, wherever that was done."""
    selection = workspace.selection
    found = [points.points_of(workspace.field_key, selection.tiles)]
    for annotation, tiles in selection.elsewhere:
        keys = [key for key, one in fields.items() if one.annotation is annotation]
        found += [points.points_of(key, tiles) for key in keys[:1]]
    return np.unique(np.concatenate(found))


def count_labelled(states: PointStates, points: Sequence[int] | NDArray[np.int64]) -> int:
    """Count points that have a label."""
    return int((states.label[np.asarray(points, np.int64)] != UNLABELLED).sum())
