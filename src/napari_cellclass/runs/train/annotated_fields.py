"""Annotated fields as training data: which tiles carry a label, and files that a child process can read."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.errors import CellClassError, DatasetError
from napari_cellclass.core.common.files import output_error
from napari_cellclass.core.common.locks import scratch_folder
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.class_images import group_name
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.datasets.tiles_csv import dataset_from_table
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.annotation import Annotation
from napari_cellclass.core.params.train import TrainParams

CSV_NAME = "tiles.csv"
# Of larger fields only the labelled tiles are written.
_WHOLE_BYTES = 512 << 20
_BAND_BYTES = 16 << 20


@dataclass(frozen=True, eq=False)
class AnnotatedField:
    """The labelled tiles of one field, as they were when training was asked for.

    Parameters
    ----------
    source
        The field.
    name
        What it is called.
    tiles
        Columns y0, x0, y1, x1, class_name and optionally colour (``#RRGGBB``): the labelled tiles. A column group
        names what a split keeps together, in place of the field.
    path
        Where the field came from, or None.
    """

    source: SourceImage
    name: str
    tiles: pd.DataFrame
    path: Path | None = None

    @classmethod
    def of(cls, source: SourceImage, annotation: Annotation) -> AnnotatedField:
        """Copy the labels that an annotation has now."""
        path = annotation.image.path or source.path
        colours = dict(zip(annotation.scheme.names, annotation.scheme.colours, strict=True))
        tiles = annotation.frame()
        tiles["colour"] = tiles["class_name"].map(colours)
        return cls(source, annotation.image.name, tiles, None if path is None else Path(path))

    def equals(self, other: AnnotatedField) -> bool:
        """Whether another one has the same labels of the same field."""
        same = self.source is other.source and (self.name, self.path) == (other.name, other.path)
        return same and self.tiles.equals(other.tiles)


@dataclass(frozen=True, eq=False)
class TrainRequest:
    """What to train on and how.

    Parameters
    ----------
    params
        ``data`` is the class folder; ignored where there are ``fields``.
    fields
        Annotated fields; empty for class folders.
    """

    params: TrainParams
    fields: tuple[AnnotatedField, ...] = ()

    def equals(self, other: TrainRequest) -> bool:
        """Whether another one asks for the same training, be it under another name."""
        if len(self.fields) != len(other.fields) or not all(map(AnnotatedField.equals, self.fields, other.fields)):
            return False
        return self.params == other.params.model_copy(update={"out": self.params.out})


@contextlib.contextmanager
def data_on_disk(request: TrainRequest, task: Task) -> Iterator[TrainParams]:
    """Yield parameters whose data are on disk, for as long as the block lasts."""
    if not request.fields:
        yield request.params
        return
    with scratch_folder() as folder:
        table = write_annotated_fields(request.fields, folder, request.params.group_by, task)
        yield request.params.model_copy(update={"data": table})


def write_annotated_fields(
    fields: Sequence[AnnotatedField],
    folder: Path,
    group_by: str | None,
    task: Task,
) -> Path:
    """Write annotated fields so that another process can read them, with a table of their tiles.

    A field whose own file holds the same pixels is named in the table rather than written.

    Parameters
    ----------
    fields
        The fields; those without a label are ignored.
    folder
        A private, empty folder.
    group_by
        A regular expression whose first group, in a field's name, names the split's group; the field
        itself when None.

    Returns
    -------
    Path
        The table: path, y0, x0, y1, x1, class_name, colour, group.

    Raises
    ------
    DatasetError
        No tile is labelled, or of one class only, or ``group_by`` does not fit a name.
    OutputError
        The disk is full, or may not be written to.
    """
    tables = []
    labelled = _labelled_fields(fields)
    for done, (field, name, group) in enumerate(labelled):
        task.progress("writing fields", done, len(labelled))
        task.check("cancelled while the fields were written")
        own = field.path if _same_pixels(field) and _same_group(field, name, group_by) else None
        tables.append(_tile_table(field, group, own or _write_field(field, folder / f"{name}.tif"), group_by))
    escape_formulas(pd.concat(tables)).to_csv(folder / CSV_NAME, index=False, lineterminator="\n")
    return folder / CSV_NAME


def annotated_dataset(
    fields: Sequence[AnnotatedField],
    group_by: str | None,
    task: Task = NO_TASK,
    classes: Sequence[str] | None = None,
) -> TileDataset:
    """Make a data set of annotated fields as they are in memory; nothing is written.

    Tiles, labels and groups are those of the table of :func:`write_annotated_fields`, so its split is that of the
    training.

    Parameters
    ----------
    fields, group_by
        As there.
    task
        Reports and is checked once per field.
    classes
        All classes in their order, those of a model; those that occur when None.

    Raises
    ------
    DatasetError
        No tile is labelled, or of one class only, or ``group_by`` does not fit a name; a class is not among
        ``classes``.
    CancelledError
        The task was cancelled.
    """
    sources: dict[Path, SourceImage] = {}
    tables = []
    for field, name, group in _labelled_fields(fields):
        path = field.path if field.path not in sources and _same_group(field, name, group_by) else None
        path = path or Path(f"{name}.tif")
        sources[path] = field.source
        tables.append(_tile_table(field, group, path, group_by))
    rows = pd.concat(tables, ignore_index=True)
    frame = rows.astype(object).where(rows.notna(), "").astype(str)
    return dataset_from_table(frame, Path(CSV_NAME), task, group_by=group_by, read=sources.__getitem__, classes=classes)


def _labelled_fields(fields: Sequence[AnnotatedField]) -> list[tuple[AnnotatedField, str, str]]:
    """Return the fields with labelled tiles, each with a file name of its own and its group, that of its stack."""
    labelled = [field for field in fields if len(field.tiles)]
    classes = sorted({str(name) for field in labelled for name in field.tiles["class_name"]})
    if len(classes) < 2:
        what = f"all labelled tiles are {classes[0]!r}" if classes else "no tile is labelled yet"
        raise DatasetError(f"{what}; label tiles of at least two classes")
    names = unique_file_names([field.name for field in labelled])
    groups: dict[tuple[object, ...], str] = {}
    found = []
    for field, name in zip(labelled, names, strict=True):
        stack = (field.name, field.path, field.source.scene, field.source.source_shape)
        group = groups.setdefault(stack, name) if field.source.plane else name
        found.append((field, name, group))
    return found


def _tile_table(field: AnnotatedField, group: str, path: Path, group_by: str | None) -> pd.DataFrame:
    table = field.tiles.reindex(columns=["y0", "x0", "y1", "x1", "class_name", "colour"])
    table.insert(0, "path", str(path))
    own = field.tiles["group"].to_numpy() if "group" in field.tiles else group
    table["group"] = own if group_by is None else group_name(path, group_by)
    return table


def unique_file_names(names: Sequence[str]) -> list[str]:
    """Make unique file names of the names of fields."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", name).strip(". ")[:100] or "field"
        number, one = 2, plain
        while one in found:
            one, number = f"{plain} ({number})", number + 1
        found.append(one)
    return found


def _same_pixels(field: AnnotatedField) -> bool:
    if field.path is None:
        return False
    try:
        return read_image(field.path).image_id == field.source.image_id
    except CellClassError:
        return False


def _same_group(field: AnnotatedField, name: str, group_by: str | None) -> bool:
    """Whether a field's file gets the same group as the field itself: its layer may have another name."""
    if group_by is None or field.path is None:
        return True
    try:
        return group_name(field.path, group_by) == group_name(Path(f"{name}.tif"), group_by)
    except DatasetError:
        return False


def _write_field(field: AnnotatedField, path: Path) -> Path:
    """Write a field in its own dtype; of a very large one only the labelled tiles."""
    source = field.source
    height, width = source.shape
    row_bytes = width * source.channels * source.dtype.itemsize
    size = None if source.pixel_size_um is None else source.pixel_size_um
    metadata: dict[str, Any] = {"axes": "CYX"}
    if size is not None:
        metadata |= {"PhysicalSizeY": size[0], "PhysicalSizeX": size[1]}
        metadata |= {"PhysicalSizeYUnit": "µm", "PhysicalSizeXUnit": "µm"}
    try:
        page = tifffile.memmap(
            path, shape=(source.channels, height, width), dtype=source.dtype.newbyteorder("="), ome=True,
            photometric="minisblack", metadata=metadata, bigtiff=row_bytes * height > 2 << 30,
        )  # fmt: skip
        for y0, x0, y1, x1 in _boxes_to_write(field, row_bytes):
            page[:, y0:y1, x0:x1] = np.moveaxis(source.read(y0, x0, y1, x1), -1, 0)
        page.flush()
    except OSError as error:
        raise output_error(path, error) from error
    return path


def _boxes_to_write(field: AnnotatedField, row_bytes: int) -> Iterator[tuple[int, int, int, int]]:
    height, width = field.source.shape
    if row_bytes * height <= _WHOLE_BYTES:
        band = max(1, _BAND_BYTES // row_bytes)
        yield from ((y, 0, min(height, y + band), width) for y in range(0, height, band))
        return
    for y0, x0, y1, x1 in field.tiles[["y0", "x0", "y1", "x1"]].to_numpy(int).tolist():
        yield max(0, y0), max(0, x0), min(height, y1), min(width, x1)
