"""Labels with classes of their own, from a map, a file or a layer, become labels of a workspace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.class_translation import translate_labels
from napari_cellclass.core.labels.label_store import UNLABELLED
from napari_cellclass.viewer.workspace.class_matching import matched_names, unmatched_classes
from napari_cellclass.viewer.workspace.opening import PLACEHOLDERS
from napari_cellclass.viewer.workspace.workspace import Workspace


def add_labels(
    workspace: Workspace,
    tile_indices: NDArray[np.int64],
    labels: NDArray[np.integer[Any]],
    names: Sequence[str],
    colours: Mapping[str, str] | None = None,
) -> None:
    """Label tiles with other classes than the annotation's; those that are missing are added. One undo.

    Parameters
    ----------
    workspace
        Whose labels change.
    tile_indices, labels
        (M,) each; a label is an index into ``names``, or one of the negative labels.
    names, colours
        The other classes; colours by name.

    Raises
    ------
    ParamsError, OutputError
        See :func:`translate_labels`.
    """
    annotation = workspace.annotation
    assert annotation is not None

    def change() -> None:
        translated = translate_labels(annotation, labels, names, colours)
        workspace.apply(lambda annotation: annotation.label(tile_indices, translated))
        drop_placeholders(workspace)

    workspace.as_one_step(change)


def drop_placeholders(workspace: Workspace) -> None:
    """Remove the unused classes that a new annotation starts with, once there are two others."""
    annotation = workspace.annotation
    assert annotation is not None
    for name in PLACEHOLDERS:
        names = annotation.scheme.names
        unused = name in names and not (annotation.labels == names.index(name)).any()
        if unused and len([n for n in names if n not in PLACEHOLDERS]) >= 2:
            workspace.apply(partial(Annotation.remove_class, index=names.index(name)))
    keys = [key.strip() for key in annotation.scheme.keys]
    for i, key in enumerate(keys):
        if key.isdigit() and str(i + 1) not in keys:
            workspace.apply(partial(Annotation.change_class, index=i, key=str(i + 1)))


def accept_predictions(workspace: Workspace, tile_indices: NDArray[np.int64] | None) -> None:
    """Label tiles with the classes of the map: some tiles, or all that have no label yet."""
    table, annotation = workspace.predictions(), workspace.annotation
    if table is None or annotation is None:
        text = "There is no map of these tiles; classify this field with the same tile size first."
        workspace.message.emit(text, True)
        return
    unmatched = unmatched_classes(workspace, table.scheme.names)
    if unmatched:
        text = f"The map's class {unmatched[0]!r} is none of the labels': tell on the page Map what it stands for."
        workspace.message.emit(text, True)
        return
    index_of = {int(tile): i for i, tile in enumerate(annotation.grid.tile_id)}
    wanted = set(np.flatnonzero(annotation.labels == UNLABELLED) if tile_indices is None else tile_indices)
    rows = [i for i, tile in enumerate(table.grid.tile_id) if index_of.get(int(tile), -1) in wanted]
    rows = [i for i in rows if table.class_index[i] >= 0]
    chosen = np.array([index_of[int(table.grid.tile_id[i])] for i in rows], np.int64)
    names = matched_names(workspace, table.scheme.names)
    colours = dict(zip(names, table.scheme.colours, strict=True))
    add_labels(workspace, chosen, table.class_index[rows], names, colours)
    workspace.message.emit(f"{counted(len(rows), 'tile was', 'tiles were')} labelled with the map's class.", False)
