"""Makes a tile of any open field the current one; its field is opened first."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject

from napari_cellclass.viewer.common.proxies import unwrap
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.workspace.header import Header


class TileJump(QObject):
    """Remembers the image layers of the fields that were open, to go back to their tiles.

    Parameters
    ----------
    header
        Opens fields.
    workspace
        The work.
    """

    def __init__(self, header: Header, workspace: Workspace) -> None:
        super().__init__(header)
        self._header, self._workspace = header, workspace
        self._layers: dict[str, list[Any]] = {}
        self._wanted: tuple[str, int] | None = None
        header.opened.connect(lambda _: self._opened())

    def to(self, field_key: str, tile_index: int) -> None:
        """Go to a tile of a field, see :attr:`Workspace.field_key`."""
        self._wanted = None
        if field_key == self._workspace.field_key:
            self._workspace.go_to(tile_index)
            return
        project = self._workspace.session.project
        field = None if project is None else project.find_field(field_key.partition(" ")[0])
        if field is not None:
            self._wanted = (field_key, tile_index)
            self._header.project.show_field(field.key)
            return
        present = [unwrap(layer) for layer in self._workspace.viewer.layers]
        layers = self._layers.get(field_key, [])
        if not layers or not all(any(layer is one for one in present) for layer in layers):
            self._workspace.message.emit("The image of this tile is not open any more; open it again.", True)
            return
        self._wanted = (field_key, tile_index)
        self._header.images.choose(layers)

    def key_of_image(self, image_id: str) -> str:
        """Give the key of a field of an image that was open; '' where none was."""
        return next((key for key in self._layers if key.partition(" ")[0] == image_id), "")

    def _opened(self) -> None:
        """Go to the tile that is waited for, where it is one of the field that has been opened."""
        key, wanted = self._workspace.field_key, self._wanted
        self._layers[key] = self._workspace.image_layers()
        self._wanted = None
        if wanted is not None and wanted[0] == key:
            self._workspace.go_to(wanted[1])
