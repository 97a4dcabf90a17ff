"""The labels of all fields of the work, as live predictions need them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.selection.random_sample import RandomDraws, sampling_order
from napari_cellclass.core.tiles.grid_layout import grid_from_layout
from napari_cellclass.core.workspace.project import Project
from napari_cellclass.core.workspace.records import Field
from napari_cellclass.viewer.workspace.workspace import Workspace


@dataclass(frozen=True, eq=False)
class LabelledField:
    """A field that was opened, and its labels.

    Parameters
    ----------
    key
        Identifies image, plane and grid.
    annotation
        Its labels; classes may have been changed since by way of another field.
    group
        What is held out together with it: its well or group in a project, else the field alone.
    image_id
        Content hash of its image.
    """

    key: str
    annotation: Annotation
    group: str
    image_id: str

    def labels_in(self, names: tuple[str, ...]) -> NDArray[np.int16]:
        """Return int16 (N,): labels as indices of these classes; a class that is not among them is no label."""
        own = self.annotation.scheme.names
        labels = np.asarray(self.annotation.labels)
        if own == names:
            return labels.copy()
        index = np.array([names.index(name) if name in names else -1 for name in own] or [-1], np.int16)
        return np.where(labels >= 0, index[np.maximum(labels, 0)], labels).astype(np.int16)

    def drawn(self) -> list[int]:
        """Return the labelled tiles that were drawn at random."""
        return self._draws.follow(self.annotation.label_steps())

    @cached_property
    def _draws(self) -> RandomDraws:
        return RandomDraws(sampling_order(self.key, len(self.annotation.grid)))


def current_field(workspace: Workspace) -> LabelledField | None:
    """Return the field that is open, or None."""
    source, annotation = workspace.source, workspace.annotation
    if source is None or annotation is None:
        return None
    group = group_of_image(workspace.session.project, source.image_id)
    return LabelledField(workspace.field_key, annotation, group, source.image_id)


def group_of_image(project: Project | None, image_id: str) -> str:
    """Give what is held out together with an image as the project has it now; the image alone where it has nothing."""
    field = None if project is None else project.find_field(image_id)
    if project is None or field is None:
        return image_id
    try:
        return project.group_of(field)
    except DatasetError:  # the rule does not match its name
        return image_id


def other_project_fields(workspace: Workspace) -> Iterator[tuple[Field, LabelledField]]:
    """Give the labelled fields of the project that is open, on its grid, but for the one that is shown."""
    project = workspace.session.project
    if project is None:
        return
    labelled = project.labels.fields_labelled()
    for field in project.fields:
        for key in labelled.get(field.key, ()) if field.path is not None else ():
            layout = project.labels.layout_of(field.key, key)
            full = f"{field.image_id} {key}"
            if full != workspace.field_key and project.grid.fits(layout):
                annotation = project.labels.annotation(field.image, grid_from_layout(layout))
                group = group_of_image(project, field.image_id)
                yield field, LabelledField(full, annotation, group, field.image_id)
