"""The project that is open in a workspace: its fields are shown one at a time, its models and maps kept with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_cellclass.core.common.errors import ImageError, OutputError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.interchange.tile_tables import read_table_csv
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.labels.class_translation import translate_labels
from napari_cellclass.core.labels.label_store import UNLABELLED
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.workspace.project import Project
from napari_cellclass.core.workspace.recent import Recent
from napari_cellclass.core.workspace.records import Field, MapRecord
from napari_cellclass.viewer.common.layers import FILE_KEY
from napari_cellclass.viewer.common.proxies import unwrap
from napari_cellclass.viewer.features.background_layers import add_field_layers
from napari_cellclass.viewer.workspace.opening import OpenedField, describe_hidden

if TYPE_CHECKING:
    from napari.viewer import Viewer

_MOST_VALUES = 1 << 30  # of an image that is read whole to be shown


@dataclass(frozen=True, eq=False)
class ProjectImage:
    """A field of a project that has been read, and the map that was made of it last."""

    field: Field
    source: SourceImage
    pixels: Any
    table: TileTable | None
    record: MapRecord | None


def read_field(project: Project, key: str, task: Task = NO_TASK) -> ProjectImage:
    """Read a field of a project with its last map; in any thread.

    Raises
    ------
    ImageError
        The image is missing, has other pixels, or is too large to be shown from here.
    DatasetError
        The map cannot be read.
    """
    field = project.field(key)
    task.progress(f"opening {field.name}")
    source = project.open_field(key)
    height, width = source.shape
    if height * width * source.channels > _MOST_VALUES:
        raise ImageError(f"{field.path} is too large to be opened from here; open it in napari and choose its layer")
    pixels = source.read(0, 0, height, width)
    shown = pixels if source.rgb else pixels[..., 0] if source.channels == 1 else np.moveaxis(pixels, -1, 0)
    maps = project.maps_of(key)
    table = read_table_csv(maps[-1].path, source.shape) if maps else None
    return ProjectImage(field, source, shown, table, maps[-1] if maps else None)


class ProjectSession:
    """Holds the project that is open in a viewer, or none. ``changed`` is sent after anything of it has changed.

    Parameters
    ----------
    viewer
        The viewer.
    """

    changed = Signal()

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self.project: Project | None = None
        self.shown: str | None = None
        self._layers: list[Any] = []

    def open(self, project: Project) -> None:
        """Work in a project from now on; the one before is closed."""
        self.close()
        self.project = project
        Recent().add_project(project.path)
        self.changed.emit()

    def close(self) -> None:
        """Write what is not written yet, and let other programs open the project."""
        project, self.project, self.shown = self.project, None, None
        if project is not None:
            project.close()
            self.changed.emit()

    def save(self) -> None:
        """Write the project file with a copy of the labels, which are in its log already."""
        if self.project is not None and not self.project.read_only:
            self.project.save()

    # -- fields ------------------------------------------------------------------------------------

    def show(self, image: ProjectImage) -> list[Any]:
        """Show a field in place of the one before, and give its layers."""
        present = [unwrap(layer) for layer in self._viewer.layers]
        for layer in self._layers:
            if any(unwrap(layer) is one for one in present):
                self._viewer.layers.remove(unwrap(layer))
        self._layers, _ = add_field_layers(self._viewer, image.source, image.pixels, 1)
        for layer in self._layers:
            layer.metadata[FILE_KEY] = str(image.source.path)
        self.shown = image.field.key
        self._viewer.reset_view()
        return self._layers

    def neighbour(self, step: int) -> str | None:
        """Give the key of the field so many after the one that is shown, or None at either end."""
        if self.project is None:
            return None
        keys = [field.key for field in self.project.fields]
        number = keys.index(self.shown) + step if self.shown in keys else 0
        return keys[number] if 0 <= number < len(keys) else None

    def take_in(self, found: OpenedField, size_chosen: bool) -> OpenedField:
        """Make a field that was opened one of the project, and give it with the project's labels and grid.

        Parameters
        ----------
        found
            The field.
        size_chosen
            Whether a user has chosen the size of its tiles, which then becomes that of the project.

        Raises
        ------
        CellClassError
            The project cannot be written to.
        """
        project = self.project
        assert project is not None
        field, notes = self._field_of(project, found)
        grid = found.annotation.grid
        if project.grid.tile_px is None or (size_chosen and project.grid.tile_px != grid.tile_px):
            project.set_grid(tile_px=grid.tile_px, overlap=1 - grid.step_px[0] / grid.tile_px[0], edge=grid.edge)
        annotation = project.labels.annotation(field.image, project.grid.lay(found.source.shape))
        labelled = project.labels.fields_labelled().get(field.key, {})
        if not labelled and _copy_labels(found.annotation, annotation):
            notes.append("Its earlier labels are labels of the project now.")
        elif labelled:
            notes.append(describe_labels(annotation))
        sides: dict[tuple[int, int], int] = {}
        for key, n in labelled.items():
            layout = project.labels.layout_of(field.key, key)
            side = (int(layout["tile_px"][0]), int(layout["tile_px"][1]))
            if side != annotation.grid.tile_px:
                sides[side] = sides.get(side, 0) + n
        self.shown = field.key
        self.changed.emit()
        return OpenedField(found.source, annotation, (*notes, *describe_hidden(sides)))

    def _field_of(self, project: Project, found: OpenedField) -> tuple[Field, list[str]]:
        """Give the project's field of an image, which is added where it is new, and what is to be said of it."""
        known, source, location = project.find_field(found.source.image_id), found.source, found.location
        if known is not None or project.read_only:
            if known is None:
                raise OutputError(f"{source.name} is no field of {project.name}, which is open for reading only")
            return known, []
        if location is None:
            text = f"{source.name} is in no file that it can be read from again; save it as an image and open that."
            return project.add_field(source), [text]
        added = project.add_field(
            replace(source, path=location.path, name=location.path.name),
            channels=location.channels,
            t=location.t,
            z=location.z,
        )
        return added, [f"{source.name} is a field of {project.name} now."]

    # -- models and maps ---------------------------------------------------------------------------

    def take_up_model(self, path: Path) -> str:
        """Make a model that was trained the project's next version, and describe it; '' where no project is open.

        Raises
        ------
        CellClassError
            The model or the project file cannot be read or written.
        """
        Recent().add_model(path)
        if self.project is None or self.project.read_only:
            return ""
        added = self.project.add_model(path)
        self.changed.emit()
        score = "" if added.score is None else f": balanced accuracy {added.score}"
        return f"Model v{added.version} of {self.project.name}{score}."


def describe_labels(annotation: Annotation) -> str:
    """Say how many labels a field came with."""
    n = int((annotation.labels != UNLABELLED).sum())
    return f"{n:,} {'label' if n == 1 else 'labels'} of the project."


def _copy_labels(earlier: Annotation, annotation: Annotation) -> bool:
    """Label what was labelled before there was a project; False where nothing was."""
    if earlier.grid.tile_px != annotation.grid.tile_px or not (earlier.labels != UNLABELLED).any():
        return False
    scheme = earlier.scheme
    labels = earlier.labels_of(annotation.grid.tile_id)
    chosen = np.flatnonzero(labels != UNLABELLED)
    colours = dict(zip(scheme.names, scheme.colours, strict=True))
    annotation.label(chosen, translate_labels(annotation, labels[chosen], scheme.names, colours))
    return True
