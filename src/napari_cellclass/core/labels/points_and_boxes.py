"""Labelled points and boxes of CSV files, for one image at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_tables import find_column, read_numbers, read_table
from napari_cellclass.core.common.errors import DatasetError

_IMAGE = ("image", "image_name", "filename", "file", "path")
_CLASS = ("name", "class_name", "class", "label", "type")
_BOXES = (("y0", "x0", "y1", "x1"), ("ymin", "xmin", "ymax", "xmax"), ("y_min", "x_min", "y_max", "x_max"))


@dataclass(frozen=True, eq=False)
class CsvPoints:
    """Points of one image: ``points`` float64 (n, 2) of (y, x) in px, and their n class ``names``."""

    points: NDArray[np.float64]
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class CsvBoxes:
    """Boxes of one image: ``boxes`` float64 (n, 4) of y0, x0, y1, x1 in px, and their n class ``names``."""

    boxes: NDArray[np.float64]
    names: tuple[str, ...]

    def outlines(self) -> NDArray[np.float64]:
        """Corners, (n, 4, 2) of (y, x), pixel centres on integers, as ``labels_from_polygons`` expects them."""
        y0, x0, y1, x1 = (self.boxes - 0.5).T
        return np.stack([np.stack(c, axis=1) for c in ((y0, x0), (y0, x1), (y1, x1), (y1, x0))], axis=1)

    def centres(self) -> NDArray[np.float64]:
        """Centres, (n, 2) of (y, x), pixel centres on integers."""
        return (self.boxes[:, :2] + self.boxes[:, 2:] - 1) / 2


def read_points_csv(path: Path, image_name: str | None = None) -> CsvPoints:
    """Read labelled points: columns x, y (px, pixel centres on integers), a class name, and the image.

    Parameters
    ----------
    path
        The CSV file. Column names are not case-sensitive; the class is in the first of name, class_name,
        class, label, type that exists, the image in image, image_name, filename, file or path.
    image_name
        Rows of this image are read, by file name, or by its stem where no name matches; None reads all.

    Raises
    ------
    DatasetError
        The file cannot be read, lacks a column, has a coordinate that is no number, or no row of the image.
    """
    frame = _rows_of_image(read_table(path), path, image_name)
    for name in ("y", "x"):
        find_column(frame, (name,), path, "a coordinate")
    return CsvPoints(read_numbers(frame, ("y", "x"), path), _class_names(frame, path))


def read_boxes_csv(path: Path, image_name: str | None = None) -> CsvBoxes:
    """Read labelled boxes: columns x0, y0, x1, y1 or xmin, ymin, xmax, ymax (px), a class name, the image.

    Raises
    ------
    DatasetError
        See :func:`read_points_csv`; a box without an area.
    """
    frame = _rows_of_image(read_table(path), path, image_name)
    columns = next((names for names in _BOXES if set(names) <= set(frame.columns)), _BOXES[0])
    for name in columns:
        find_column(frame, (name,), path, "a coordinate")
    boxes = read_numbers(frame, columns, path)
    empty = np.flatnonzero((boxes[:, :2] >= boxes[:, 2:]).any(axis=1))
    if len(empty):
        raise DatasetError(f"{path}, line {frame.index[empty[0]] + 2}: the box has no area; correct or remove it")
    return CsvBoxes(boxes, _class_names(frame, path))


def _rows_of_image(frame: pd.DataFrame, path: Path, image_name: str | None) -> pd.DataFrame:
    if image_name is None:
        return frame
    images = frame[find_column(frame, _IMAGE, path, "the image")].str.replace("\\", "/").str.split("/").str[-1]
    rows = images == image_name
    if not rows.any():
        rows = images.map(lambda name: Path(name).stem) == Path(image_name).stem
    if not rows.any():
        known = ", ".join(sorted(set(images))[:3])
        raise DatasetError(f"{path} has no row for the image {image_name}; its images are {known} …")
    return frame[rows]


def _class_names(frame: pd.DataFrame, path: Path) -> tuple[str, ...]:
    column = find_column(frame, _CLASS, path, "a class")
    names = tuple(frame[column].str.strip())
    if "" in names:
        raise DatasetError(f"{path}, line {frame.index[names.index('')] + 2}: the class is empty; fill it in")
    return names
