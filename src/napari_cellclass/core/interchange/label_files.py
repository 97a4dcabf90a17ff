"""Tile labels for other programs, as CSV and as regions for GeoJSON; and boxes of files as regions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.csv_tables import find_column, number_column, read_table
from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.names import clean_name, stem_of
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.points_and_boxes import CsvBoxes, CsvPoints, napari_axes, read_boxes_csv
from napari_cellclass.core.labels.regions import Region, Regions, ellipse_outline
from napari_cellclass.core.tiles.grid import TileGrid


def write_labels_csv(
    path: Path, image_name: str, grid: TileGrid, scheme: ClassScheme, labels: NDArray[np.int16]
) -> None:
    """Write the labelled tiles: image, tile_id, row, col, y0, x0, y1, x1, class_name, colour.

    Tiles without a label, unsure or in conflict are not written. :func:`read_boxes_csv` reads the file.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    labelled = np.flatnonzero(labels >= 0)
    columns = {"image": [image_name] * len(labelled), "tile_id": grid.tile_id[labelled]}
    columns |= {"row": grid.row[labelled], "col": grid.col[labelled]}
    columns |= {name: grid.boxes[labelled, i] for i, name in enumerate(("y0", "x0", "y1", "x1"))}
    columns |= {"class_name": [scheme.names[i] for i in labels[labelled]]}
    columns |= {"colour": [scheme.colours[i] for i in labels[labelled]]}
    with atomic_write(path) as temporary:
        escape_formulas(pd.DataFrame(columns)).to_csv(temporary, index=False, lineterminator="\n")


def regions_from_labels(grid: TileGrid, scheme: ClassScheme, labels: NDArray[np.int16]) -> list[Region]:
    """Convert every labelled tile to a region."""
    corners = grid.rects().astype(float)
    return [
        Region(scheme.names[labels[i]], scheme.colours[labels[i]], ((corners[i],),), np.zeros((0, 2)))
        for i in np.flatnonzero(labels >= 0)
    ]


def regions_from_boxes(boxes: CsvBoxes, colours: dict[str, str]) -> Regions:
    """Convert every box to a region; ``colours`` may lack a class."""
    corners = boxes.outlines()
    pairs = zip(boxes.names, corners, strict=True)
    regions = tuple(Region(name, colours.get(name), ((ring,),), np.zeros((0, 2))) for name, ring in pairs)
    return Regions(regions, boxes.skipped)


def skipped_note(file_name: str, skipped: Sequence[str], shown: int = 3) -> str:
    """Say how many parts of a file were not read, and name the first."""
    listed = "; ".join(skipped[:shown]) + ("; …" if len(skipped) > shown else "")
    return f"{file_name}: {counted(len(skipped), 'part was', 'parts were')} not read: {listed}"


def regions_from_points(points: CsvPoints) -> Regions:
    """Convert every point to a region."""
    planes = points.planes or ({},) * len(points.names)
    rows = zip(points.names, points.points, planes, strict=True)
    regions = tuple(Region(name, None, (), point[None], plane=plane) for name, point, plane in rows)
    return Regions(regions, points.skipped)


def read_labels_csv(path: Path, image_name: str | None = None) -> Regions:
    """Read labelled boxes as regions, with the colours of the column ``colour``, if it exists.

    Raises
    ------
    DatasetError
        See :func:`read_boxes_csv`.
    """
    boxes = read_boxes_csv(path, image_name)
    frame = read_table(path)
    column = next((name for name in ("class_name", "name", "class", "label", "type") if name in frame.columns), "")
    colours: dict[str, str] = {}
    if column and "colour" in frame.columns:
        for name, colour in zip(frame[column], frame["colour"].str.strip(), strict=True):
            if re.fullmatch("#[0-9A-Fa-f]{6}", colour):
                colours.setdefault(clean_name(name), colour.upper())
    return regions_from_boxes(boxes, colours)


def read_napari_shapes(path: Path) -> Regions:
    """Read the CSV that napari saves of a Shapes layer: index, shape-type, vertex-index, axis-0, axis-1, ...

    Axes before the last two are planes. The class is in a column as of :func:`read_points_csv`, else it is the file's
    name. Shapes that enclose nothing, or lie across planes, are listed in ``skipped``.

    Raises
    ------
    DatasetError
        The file cannot be read, or none of its shapes can be used.
    """
    frame = read_table(path)
    axes = napari_axes(frame)
    for name in ("index", "shape-type", "axis-0", "axis-1"):
        find_column(frame, (name,), path, repr(name))
    column = next((name for name in ("name", "class_name", "class", "label", "type") if name in frame.columns), None)
    separator = frame.attrs.get("separator", ",")
    values = np.column_stack([number_column(frame[name], separator) for name in axes])
    regions, skipped = [], []
    for index, rows in frame.reset_index(drop=True).groupby("index", sort=False).indices.items():
        shape, corners = f"shape {index}", values[rows]
        kind = frame["shape-type"].iloc[rows[0]].strip().lower()
        name = stem_of(path.name) if column is None else clean_name(frame[column].iloc[rows[0]])
        plane, fault = _plane_of_corners(corners, kind)
        if fault or not name:
            skipped.append(f"{shape}: {fault or 'the class is empty'}")
            continue
        ring = ellipse_outline(corners[:, -2:]) if kind == "ellipse" else corners[:, -2:]
        regions.append(Region(name, None, ((ring,),), np.zeros((0, 2)), name=shape, plane=plane))
    if not regions:
        raise DatasetError(f"{path}, {skipped[0] if skipped else 'it holds no shape'}; save the layer again")
    return Regions(tuple(regions), tuple(skipped))


def _plane_of_corners(corners: NDArray[np.float64], kind: str) -> tuple[dict[str, int], str]:
    """Return the plane of a shape, and why it cannot be used."""
    if kind in ("line", "path"):
        return {}, f"a {kind} that encloses nothing"
    if not np.isfinite(corners).all():
        return {}, "a coordinate is not a number"
    if len(corners) < (4 if kind == "ellipse" else 3):
        return {}, f"an outline has {counted(len(corners), 'corner')}, but needs 3"
    planes = np.round(corners[:, :-2])
    if (planes != planes[0]).any():
        return {}, "it lies across several planes"
    return {letter: int(n) for letter, n in zip("ZT", planes[0, ::-1], strict=False)}, ""
