"""The current tile of a workspace in words."""

from __future__ import annotations

from typing import Final

from napari_cellclass.core.labels.label_store import UNLABELLED
from napari_cellclass.viewer.common.overlay import describe_tile
from napari_cellclass.viewer.features.annotation_layers import describe_label
from napari_cellclass.viewer.workspace.workspace import Workspace

AT_RANDOM: Final = "at random"
"""The order of tiles whose labels say how good predictions are; they are labelled without seeing these."""


def is_drawn_unseen(workspace: Workspace) -> bool:
    """Whether the current tile is one to be labelled without seeing what is predicted for it."""
    annotation, tile = workspace.annotation, workspace.current_tile
    unlabelled = annotation is not None and tile is not None and annotation.labels[tile] == UNLABELLED
    return workspace.policy == AT_RANDOM and unlabelled and workspace.live_here() is not None


def describe_current_tile(workspace: Workspace) -> str:
    """Describe the current tile: its position, its prediction where there is a map of these tiles, and its label.

    Of a tile that was drawn at random the prediction is shown once it is labelled.
    """
    annotation, tile = workspace.annotation, workspace.current_tile
    if annotation is None or tile is None:
        return ""
    table, grid = None if is_drawn_unseen(workspace) else workspace.predictions(), annotation.grid
    row = -1 if table is None else int(table.grid.tile_at(*((grid.boxes[tile, :2] + grid.boxes[tile, 2:] - 1) / 2)))
    text = f"tile r{grid.row[tile]} c{grid.col[tile]}" if table is None or row < 0 else describe_tile(table, row)
    return f"{text}; {describe_label(annotation, tile)}"
