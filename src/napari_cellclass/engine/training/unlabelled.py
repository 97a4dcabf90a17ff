"""Tiles without labels that a network learns from: all of the images that were given, and of those with labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import DatasetError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.datasets.dataset import VALIDATION, TileDataset
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.plates.inputs import find_images
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.preprocess import PreprocessSpec, field_levels
from napari_cellclass.engine.common.tile_input import is_finite

# Of all images together: with more, a training takes longer and learns little from them.
MOST_TILES = 4000
_OVERLAP = 0.5


@dataclass(frozen=True, eq=False)
class UnlabelledTiles:
    """Unlabelled tiles, at their fields' range where the preprocessing asks for that.

    Parameters
    ----------
    tiles
        Shape (n, h, w, C).
    images
        How many images they are of.
    """

    tiles: NDArray[np.generic]
    images: int


def read_unlabelled(data: TileDataset, params: TrainParams, spec: PreprocessSpec, task: Task) -> UnlabelledTiles:
    """Read all tiles of the images of ``params.unlabelled`` and of those that the labelled tiles lie in.

    Tiles have the size of the labelled ones and overlap by half, so that few images are enough. An image whose labelled
    tiles are all held out is left out, and of other images what overlaps a held-out tile. Of more than 4 000 tiles
    evenly spaced ones are taken.

    Raises
    ------
    ParamsError
        A folder, pattern or list without any image.
    ImageError
        An image cannot be read.
    DatasetError
        An image has other channels or another data type than the labelled tiles.
    CancelledError
        The task was cancelled.
    """
    boxes = [(source, _boxes(source, image_id, data)) for image_id, source in _sources(data, params, task)]
    total = sum(len(found) for _, found in boxes)
    chosen = np.zeros(total, bool)
    chosen[np.linspace(0, max(0, total - 1), min(total, MOST_TILES)).round().astype(np.int64)] = True
    tiles: list[NDArray[np.generic]] = []
    start = images = 0
    for number, (source, found) in enumerate(boxes, 1):
        mine = found[chosen[start : start + len(found)]]
        start += len(found)
        levels = field_levels(spec, source, task) if len(mine) else None
        before = len(tiles)
        for y0, x0, y1, x1 in mine.tolist():
            tile = spec.apply_levels(source.read(y0, x0, y1, x1), levels)
            tiles += [tile.copy()] if is_finite(tile[None])[0] else []
        images += len(tiles) > before
        task.check("cancelled while unlabelled tiles were read; nothing was written")
        task.progress("reading unlabelled tiles", number, len(boxes))
    shape = (0, *data.tile_px, data.channels)
    return UnlabelledTiles(np.stack(tiles) if tiles else np.empty(shape, data.dtype), images)


def _sources(data: TileDataset, params: TrainParams, task: Task) -> Iterator[tuple[str, SourceImage]]:
    """Open the images, each once by its content id, those with labels first."""
    known: set[str] = set()
    labelled = dict(zip(data.paths, data.image_ids, strict=True))
    for path in [*labelled, *find_images(params.unlabelled)]:
        task.check("cancelled while unlabelled images were opened; nothing was written")
        # A project reads its own fields as it keeps them; it does not know others.
        source = data.read(path) if path in labelled else read_image(path, t=params.t, z=params.z, scene=params.scene)
        image_id = labelled.get(path) or source.image_id
        if image_id in known:
            continue
        known.add(image_id)
        if source.channels != data.channels:
            raise DatasetError(
                f"{path} has {counted(source.channels, 'channel')}, but the labelled tiles have {data.channels}; give "
                "images of the same experiment"
            )
        if source.dtype.newbyteorder("=") != data.dtype.newbyteorder("="):
            raise DatasetError(
                f"{path} holds {source.dtype} pixels, but the labelled tiles {data.dtype}; give images of the same "
                "experiment"
            )
        yield image_id, source


def _boxes(source: SourceImage, image_id: str, data: TileDataset) -> NDArray[np.int64]:
    """Return the boxes (n, 4) of the tiles of an image that may be learned from."""
    if min(np.subtract(source.shape, data.tile_px)) < 0:
        return np.empty((0, 4), np.int64)
    boxes = TileGrid.regular(source.shape, data.tile_px, _OVERLAP).boxes.astype(np.int64)
    mine = np.isin(data.image, [i for i, known in enumerate(data.image_ids) if known == image_id])
    held = mine & (data.split == VALIDATION)
    if not held.any():
        return boxes
    if held.sum() == mine.sum():
        return boxes[:0]
    return boxes[~_overlapping(boxes, data.boxes[held])]


def _overlapping(boxes: NDArray[np.int64], others: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which boxes share pixels with any of the others."""
    overlaps = np.zeros(len(boxes), bool)
    for y0, x0, y1, x1 in others.tolist():
        overlaps |= (boxes[:, 0] < y1) & (boxes[:, 2] > y0) & (boxes[:, 1] < x1) & (boxes[:, 3] > x0)
    return overlaps
