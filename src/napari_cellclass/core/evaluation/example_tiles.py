"""The panel of example tiles: test tiles with their predictions, ranked by confidence or error."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.datasets.tile_provenance import TileOrigins
from napari_cellclass.core.evaluation.results import Evaluation
from napari_cellclass.core.images.display import read_tile_rgb
from napari_cellclass.core.params.evaluate import PanelOrder

TILES_PER_PAGE = 25
"""Tiles on a page."""
ORDERS: dict[PanelOrder, str] = {
    "confident": "most certain first",
    "uncertain": "least certain first",
    "wrong": "incorrect ones first",
    "random": "at random",
}


@dataclass(frozen=True)
class PanelChoice:
    """Which tiles a panel shows: how many, in which order, and the seed of a random one."""

    count: int = 0
    order: PanelOrder = "uncertain"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class PanelTile:
    """A tile and its prediction.

    Parameters
    ----------
    tile_index
        In the data set.
    pixels
        uint8, shape (h, w, 3); contrast stretched tile by tile, where it is not 8-bit RGB.
    true_class, class_name
        The class, and the predicted one; that is empty where the tile holds NaN or infinite pixels.
    confidence
        0 to 1, or NaN.
    """

    tile_index: int
    pixels: NDArray[np.uint8]
    true_class: str
    class_name: str
    confidence: float

    @property
    def correct(self) -> bool:
        """Whether the prediction is the true class."""
        return self.class_name == self.true_class


def panel_tile_indices(
    evaluation: Evaluation, order: PanelOrder, seed: int = 0, cell: tuple[int, int] | None = None
) -> NDArray[np.int64]:
    """Rank the tiles and return their indices.

    Parameters
    ----------
    evaluation
        The tiles.
    order
        ``"confident"`` or ``"uncertain"`` first; ``"wrong"``: first the incorrect predictions, most certain first, as
        they are the most instructive, then the correct ones, least certain first; ``"random"``.
    seed
        Of the random order.
    cell
        (true class, predicted class): only the tiles in that cell of the confusion matrix.
    """
    confidence = evaluation.confidence
    known = np.nan_to_num(confidence, nan=-1.0)
    truth, predicted = evaluation.data.labels, evaluation.predicted
    incorrect = truth != predicted
    if order == "random":
        tile_indices = np.random.default_rng(seed).permutation(len(confidence))
    elif order == "wrong":
        tile_indices = np.lexsort((np.where(incorrect, -known, known), ~incorrect))
    else:
        tile_indices = np.argsort(-known if order == "confident" else known, kind="stable")
    tile_indices = tile_indices[predicted[tile_indices] >= 0]
    if cell is not None:
        tile_indices = tile_indices[(truth[tile_indices] == cell[0]) & (predicted[tile_indices] == cell[1])]
    return tile_indices.astype(np.int64)


def read_panel(evaluation: Evaluation, tile_indices: NDArray[np.int64], task: Task = NO_TASK) -> tuple[PanelTile, ...]:
    """Read the tiles of a page, each image opened once.

    Raises
    ------
    ImageError
        A file has become unreadable.
    CancelledError
        The task was cancelled.
    """
    data, predicted, confidence = evaluation.data, evaluation.predicted, evaluation.confidence
    names = (*data.scheme.names, "")
    found = {}
    for number in np.unique(data.image[tile_indices]):
        source = data.read(data.paths[number])
        for index in tile_indices[data.image[tile_indices] == number].tolist():
            task.check("cancelled while the tiles were read")
            found[index] = PanelTile(
                index,
                read_tile_rgb(source, data.boxes[index]),
                names[data.labels[index]],
                names[predicted[index]],
                float(confidence[index]),
            )
    return tuple(found[index] for index in tile_indices.tolist())


def panel_table(evaluation: Evaluation, tile_indices: NDArray[np.int64]) -> pd.DataFrame:
    """Return the rows of ``tiles.csv`` of some tiles, in that order, numbered from 1 in the column ``number``."""
    frame = evaluation.frame().iloc[tile_indices].reset_index(drop=True)
    frame.insert(0, "number", np.arange(1, len(frame) + 1))
    return frame


def field_of_tile(data: TileDataset, tile_index: int) -> tuple[Path, tuple[int, int, int, int]]:
    """Return the field that a tile lies in, and its box there: y0, x0, y1, x1 in px.

    Where the tile is a file of its own, the field is what a ``tiles.csv`` says it was cut from, if that still
    exists; else the file itself.
    """
    number = data.image[tile_index]
    path, box = data.paths[number], tuple(int(v) for v in data.boxes[tile_index])
    for folder in (path.parent, path.parent.parent):
        origin = TileOrigins([folder]).find(path, data.image_ids[number])
        if origin is not None and not origin.angle:
            field = folder / Path(origin.source)  # stays an absolute source where it is one
            if field.is_file():
                y0, x0 = origin.box[:2]
                return field, (y0 + box[0], x0 + box[1], y0 + box[2], x0 + box[3])
    return path, (box[0], box[1], box[2], box[3])
