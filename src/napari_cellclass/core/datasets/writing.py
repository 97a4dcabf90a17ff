"""Labelled tiles of a field cut out into one folder per class, to be trained on here or elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from napari_cellclass.core.common.errors import DatasetError, OutputError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.naming import safe_prefix, tile_position_suffix
from napari_cellclass.core.datasets.tile_provenance import (
    COLUMNS,
    TILE_LIST,
    empty_tile_list,
    read_tile_list,
    write_tile_list,
)
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.writing import tile_suffix, to_storable_dtype, write_tile


def write_class_folders(
    folder: Path,
    source: SourceImage,
    grid: TileGrid,
    class_names: Sequence[str],
    task: Task = NO_TASK,
) -> list[Path]:
    """Cut tiles out of a field, e.g. ``stained/field_r00_c03.png``, with a ``tiles.csv`` that says where each is from.

    Parameters
    ----------
    folder
        Where the class folders are made. Tiles of other fields that are there stay, and stay in the list.
    source, grid
        The field and its N tiles. Bit depth and channels are kept: PNG where it supports them, else TIFF.
    class_names
        N names; tiles of an empty one are left out.
    task
        Reports and is checked once per tile.

    Returns
    -------
    list of Path
        The tiles, then the list.

    Raises
    ------
    DatasetError
        No tile has a class, the tiles belong to a field of another size, or two classes cannot have folders of
        their own.
    OutputError
        A file is there already, or cannot be written.
    CancelledError
        The task was cancelled; the tiles written so far stay, but are not listed.
    """
    folder = Path(folder)
    tile_indices = [i for i, name in enumerate(class_names) if name]
    if not tile_indices:
        raise DatasetError("no tile has a class, so there is nothing to write; label or classify some first")
    if grid.image_shape != source.shape:
        raise DatasetError(
            f"the tiles are of a field of {grid.image_shape[1]} x {grid.image_shape[0]} px, but {source.name} has "
            f"{source.shape[1]} x {source.shape[0]}; choose the image that they were made of"
        )
    folders = _folders([class_names[i] for i in tile_indices])
    before = _listed(folder)
    stem, suffix = safe_prefix(Path(source.name).stem), tile_suffix(source)
    names = [
        f"{folders[class_names[i]]}/{stem}"
        f"{tile_position_suffix(int(grid.row[i]), int(grid.col[i]), grid.grid_shape)}{suffix}"
        for i in tile_indices
    ]
    there = next((name for name in names if (folder / name).exists()), None)
    if there:
        raise OutputError(f"{folder / there} is there already; choose another folder")
    origin = (source.path or Path(source.name)).as_posix()
    rows: list[dict[str, Any]] = []
    for i, name in task.track(list(zip(tile_indices, names, strict=True)), "writing tiles"):
        box = [int(v) for v in grid.boxes[i]]
        pixels = to_storable_dtype(source.read(*box[:2], *box[2:]))
        content = SourceImage(pixels, name).image_id
        write_tile(folder / name, pixels, source, content)
        row = (name, class_names[i], origin, int(grid.row[i]), int(grid.col[i]), *box, 0, stem, content)
        rows.append(dict(zip(COLUMNS, row, strict=True)))
    write_tile_list(folder, pd.concat([before, pd.DataFrame(rows)], ignore_index=True))
    return [*(folder / name for name in names), folder / TILE_LIST]


def _folders(class_names: Sequence[str]) -> dict[str, str]:
    """Return for each class a folder name that is valid on every system."""
    names = dict.fromkeys(class_names)
    folders = {name: safe_prefix(name) for name in names}
    shared = pd.Series({name: folder.casefold() for name, folder in folders.items()})
    if shared.duplicated().any():
        first, second = shared.index[shared == shared[shared.duplicated()].iloc[0]][:2]
        raise DatasetError(f"the classes {first!r} and {second!r} would share a folder; rename one of them")
    return folders


def _listed(folder: Path) -> pd.DataFrame:
    frame = read_tile_list(folder)
    if frame is None and (folder / TILE_LIST).exists():
        raise OutputError(f"{folder / TILE_LIST} is a table of another kind; choose another folder")
    return empty_tile_list() if frame is None else frame
