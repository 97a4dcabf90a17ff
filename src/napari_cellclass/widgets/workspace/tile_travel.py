"""Going to a tile, in the field that is open or in another one of the project."""

from __future__ import annotations

from qtpy.QtCore import QObject, QTimer

from napari_cellclass.viewer.workspace.tile_place import TilePlace, go_to_place
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.workspace.project_bar import ProjectBar
from napari_cellclass.widgets.workspace.tile_jump import TileJump


class TileTravel(QObject):
    """Goes to a tile that was clicked; where it cannot, it says where the tile is.

    Parameters
    ----------
    workspace, project, jump
        The work, what opens the fields of the project, and what goes back to images that were open.
    """

    def __init__(self, workspace: Workspace, project: ProjectBar, jump: TileJump) -> None:
        super().__init__(project)
        self._workspace, self._project, self._jump = workspace, project, jump
        self._wanted: TilePlace | None = None
        workspace.field_changed.connect(self._field_changed)

    def go(self, place: TilePlace) -> None:
        """Go to a tile."""
        self._wanted = None
        if go_to_place(self._workspace, place):
            return
        project, source = self._workspace.session.project, self._workspace.source
        here = source is not None and source.image_id == place.image_id
        field = None if project is None or here else project.find_field(place.image_id)
        key = "" if here else self._jump.key_of_image(place.image_id)
        if field is None and key:
            self._wanted = place
            self._jump.to(key, 0)
            return
        if field is None:
            where = (
                "in this image, but not on the grid or plane that is shown" if here else "in an image that is not open"
            )
            self._workspace.message.emit(f"That tile is {where}: {place.describe()}.", False)
            return
        self._wanted = place
        self._project.show_field(field.key)

    def _field_changed(self) -> None:
        source = self._workspace.source
        if self._wanted is not None and source is not None and source.image_id == self._wanted.image_id:
            place, self._wanted = self._wanted, None
            QTimer.singleShot(0, lambda: go_to_place(self._workspace, place))  # after the field's own first tile
