"""The jobs of the panel *Where in the tile*, without Qt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import CancelledError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.images.display import read_tile_rgb
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.params.explain import ExplainMethod
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.report.tile_sheets import SheetTile, overlaid
from napari_cellclass.runs.classify.field import field_grid
from napari_cellclass.runs.common.engine_access import choose_precision
from napari_cellclass.runs.common.engine_cache import EngineCache, EngineKey
from napari_cellclass.runs.explain.files import write_spectrum
from napari_cellclass.runs.explain.tile_maps import MapRequest, TileMap, map_tiles
from napari_cellclass.viewer.common.preferences import cpu_threads
from napari_cellclass.viewer.features.evidence_layer import joined_maps
from napari_cellclass.widgets.classify.work import ClassifyRequest

MOST_TILES = 16
"""Tiles that are mapped at once: each costs some hundred predictions."""
SPECTRUM_TILES = 60


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was mapped.

    Parameters
    ----------
    maps
        The tiles.
    pictures
        uint8, shape (h, w, 3): each tile with its map over it.
    pixels, corner
        Of the layer, see :func:`~napari_cellclass.viewer.features.evidence_layer.joined_maps`.
    wanted
        How many tiles there would have been.
    """

    maps: tuple[TileMap, ...]
    pictures: tuple[NDArray[np.uint8], ...]
    pixels: NDArray[np.float32]
    corner: tuple[int, int]
    wanted: int


def map_evidence(
    request: ClassifyRequest,
    view: NDArray[np.float64],
    current: tuple[float, float] | None,
    method: ExplainMethod,
    engines: EngineCache,
    task: Task,
) -> Evidence:
    """Map the tiles in view, the one at ``current`` first, then those nearest to the middle; at most 16.

    Raises
    ------
    CellClassError
        In one line, what the user can correct.
    CancelledError
        Cancelled before the first tile was finished.
    """
    model = request.model
    precision, _ = choose_precision(model, request.precision, request.engine)
    grid = field_grid(request.source, model, request.overlap, request.edge, request.rescale)
    inside = grid.tiles_between(view[0], view[1])
    centres = (grid.boxes[inside, :2] + grid.boxes[inside, 2:]) / 2
    middle = view.mean(axis=0) if current is None else np.array(current)
    wanted = inside[np.argsort(np.square(centres - middle).sum(axis=1), kind="stable")]
    key = EngineKey(model.model_id, request.engine, precision, cpu_threads())
    maps: list[TileMap] = []
    with engines.use(key, lambda: model) as (opened, engine):
        chosen = MapRequest(method)
        try:
            for one in map_tiles(request.source, opened, engine, grid, wanted[:MOST_TILES], chosen, task):
                maps.append(one)  # those finished stay when it is cancelled
        except CancelledError:
            if not maps:
                raise
    if not maps:
        raise CancelledError("there is no tile in view")
    pixels, corner = joined_maps([one.box for one in maps], [one.values for one in maps])
    highest = float(pixels.max())
    pictures = tuple(
        overlaid(SheetTile(read_tile_rgb(request.source, np.array(one.box)), "", one.values), highest) for one in maps
    )
    return Evidence(tuple(maps), pictures, pixels, corner, len(inside))


def save_spectrum(table: TileTable, source: SourceImage, class_index: int, out: Path, task: Task) -> Path:
    """Write the sheet and the table of tiles from the least to the most probable of a class.

    Raises
    ------
    ImageError, OutputError, CancelledError
        See :func:`~napari_cellclass.runs.explain.files.write_spectrum`.
    """
    write_spectrum(table, source, SPECTRUM_TILES, class_index, out, task)
    return out
