"""Numbering the images of a folder in place, with a journal by which it is completed or undone after a crash.

Every file is renamed to a temporary name, and from there to its new name, so that new names may be old names of
others. The journal records which of the two steps is in progress:

    aside     a file has its old or its temporary name
    placing   a file has its temporary or its new name
    done      all have their new names

Undoing runs through the same states, so an interrupted renaming can be completed or reversed at any time.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from napari_cellclass.core.common.errors import DatasetError, OutputError
from napari_cellclass.core.common.files import output_error, write_json, write_text
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.naming import folder_images, number_width, safe_prefix
from napari_cellclass.core.datasets.tile_provenance import TILE_LIST, read_tile_list, tile_list_to_csv

JOURNAL = ".napari-cellclass-rename.json"
State = Literal["aside", "placing", "done"]


@dataclass(frozen=True)
class Renaming:
    """A renaming of files of one folder.

    Parameters
    ----------
    folder
        The folder of the files.
    moves
        (old, new) names, relative to the folder, with forward slashes.
    lists
        (list of tiles, its text before, its text after), see :mod:`~napari_cellclass.core.datasets.tile_provenance`.
    """

    folder: Path
    moves: tuple[tuple[str, str], ...]
    lists: tuple[tuple[str, str, str], ...] = ()

    def temporary_path(self, index: int) -> Path:
        """Return a file's temporary name; it is hidden, so that it is not listed as an image."""
        old = self.folder / self.moves[index][0]
        return old.with_name(f".cellclass-rename-{index:06d}{old.suffix}")

    def save(self, state: State) -> None:
        """Write the journal."""
        content = {"version": 1, "state": state, "moves": self.moves, "lists": self.lists}
        write_json(self.folder / JOURNAL, content)


def rename_images(folder: Path, prefix: str | None = None, task: Task = NO_TASK) -> Renaming:
    """Return the images of a folder, or of each of its class folders, numbers in natural order: ``PREFIX_0001.tif``.

    A renaming that was interrupted is completed instead. A list of tiles there is updated.

    Parameters
    ----------
    folder
        Holds images, or one sub-folder per class.
    prefix
        What names begin with; the class, or the folder's name, when None.
    task
        Reports once per file and step; it is not checked, as a renaming is finished or undone.

    Returns
    -------
    Renaming
        What was done; no moves where every name is correct already.

    Raises
    ------
    DatasetError, ImageError
        There is no image, or the folder cannot be read.
    OutputError
        A file is in the way, or may not be renamed; nothing is lost then, and ``undo_renaming`` restores the names.
    """
    folder = Path(folder)
    interrupted = _interrupted(folder)
    if interrupted is not None:
        renaming, state = interrupted
    else:
        renaming, state = _plan(folder, prefix), "aside"
        if not renaming.moves:
            return renaming
        renaming.save("aside")
    if state == "aside":
        _step(
            renaming,
            lambda i: (folder / renaming.moves[i][0], renaming.temporary_path(i)),
            task,
            "giving temporary names",
        )
        renaming.save("placing")
    _step(renaming, lambda i: (renaming.temporary_path(i), folder / renaming.moves[i][1]), task, "renaming")
    for name, _, after in renaming.lists:
        write_text(folder / name, after)
    renaming.save("done")
    return renaming


def undo_renaming(folder: Path, task: Task = NO_TASK) -> Renaming:
    """Return the images of a folder the names back that they had before the last renaming, finished or not.

    Files that were deleted since are ignored.

    Raises
    ------
    DatasetError
        Nothing was renamed there.
    OutputError
        A file is in the way, or may not be renamed.
    """
    folder = Path(folder)
    found = _read(folder)
    if found is None:
        raise DatasetError(f"{folder} has no journal {JOURNAL}, so there is no renaming to undo")
    renaming, state = found
    if state == "done":
        renaming = _reversible(renaming)
        renaming.save("placing")
    if state != "aside":
        _step(
            renaming,
            lambda i: (folder / renaming.moves[i][1], renaming.temporary_path(i)),
            task,
            "giving temporary names",
        )
        renaming.save("aside")
    _step(renaming, lambda i: (renaming.temporary_path(i), folder / renaming.moves[i][0]), task, "renaming")
    for name, before, _ in renaming.lists:
        write_text(folder / name, before)
    try:
        (folder / JOURNAL).unlink()
    except OSError as error:
        raise output_error(folder / JOURNAL, error) from error
    return renaming


def _plan(folder: Path, prefix: str | None) -> Renaming:
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder; give the folder whose images are to be numbered")
    moves = []
    classes = folder_images(folder)
    for name, images in classes.items():
        start = safe_prefix(prefix or name or folder.resolve().name)
        width = number_width(len(images))
        for number, path in enumerate(images, 1):
            new = path.with_name(f"{start}_{number:0{width}d}{path.suffix}")
            if new != path:
                moves.append((path, new))
    leaving = {_folded(old) for old, _ in moves}
    for old, new in moves:
        if new.exists() and _folded(new) not in leaving:
            raise OutputError(f"cannot rename {old.name}: {new} is in the way; move it, or choose another --prefix")
    names = tuple((old.relative_to(folder).as_posix(), new.relative_to(folder).as_posix()) for old, new in moves)
    return Renaming(folder, names, tuple(_lists(folder, classes, dict(names))))


def _lists(folder: Path, classes: Iterable[str], names: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield path, text and new text of the lists of tiles, that of the folder and those of its classes."""
    for part in dict.fromkeys(("", *classes)):
        frame = read_tile_list(folder / part)
        if frame is not None and names:
            start = f"{part}/" if part else ""
            mine = {
                old.removeprefix(start): new.removeprefix(start) for old, new in names.items() if old.startswith(start)
            }
            after = frame.assign(file=[mine.get(file, file) for file in frame["file"]])
            yield f"{start}{TILE_LIST}", tile_list_to_csv(frame), tile_list_to_csv(after)


def _reversible(renaming: Renaming) -> Renaming:
    """Leave out files that are gone; check that the old names are free; bring the lists up to date."""
    folder = renaming.folder
    moves = tuple((old, new) for old, new in renaming.moves if _exists(folder / new))
    leaving = {_folded(folder / new) for _, new in moves}
    for old, _ in moves:
        if _exists(folder / old) and _folded(folder / old) not in leaving:
            raise OutputError(f"cannot undo the renaming: {folder / old} is in the way; move it and try again")
    parts = {str(Path(new).parent.as_posix()).removeprefix(".") for _, new in moves}
    back = _lists(folder, sorted(parts), {new: old for old, new in moves})
    return replace(renaming, moves=moves, lists=tuple((name, before, now) for name, now, before in back))


def _step(renaming: Renaming, ends: Callable[[int], tuple[Path, Path]], task: Task, phase: str) -> None:
    """Move every file that has not been moved yet."""
    total = len(renaming.moves)
    for index in range(total):
        start, end = ends(index)
        try:
            if start.exists():
                if end.exists() and not end.samefile(start):  # a rename would overwrite it silently
                    raise OutputError(f"cannot rename to {end}: it exists; move it and try again")
                start.rename(end)
        except OSError as error:
            raise output_error(end, error) from error
        task.progress(phase, index + 1, total)


def _read(folder: Path) -> tuple[Renaming, State] | None:
    path = folder / JOURNAL
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        moves = tuple((str(old), str(new)) for old, new in content["moves"])
        lists = tuple((str(name), str(before), str(after)) for name, before, after in content["lists"])
        state: State = content["state"]
        names = [*(name for move in moves for name in move), *(name for name, _, _ in lists)]
        if state not in ("aside", "placing", "done") or not all(map(_is_inside, names)):
            raise ValueError(f"state {state!r}, or a name that leads elsewhere")
        if any(Path(name).name != TILE_LIST for name, _, _ in lists):
            raise ValueError(f"a list that is not called {TILE_LIST}")
        for _, before, after in lists:
            pd.read_csv(io.StringIO(before)), pd.read_csv(io.StringIO(after))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(f"{path} is damaged ({error}); delete it to rename afresh") from error
    return Renaming(folder, moves, lists), state


def _exists(path: Path) -> bool:
    """Whether a file is there; a name from the journal may be too long for the file system to say."""
    try:
        return path.exists()
    except OSError as error:
        raise output_error(path, error) from error


def _is_inside(name: str) -> bool:
    """Whether a name of the journal stays in its folder: the journal may have come with somebody's data."""
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts and not path.drive and "\0" not in name


def _interrupted(folder: Path) -> tuple[Renaming, State] | None:
    found = _read(folder)
    return found if found is not None and found[1] != "done" else None


def _folded(path: Path) -> str:
    return str(path).casefold()
