"""The plane of the field that is open in a workspace, and the one that is shown."""

from __future__ import annotations

from napari_cellclass.viewer.common.layer_planes import PlanePosition, plane_position
from napari_cellclass.viewer.common.layers import plane_of
from napari_cellclass.viewer.workspace.workspace import Workspace


def is_other_plane_shown(workspace: Workspace) -> bool:
    """Return whether another plane of a stack is shown than that of the field."""
    layers = workspace.image_layers()
    if not layers or workspace.source is None:
        return False
    return plane_of(layers[:1], workspace.viewer.dims.point) != dict(workspace.source.plane)


def shown_position(workspace: Workspace) -> PlanePosition:
    """Tell where the plane lies that is shown of the field; empty without a field."""
    layers = workspace.image_layers()
    return plane_position(layers[0], workspace.viewer.dims.point) if layers else {}
