"""Tables of classified tiles read from our CSV and GeoJSON files, and WSInfer's CSV read and written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.csv_tables import find_column, read_header, read_numbers, read_table
from napari_cellclass.core.common.errors import DatasetError, GridError, ParamsError
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.interchange.geojson import (
    list_features,
    load_geojson,
    parse_classification,
    parse_json_text,
    parse_regions,
)
from napari_cellclass.core.labels.classes import UNSURE_NAME, ClassScheme, palette
from napari_cellclass.core.labels.regions import rectangle_bounds
from napari_cellclass.core.predictions.table import FOREIGN_MEMBER, TileTable
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.grid_layout import grid_from_boxes, grid_from_layout

_BOX = ("y0", "x0", "y1", "x1")
_WSINFER = ("minx", "miny", "width", "height")
_NOVELTY = ("novelty", "novelty_p")
_ROUNDING = 2e-6  # of probabilities in files
_LARGEST_PX = 1_000_000_000


def detect_csv_kind(path: Path) -> str:
    """Detect what a CSV file contains by its header.

    Labels are boxes with a class but no probabilities; points and shapes are as napari saves them, with a class.

    Returns
    -------
    str
        ``"tiles"``, ``"wsinfer"``, ``"labels"``, ``"points"``, ``"shapes"``, or ``""``.
    """
    columns = [name.lower() for name in read_header(path)]
    probable = [name.split("_")[0] for name in columns if name.startswith(("p_", "prob_"))]
    if set(_WSINFER) <= set(columns) and "prob" in probable:
        return "wsinfer"
    if {"index", "axis-0", "axis-1", "class_name"} <= set(columns):  # without a class, they are napari's to open
        return "shapes" if {"shape-type", "vertex-index"} <= set(columns) else "points"
    if not set(_BOX) <= set(columns) or "class_name" not in columns:
        return ""
    if "p" in probable:
        return "tiles"
    return "labels" if {"path", "file"}.isdisjoint(columns) else ""  # else a list of training tiles


def read_table_csv(path: Path, image_shape: tuple[int, int] | None = None) -> TileTable:
    """Read ``NAME.tiles.csv`` as :meth:`TileTable.to_csv` wrote it, or WSInfer's CSV.

    The file has neither the classes' colours, which are then those of the palette, nor the field's size.

    Parameters
    ----------
    path
        The file.
    image_shape
        (height, width) of the field in px; the extent of the tiles when not given.

    Raises
    ------
    DatasetError
        The file is missing or damaged, lacks a column, contains no tile, holds tiles of several planes, or a line's
        class is not that of its largest probability; the message names the line.
    """
    frame = read_table(path, lower=False)
    plane = _only_plane(frame, path)
    if set(_WSINFER) <= set(frame.columns):
        return _read_wsinfer(frame, path, image_shape)
    for name in ("row", "col", *_BOX, "class_name"):
        find_column(frame, (name,), path, repr(name))
    names = [name.removeprefix("p_") for name in frame.columns if name.startswith("p_")]
    boxes = _integers(frame, _BOX, path)
    prob = _probabilities(frame, [f"p_{name}" for name in names], path)
    scheme = _scheme(names, path)
    prob = _break_ties(
        prob, frame["class_name"].str.strip().tolist(), scheme, [f"line {i + 2}" for i in frame.index], path
    )
    row, col = _integers(frame, ("row", "col"), path).T
    ids = _integers(frame, ("tile_id",), path)[:, 0] if "tile_id" in frame.columns else None
    grid = grid_from_boxes(boxes.astype(np.int32), row, col, ids, image_shape)
    table = TileTable(grid, scheme, prob, plane=plane)
    if not set(_NOVELTY) <= set(frame.columns):
        return table
    values = frame[list(_NOVELTY)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float32)
    return replace(table, novelty=values[:, 0], novelty_p=values[:, 1])


def _only_plane(frame: pd.DataFrame, path: Path) -> dict[str, int]:
    """Return the plane that all lines of a table are of, empty where it has no columns of planes."""
    plane: dict[str, int] = {}
    for axis in (name for name in ("t", "z") if name in frame.columns):
        values = np.unique(_integers(frame, (axis,), path))
        if len(values) > 1:
            raise _several_planes(path, f"{len(values)} planes, {axis} = {values[0]} to {values[-1]}")
        plane |= {axis.upper(): int(value) for value in values}
    return plane


def _several_planes(path: Path, planes: str) -> DatasetError:
    return DatasetError(
        f"{path} holds tiles of {planes}, which would lie over one another; open the table of one plane"
    )


def _read_wsinfer(frame: pd.DataFrame, path: Path, image_shape: tuple[int, int] | None) -> TileTable:
    names = [name.removeprefix("prob_") for name in frame.columns if name.startswith("prob_")]
    x, y, width, height = np.round(_bounded(read_numbers(frame, _WSINFER, path), frame, path)).astype(np.int64).T
    boxes = np.stack([y, x, y + height, x + width], axis=1)
    _check_boxes(boxes, frame, path)
    prob = _probabilities(frame, [f"prob_{name}" for name in names], path)
    if len(names) == 1:  # a sigmoid output: the second class is the complement
        names, prob = [f"not {names[0]}", names[0]], np.column_stack([1 - prob, prob]).astype(np.float32)
    return TileTable(grid_from_boxes(boxes.astype(np.int32), image_shape=image_shape), _scheme(names, path), prob)


def write_wsinfer_csv(table: TileTable, path: Path) -> None:
    """Write a table as WSInfer writes it: ``minx,miny,width,height,prob_<class>...``, a line per tile, in px.

    The columns are those of ``wsinfer/modellib/run_inference.py`` of SBU-BMI/wsinfer, which its GeoJSON
    conversion and the QuPath extension read. Tiles without a class have empty probabilities.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    y0, x0, y1, x1 = table.grid.boxes.T
    columns: dict[str, Any] = dict(zip(_WSINFER, (x0, y0, x1 - x0, y1 - y0), strict=True))
    columns |= {f"prob_{name}": table.prob[:, k] for k, name in enumerate(table.scheme.names)}
    with atomic_write(path) as temporary:
        escape_formulas(pd.DataFrame(columns)).to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


def _integers(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> NDArray[np.int64]:
    values = _bounded(read_numbers(frame, columns, path), frame, path)
    fractional = np.flatnonzero((values != np.round(values)).any(axis=1))
    if len(fractional):
        raise DatasetError(
            f"{path}, line {frame.index[fractional[0]] + 2}: {', '.join(columns)} must be integers in px"
        )
    whole = values.astype(np.int64)
    if tuple(columns) == _BOX:
        _check_boxes(whole, frame, path)
    return whole


def _bounded(values: NDArray[np.float64], frame: pd.DataFrame, path: Path) -> NDArray[np.float64]:
    if len(values) == 0:
        raise DatasetError(f"{path} contains no tile; classify an image first")
    beyond = np.flatnonzero((np.abs(values) > _LARGEST_PX).any(axis=1))
    if len(beyond):
        raise DatasetError(f"{path}, line {frame.index[beyond[0]] + 2}: a number is beyond {_LARGEST_PX:,}; correct it")
    return values


def _check_boxes(boxes: NDArray[np.int64], frame: pd.DataFrame, path: Path) -> None:
    empty = np.flatnonzero((boxes[:, :2] >= boxes[:, 2:]).any(axis=1))
    if len(empty):
        raise DatasetError(f"{path}, line {frame.index[empty[0]] + 2}: the box has no area; correct or remove it")


def _probabilities(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> NDArray[np.float32]:
    """Read probabilities; a line where all are empty is a tile without class."""
    if not columns:
        raise DatasetError(f"{path} has no column of probabilities, p_NAME or prob_NAME")
    texts = frame[list(columns)].apply(lambda column: column.str.strip())
    none = (texts == "").all(axis=1).to_numpy()
    prob = np.full((len(frame), len(columns)), np.nan, np.float32)
    if not none.all():
        prob[~none] = read_numbers(frame[~none], columns, path)
    invalid = np.flatnonzero(((prob < 0) | (prob > 1)).any(axis=1))
    if len(invalid):
        raise DatasetError(
            f"{path}, line {frame.index[invalid[0]] + 2}: a probability is not within 0 and 1; correct it"
        )
    return prob


def _scheme(names: Sequence[str], path: Path, colours: Mapping[str, str] | None = None) -> ClassScheme:
    given = [(colours or {}).get(name, default) for name, default in zip(names, palette(len(names)), strict=True)]
    try:
        return ClassScheme(tuple(names), tuple(given))
    except ParamsError as error:
        raise DatasetError(f"{path}: {error}") from error


def _break_ties(
    prob: NDArray[np.float32], class_names: Sequence[str], scheme: ClassScheme, where: Sequence[str], path: Path
) -> NDArray[np.float32]:
    """Make the class that the file names the most probable one, where rounding made two of them equal."""
    best = np.where(np.isnan(prob), -1, prob).argmax(axis=1)
    for row, name in enumerate(class_names):
        if np.isnan(prob[row]).any():
            if name:
                raise DatasetError(f"{path}, {where[row]}: the class is {name!r}, but it has no probabilities")
            continue
        if name in (scheme.names[best[row]], UNSURE_NAME):
            continue
        index = scheme.index(name) if name in scheme.names else -1
        top = prob[row, best[row]]
        if index < 0 or top - prob[row, index] > _ROUNDING:
            raise DatasetError(
                f"{path}, {where[row]}: the class is {name!r}, but {scheme.names[best[row]]!r} is more probable; "
                "open a corrected file as labels, in Annotate tiles"
            )
        prob[row, index] = np.nextafter(top, np.float32(2))
    return prob


def is_tile_geojson(content: Any) -> bool:
    """Whether a parsed GeoJSON document contains tiles with probabilities, by its first features."""
    features = content.get("features") if isinstance(content, dict) else content
    if not isinstance(features, list):
        return False
    if isinstance(content, dict) and isinstance(content.get(FOREIGN_MEMBER), dict):
        return True
    properties = [f.get("properties") for f in features[:100] if isinstance(f, dict)]
    tiles = [p for p in properties if isinstance(p, dict) and p.get("objectType") == "tile"]
    return bool(tiles) and any(_class_probabilities(tile) for tile in tiles)


def read_tile_geojson(path: Path) -> TileTable:
    """Read tiles as :meth:`TileTable.to_geojson` wrote them, or as QuPath or WSInfer export such tiles.

    A file written by this program gives the same table, with classes, colours, grid and pixel size; for other
    files classes and colours are those of the tiles, and the grid is inferred from their boxes.

    Raises
    ------
    DatasetError
        The file is missing, damaged or contains no tiles with probabilities; the message names the feature.
    """
    return parse_tile_table(load_geojson(path), path)


def parse_tile_table(content: Any, path: Path) -> TileTable:
    """Make a table of a parsed GeoJSON document; see :func:`read_tile_geojson`."""
    features = list_features(content, path)
    regions = parse_regions(content, path).regions
    if not features or len(features) != len(regions):
        raise DatasetError(f"{path} contains no tiles, or features that are not tiles; export tiles only")
    planes = {tuple(sorted(region.plane.items())) for region in regions}
    if len(planes) > 1:
        raise _several_planes(path, f"{len(planes)} planes")
    boxes = np.zeros((len(features), 4), np.int64)
    for i, region in enumerate(regions):
        box = rectangle_bounds(region.polygons[0]) if len(region.polygons) == 1 else None
        if box is None or (box != np.round(box)).any():
            raise DatasetError(
                f"{path}, {region.name} is not an axis-aligned rectangle of whole px, so not a tile; remove it"
            )
        boxes[i] = box
    properties = [feature.get("properties") or {} for _, feature in features]
    member = content.get(FOREIGN_MEMBER) if isinstance(content, dict) else None
    values = [_class_probabilities(p) for p in properties]
    scheme, size = _scheme_of_member(member, path) or (_scheme_of_tiles(properties, values, path), None)
    prob = np.array([[row.get(name, np.nan) for name in scheme.names] for row in values], np.float32)
    class_names = [parse_classification(p)[0] for p in properties]
    if any(class_names):  # WSInfer's have probabilities, but no class
        prob = _break_ties(prob, class_names, scheme, [name for name, _ in features], path)
    given = member.get("plane") if isinstance(member, dict) else None
    indices = given.items() if isinstance(given, dict) else ()
    plane = {axis: index for axis, index in indices if axis in ("T", "Z") and isinstance(index, int)}
    table = TileTable(_grid(member, features, boxes.astype(np.int32)), scheme, prob, size, plane=plane)
    table = _with_novelty(table, properties, member)
    rate, limit = (member.get("error_rate"), member.get("limit")) if isinstance(member, dict) else (None, None)
    if not isinstance(rate, int | float) or not isinstance(limit, int | float):
        return table
    return replace(table, error_rate=float(rate), limit=float(limit))


def _with_novelty(table: TileTable, properties: Sequence[Mapping[str, Any]], member: Any) -> TileTable:
    """Take up novelty, where the file of this program has it."""
    if not isinstance(member, dict):
        return table
    found = [parse_json_text(one.get("measurements")) or {} for one in properties]
    rows = [[one.get(name) if isinstance(one, dict) else None for name in _NOVELTY] for one in found]
    values = np.array([[v if isinstance(v, int | float) else np.nan for v in row] for row in rows], np.float32)
    if not np.isfinite(values).any():
        return table
    rate = member.get("novelty_rate")
    table = replace(table, novelty=values[:, 0], novelty_p=values[:, 1])
    return table.with_novelty_rate(float(rate)) if isinstance(rate, int | float) else table


def _class_probabilities(properties: Mapping[str, Any]) -> dict[str, float]:
    """Probability per class in the measurements: a dict; before QuPath 0.4, a list of name and value."""
    given = parse_json_text(properties.get("measurements")) or {}
    if isinstance(given, list):
        given = {m.get("name"): m.get("value") for m in given if isinstance(m, dict)}
    found = {}
    for name, value in given.items() if isinstance(given, dict) else ():
        match = re.match("(?:p|prob)_(.+)", str(name), re.DOTALL)
        if match and isinstance(value, int | float) and 0 <= value <= 1:
            found[match[1]] = float(value)
    return found


def _scheme_of_member(member: Any, path: Path) -> tuple[ClassScheme, tuple[float, float] | None] | None:
    if not isinstance(member, dict):
        return None
    try:
        size = member.get("pixel_size_um")
        return ClassScheme.from_json(member["classes"]), None if size is None else (float(size[0]), float(size[1]))
    except (KeyError, TypeError, ValueError, IndexError, ParamsError) as error:
        raise DatasetError(f"{path}: its member {FOREIGN_MEMBER!r} is damaged ({error}); export it again") from error


def _scheme_of_tiles(
    properties: Sequence[Mapping[str, Any]], values: Sequence[Mapping[str, float]], path: Path
) -> ClassScheme:
    names = list(dict.fromkeys(name for row in values for name in row))
    colours = {name: colour for name, colour in map(parse_classification, reversed(properties)) if colour}
    return _scheme(names, path, colours)


def _grid(member: Any, features: Sequence[tuple[str, Mapping[str, Any]]], boxes: NDArray[np.int32]) -> TileGrid:
    """Make the grid that the file describes, if it fits the tiles; else infer one from their boxes."""
    layout = member.get("grid") if isinstance(member, dict) else None
    ids = [feature.get("id") for _, feature in features]
    if layout is not None and all(isinstance(i, int) for i in ids):
        try:
            whole = grid_from_layout({**layout, "tiles": None})
            grid = whole.take(np.array(ids, np.int64))
            if (grid.boxes == boxes).all():
                return grid
        except (GridError, IndexError, TypeError):
            pass  # the file was edited; its boxes are still valid
    return grid_from_boxes(boxes)
