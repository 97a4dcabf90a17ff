"""The line of the header that groups images: proposed from their names, chosen from a list."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.plates.group_proposals import propose_groups
from napari_cellclass.core.workspace.project import Project
from napari_cellclass.viewer.common.layers import file_of
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.common.choices.group_choice import GroupChoice
from napari_cellclass.widgets.common.choices.layer_choice import ImageChoice


class GroupLine(QWidget):
    """Which images a split keeps together: those of the project, or those that are open.

    The likeliest proposal is chosen until a user chooses; in a project the choice is kept as its rule. ``chosen`` is
    sent with the regular expression, None for each image by itself.

    Parameters
    ----------
    workspace, images
        The work in the viewer, and its image layers.
    """

    chosen = Signal(object)

    def __init__(self, workspace: Workspace, images: ImageChoice) -> None:
        super().__init__()
        self._workspace, self._images = workspace, images
        self._project: Project | None = None
        self._names: list[str] | None = None
        self._follows = self._filling = False
        self.choice = GroupChoice("a regular expression whose first bracket takes the group out of a file name")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("groups"))
        row.addWidget(self.choice, 1)
        self.choice.changed.connect(self._changed)
        workspace.session.changed.connect(self.refresh)
        images.refreshed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Follow the images of the project, or those that are open."""
        project = self._workspace.session.project
        names = self._open_names() if project is None else [field.name for field in project.fields]
        if project is self._project and names == self._names:
            return
        self._follows = project is None or (project is self._project and project.rules.group_by is None) or not names
        self._project, self._names = project, names
        self.setVisible(len(set(names)) > 1)
        self._filling = True
        proposals = propose_groups(names)
        self.choice.offer(proposals)
        if project is not None and not self._follows:
            self.choice.value = project.rules.group_by
        elif self._follows:
            self.choice.value = proposals[0].pattern
        self._filling = False
        self._keep()

    def _open_names(self) -> list[str]:
        paths = [file_of([layer]) for layer in self._images.layers()]
        return list(dict.fromkeys(path.name for path in paths if path is not None))

    def _changed(self) -> None:
        if not self._filling:
            self._follows = False
            self._keep()

    def _keep(self) -> None:
        """Make the choice the project's rule, and tell it."""
        value: Any = self.choice.value
        project = self._project
        if project is not None and not project.read_only and project.fields and project.rules.group_by != value:
            try:
                project.set_rules(group_by=value)
            except CellClassError as error:
                self._workspace.message.emit(str(error), True)
                return
            self._workspace.session.changed.emit()
        self.chosen.emit(value)
