"""The project that is open: new, open, recent, and which of its fields is shown."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QMenu, QMessageBox, QToolButton, QWidget

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.workspace.project import Project
from napari_cellclass.core.workspace.project_file import SUFFIX
from napari_cellclass.core.workspace.project_lock import ProjectBusyError
from napari_cellclass.core.workspace.recent import Recent
from napari_cellclass.viewer.workspace.opening import first_scheme
from napari_cellclass.viewer.workspace.project_session import ProjectImage, read_field
from napari_cellclass.viewer.workspace.workspace import Workspace
from napari_cellclass.widgets.common.jobs import Job, start_job

if TYPE_CHECKING:
    from napari_cellclass.core.workspace.records import Field

_SAVED_AFTER_MS = 2000  # labels are in the log at once; the file gets its copy of them when keys rest
_LONGEST = 40
_MOST_RECENT = 12


def _open(path: Path, read_only: bool, task: Task) -> Project:
    """Open a project, and look for images that were moved; in a thread."""
    project = Project.open(path, read_only)
    if not read_only:
        project.find_moved(task)
    return project


class ProjectBar(QWidget):
    """Opens projects, and shows their fields one at a time.

    ``field_read`` is sent with a :class:`ProjectImage` that is to be shown, ``opened`` after another project was opened
    or closed, ``model_wanted`` with the path of a model that was used before.

    Parameters
    ----------
    workspace
        Holds the project.
    """

    field_read = Signal(object)
    opened = Signal()
    model_wanted = Signal(object)

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self._job: Job | None = None
        self.button, self.fields = QToolButton(), QComboBox()
        self.button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.button.setMenu(QMenu(self.button))
        self.button.setStyleSheet("QToolButton { padding-right: 18px; }")  # room for the arrow
        self.button.menu().aboutToShow.connect(self.fill_menu)
        self.fields.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.fields.setMinimumContentsLength(12)
        self.fields.setToolTip("the field of the project that is shown; Page Up and Page Down")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.button)
        row.addWidget(self.fields, 1)
        row.addStretch(0)
        self.fields.activated.connect(lambda _: self.show_field(self.fields.currentData()))
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SAVED_AFTER_MS)
        self._timer.timeout.connect(self._save)
        workspace.session.changed.connect(self.refresh)
        workspace.labels_changed.connect(self._labelled)
        workspace.classes_changed.connect(self._save_soon)
        workspace.neighbour_wanted.connect(self.step)
        self.refresh()

    # -- what is shown -----------------------------------------------------------------------------

    def refresh(self) -> None:
        """Follow the project."""
        project = self._workspace.session.project
        name = "no project" if project is None else project.name + (" (read only)" if project.read_only else "")
        self.button.setText(f"Project: {name[:_LONGEST]}")
        self.button.setToolTip("new, open, recent" if project is None else str(project.path))
        self.fields.blockSignals(True)
        self.fields.clear()
        labelled = {} if project is None else project.labels.fields_labelled()
        for number, field in enumerate(() if project is None else project.fields):
            self.fields.addItem(_text(number, field, sum(labelled.get(field.key, {}).values())), field.key)
        self.fields.setCurrentIndex(self.fields.findData(self._workspace.session.shown))
        self.fields.blockSignals(False)
        self.fields.setVisible(project is not None)

    def _labelled(self, change: object) -> None:
        project, index = self._workspace.session.project, self.fields.currentIndex()
        if project is not None:
            self._timer.start()
            if index >= 0:
                field = project.field(self.fields.currentData())
                n = sum(project.labels.fields_labelled().get(field.key, {}).values())
                self.fields.setItemText(index, _text(index, field, n))

    def _save_soon(self) -> None:
        self._timer.start()

    def _save(self) -> None:
        try:
            self._workspace.session.save()
        except CellClassError as error:
            self._workspace.message.emit(str(error), True)

    def fill_menu(self) -> None:
        """Offer what can be done with projects."""
        menu = self.button.menu()
        menu.clear()
        menu.addAction("New project …", self._ask_new)
        menu.addAction("Open project …", self.ask_open)
        recent = Recent()
        for title, paths, action in (
            ("Recent projects", [path for path in recent.projects if not self._is_open(path)], self.open),
            ("Recent models", recent.models, self.model_wanted.emit),
        ):
            entries = menu.addMenu(title)
            entries.setEnabled(bool(paths))
            for path in paths[:_MOST_RECENT]:
                entries.addAction(str(path), partial(action, path))
        if self._workspace.session.project is not None:
            menu.addSeparator()
            menu.addAction("Close project", self.close_project)

    def _is_open(self, path: Path) -> bool:
        project = self._workspace.session.project
        return project is not None and project.path == path

    # -- projects ----------------------------------------------------------------------------------

    def _ask_new(self) -> None:
        source = self._workspace.source
        start = Path.home() if source is None or source.path is None else Path(source.path).parent
        name, _ = QFileDialog.getSaveFileName(self, "New project", str(start / "project"), f"Project (*{SUFFIX})")
        if name:
            self.create(Path(name if name.endswith(SUFFIX) else name + SUFFIX))

    def ask_open(self) -> None:
        """Ask for a project, and open it."""
        name, _ = QFileDialog.getOpenFileName(self, "Open project", "", f"Project (*{SUFFIX})")
        if name:
            self.open(Path(name))

    def create(self, path: Path) -> None:
        """Make a project of the field that is open, with its classes and labels."""
        annotation = self._workspace.annotation
        scheme = first_scheme() if annotation is None else annotation.scheme
        tile_px = None if annotation is None else annotation.grid.tile_px
        try:
            project = Project.create(path, scheme, tile_px)
        except CellClassError as error:
            self._workspace.message.emit(str(error), True)
            return
        self._workspace.session.open(project)
        self.opened.emit()

    def open(self, path: Path, read_only: bool = False) -> None:
        """Open a project as it was left, with its first field."""
        if self._job is not None and self._job.running:
            return
        self._workspace.message.emit(f"Opening {path.name} …", False)
        self._job = job = start_job(_open, owner=self, path=path, read_only=read_only)
        job.returned.connect(self._opened)
        job.failed.connect(lambda error: self._not_opened(path, error))

    def _opened(self, project: Project) -> None:
        self._workspace.session.open(project)
        self.opened.emit()
        missing = [str(field.path) for field in project.missing()]
        notes = [*project.notes, *(f"{path} is missing; choose where it is now." for path in missing[:1])]
        self._workspace.message.emit(" ".join(notes) or f"{project.name} is open.", bool(missing))
        if project.fields:
            self.show_field(project.fields[0].key)

    def _not_opened(self, path: Path, error: CellClassError) -> None:
        self._workspace.message.emit(str(error), True)
        if isinstance(error, ProjectBusyError):
            question = f"{error}\n\nOpen it for reading only?"
            if QMessageBox.question(self, "Project in use", question) == QMessageBox.StandardButton.Yes:
                self.open(path, read_only=True)

    def close_project(self) -> None:
        """Work without a project again; everything of it is on disk."""
        try:
            self._workspace.session.close()
        except CellClassError as error:
            self._workspace.message.emit(str(error), True)
        self.opened.emit()

    # -- fields ------------------------------------------------------------------------------------

    def step(self, step: int) -> None:
        """Show the next field, or the one before."""
        key = self._workspace.session.neighbour(step)
        if key is not None:
            self.show_field(key)

    def show_field(self, key: str) -> None:
        """Read a field of the project and show it; ask where it is if its file was moved."""
        project = self._workspace.session.project
        if project is None:
            return
        field = project.field(key)
        if field.is_missing and not project.read_only and not self._ask_where(project, field):
            self.refresh()
            return
        if self._job is not None:
            self._job.cancel()
        self._workspace.message.emit(f"Opening {field.name} …", False)
        self._job = job = start_job(read_field, owner=self, project=project, key=key)
        job.returned.connect(lambda found: self._field_read(job, found))
        job.failed.connect(lambda error: self._workspace.message.emit(str(error), True))

    def _field_read(self, job: Job, found: ProjectImage) -> None:
        if job is self._job:
            self.field_read.emit(found)

    def _ask_where(self, project: Project, field: Field) -> bool:
        """Ask once; the others of its folder are found by the same move."""
        name, _ = QFileDialog.getOpenFileName(self, f"Where is {field.name} now?", str(project.path.parent))
        if not name:
            return False
        try:
            moved = project.relocate(field.key, Path(name))
        except CellClassError as error:
            self._workspace.message.emit(str(error), True)
            return False
        self._workspace.message.emit(f"{len(moved)} {'image was' if len(moved) == 1 else 'images were'} found.", False)
        self.refresh()
        return True

    def close_down(self) -> None:
        """Write what is not written yet."""
        from napari.utils.notifications import show_warning  # imports Dask

        self._timer.stop()
        self._job = None
        try:
            self._workspace.session.close()
        except CellClassError as error:  # nobody reads messages here any more
            show_warning(str(error))


def _text(number: int, field: Field, labels: int) -> str:
    return f"{number + 1} {field.name} ({labels:,} labelled)"
