"""The current tile of a workspace in words."""

from __future__ import annotations

from napari_cellclass.core.labels.label_store import UNLABELLED, UNSURE
from napari_cellclass.viewer.common.overlay import describe_tile
from napari_cellclass.viewer.workspace.workspace import Workspace


def describe_current_tile(workspace: Workspace) -> str:
    """Describe the current tile: its position, its prediction where there is a map of these tiles, and its label."""
    annotation, tile = workspace.annotation, workspace.current_tile
    if annotation is None or tile is None:
        return ""
    table, grid = workspace.predictions(), annotation.grid
    row = -1 if table is None else int(table.grid.tile_at(*((grid.boxes[tile, :2] + grid.boxes[tile, 2:] - 1) / 2)))
    text = f"tile r{grid.row[tile]} c{grid.col[tile]}" if table is None or row < 0 else describe_tile(table, row)
    label = int(annotation.labels[tile])
    names = {UNLABELLED: "not labelled", UNSURE: "labelled unsure"}
    labelled = f"labelled {annotation.scheme.names[label]}" if label >= 0 else names.get(label, "in conflict")
    return f"{text}; {labelled}"
