"""Maps of tiles, and sheets of tiles, as files: what the verb ``explain`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.common.files import atomic_write, check_writable
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.display import read_tile_rgb
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.explain import ExplainParams
from napari_cellclass.core.params.settings_file import SETTINGS_FILE, save_settings
from napari_cellclass.core.params.shared import parse_channels
from napari_cellclass.core.predictions.spectrum import spectrum_rows, spectrum_table
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.report.figures import save_figure
from napari_cellclass.report.tile_sheets import SheetTile, maps_figure, spectrum_figure
from napari_cellclass.runs.classify.field import classify_field
from napari_cellclass.runs.common.engine_access import open_engine
from napari_cellclass.runs.explain.tile_maps import MapRequest, TileMap, map_tiles

TABLE, MAPS_SHEET, SPECTRUM_SHEET, SPECTRUM_TABLE = "explain.csv", "maps.png", "spectrum.png", "spectrum.csv"


@dataclass(frozen=True, eq=False)
class ExplainReport:
    """What was written.

    Parameters
    ----------
    maps
        The tiles that were mapped.
    in_spectrum
        Number of tiles in the spectrum; 0 where there is none.
    """

    maps: tuple[TileMap, ...]
    in_spectrum: int


def explain_image(params: ExplainParams, model: ModelBundle, task: Task = NO_TASK) -> ExplainReport:
    """Map tiles of an image, and write maps, a table and sheets into a folder.

    Each map is a TIFF of float32 of the size of its tile, ``tile_00017.tif``.

    Raises
    ------
    ParamsError
        There is no tile of an id, or no class of a name.
    ImageError, ModelError, EngineError
        The image cannot be read or does not fit the model, or that cannot be run.
    OutputError
        A file cannot be written.
    CancelledError
        The task was cancelled.
    """
    names = model.scheme.names
    if params.class_name is not None and params.class_name not in names:
        raise ParamsError(f"--class-name {params.class_name!r} is no class of the model; use {', '.join(names)}")
    class_index = None if params.class_name is None else names.index(params.class_name)
    check_writable(params.out / TABLE)
    source = read_image(params.image, t=params.t, z=params.z, scene=params.scene)
    channels = parse_channels(params.channels)
    source = source.select(channels) if channels else source
    grid = TileGrid.regular(source.shape, model.manifest.tile_px, params.overlap, params.edge)
    wanted = _indices_of(params.tile_ids, grid)
    with open_engine(model) as engine:
        table = None
        if params.spectrum or not len(wanted):
            table = classify_field(source, model, engine, grid, task).table
            task.check("cancelled; nothing was written")
        if not len(wanted):
            assert table is not None
            wanted = most_confident(table, params.count)
        request = MapRequest(params.method, class_index, params.patch_px)
        maps = tuple(map_tiles(source, model, engine, grid, wanted, request, task))
    task.progress("writing")
    _write_maps(maps, source, grid, names, params.out)
    shown = 0
    if params.spectrum and table is not None:
        shown = write_spectrum(table, source, params.spectrum, class_index, params.out, task)
    save_settings(params, params.out / SETTINGS_FILE)
    return ExplainReport(maps, shown)


def _indices_of(tile_ids: Sequence[int], grid: TileGrid) -> NDArray[np.int64]:
    row_of = {int(one): i for i, one in enumerate(grid.tile_id)}
    missing = [one for one in tile_ids if one not in row_of]
    if missing:
        raise ParamsError(f"there is no tile {missing[0]}; the image has tiles 0 to {int(grid.tile_id.max())}")
    return np.array([row_of[one] for one in tile_ids], np.int64)


def most_confident(table: TileTable, count: int) -> NDArray[np.int64]:
    """Choose the most confident tiles of each predicted class, classes in turn, as indices of the table."""
    ranked = []
    for k in range(len(table.scheme)):
        own = np.flatnonzero(table.class_index == k)
        ranked += [(place, k, int(i)) for place, i in enumerate(own[np.argsort(-table.confidence[own], kind="stable")])]
    return np.array([index for _, _, index in sorted(ranked)[:count]], np.int64)


def write_spectrum(
    table: TileTable, source: SourceImage, count: int, class_index: int | None, out: Path, task: Task = NO_TASK
) -> int:
    """Write a sheet and a table of tiles from the least to the most probable of a class; return how many.

    Parameters
    ----------
    table, source
        The classified tiles, and their field.
    count
        How many tiles, at most.
    class_index
        The class; None for the last.
    out
        The folder.

    Raises
    ------
    ImageError, OutputError, CancelledError
        The pixels cannot be read, a file cannot be written, or the task was cancelled.
    """
    chosen = len(table.scheme) - 1 if class_index is None else class_index
    rows = spectrum_rows(table.prob[:, chosen], count)
    tiles = []
    for row in task.track(rows.tolist(), "reading tiles"):
        tiles.append(SheetTile(read_tile_rgb(source, table.grid.boxes[row]), f"{table.prob[row, chosen]:.2f}"))
    name = table.scheme.names[chosen]
    title = f"{source.name}: probability of {name}, lowest to highest; {len(rows)} of {len(table):,} tiles"
    save_figure(spectrum_figure(tiles, title), out / SPECTRUM_SHEET, dpi=300)
    _write_csv(spectrum_table(table, rows, chosen), out / SPECTRUM_TABLE)
    return len(rows)


def _write_maps(maps: Sequence[TileMap], source: SourceImage, grid: TileGrid, names: Sequence[str], out: Path) -> None:
    tiles, rows = [], []
    for one in maps:
        number, name = int(grid.tile_id[one.tile_index]), names[one.class_index]
        file = f"tile_{number:05d}.tif"
        with atomic_write(out / file) as temporary:
            tifffile.imwrite(temporary, one.values)
        tiles.append(SheetTile(
            read_tile_rgb(source, np.array(one.box)), f"{number}: {name} {one.prob[one.class_index]:.2f}", one.values
        ))  # fmt: skip
        places = dict(zip(("y0", "x0", "y1", "x1"), one.box, strict=True))
        rows.append({
            "tile_id": number, **places, "class_name": name, "probability": one.prob[one.class_index],
            "highest": float(one.values.max()), "file": file,
        })  # fmt: skip
    columns = ["tile_id", "y0", "x0", "y1", "x1", "class_name", "probability", "highest", "file"]
    _write_csv(pd.DataFrame(rows, columns=columns), out / TABLE)
    if tiles:
        title = f"{source.name}: tiles, and where the evidence for the class lies"
        save_figure(maps_figure(tiles, title), out / MAPS_SHEET, dpi=300)


def _write_csv(frame: pd.DataFrame, path: Path) -> None:
    with atomic_write(path) as temporary:
        escape_formulas(frame).to_csv(temporary, index=False, lineterminator="\n", float_format="%.6g")
