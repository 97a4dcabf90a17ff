"""Labelled points and boxes of CSV files, for one image at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_tables import find_column, number_column, read_table
from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.names import clean_name, distinct_paths, matching_names, stem_of

_IMAGE = ("image", "image_name", "filename", "file", "path")
_CLASS = ("name", "class_name", "class", "label", "type")
_BOXES = (("y0", "x0", "y1", "x1"), ("ymin", "xmin", "ymax", "xmax"), ("y_min", "x_min", "y_max", "x_max"))
_AXIS = re.compile(r"axis-(\d+)")


@dataclass(frozen=True, eq=False)
class CsvPoints:
    """Points of one image.

    Parameters
    ----------
    points, names
        float64 (n, 2) of (y, x) in px, and their n class names.
    skipped
        Which lines were not read, and why.
    planes
        For each point its plane, ``{"T": 0, "Z": 3}``; empty where the file names no planes.
    """

    points: NDArray[np.float64]
    names: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    planes: tuple[dict[str, int], ...] = ()

    def on_plane(self, plane: Mapping[str, int]) -> CsvPoints:
        """Keep the points of a plane; of its axes those count that the file names."""
        if not self.planes:
            return self
        kept = [i for i, own in enumerate(self.planes) if all(plane.get(a, n) == n for a, n in own.items())]
        others = len(self.names) - len(kept)
        left_out = (f"{counted(others, 'point')} of other planes",) if others else ()
        return CsvPoints(
            self.points[kept], tuple(self.names[i] for i in kept), (*self.skipped, *left_out),
            tuple(self.planes[i] for i in kept),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class CsvBoxes:
    """Boxes of one image.

    Parameters
    ----------
    boxes, names
        float64 (n, 4) of y0, x0, y1, x1 in px, and their n class names.
    skipped
        Which lines or annotations were not read, and why.
    """

    boxes: NDArray[np.float64]
    names: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def outlines(self) -> NDArray[np.float64]:
        """Corners, (n, 4, 2) of (y, x), pixel centres on integers, as ``labels_from_polygons`` expects them."""
        y0, x0, y1, x1 = (self.boxes - 0.5).T
        return np.stack([np.stack(c, axis=1) for c in ((y0, x0), (y0, x1), (y1, x1), (y1, x0))], axis=1)

    def centres(self) -> NDArray[np.float64]:
        """Centres, (n, 2) of (y, x), pixel centres on integers."""
        return (self.boxes[:, :2] + self.boxes[:, 2:] - 1) / 2


def read_points_csv(path: Path, image_name: str | None = None) -> CsvPoints:
    """Read labelled points: columns x, y (px, pixel centres on integers), a class name, and the image.

    A line whose class or coordinate is missing is passed over and named in ``skipped``.

    Parameters
    ----------
    path
        The CSV file. Column names are not case-sensitive; the class is in the first of name, class_name,
        class, label, type that exists, the image in image, image_name, filename, file or path. A file that
        napari has saved of a Points layer has the columns axis-0, axis-1, ... instead of y and x; without a
        class in it, that is the file's name, and without an image, its points are those of any image. Columns t and
        z, or axes before the last two, are planes.
    image_name
        The image's name or path: rows of this image are read, see
        :func:`~napari_cellclass.core.common.names.matching_names`; None reads all.

    Raises
    ------
    DatasetError
        The file cannot be read, lacks a column, has no row of the image or rows of two images that have its name,
        or none of its lines can be used.
    """
    frame = read_table(path)
    axes = napari_axes(frame)
    if "vertex-index" in frame.columns:
        raise DatasetError(f"{path} holds shapes as napari saves them, not points; read it as boxes")
    frame = _rows_of_image(frame, path, None if axes and not set(_IMAGE) & set(frame.columns) else image_name)
    columns = tuple(axes[-2:]) if axes else ("y", "x")
    for name in columns:
        find_column(frame, (name,), path, "a coordinate")
    values, wrong = _numbers(frame, columns)
    names, wrong = _class_names(frame, path, wrong, stem_of(path.name) if axes else None)
    kept, skipped = _usable(frame, path, wrong)
    return CsvPoints(values[kept], tuple(names[i] for i in kept), skipped, _planes(frame.iloc[kept], axes))


def read_boxes_csv(path: Path, image_name: str | None = None) -> CsvBoxes:
    """Read labelled boxes: columns x0, y0, x1, y1 or xmin, ymin, xmax, ymax (px), a class name, the image.

    A line whose box has no area, or whose class or coordinate is missing, is passed over and named in ``skipped``.

    Raises
    ------
    DatasetError
        See :func:`read_points_csv`.
    """
    frame = _rows_of_image(read_table(path), path, image_name)
    columns = next((names for names in _BOXES if set(names) <= set(frame.columns)), _BOXES[0])
    for name in columns:
        find_column(frame, (name,), path, "a coordinate")
    boxes, wrong = _numbers(frame, columns)
    for row in np.flatnonzero((boxes[:, :2] >= boxes[:, 2:]).any(axis=1)).tolist():
        wrong.setdefault(row, "the box has no area")
    names, wrong = _class_names(frame, path, wrong)
    kept, skipped = _usable(frame, path, wrong)
    return CsvBoxes(boxes[kept], tuple(names[i] for i in kept), skipped)


def napari_axes(frame: pd.DataFrame) -> list[str]:
    """Return the columns of coordinates of a table that napari saved of a layer, in their order; else empty."""
    found = sorted((int(match[1]), name) for name in frame.columns if (match := _AXIS.fullmatch(str(name))))
    return [name for _, name in found] if len(found) > 1 else []


def _rows_of_image(frame: pd.DataFrame, path: Path, image_name: str | None) -> pd.DataFrame:
    if image_name is None:
        return frame
    listed = frame[find_column(frame, _IMAGE, path, "the image")].tolist()
    unique = list(dict.fromkeys(listed))
    found = matching_names(image_name, unique)
    if not found:
        known = ", ".join(sorted(set(unique))[:3])
        raise DatasetError(f"{path} has no row for the image {image_name}; its images are {known} …")
    paths = distinct_paths(unique, found)
    if len(paths) > 1:
        raise DatasetError(
            f"{path} has rows for several images that may be {image_name}: {', '.join(paths[:3])}; remove the others"
        )
    wanted = {unique[i] for i in found}
    return frame[[text in wanted for text in listed]]


def _numbers(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[NDArray[np.float64], dict[int, str]]:
    """Read numbers, and say by row what is none."""
    separator = frame.attrs.get("separator", ",")
    values = np.column_stack([number_column(frame[name], separator) for name in columns])
    wrong: dict[int, str] = {}
    for row, column in np.argwhere(~np.isfinite(values)).tolist():
        name = columns[column]
        wrong.setdefault(row, f"{name} is {frame[name].iloc[row]!r}, not a number")
    return values, wrong


def _class_names(
    frame: pd.DataFrame, path: Path, wrong: dict[int, str], default: str | None = None
) -> tuple[list[str], dict[int, str]]:
    if default is not None and not set(_CLASS) & set(frame.columns):
        return [default] * len(frame), wrong
    names = [clean_name(name) for name in frame[find_column(frame, _CLASS, path, "a class")]]
    for row, name in enumerate(names):
        if not name:
            wrong.setdefault(row, "the class is empty")
    return names, wrong


def _usable(frame: pd.DataFrame, path: Path, wrong: dict[int, str]) -> tuple[list[int], tuple[str, ...]]:
    """Return the rows that can be used, and what is wrong with the others; refuse a file without any."""
    left_out = [f"line {frame.index[row] + 2}: {wrong[row]}" for row in sorted(wrong)]
    if left_out and len(wrong) == len(frame):
        raise DatasetError(f"{path}, {left_out[0]}; correct or remove the line")
    return [row for row in range(len(frame)) if row not in wrong], tuple(left_out)


def _planes(frame: pd.DataFrame, axes: Sequence[str]) -> tuple[dict[str, int], ...]:
    letters = dict(zip("ZT", axes[-3::-1], strict=False)) if axes else {}
    letters |= {letter.upper(): letter for letter in ("t", "z") if not axes and letter in frame.columns}
    columns = {letter: number_column(frame[name]) for letter, name in letters.items()}
    if not columns:
        return ()
    return tuple(
        {letter: round(float(values[i])) for letter, values in columns.items() if np.isfinite(values[i])}
        for i in range(len(frame))
    )
