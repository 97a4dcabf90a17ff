"""The panel: test tiles with what the network says of them, in an order worth looking at."""

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
    "wrong": "wrong ones first",
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
    """A tile and what was said of it.

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
    """Give the places of the tiles in an order.

    Parameters
    ----------
    evaluation
        The tiles.
    order
        ``"confident"`` or ``"uncertain"`` first; ``"wrong"``: first those that are wrong, the most certain ones
        leading, as they tell most, then the right ones, least certain first; ``"random"``.
    seed
        Of the random order.
    cell
        (true class, predicted class): only the tiles in that cell of the confusion matrix.
    """
    confidence = evaluation.confidence
    known = np.nan_to_num(confidence, nan=-1.0)
    truth, said = evaluation.data.labels, evaluation.predicted
    wrong = truth != said
    if order == "random":
        places = np.random.default_rng(seed).permutation(len(confidence))
    elif order == "wrong":
        places = np.lexsort((np.where(wrong, -known, known), ~wrong))
    else:
        places = np.argsort(-known if order == "confident" else known, kind="stable")
    places = places[said[places] >= 0]
    if cell is not None:
        places = places[(truth[places] == cell[0]) & (said[places] == cell[1])]
    return places.astype(np.int64)


def read_panel(evaluation: Evaluation, places: NDArray[np.int64], task: Task = NO_TASK) -> tuple[PanelTile, ...]:
    """Read the tiles of a page, each image opened once.

    Raises
    ------
    ImageError
        A file has become unreadable.
    CancelledError
        The task was cancelled.
    """
    data, said, confidence = evaluation.data, evaluation.predicted, evaluation.confidence
    names = (*data.scheme.names, "")
    found = {}
    for number in np.unique(data.image[places]):
        source = data.read(data.paths[number])
        for place in places[data.image[places] == number].tolist():
            task.check("cancelled while the tiles were read")
            found[place] = PanelTile(
                place,
                read_tile_rgb(source, data.boxes[place]),
                names[data.labels[place]],
                names[said[place]],
                float(confidence[place]),
            )
    return tuple(found[place] for place in places.tolist())


def panel_table(evaluation: Evaluation, places: NDArray[np.int64]) -> pd.DataFrame:
    """Give the rows of ``tiles.csv`` of some tiles, in that order, numbered from 1 in the column ``number``."""
    frame = evaluation.frame().iloc[places].reset_index(drop=True)
    frame.insert(0, "number", np.arange(1, len(frame) + 1))
    return frame


def field_of_tile(data: TileDataset, place: int) -> tuple[Path, tuple[int, int, int, int]]:
    """Give the field that a tile lies in, and its box there: y0, x0, y1, x1 in px.

    Where the tile is a file of its own, the field is what a ``tiles.csv`` says it was cut from, if that still
    exists; else the file itself.
    """
    number = data.image[place]
    path, box = data.paths[number], tuple(int(v) for v in data.boxes[place])
    for folder in (path.parent, path.parent.parent):
        origin = TileOrigins([folder]).find(path, data.image_ids[number])
        if origin is not None and not origin.angle:
            field = folder / Path(origin.source)  # stays an absolute source where it is one
            if field.is_file():
                y0, x0 = origin.box[:2]
                return field, (y0 + box[0], x0 + box[1], y0 + box[2], x0 + box[3])
    return path, (box[0], box[1], box[2], box[3])
