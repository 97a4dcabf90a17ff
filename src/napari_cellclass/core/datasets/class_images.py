"""The images of class folders: listed, opened once, and checked for those that cannot be used."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_cellclass.core.common.errors import CellClassError, DatasetError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.names import normal_form
from napari_cellclass.core.common.other_programs import other_program_hint
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.datasets.tile_provenance import TileOrigin, TileOrigins
from napari_cellclass.core.images.reading import is_image_name, is_system_file_name, is_zarr, list_images
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.classes import RESERVED_NAMES

ReadImage = Callable[[Path], SourceImage]


@dataclass(frozen=True)
class ImageEntry:
    """A file that was opened, with the class and group of its tiles, and what it was cut from, if known.

    Parameters
    ----------
    path, class_name, group
        The file, and the class and group of its tiles.
    source
        The image; none of its pixels has been read.
    image_id
        Its content hash, see :attr:`SourceImage.image_id`.
    origin
        The field that it was cut from, where a list of tiles says so.
    """

    path: Path
    class_name: str
    group: str
    source: SourceImage
    image_id: str
    origin: TileOrigin | None = None


def image_folders(folder: Path) -> dict[str, list[Path]]:
    """List the sub-folders with images and their images, both sorted by name; names are in Unicode's form NFC.

    Hidden and system files (``.DS_Store``, ``._*``, ``Thumbs.db``, ``__MACOSX``) are ignored.

    Raises
    ------
    DatasetError
        The folder cannot be opened.
    """
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be opened ({error.strerror}); check its permissions") from error
    found: dict[str, list[Path]] = {}
    for entry in entries:
        if entry.is_dir() and not is_system_file_name(entry.name) and not is_zarr(entry):
            images = list_images(entry)
            name = normal_form(entry.name)
            if images and name in found:
                raise DatasetError(f"{folder} has two sub-folders called {name!r}, of other Unicode forms; merge them")
            if images:
                found[name] = images
    return found


@dataclass(frozen=True)
class OpenedImages:
    """The images of a data set: those that can be used, and why others cannot.

    Parameters
    ----------
    entries
        What training uses.
    unreadable, inconsistent, duplicates, label_conflicts
        (path, reason) of files that cannot be read, whose channels or dtype differ from most, that have the
        same pixels as another one, and that have the same pixels as one of another class.
    """

    entries: tuple[ImageEntry, ...]
    unreadable: tuple[tuple[Path, str], ...]
    inconsistent: tuple[tuple[Path, str], ...]
    duplicates: tuple[tuple[Path, str], ...]
    label_conflicts: tuple[tuple[Path, str], ...]

    @property
    def skipped(self) -> tuple[tuple[Path, str], ...]:
        """(path, reason) of all that are left out."""
        return self.unreadable + self.inconsistent + self.duplicates + self.label_conflicts


OpenedCallback = Callable[[OpenedImages], None]


def ignore_images(images: OpenedImages) -> None:
    """Ignore the images: the default of every ``on_opened=``."""


def class_folders(folder: Path, classes: Sequence[str] | None = None) -> dict[str, list[Path]]:
    """List the class folders of ``folder`` and their images, both sorted by name.

    Hidden and system files (``.DS_Store``, ``._*``, ``Thumbs.db``, ``__MACOSX``) are ignored.

    Raises
    ------
    DatasetError
        The folder is missing, unreadable, or holds fewer than two class folders with images (one, where the
        ``classes`` of a model are given), or one that is no class of the model.
    """
    if hint := other_program_hint(folder):
        raise DatasetError(f"{folder} cannot be trained on or evaluated: {hint}")
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder; give a folder that holds one sub-folder per class")
    found = image_folders(folder)
    if len(found) < (2 if classes is None else 1):
        names = ", ".join(found) or "none"
        loose = sum(is_image_name(entry.name) for entry in folder.iterdir())
        hint = f"; its {counted(loose, 'loose image belongs', 'loose images belong')} in such folders" if loose else ""
        raise DatasetError(
            f"{folder} needs at least two sub-folders with images, one per class, but has {len(found)} ({names}){hint}"
        )
    if reserved := [name for name in found if name in RESERVED_NAMES]:
        raise DatasetError(
            f"{folder} has a sub-folder {reserved[0]!r}, which cannot be a class: it stands for other tiles; rename it"
        )
    unknown = [name for name in found if classes is not None and name not in classes]
    if unknown:
        raise DatasetError(
            f"{folder} has the class {unknown[0]!r}, which the model does not know; its classes are "
            f"{', '.join(classes or ())}"
        )
    return found


def group_name(path: Path, pattern: str | None) -> str:
    """Return the group of an image: the first group of ``pattern`` on its name, or its own name.

    Raises
    ------
    DatasetError
        ``pattern`` is no regular expression, has no group in parentheses, or does not match.
    """
    if pattern is None:
        return path.name
    try:
        match = re.search(pattern, path.name)
    except re.error as error:
        raise DatasetError(f"--group-by {pattern!r} is not a regular expression: {error}") from error
    if match is None:
        raise DatasetError(f"--group-by {pattern!r} does not match the file name {path.name!r}; change the pattern")
    if not match.groups() or match.group(1) is None:
        raise DatasetError(f"--group-by {pattern!r} needs a group in parentheses, e.g. '^(...)'")
    return match.group(1)


def open_usable_images(
    folders: dict[str, list[Path]],
    group_by: str | None,
    read: ReadImage,
    task: Task,
    origins: TileOrigins | None = None,
) -> OpenedImages:
    """Open the images of each class, see :func:`open_images`, and separate those that cannot be used."""
    entries, unreadable = open_images(folders, group_by, read, task, origins)
    entries, inconsistent = same_format(entries)
    entries, duplicates, label_conflicts = without_duplicates(entries)
    return OpenedImages(
        tuple(entries), tuple(unreadable), tuple(inconsistent), tuple(duplicates), tuple(label_conflicts)
    )


def open_images(
    folders: dict[str, list[Path]],
    group_by: str | None,
    read: ReadImage,
    task: Task,
    origins: TileOrigins | None = None,
) -> tuple[list[ImageEntry], list[tuple[Path, str]]]:
    """Open the images of each class; give them, and (path, reason) of those that cannot be read.

    A tile that ``origins`` lists belongs to the group of its field, and a pattern is matched with the
    field's name, so that rotated copies and neighbours are never split.
    """
    entries, skipped = [], []
    pairs = [(name, path) for name, paths in folders.items() for path in paths]
    for name, path in task.track(pairs, "reading"):
        try:
            source = read(path)
            image_id = source.image_id  # reads every pixel, so a damaged file is found here
            found = origins.find(path, image_id) if origins else None
        except CellClassError as error:
            skipped.append((path, str(error)))
        else:
            group = group_name(found.name if found else path, group_by)
            if group_by is None:
                group = found.group if found else f"{name}/{group}"
            # The pixels just read are dropped; a data set may be larger than memory.
            entries.append(ImageEntry(path, name, group, read(path), image_id, found))
    return entries, skipped


def same_format(entries: list[ImageEntry]) -> tuple[list[ImageEntry], list[tuple[Path, str]]]:
    """Separate the images of the most frequent channels and dtype from the others."""
    kinds = Counter((entry.source.channels, entry.source.dtype.newbyteorder("=")) for entry in entries)
    if not kinds:
        return [], []
    (channels, dtype), _ = kinds.most_common(1)[0]
    kept, inconsistent = [], []
    for entry in entries:
        kind = entry.source.channels, entry.source.dtype.newbyteorder("=")
        if kind == (channels, dtype):
            kept.append(entry)
        else:
            inconsistent.append(
                (
                    entry.path,
                    f"{entry.path.name} has {counted(kind[0], 'channel')} of {kind[1]}, "
                    f"unlike most: {channels} of {dtype}",
                )
            )
    return kept, inconsistent


def without_duplicates(
    entries: list[ImageEntry],
) -> tuple[list[ImageEntry], list[tuple[Path, str]], list[tuple[Path, str]]]:
    """Keep one of several images with the same pixels, and none of them where their classes differ.

    Returns
    -------
    kept, duplicates, label_conflicts
        The images; and (path, reason) of copies within a class, and of all copies across classes.
    """
    same: dict[str, list[ImageEntry]] = defaultdict(list)
    for entry in entries:
        same[entry.image_id].append(entry)
    kept, duplicates, label_conflicts = [], [], []
    for entry in entries:
        others = same[entry.image_id]
        if len({other.class_name for other in others}) > 1:
            other = next(other for other in others if other.class_name != entry.class_name)
            reason = f"{entry.path.name} has the same pixels as {other.path.name} of class {other.class_name!r}"
            label_conflicts.append((entry.path, f"{reason}; decide for one class"))
        elif entry is others[0]:
            kept.append(entry)
        else:
            duplicates.append((entry.path, f"{entry.path.name} has the same pixels as {others[0].path.name}"))
    return kept, duplicates, label_conflicts
