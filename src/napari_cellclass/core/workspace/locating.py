"""Images that were moved: found again by their name, or their size, and always by their content."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.reading import is_image_name
from napari_cellclass.core.workspace.records import Field

MOST_ENTRIES = 50_000
"""Files and folders that a search looks at, at most."""
MOST_LEVELS = 6
"""Levels of sub-folders that a search enters."""


def find_moved(missing: Sequence[Field], folders: Sequence[Path], task: Task = NO_TASK) -> dict[str, Path]:
    """Look for the images of fields in folders and their sub-folders.

    An image of the same name is looked at first, then those of the same size in bytes; it counts only where its pixels
    are those of the field.

    Parameters
    ----------
    missing
        The fields.
    folders
        Where to look; up to 6 levels and 50 000 entries in each.
    task
        Reports and is checked once per field.

    Returns
    -------
    dict
        The paths that were found, by the fields' keys.

    Raises
    ------
    CancelledError
        The task was cancelled.
    """
    images = list(dict.fromkeys(path for folder in folders for path in _images_below(folder)))
    found = {}
    for field in task.track(missing, "looking for images"):
        path = next((path for path in _candidates(field, images) if holds(field, path)), None)
        if path is not None:
            found[field.key] = path
    return found


def moved_likewise(fields: Sequence[Field], old: Path, new: Path) -> dict[str, Path]:
    """Find the images of fields that were moved as another image was.

    Parameters
    ----------
    fields
        Those that are missing.
    old, new
        Where the other image was, and where it is now.

    Returns
    -------
    dict
        The paths that were found, by the fields' keys.
    """
    before, now = list(old.parts), list(new.parts)
    while len(before) > 1 and len(now) > 1 and before[-1] == now[-1]:
        before.pop()
        now.pop()
    found = {}
    for field in fields:
        if field.path is None:
            continue
        paths = [new.parent / field.path.name]
        if field.path.parts[: len(before)] == tuple(before):
            paths.insert(0, Path(*now, *field.path.parts[len(before) :]))
        path = next((path for path in paths if holds(field, path)), None)
        if path is not None:
            found[field.key] = path
    return found


def holds(field: Field, path: Path) -> bool:
    """Return whether a file holds the pixels of a field; they are read for it."""
    try:
        return field.read(path).image_id == field.image_id
    except CellClassError:
        return False


def _candidates(field: Field, images: Sequence[Path]) -> Iterator[Path]:
    name = field.name if field.path is None else field.path.name
    yield from (path for path in images if path.name == name)
    if field.file_bytes is not None:
        suffix = Path(name).suffix.lower()
        others = (path for path in images if path.name != name and path.suffix.lower() == suffix)
        yield from (path for path in others if file_bytes(path) == field.file_bytes)


def file_bytes(path: Path) -> int | None:
    """Return the size of a file; None of a folder, and where there is none."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def _images_below(folder: Path) -> Iterator[Path]:
    """Walk a folder from its top, the nearest images first; hidden folders and image folders are not entered."""
    level, seen = [folder], 0
    for _ in range(MOST_LEVELS + 1):
        below: list[Path] = []
        for one in level:
            try:
                with os.scandir(one) as entries:
                    for entry in sorted(entries, key=lambda entry: entry.name):
                        seen += 1
                        if seen > MOST_ENTRIES:
                            return
                        if is_image_name(entry.name):
                            yield Path(entry.path)
                        elif entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                            below.append(Path(entry.path))
            except OSError:
                continue
        level = below
