"""Labelled tiles listed in a CSV file: the tiles of annotated fields, as a data set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_tables import find_column, read_numbers, read_table
from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.names import clean_name, listed_path
from napari_cellclass.core.common.other_programs import CPA_HINT, is_cpa_training_set
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.class_images import (
    ImageEntry,
    OpenedCallback,
    ReadImage,
    group_name,
    ignore_images,
    open_usable_images,
)
from napari_cellclass.core.datasets.dataset import GridOf, TileDataset, read_folders
from napari_cellclass.core.datasets.tile_provenance import Provenance, TileOrigins, is_tile_list, tile_list_to_boxes
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.labels.classes import ClassScheme, palette

_BOX = ("y0", "x0", "y1", "x1")
_LARGEST_BOX_PX = 16_384


def is_tiles_csv(path: Path) -> bool:
    """Return whether a path is a list of tiles rather than a folder of classes."""
    return path.suffix.lower() == ".csv" and not path.is_dir()


def read_dataset(
    data: Path,
    grid: GridOf | None = None,
    group_by: str | None = None,
    read: ReadImage = read_image,
    classes: Sequence[str] | None = None,
    task: Task = NO_TASK,
    on_opened: OpenedCallback = ignore_images,
) -> TileDataset:
    """Make a data set of class folders or of a list of tiles, whichever ``data`` is.

    ``grid`` cuts the fields of folders; a list of tiles has its own boxes. See :func:`read_folders` and
    :func:`read_tiles_csv`.
    """
    if is_tiles_csv(data):
        return read_tiles_csv(data, task, group_by=group_by, read=read, classes=classes, on_opened=on_opened)
    return read_folders(data, grid, group_by, read, classes, task, on_opened)


def read_tiles_csv(
    path: Path,
    task: Task = NO_TASK,
    *,
    group_by: str | None = None,
    read: ReadImage = read_image,
    classes: Sequence[str] | None = None,
    on_opened: OpenedCallback = ignore_images,
) -> TileDataset:
    """Make a data set of a CSV with the columns path, y0, x0, y1, x1, class_name and, optionally, group and colour.

    These are the columns of :meth:`TileDataset.frame`; a column split is not read, since a split is made
    anew for every training. The ``tiles.csv`` of cut tiles can be read, too: it has a column file instead of
    path, and every file is one tile.

    Parameters
    ----------
    path
        The CSV file. Its paths are absolute or relative to its folder; boxes are half-open px.
    task
        Reports and is checked once per image.
    group_by
        Pattern on the image's file name, see :func:`group_name`; it goes before the column group. Without
        either, the image is the group.
    read
        Opens an image.
    classes
        The classes of a model: labels count in their order, and must be among them. Else all names, sorted.
    on_opened
        Called with the images that can be used, images can be used, before anything is raised for want of them.

    Returns
    -------
    TileDataset
        Not split yet. Unreadable images, those whose channels or dtype differ from most, and copies of
        another one are in ``skipped`` and their tiles left out.

    Raises
    ------
    DatasetError
        The file lacks a column or has an invalid line, has too few classes or none of the model's, or no image
        of a class can be used.
    CancelledError
        The task was cancelled.
    """
    return dataset_from_table(
        read_table(path), path, task, group_by=group_by, read=read, classes=classes, on_opened=on_opened
    )


def dataset_from_table(
    frame: pd.DataFrame,
    path: Path,
    task: Task = NO_TASK,
    *,
    group_by: str | None = None,
    read: ReadImage = read_image,
    classes: Sequence[str] | None = None,
    on_opened: OpenedCallback = ignore_images,
) -> TileDataset:
    """Make a data set of a table of tiles as :func:`read_tiles_csv` does; all of its values are text.

    Paths in it are absolute or relative to the folder of ``path``, which names the table in errors.
    """
    if is_cpa_training_set(list(frame.columns)):
        raise DatasetError(f"{path} cannot be read: {CPA_HINT}")
    cut = is_tile_list(frame)
    origins = TileOrigins([path.parent] if cut else [], path.name)
    frame = tile_list_to_boxes(frame, path) if cut else frame
    for column in ("path", *_BOX, "class_name"):
        find_column(frame, (column,), path, repr(column))
    boxes = _boxes(frame, path)
    names = frame["class_name"].map(clean_name)
    scheme = _scheme(names, path, classes, frame.get("colour"))
    if (frame["path"] == "").any():
        raise DatasetError(f"{path}, line {frame.index[frame['path'] == ''][0] + 2}: the path is empty; fill it in")
    resolved = {text: listed_path(path.parent, text) for text in dict.fromkeys(frame["path"])}
    files = [resolved[text] for text in frame["path"]]
    sources = [origins.find(file) for file in files]
    groups = _groups(frame, [o.name if o else f for o, f in zip(sources, files, strict=True)], group_by)
    images = open_usable_images({"": list(dict.fromkeys(files))}, None, read, task)
    on_opened(images)
    entries, skipped = images.entries, images.skipped
    number = {entry.path: i for i, entry in enumerate(entries)}
    kept = np.array([i for i, file in enumerate(files) if file in number], np.int64)
    lost = sorted(set(names) - set(names.iloc[kept]))
    if lost:
        reason = skipped[0][1] if skipped else "no image was left"
        raise DatasetError(f"no image of class {lost[0]!r} can be used: {reason}")
    image = np.array([number[files[i]] for i in kept], np.int32)
    _check_inside(boxes[kept], image, entries, frame.index[kept], path)
    first = entries[0].source
    return TileDataset(
        tuple(entry.path for entry in entries),
        tuple(entry.image_id for entry in entries),
        image,
        boxes[kept],
        np.array([scheme.index(name) for name in names.iloc[kept]], np.int16),
        groups[kept],
        np.full(len(kept), "", object),
        scheme,
        first.channels,
        first.dtype,
        first.pixel_size_um,
        skipped,
        read=read,
        provenance=Provenance.of([origins.find(entry.path) for entry in entries], image, boxes[kept]),
    )


def _boxes(frame: pd.DataFrame, path: Path) -> NDArray[np.int32]:
    values = read_numbers(frame, _BOX, path)
    size = values[:, 2:] - values[:, :2]
    wrong = (values != np.round(values)).any(axis=1) | (np.abs(values) > 2**31 - 1).any(axis=1)
    wrong |= (size < 1).any(axis=1) | (size > _LARGEST_BOX_PX).any(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        box = ", ".join(f"{value:g}" for value in values[row])
        raise DatasetError(
            f"{path}, line {frame.index[row] + 2}: y0, x0, y1, x1 = {box} is not a box of 1 to {_LARGEST_BOX_PX} whole "
            "px; correct or remove the line"
        )
    return values.astype(np.int32)


def _scheme(
    names: pd.Series, path: Path, classes: Sequence[str] | None, colours: pd.Series | None = None
) -> ClassScheme:
    found = sorted(set(names))
    if "" in found:
        raise DatasetError(f"{path}, line {names.index[names == ''][0] + 2}: the class is empty; fill it in")
    unknown = [name for name in found if classes is not None and name not in classes]
    if unknown:
        raise DatasetError(
            f"{path} has the class {unknown[0]!r}, which the model does not know; its classes are "
            f"{', '.join(classes or ())}"
        )
    if not found or (classes is None and len(found) < 2):
        raise DatasetError(
            f"{path} needs tiles of at least two classes, but has {len(found)} ({', '.join(found) or 'none'}); "
            "label tiles of another class"
        )
    return ClassScheme(
        tuple(classes or found), () if colours is None else _colours(names, colours, tuple(classes or found))
    )


def _colours(names: pd.Series, colours: pd.Series, order: tuple[str, ...]) -> tuple[str, ...]:
    """Return for each class the first ``#RRGGBB`` in its lines, or its colour of the palette."""
    usual = palette(len(order))
    given = dict(reversed(list(zip(names, colours.str.strip(), strict=True))))
    fits = [re.fullmatch("#[0-9A-Fa-f]{6}", given.get(name, "")) for name in order]
    return tuple(match.group().upper() if match else usual[i] for i, match in enumerate(fits))


def _groups(frame: pd.DataFrame, files: Sequence[Path], group_by: str | None) -> NDArray[np.object_]:
    if group_by is not None:
        return np.array([group_name(file, group_by) for file in files], object)
    own = frame["path"].astype(object).to_numpy()  # the whole path: two folders may hold files of one name
    if "group" not in frame.columns:
        return own
    given = frame["group"].str.strip().astype(object).to_numpy()
    return np.where(given == "", own, given)


def _check_inside(
    boxes: NDArray[np.int32], image: NDArray[np.int32], entries: Sequence[ImageEntry], lines: pd.Index, path: Path
) -> None:
    shapes = np.array([entry.source.shape for entry in entries])[image]
    off = (boxes[:, :2] >= shapes).any(axis=1) | (boxes[:, 2:] <= 0).any(axis=1)
    if off.any():
        row = int(np.flatnonzero(off)[0])
        height, width = shapes[row]
        raise DatasetError(
            f"{path}, line {lines[row] + 2}: the box lies outside {entries[image[row]].path.name}, which has "
            f"{width} x {height} px; correct or remove the line"
        )
