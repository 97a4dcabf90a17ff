"""The current tile of a workspace in words."""

from __future__ import annotations

from napari_cellclass.viewer.common.overlay import describe_tile
from napari_cellclass.viewer.features.annotation_layers import describe_label
from napari_cellclass.viewer.workspace.workspace import Workspace


def describe_current_tile(workspace: Workspace) -> str:
    """Describe the current tile: its position, its prediction where there is a map of these tiles, and its label."""
    annotation, tile = workspace.annotation, workspace.current_tile
    if annotation is None or tile is None:
        return ""
    table, grid = workspace.predictions(), annotation.grid
    row = -1 if table is None else int(table.grid.tile_at(*((grid.boxes[tile, :2] + grid.boxes[tile, 2:] - 1) / 2)))
    text = f"tile r{grid.row[tile]} c{grid.col[tile]}" if table is None or row < 0 else describe_tile(table, row)
    return f"{text}; {describe_label(annotation, tile)}"
