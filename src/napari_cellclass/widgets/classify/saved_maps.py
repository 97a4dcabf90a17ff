"""Maps that are kept with a project, and shown again with their field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import QObject

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.viewer.common.map_view import BuiltMap, FieldLayer, describe_plane
from napari_cellclass.viewer.common.overlay import OverlayStyle
from napari_cellclass.viewer.workspace.map_origin import MapOrigin
from napari_cellclass.viewer.workspace.project_session import ProjectImage
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.classify import work
from napari_cellclass.widgets.common.jobs import start_job


class SavedMaps(QObject):
    """Writes the map of a project's field when it is made, and brings it back when the field is opened.

    Parameters
    ----------
    owner
        The widget that shows maps.
    workspace
        Holds the project.
    """

    def __init__(self, owner: QObject, workspace: Workspace) -> None:
        super().__init__(owner)
        self._workspace = workspace
        self._waiting: ProjectImage | None = None

    def keep(self, table: TileTable, model_id: str) -> None:
        """Write a map that has just been made of the field that is shown, where that is one of a project."""
        session = self._workspace.session
        project, key = session.project, session.shown
        if project is None or key is None or project.read_only:
            return
        job = start_job(
            work.keep_in_project, owner=self, folder=project.maps_folder, stem=project.map_stem(key, table.grid),
            table=table, field=project.field(key), model_id=model_id,
        )  # fmt: skip
        job.returned.connect(lambda _: self._kept())
        job.failed.connect(lambda error: self._workspace.message.emit(str(error), True))

    def _kept(self) -> None:
        project = self._workspace.session.project
        if project is not None:
            try:
                project.take_up_maps()
            except CellClassError as error:
                self._workspace.message.emit(str(error), True)

    def wait_for(self, image: ProjectImage) -> None:
        """Remember a field whose map is to be shown once it lies under its grid."""
        self._waiting = image

    def build(
        self,
        source: SourceImage,
        layers: Sequence[Any],
        style: OverlayStyle,
        show: Callable[[BuiltMap, SourceImage, MapOrigin], None],
    ) -> None:
        """Make the layers of the map that was kept of the field that has been opened; ``show`` gets them."""
        image, self._waiting = self._waiting, None
        session = self._workspace.session
        if image is None or image.table is None or image.field.key != session.shown or session.project is None:
            return
        assert image.record is not None
        version = session.project.model_of(image.record.model_id)
        name = "a model that is not in the project" if version is None else version.path.name
        job = start_job(
            work.build_saved, owner=self, table=image.table, source=source, field_layer=FieldLayer.of(layers[0]),
            style=style, colours=self._workspace.colours(),
        )  # fmt: skip

        def done(built: BuiltMap) -> None:
            if session.shown == image.field.key:
                plane, side = describe_plane(source).strip(), built.table.grid.tile_px
                model_id = "" if image.record is None else image.record.model_id
                show(built, source, MapOrigin(model_id, name, built.field, plane, side, trained_on=False))

        job.returned.connect(done)
