"""A project on disk: the file, the folder beside it, the lock, and the log of labels."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from pydantic import ValidationError

from napari_cellclass.core.common.errors import OutputError, ParamsError
from napari_cellclass.core.common.journal import Journal
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.workspace import outputs
from napari_cellclass.core.workspace.labels import ProjectLabels
from napari_cellclass.core.workspace.project_file import SUFFIX, ProjectContent, read_project, write_project
from napari_cellclass.core.workspace.project_lock import ProjectLock
from napari_cellclass.core.workspace.records import GridSettings, Record, is_there

_LABELS = "labels"
RecordType = TypeVar("RecordType", bound=Record)


class ProjectStore:
    """A project file with its folder, locked for this process, and written at every change.

    It is for one thread: pixels are read elsewhere, by :meth:`SourceImage.identify` before a field is added.

    Made by :meth:`create` and :meth:`open`; :meth:`close` it, or use it as a context.

    Attributes
    ----------
    path, folder
        The file and the folder beside it.
    read_only
        Whether every change is refused.
    notes
        Sentences about what was found at opening that a user should read.
    labels
        The labels of all fields and their classes.
    """

    def __init__(self, path: Path, content: ProjectContent, folder: Path, lock: ProjectLock | None) -> None:
        self.path = path
        self.folder = folder
        self.read_only = lock is None
        self.notes: tuple[str, ...] = ()
        self._content = content
        self._lock = lock
        self._stamp = _stamp(path)
        self.labels = ProjectLabels(
            Journal(self.labels_folder, private=False), content.scheme, content.labels, self.read_only
        )
        self._saved_revision = self.labels.revision

    @classmethod
    def create(
        cls,
        path: Path,
        scheme: ClassScheme,
        tile_px: int | tuple[int, int] | None = None,
        labels: ProjectLabels | None = None,
    ) -> Self:
        """Make a project without fields.

        Parameters
        ----------
        path
            The file, ``NAME.cellproject``; the folder ``NAME_project`` is made beside it.
        scheme
            The classes.
        tile_px
            Side of a square tile, or (height, width), in px.
        labels
            Those of work that had no project yet: they are copied with their classes and steps.

        Raises
        ------
        OutputError
            The file or its folder exists, or cannot be written.
        ProjectBusyError
            Another process is making it.
        """
        path = path.absolute()
        if path.suffix != SUFFIX:
            raise ParamsError(f"{str(path)!r}: a project's name ends in {SUFFIX}")
        folder = _folder_of(path)
        if path.exists():
            raise OutputError(f"cannot write {path}: a project of that name exists; open it, or choose another name")
        if folder.exists() and any(not one.name.startswith(".") for one in folder.iterdir()):
            raise OutputError(f"cannot use {folder}: it is there already; choose another name, or remove it")
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = ProjectLock(folder, path)
        try:
            grid = checked(GridSettings, tile_px=tile_px)
            classes = scheme if labels is None else labels.scheme
            content = checked(ProjectContent, folder=folder.name, classes=tuple(classes.to_json()), grid=grid)
            if labels is not None:
                labels.copy_log(folder / _LABELS)
            write_project(content, path)
            return cls(path, content, folder, lock)
        except BaseException:
            lock.close()
            raise

    @classmethod
    def open(cls, path: Path, read_only: bool = False, wait_s: float = 0.0) -> Self:
        """Open a project: the file, then the log of labels, then what was finished in the folder.

        Parameters
        ----------
        path
            The file.
        read_only
            Whether it is only looked at; another process may have it open then.
        wait_s
            How long to wait for another process that has it open, in s.

        Raises
        ------
        DatasetError
            The file is missing, damaged, or of a newer version, or its labels cannot be read.
        ProjectBusyError
            Another process has it open.
        OutputError
            The folder cannot be written to.
        """
        path = path.absolute()
        folder = _folder_of(path, read_project(path).folder)
        lock = None if read_only else ProjectLock(folder, path, wait_s)
        try:
            project = cls(path, read_project(path), folder, lock)
            project._take_up()
        except BaseException:
            if lock is not None:
                lock.close()
            raise
        return project

    def close(self) -> None:
        """Write the file if labels have changed since, and let other processes open the project."""
        if self._lock is None:
            return
        try:
            if self.labels.revision != self._saved_revision:
                self.save()
        finally:
            self._lock.close()
            self._lock = None
            self.read_only = self.labels.read_only = True

    def __enter__(self) -> Self:
        """Use it as a context that closes it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def save(self) -> None:
        """Write the file, with a copy of all labels.

        Raises
        ------
        OutputError
            It cannot be written, another program has changed it, or it is open for reading only.
        """
        self._change()

    # -- names and places --------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What it is called: the file's name without its suffix."""
        return self.path.stem

    @property
    def labels_folder(self) -> Path:
        """Folder of the log of labels."""
        return self.folder / _LABELS

    @property
    def models_folder(self) -> Path:
        """Folder of the versions of the model."""
        return self.folder / "models"

    @property
    def maps_folder(self) -> Path:
        """Folder of the maps."""
        return self.folder / "maps"

    def _change(self, **changes: Any) -> None:
        """Write the file with other content, then change it in memory."""
        if self.read_only:
            raise OutputError(f"{self.path} is open for reading only; close it elsewhere, and open it again")
        if self.path.exists() and _stamp(self.path) != self._stamp:
            raise OutputError(f"{self.path} was changed by another program since it was opened; open it again")
        revision = self.labels.revision
        changes |= {"classes": tuple(self.labels.scheme.to_json()), "labels": tuple(self.labels.snapshot())}
        content = self._content.model_copy(update=changes)
        write_project(content, self.path)
        self._content, self._stamp, self._saved_revision = content, _stamp(self.path), revision

    def _take_up(self) -> None:
        """Take up what was finished in the folder but is not in the file; only in memory where it is read only."""
        content, notes = self._content, []
        if self.labels.skipped:
            notes.append(
                f"{self.labels.skipped} lines of {self.labels_folder} are damaged; the labels in them are lost"
            )
        models, why = outputs.new_models(self.models_folder, content.models)
        lost = [one for one in content.models if not is_there(one.path)]
        notes += [*why, *(f"the model {one.path.name} is missing from {one.path.parent}" for one in lost)]
        maps, gone, changed = outputs.new_maps(self.maps_folder, content.fields, content.maps)
        notes += changed
        replaced = {one.path for one in (*maps, *gone)}
        changes: dict[str, Any] = {}
        if models:
            changes["models"] = tuple(sorted((*content.models, *models), key=lambda one: one.version))
        if replaced:
            changes["maps"] = (*(one for one in content.maps if one.path not in replaced), *maps)
        self.notes = tuple(notes)
        if self.read_only:
            self._content = content.model_copy(update=changes)
            return
        outputs.remove_temporary(self.maps_folder)
        if changes or self.labels.snapshot() != list(content.labels):
            self._change(**changes)


def _folder_of(path: Path, stored: str = "") -> Path:
    """Return the folder beside a project file: the one of its name, or the one that it says where that is missing."""
    own = path.with_name(f"{path.stem}_project")
    return own if own.exists() or not stored or not is_there(path.with_name(stored)) else path.with_name(stored)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Say which file a path names now: another one after each change."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def checked(record: type[RecordType], **values: Any) -> RecordType:
    """Make a record, or raise :class:`ParamsError` with one line."""
    try:
        return record(**values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = ".".join(map(str, problem["loc"]))
        raise ParamsError(f"{name} {str(problem['input'])[:100]!r} is not possible: {problem['msg']}") from error
