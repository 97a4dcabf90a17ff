"""The jobs of the Prepare widget, without Qt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.task import Task
from napari_cellclass.core.datasets.naming import folder_images
from napari_cellclass.core.datasets.renaming import Renaming, rename_images, undo_renaming
from napari_cellclass.core.images.display import DisplayImage, read_display_image
from napari_cellclass.core.images.reading import is_image, read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.params.prepare import SliceParams
from napari_cellclass.core.plates.inputs import with_plates_opened
from napari_cellclass.core.tiles.background import background_scores
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.runs.prepare.slice_plan import open_source


@dataclass(frozen=True, eq=False)
class SlicePreview:
    """The first image to cut, its tiles, and their background scores.

    Parameters
    ----------
    source, grid
        The image and its N tiles.
    scores
        float32, shape (N,), see :func:`background_scores`.
    picture
        The image as it is displayed; None where it is in the viewer already.
    """

    source: SourceImage
    grid: TileGrid
    scores: NDArray[np.float32]
    picture: DisplayImage | None


def preview(params: SliceParams, shown: bool, task: Task) -> SlicePreview:
    """Lay the tiles over the first image and score them.

    Raises
    ------
    CellClassError
        In one line, why it cannot be cut.
    """
    source = open_source(first_image(params.images[0]), params, params.scene)
    grid = params.grid(source)
    scores = background_scores(source, grid, params.background, task)
    return SlicePreview(source, grid, scores, None if shown else read_display_image(source))


def open_picture(path: Path, task: Task) -> DisplayImage:
    """Read an image for display."""
    return read_display_image(read_image(path))


def first_image(path: Path) -> Path:
    """Give an image itself, or the first of a folder."""
    if not path.is_dir() or is_image(path):
        return next(with_plates_opened([path]))
    return next(iter(folder_images(path).values()))[0]


def rename(folder: Path, prefix: str | None, task: Task) -> Renaming:
    """Rename the images of a folder by number; it cannot be cancelled, but :func:`undo` restores the names."""
    return rename_images(folder, prefix, task)


def undo(folder: Path, task: Task) -> Renaming:
    """Restore the names that the images had."""
    return undo_renaming(folder, task)
