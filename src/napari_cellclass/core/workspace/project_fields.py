"""The fields of a project: their images, also after they were moved, their grid, groups and conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_cellclass.core.common.errors import ImageError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.class_images import group_name
from napari_cellclass.core.images.reading import is_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.workspace.locating import file_bytes, find_moved, holds, moved_likewise
from napari_cellclass.core.workspace.project_store import ProjectStore, checked
from napari_cellclass.core.workspace.records import Field, GridSettings, Rules


class ProjectFields(ProjectStore):
    """A project file and what it says of fields; see :class:`~napari_cellclass.core.workspace.project.Project`."""

    # -- fields ------------------------------------------------------------------------------------

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields in the order in which they were added."""
        return self._content.fields

    def field(self, key: str) -> Field:
        """Give the field of a key; ``KeyError`` where there is none."""
        return {field.key: field for field in self.fields}[key]

    def find_field(self, image_id: str) -> Field | None:
        """Give the field with these pixels, or None."""
        return next((field for field in self.fields if field.image_id == image_id), None)

    def add_field(
        self,
        source: SourceImage,
        *,
        channels: Sequence[int] = (),
        t: int = 0,
        z: int = 0,
        scene: int = 0,
        group: str | None = None,
        condition: str | None = None,
    ) -> Field:
        """Add a field; where one with these pixels is there, that one is given, at its new place if it was moved.

        Parameters
        ----------
        source
            The plane and channels; every pixel is read to identify it, unless it has been already.
        channels, t, z, scene
            How they are read from ``source.path`` again; see :class:`Field`.
        group, condition
            See :class:`Field`.

        Raises
        ------
        ImageError
            The pixels cannot be read.
        OutputError
            See :meth:`save`.
        """
        added = self._field_of(source, self.fields, channels, (t, z, scene), group, condition)
        if added not in self.fields:
            self._change(fields=_with(self.fields, added))
        return added

    def add_fields(
        self,
        sources: Sequence[SourceImage],
        *,
        channels: Sequence[int] = (),
        t: int = 0,
        z: int = 0,
        scene: int = 0,
        task: Task = NO_TASK,
    ) -> tuple[Field, ...]:
        """Add many fields at once, see :meth:`add_field`; the file is written once.

        Parameters
        ----------
        sources, channels, t, z, scene
            See :meth:`add_field`.
        task
            Reports and is checked once per field.

        Raises
        ------
        ImageError
            The pixels of one cannot be read; then none was added.
        CancelledError
            The task was cancelled; none was added.
        OutputError
            See :meth:`save`.
        """
        fields, found = self.fields, []
        for source in task.track(sources, "reading images"):
            added = self._field_of(source, fields, channels, (t, z, scene))
            fields = _with(fields, added)
            found.append(added)
        if fields != self.fields:
            self._change(fields=fields)
        return tuple(found)

    def _field_of(
        self,
        source: SourceImage,
        fields: Sequence[Field],
        channels: Sequence[int],
        plane: tuple[int, int, int],
        group: str | None = None,
        condition: str | None = None,
    ) -> Field:
        """Give the field with the pixels of a source, at its new place if it was moved, or a new one."""
        image_id, path = source.image_id, None if source.path is None else source.path.absolute()
        known = next((field for field in fields if field.image_id == image_id), None)
        if known is not None:
            if path is None or path == known.path or not (known.path is None or known.is_missing):
                return known
            return known.model_copy(update={"path": path, "file_bytes": file_bytes(path)})
        taken = {field.key for field in fields}
        return checked(
            Field,
            key=image_id if image_id not in taken else _free(image_id, taken | set(self.labels.fields_labelled())),
            image_id=image_id, name=source.name.encode("utf-8", "backslashreplace").decode(), path=path,
            file_bytes=None if path is None else file_bytes(path), channels=tuple(channels),
            t=plane[0], z=plane[1], scene=plane[2] or source.scene, group=group, condition=condition,
        )  # fmt: skip

    def change_field(self, key: str, **changes: Any) -> Field:
        """Change parts of a field, by their names, but for its key.

        Raises
        ------
        ParamsError
            A value is not possible.
        OutputError
            See :meth:`save`.
        """
        changed = checked(Field, **{**dict(self.field(key)), **changes})
        self._change(fields=tuple(changed if field.key == key else field for field in self.fields))
        return changed

    def remove_field(self, key: str) -> None:
        """Remove a field; its labels stay in the log, for when it is added again."""
        self.field(key)
        self._change(fields=tuple(field for field in self.fields if field.key != key))

    def open_field(self, key: str) -> SourceImage:
        """Open a field's image, and check that its pixels are those that were added.

        Raises
        ------
        ImageError
            The image is missing, cannot be read, or has other pixels.
        """
        field = self.field(key)
        if field.path is None:
            raise ImageError(f"{field.name} was added without a file; save it as an image and add that")
        if field.is_missing:
            raise ImageError(f"{field.path} is missing; say where it is now")
        source = field.read(field.path)
        if source.image_id != field.image_id:
            raise ImageError(
                f"{field.path} has other pixels than when it was added; restore it, or add it as a new field"
            )
        return source

    # -- grid, groups and conditions ---------------------------------------------------------------

    @property
    def grid(self) -> GridSettings:
        """How fields are cut into tiles."""
        return self._content.grid

    def set_grid(self, **changes: Any) -> GridSettings:
        """Change tile size, overlap or edge rule; labels of another grid stay, and come back with it.

        Raises
        ------
        ParamsError
            A value is not possible.
        OutputError
            See :meth:`save`.
        """
        grid = checked(GridSettings, **{**dict(self.grid), **changes})
        self._change(grid=grid)
        return grid

    @property
    def rules(self) -> Rules:
        """How groups and conditions follow from names."""
        return self._content.rules

    def set_rules(self, **changes: str | None) -> Rules:
        """Change ``group_by`` or ``condition_by``; None for each image its own group, and for no condition.

        Raises
        ------
        DatasetError
            A rule is no regular expression, has no group in parentheses, or does not match a field.
        OutputError
            See :meth:`save`.
        """
        rules = checked(Rules, **{**dict(self.rules), **changes})
        for pattern in filter(None, (rules.group_by, rules.condition_by)):
            for field in self.fields:
                group_name(Path(field.name), pattern)
        self._change(rules=rules)
        return rules

    def group_of(self, field: Field) -> str:
        """Give what a split keeps together with a field: by hand, by rule, or its own image.

        Raises
        ------
        DatasetError
            The rule does not match its name.
        """
        if field.group is not None:
            return field.group
        if self.rules.group_by is not None:
            return group_name(Path(field.name), self.rules.group_by)
        alike = {other.path for other in self.fields if other.name == field.name}
        return field.name if len(alike) == 1 or field.path is None else f"{field.path.parent.name}/{field.name}"

    def condition_of(self, field: Field) -> str:
        """Give a field's condition, by hand or by rule; empty where there is none."""
        if field.condition is not None:
            return field.condition
        return "" if self.rules.condition_by is None else group_name(Path(field.name), self.rules.condition_by)

    # -- moved images ------------------------------------------------------------------------------

    def missing(self) -> tuple[Field, ...]:
        """List the fields whose image is not where it was."""
        return tuple(field for field in self.fields if field.is_missing)

    def find_moved(self, task: Task = NO_TASK) -> tuple[Field, ...]:
        """Look for missing images beside the project and in the folders below, by name or size and content.

        Returns
        -------
        tuple of Field
            Those that were found, at their new places; :meth:`missing` gives the others.

        Raises
        ------
        CancelledError
            The task was cancelled.
        OutputError
            See :meth:`save`.
        """
        return self.move_fields(find_moved(self.missing(), [self.path.parent], task))

    def relocate(self, key: str, path: Path, task: Task = NO_TASK) -> tuple[Field, ...]:
        """Say where the image of a field is now; all others that are missing are looked for by the same move.

        Parameters
        ----------
        key
            The field's key.
        path
            The image, or a folder that it is in.
        task
            Reports and is checked once per field.

        Returns
        -------
        tuple of Field
            All that were found, at their new places.

        Raises
        ------
        ImageError
            The file has other pixels, or the folder does not hold the image.
        CancelledError
            The task was cancelled.
        OutputError
            See :meth:`save`.
        """
        return self.move_fields(self.places_after(key, path, task))

    def places_after(self, key: str, path: Path, task: Task = NO_TASK) -> dict[str, Path]:
        """Find where missing images are now, from where one of them is; see :meth:`relocate`.

        Nothing is changed, so that it can be done beside other work; :meth:`move_fields` takes the result.
        """
        field, path = self.field(key), path.absolute()
        if path.is_dir() and not is_image(path):
            found = find_moved([field], [path], task)
            if key not in found:
                raise ImageError(f"{path} does not hold the image {field.name}; choose the file or another folder")
            path = found[key]
        elif not holds(field, path):
            raise ImageError(f"{path} has other pixels than {field.name}; choose the image that was moved")
        others = [other for other in self.missing() if other.key != key]
        moved = {key: path}
        if field.path is not None:
            moved |= moved_likewise(others, field.path, path)
        rest = [other for other in others if other.key not in moved]
        return moved | find_moved(rest, [path.parent], task)

    def move_fields(self, paths: Mapping[str, Path]) -> tuple[Field, ...]:
        """Take the images of fields from other places, by their keys; the pixels there are not checked again.

        Raises
        ------
        OutputError
            See :meth:`save`.
        """
        if not paths:
            return ()
        moved = {
            key: checked(Field, **{**dict(self.field(key)), "path": path.absolute(), "file_bytes": file_bytes(path)})
            for key, path in paths.items()
        }
        self._change(fields=tuple(moved.get(field.key, field) for field in self.fields))
        return tuple(moved.values())


def _with(fields: tuple[Field, ...], added: Field) -> tuple[Field, ...]:
    """Add a field to others, or put it in the place of the one of its key."""
    if any(field.key == added.key for field in fields):
        return tuple(added if field.key == added.key else field for field in fields)
    return (*fields, added)


def _free(key: str, taken: set[str]) -> str:
    number = 2
    while f"{key}-{number}" in taken:
        number += 1
    return f"{key}-{number}"
