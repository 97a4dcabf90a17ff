"""The two tables of a plate: a row per field, and a row per well, summed over its fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np
import pandas as pd

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.csv_tables import find_column, read_table
from napari_cellclass.core.common.errors import DatasetError, ParamsError
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.common.names import matching_names, split_path
from napari_cellclass.core.plates.field_summary import FieldSummary
from napari_cellclass.core.plates.inputs import FIELD_TABLE, WELL_TABLE
from napari_cellclass.core.plates.wells import Well, parse_well, site_in_name, well_in_name

FieldState = Literal["done", "failed", "open"]
_IMAGE_COLUMNS = ("image", "path", "file", "filename")
_SUMS = ("tiles", "unsure", "no_class")
UNLIKE, UNLIKE_SHARE = "unlike_training", "unlike_training_share"
"""Columns: tiles unlike all that the model was trained on, and their fraction of all tiles."""


@dataclass(frozen=True)
class FieldRow:
    """What the table of fields says of one image.

    Parameters
    ----------
    image, stem
        Its path, and what the names of its tables begin with.
    state
        ``"done"``, ``"failed"``, or ``"open"`` where the run was cancelled before.
    summary
        What was found in it; None unless ``"done"``.
    well, site
        Where the metadata of its plate say so; else they are read from the image's name.
    scene
        Which image of its file, where it holds several; else None.
    plane
        Where several planes are classified, the one of this row, ``{"T": 0, "Z": 3}``; else empty.
    """

    image: str
    stem: str
    state: FieldState
    summary: FieldSummary | None = None
    well: Well | None = None
    site: int | None = None
    scene: int | None = None
    plane: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class WellList:
    """The wells of images: from a file ``image,well``, else from their names.

    Parameters
    ----------
    wells
        By image, as it is written in the file; None without a file.
    path
        The file.
    """

    wells: Mapping[str, Well] | None = None
    path: Path | None = None

    @classmethod
    def read(cls, path: Path | None) -> WellList:
        """Read a CSV with the columns ``image`` (a path, a file name, or one without its suffix) and ``well``.

        Raises
        ------
        DatasetError
            The file is missing or no such table, or holds something that is no well; says which line.
        """
        if path is None:
            return cls()
        frame = read_table(path)
        images = find_column(frame, _IMAGE_COLUMNS, path, "an image")
        wells = find_column(frame, ("well",), path, "a well")
        found: dict[str, Well] = {}
        for line, image, text in zip(frame.index, frame[images], frame[wells], strict=True):
            well = parse_well(text)
            if well is None:
                raise DatasetError(
                    f"{path}, line {line + 2}: {text!r} is no well; write a letter and a number, e.g. B03"
                )
            if found.setdefault("/".join(split_path(image)), well) != well:
                raise DatasetError(f"{path}, line {line + 2}: {image!r} was given another well before; keep one line")
        return cls(found, path)

    def well(self, image: str) -> Well | None:
        """Return the well of an image, or None where it is unknown or where two may be meant."""
        path = PurePath(image)
        if self.wells is None:
            return well_in_name(path.name)
        listed = list(self.wells)
        found = {self.wells[listed[i]] for i in matching_names(image, listed)}
        return found.pop() if len(found) == 1 else None

    def check(self, images: Sequence[str]) -> None:
        """Raise :class:`ParamsError` where a file of wells names none of the images."""
        if self.wells is not None and all(self.well(image) is None for image in images):
            example = next(iter(self.wells), "nothing")
            raise ParamsError(
                f"--wells {self.path} names none of the images (it names {example!r}, the first image is "
                f"{PurePath(images[0]).name!r}); write file names"
            )


def field_table(rows: Sequence[FieldRow], classes: Sequence[str], wells: WellList) -> pd.DataFrame:
    """Make the table of fields.

    Returns
    -------
    DataFrame
        A row per image, in order, done or not. Columns image, stem, well, site, state, tiles, ``n_<class>`` and
        ``fraction_<class>`` (of all tiles) for each class, mean_confidence, unsure, no_class. What is not known is
        empty; all numbers of an image that is not done are. Where a file holds several images, a column scene is
        after stem; where several planes are classified, each has a row, and columns t and z are before well. Where
        the model tells what is unlike training, unlike_training and unlike_training_share are last.
    """
    unlike = any(row.summary is not None and row.summary.unlike_training is not None for row in rows)
    columns = _columns(classes) + ([UNLIKE, UNLIKE_SHARE] if unlike else [])
    table = pd.DataFrame([_field(row, classes, wells) for row in rows], columns=columns)
    if any(row.scene is not None for row in rows):
        table.insert(2, "scene", [row.scene for row in rows])
    for axis in ("T", "Z"):
        if any(axis in row.plane for row in rows):
            table.insert(list(table.columns).index("well"), axis.lower(), [row.plane.get(axis) for row in rows])
    return table


def _field(row: FieldRow, classes: Sequence[str], wells: WellList) -> dict[str, Any]:
    well = row.well if wells.wells is None and row.well is not None else wells.well(row.image)
    site = row.site if row.well is not None else None if well is None else site_in_name(PurePath(row.image).name)
    row_values: dict[str, Any] = {
        "image": row.image,
        "stem": row.stem,
        "well": "" if well is None else well.name,
        "site": site,
        "scene": row.scene,
        "state": row.state,
    }
    found = row.summary
    if row.state != "done" or found is None or found.counts is None:
        return row_values
    counts = {f"n_{name}": found.counts.get(name, 0) for name in classes}
    fractions = {f"fraction_{name}": found.counts.get(name, 0) / max(1, found.tiles) for name in classes}
    rest = {"mean_confidence": found.mean_confidence, "unsure": found.unsure, "no_class": found.no_class}
    if found.unlike_training is not None:
        rest |= {UNLIKE: found.unlike_training, UNLIKE_SHARE: found.unlike_training / max(1, found.tiles)}
    return row_values | {"tiles": found.tiles} | counts | fractions | rest


def _columns(classes: Sequence[str]) -> list[str]:
    numbers = ["tiles", *(f"n_{name}" for name in classes), *(f"fraction_{name}" for name in classes)]
    return ["image", "stem", "well", "site", "state", *numbers, "mean_confidence", "unsure", "no_class"]


def well_table(fields: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Sum the table of fields over each well.

    Returns
    -------
    DataFrame
        A row per well, by row and column of the plate. Columns well, fields (done), missing (failed or open), and the
        numbers of :func:`field_table`; the mean confidence is that of all classified tiles. Empty where no field
        has a well.
    """
    rows, unlike = [], [UNLIKE] if UNLIKE in fields else []
    for name, group in fields[fields["well"] != ""].groupby("well"):
        done = group[group["state"] == "done"]
        len_done = _fields(group) - _fields(group[group["state"] != "done"])
        sums = {column: _sum(done[column]) for column in (*_SUMS, *(f"n_{one}" for one in classes), *unlike)}
        row_values: dict[str, Any] = {"well": name, "fields": len_done, "missing": _fields(group) - len_done} | sums
        if len(done):
            tiles = done["tiles"].to_numpy(float)
            weight = tiles - done["no_class"].to_numpy(float)
            row_values |= {f"fraction_{one}": sums[f"n_{one}"] / max(1.0, tiles.sum()) for one in classes}
            mean = np.nan_to_num(done["mean_confidence"].to_numpy(float))
            if unlike and sums[UNLIKE] is not None:
                row_values[UNLIKE_SHARE] = sums[UNLIKE] / max(1.0, tiles[done[UNLIKE].notna()].sum())
            row_values["mean_confidence"] = float((mean * weight).sum() / weight.sum()) if weight.sum() else None
        rows.append(row_values)
    columns = ["well", "fields", "missing", *_columns(classes)[5:], *([UNLIKE, UNLIKE_SHARE] if unlike else [])]
    rows.sort(key=lambda row: _position(row["well"]))
    return pd.DataFrame(rows, columns=columns)


def _fields(rows: pd.DataFrame) -> int:
    """Count the fields of rows: several planes are one."""
    return len(rows[[name for name in ("image", "scene") if name in rows]].drop_duplicates())


def _position(name: str) -> tuple[int, int]:
    well = parse_well(name)
    assert well is not None
    return well.row, well.column


def _sum(column: pd.Series) -> int | None:
    values = column.dropna()
    return int(values.sum()) if len(values) else None


def write_plate_tables(fields: pd.DataFrame, wells: pd.DataFrame, out: Path) -> None:
    """Write ``fields.csv``, and ``wells.csv`` where there are wells; what an earlier run left of these is removed.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    _write(fields, out / FIELD_TABLE)
    if len(wells):
        _write(wells, out / WELL_TABLE)
    else:
        (out / WELL_TABLE).unlink(missing_ok=True)


def _write(frame: pd.DataFrame, path: Path) -> None:
    counts = {"site", "scene", "t", "z", UNLIKE, *_SUMS}
    whole = {name: "Int64" for name in frame.columns if name in counts or name.startswith("n_")}
    typed = frame.astype(dict.fromkeys(whole, "float64")).astype(whole)
    typed = typed.astype(
        {name: "float64" for name in frame.columns if name.startswith(("fraction_", "mean_conf", UNLIKE_SHARE))}
    )
    with atomic_write(path) as temporary:
        # A file name may hold bytes that are no UTF-8; they are written as escapes.
        safe = escape_formulas(typed)
        safe.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n", errors="backslashreplace")


def classes_in_table(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the classes of a table of fields or wells."""
    return tuple(name.removeprefix("fraction_") for name in table.columns if name.startswith("fraction_"))
