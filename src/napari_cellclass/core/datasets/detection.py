"""Recognise data-set folders quickly, and list their files."""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from napari_cellclass.core.common.csv_tables import read_header, read_table
from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.names import clean_name, listed_path
from napari_cellclass.core.datasets.class_images import class_folders
from napari_cellclass.core.datasets.tile_provenance import TILE_LIST, is_tile_list
from napari_cellclass.core.images.reading import is_image_name, is_system_file_name, is_zarr
from napari_cellclass.core.labels.classes import NO_CLASS_NAME

# How many entries are inspected; a folder of a million images must not delay napari's "Open".
_MAX_FOLDERS, _MAX_ENTRIES = 200, 500


@dataclass(frozen=True)
class DatasetFolder:
    """A folder of labelled tiles: files per class, sorted by class and name."""

    folder: Path
    files: dict[str, tuple[Path, ...]]


def is_dataset_folder(folder: Path) -> bool:
    """Return whether a folder holds a list of cut tiles, or at least two sub-folders with images.

    Only names are read, at most ``_MAX_ENTRIES`` of each folder; Zarr images and unreadable folders are not.
    """
    try:
        with os.scandir(folder) as entries:
            seen = list(itertools.islice(entries, _MAX_ENTRIES))
        names = {entry.name for entry in seen}
        if is_zarr(Path(folder)):
            return False
        if TILE_LIST in names and _lists_tiles(Path(folder) / TILE_LIST):
            return True
        inside = [e for e in seen if e.is_dir() and not is_system_file_name(e.name) and not is_zarr(Path(e.path))]
        return sum(map(_has_image, inside[:_MAX_FOLDERS])) >= 2
    except OSError:
        return False


def _lists_tiles(path: Path) -> bool:
    columns = {name.lower() for name in read_header(path)}
    return {"file", "class_name", "y0", "x0"} <= columns


def _has_image(entry: os.DirEntry[str]) -> bool:
    try:
        with os.scandir(entry.path) as entries:
            return any(is_image_name(inner.name) for inner in itertools.islice(entries, _MAX_ENTRIES))
    except OSError:
        return False  # a sub-folder that may not be read is no class, but the others may be


def read_dataset_folder(folder: Path) -> DatasetFolder:
    """List a data set's files by class, from its ``tiles.csv`` where it has one, else from its sub-folders.

    Parameters
    ----------
    folder
        The folder, or the ``tiles.csv`` in it.

    Raises
    ------
    DatasetError
        It holds no such data set.
    """
    listed = folder if folder.is_file() else folder / TILE_LIST
    if listed.is_file():
        frame = read_table(listed)
        if is_tile_list(frame):
            found: dict[str, list[Path]] = defaultdict(list)
            for name, file in zip(frame["class_name"], frame["file"], strict=True):
                found[clean_name(name) or NO_CLASS_NAME].append(listed_path(listed.parent, file))
            return DatasetFolder(listed.parent, {name: tuple(sorted(found[name])) for name in sorted(found)})
    if folder.is_file():
        raise DatasetError(f"{folder} lists no cut tiles; open the folder of the data set instead")
    return DatasetFolder(folder, {name: tuple(files) for name, files in class_folders(folder).items()})
