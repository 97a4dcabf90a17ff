"""Tile labels for other programs, as CSV and as regions for GeoJSON; and boxes of files as regions."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.csv_tables import read_table
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.labels.points_and_boxes import CsvBoxes, read_boxes_csv
from napari_cellclass.core.labels.regions import Region, Regions
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
    return Regions(tuple(Region(name, colours.get(name), ((ring,),), np.zeros((0, 2))) for name, ring in pairs))


def read_labels_csv(path: Path) -> Regions:
    """Read labelled boxes of any image as regions, with the colours of the column ``colour``, if it exists.

    Raises
    ------
    DatasetError
        See :func:`read_boxes_csv`.
    """
    boxes = read_boxes_csv(path)
    frame = read_table(path)
    given = frame["colour"].str.strip() if "colour" in frame.columns else [""] * len(frame)
    pairs = zip(boxes.names, given, strict=True)
    return regions_from_boxes(boxes, {n: c.upper() for n, c in pairs if re.fullmatch("#[0-9A-Fa-f]{6}", c)})
