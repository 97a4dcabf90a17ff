"""The jobs of the panel *Where in the tile*, without Qt."""

from __future__ import annotations

from collections.abc import Iterator
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
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.report.tile_sheets import SheetTile, overlaid
from napari_cellclass.runs.classify.field import field_grid
from napari_cellclass.runs.common.engine_access import choose_precision
from napari_cellclass.runs.common.engine_cache import EngineCache, EngineKey
from napari_cellclass.runs.explain.files import write_spectrum
from napari_cellclass.runs.explain.tile_maps import MapRequest, TileMap, map_tiles, map_tiles_by
from napari_cellclass.runs.live.live_model import LiveModel
from napari_cellclass.viewer.common.map_view import FieldLayer
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
    names
        The classes.
    """

    maps: tuple[TileMap, ...]
    pictures: tuple[NDArray[np.uint8], ...]
    pixels: NDArray[np.float32]
    corner: tuple[int, int]
    wanted: int
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LiveRequest:
    """A field whose live map is shown.

    Parameters
    ----------
    source, grid, field_layer
        The field, its tiles, and its image layer.
    model
        What the labels so far predict.
    """

    source: SourceImage
    grid: TileGrid
    field_layer: FieldLayer
    model: LiveModel


def map_live_evidence(
    request: LiveRequest,
    view: NDArray[np.float64],
    current: tuple[float, float] | None,
    method: ExplainMethod,
    task: Task,
) -> Evidence:
    """Map the tiles in view as :func:`map_evidence` does, for the live map: by the features and labels of now.

    Raises
    ------
    CellClassError
        In one line, what the user can correct.
    CancelledError
        Cancelled before the first tile was finished.
    """
    inside = _nearest_in_view(request.grid, view, current)
    predict = request.model.for_tiles(request.source, request.grid)
    maps = map_tiles_by(predict, request.source, request.grid, inside[:MOST_TILES], MapRequest(method), task)
    return _shown(_finished(maps), request.source, len(inside), request.model.names)


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
    inside = _nearest_in_view(grid, view, current)
    key = EngineKey(model.model_id, request.engine, precision, cpu_threads())
    with engines.use(key, lambda: model) as (opened, engine):
        chosen = MapRequest(method)
        maps = _finished(map_tiles(request.source, opened, engine, grid, inside[:MOST_TILES], chosen, task))
    return _shown(maps, request.source, len(inside), model.scheme.names)


def _nearest_in_view(
    grid: TileGrid, view: NDArray[np.float64], current: tuple[float, float] | None
) -> NDArray[np.int64]:
    """Return the tiles in view, those nearest to the current one, or to the middle, first."""
    inside = grid.tiles_between(view[0], view[1])
    centres = (grid.boxes[inside, :2] + grid.boxes[inside, 2:]) / 2
    middle = view.mean(axis=0) if current is None else np.array(current)
    return inside[np.argsort(np.square(centres - middle).sum(axis=1), kind="stable")]


def _finished(maps: Iterator[TileMap]) -> list[TileMap]:
    """Collect maps; when it is cancelled, those that are finished."""
    found: list[TileMap] = []
    try:
        for one in maps:
            found.append(one)
    except CancelledError:
        if not found:
            raise
    return found


def _shown(maps: list[TileMap], source: SourceImage, wanted: int, names: tuple[str, ...]) -> Evidence:
    if not maps:
        raise CancelledError("there is no tile in view")
    pixels, corner = joined_maps([one.box for one in maps], [one.values for one in maps])
    highest = float(pixels.max())
    pictures = tuple(
        overlaid(SheetTile(read_tile_rgb(source, np.array(one.box)), "", one.values), highest) for one in maps
    )
    return Evidence(tuple(maps), pictures, pixels, corner, wanted, tuple(names))


def save_spectrum(table: TileTable, source: SourceImage, class_index: int, out: Path, task: Task) -> Path:
    """Write the sheet and the table of tiles from the least to the most probable of a class.

    Raises
    ------
    ImageError, OutputError, CancelledError
        See :func:`~napari_cellclass.runs.explain.files.write_spectrum`.
    """
    write_spectrum(table, source, SPECTRUM_TILES, class_index, out, task)
    return out
