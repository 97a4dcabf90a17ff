"""A real stained field that comes with scikit-image, and labels for its tiles.

The image is ``skimage.data.immunohistochemistry()``: colonic glands where the expression of the protein
FHL2 is revealed with DAB (brown), counterstained with hematoxylin (blue); acquired at the Center for
Microscopy And Molecular Imaging (CMMI), no known copyright restrictions (documentation of scikit-image,
``skimage.data``). The file is part of scikit-image's wheel, so nothing is downloaded.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from skimage.color import rgb2hed
from skimage.data import immunohistochemistry
from skimage.filters import gaussian, threshold_otsu

from napari_cellclass.core.common.errors import GridError
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.tiles.grid import TileGrid

IHC_CLASSES = ("unstained", "stained")
IHC_TILE_PX = 32  # about a gland cell: few tiles are half stained, and each half of the field has 128
_SMOOTH_PX = 8.0  # about a nucleus, which is blue inside a stained cell


def ihc_field() -> SourceImage:
    """Return the stained field: uint8, shape (512, 512, 3), red, green, blue; its pixel size is not known."""
    return SourceImage(
        immunohistochemistry(),
        name="ihc",
        channel_names=("red", "green", "blue"),
        rgb=True,
        source_axes="YXS",
        source_shape=(512, 512, 3),
    )


def ihc_tile_labels(grid: TileGrid) -> NDArray[np.int64]:
    """Label tiles by their amount of DAB.

    A tile is stained when its mean DAB, after colour deconvolution (Ruifrok & Johnston 2001), is above a
    threshold: Otsu's, of the whole field's DAB smoothed with a Gaussian of 8 px. The threshold belongs to
    the field and not to the grid, so a tile's label does not depend on which other tiles there are.

    Parameters
    ----------
    grid
        Tiles over the field of :func:`ihc_field`. Of a tile that reaches past it the part inside counts.

    Returns
    -------
    ndarray of int64, shape (N,)
        Class indices in :data:`IHC_CLASSES`: 0 unstained, 1 stained.

    Raises
    ------
    GridError
        The grid lies over a field of another size.
    """
    dab, threshold = _dab()
    _check(grid, dab.shape)
    means = [dab[y0:y1, x0:x1].mean() for y0, x0, y1, x1 in grid.boxes.tolist()]
    return (np.asarray(means, float) > threshold).astype(np.int64)


def ihc_halves(grid: TileGrid) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Split tiles into those to train on and those to evaluate on, which have no pixel in common.

    Returns
    -------
    train, test : ndarrays of bool, shape (N,)
        Tiles wholly in the left, and wholly in the right half; those across the middle are in neither.
    """
    middle = grid.image_shape[1] // 2
    return grid.boxes[:, 3] <= middle, grid.boxes[:, 1] >= middle


def write_ihc_dataset(folder: Path, grid: TileGrid, mask: ArrayLike | None = None) -> list[Path]:
    """Write tiles as PNGs into one folder per class, e.g. ``stained/ihc_r03_c05.png``.

    Parameters
    ----------
    folder
        Where the class folders are made.
    grid
        Tiles over the field of :func:`ihc_field`.
    mask
        bool, shape (N,): which tiles to write; all when None.

    Returns
    -------
    list of Path
        The files, in the order of the grid.

    Raises
    ------
    GridError
        The grid lies over a field of another size.
    OutputError
        A file cannot be written.
    """
    field = ihc_field()
    if mask is not None:
        grid = grid.take(np.asarray(mask, bool))
    digits = max(2, len(str(max(grid.grid_shape) - 1)))
    paths = []
    for i, label in enumerate(ihc_tile_labels(grid)):
        name = f"{field.name}_r{grid.row[i]:0{digits}d}_c{grid.col[i]:0{digits}d}.png"
        path = Path(folder) / IHC_CLASSES[label] / name
        y0, x0, y1, x1 = grid.boxes[i].tolist()
        with atomic_write(path) as temporary:
            Image.fromarray(field.read(y0, x0, y1, x1)).save(temporary)
        paths.append(path)
    return paths


@cache
def _dab() -> tuple[NDArray[np.float64], float]:
    """Return the field's DAB, shape (512, 512), and the threshold between unstained and stained."""
    dab = rgb2hed(immunohistochemistry())[..., 2]
    dab.setflags(write=False)  # it is shared by all callers
    return dab, float(threshold_otsu(gaussian(dab, _SMOOTH_PX)))


def _check(grid: TileGrid, shape: tuple[int, ...]) -> None:
    if tuple(grid.image_shape) != tuple(shape):
        raise GridError(
            f"the grid lies over a field of {grid.image_shape[1]} x {grid.image_shape[0]} px, but the "
            f"stained field has {shape[1]} x {shape[0]} px; lay it over ihc_field()"
        )
