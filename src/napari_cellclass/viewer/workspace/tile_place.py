"""Where a tile is: in which image, and its box; and whether the field that is open has it."""

from __future__ import annotations

from dataclasses import dataclass

from napari_cellclass.viewer.workspace.workspace import Workspace


@dataclass(frozen=True)
class TilePlace:
    """A tile of an image.

    Parameters
    ----------
    image_id
        Content hash of the image.
    name
        Of the image, for the user.
    box
        y0, x0, y1, x1 in px.
    plane
        The plane of a stack, T and Z; empty for an image that is none, or where it is not known.
    """

    image_id: str
    name: str
    box: tuple[int, int, int, int]
    plane: tuple[tuple[str, int], ...] = ()

    @property
    def centre(self) -> tuple[float, float]:
        """(y, x) of its centre in px."""
        y0, x0, y1, x1 = self.box
        return (y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2

    def describe(self) -> str:
        """Describe it for the user: image and corner."""
        plane = "".join(f" {axis}{index}" for axis, index in self.plane)
        return f"{self.name}{plane}, y {self.box[0]}, x {self.box[1]}"


def go_to_place(workspace: Workspace, place: TilePlace) -> bool:
    """Make the tile at a place the current one; False where the field that is open has no tile there."""
    source, annotation = workspace.source, workspace.annotation
    if source is None or annotation is None or source.image_id != place.image_id:
        return False
    if place.plane and any(source.plane.get(axis, index) != index for axis, index in place.plane):
        return False
    tile = int(annotation.grid.tile_at(*place.centre))
    if tile < 0:
        return False
    workspace.go_to(tile)
    return True
