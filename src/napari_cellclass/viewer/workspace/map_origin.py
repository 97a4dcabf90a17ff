"""What made a map, and whether it still belongs to what is shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.viewer.common.map_view import BuiltMap, describe_plane, field_key
from napari_cellclass.viewer.workspace.workspace import Workspace


@dataclass(frozen=True)
class MapOrigin:
    """The model, the field and the tiles of a map.

    Parameters
    ----------
    model_id, model_name
        Of the model that predicted the classes; the name for the user.
    field
        See :func:`field_key`: the image and the plane.
    plane
        The plane of a stack, for the user; "" for an image that is none.
    tile_px
        Side of the tiles, (height, width) in px of the field.
    trained_on
        Whether the model was trained on tiles of this field.
    """

    model_id: str
    model_name: str
    field: str
    plane: str
    tile_px: tuple[int, int]
    trained_on: bool

    @classmethod
    def of(cls, model: ModelBundle, path: Path, built: BuiltMap, plane: dict[str, int], image_id: str) -> MapOrigin:
        """Note what made a map that has just been built."""
        name = "".join(f" {axis}{index}" for axis, index in plane.items()).strip()
        images = {str(one.get("image_id", one.get("id", ""))) for one in _images(model)}
        return cls(model.model_id, path.name, built.field, name, built.table.grid.tile_px, image_id in images)

    def why_outdated(self, workspace: Workspace, model: ModelBundle | None) -> str:
        """Tell in a sentence why the map does not belong to what is shown and chosen now; '' where it does."""
        source, annotation = workspace.source, workspace.annotation
        if source is not None and field_key(source) != self.field:
            shown = describe_plane(source).strip()
            if self.field.split(" ", 1)[0] == source.image_id or (self.plane and shown):
                return f"This map is of {self.plane or 'another plane'}; {shown or 'another plane'} is shown."
            return "This map is of another field than the one that is open."
        if model is not None and model.model_id != self.model_id:
            return f"This map was made by {self.model_name}, not by the model that is chosen now; press Run."
        if annotation is not None and annotation.grid.tile_px != self.tile_px:
            sides = [f"{w} x {h}" if w != h else f"{h}" for h, w in (self.tile_px, annotation.grid.tile_px)]
            return f"This map is of tiles of {sides[0]} px; the grid has tiles of {sides[1]} px."
        return ""


def _images(model: ModelBundle) -> list[dict[str, object]]:
    images = model.manifest.data.get("images", [])
    return [one for one in images if isinstance(one, dict)] if isinstance(images, list) else []
