"""Tiles for a field of another pixel size than a model's: they cover as much as those it was trained on."""

from __future__ import annotations

import math

from napari_cellclass.core.common.errors import ParamsError

_MAX_RATIO = 1.1
Size = tuple[float, float]


def pixel_sizes_differ(trained_um: Size | None, here_um: Size | None) -> bool:
    """Return whether pixel sizes (y, x) in µm differ by more than 10 %; False where one is unknown."""
    if trained_um is None or here_um is None:
        return False
    return any(
        abs(math.log(here / trained)) > math.log(_MAX_RATIO) for here, trained in zip(here_um, trained_um, strict=True)
    )


def rescaled_tile_px(
    tile_px: tuple[int, int], trained_um: Size | None, here_um: Size | None, name: str
) -> tuple[int, int]:
    """Return the tile size (height, width) in px of a field that covers as much as a model's tile.

    The network's own resizing then brings each tile to its input, so that the field is rescaled to the model's pixel
    size tile by tile, and boxes stay in px of the field.

    Parameters
    ----------
    tile_px
        (height, width) of the tiles that the model was trained on.
    trained_um, here_um
        (y, x) size of a pixel in µm, of the training images and of this one.
    name
        The field's, for the error.

    Raises
    ------
    ParamsError
        One of the pixel sizes is unknown.
    """
    for who, size in (("the model", trained_um), (name, here_um)):
        if size is None:
            raise ParamsError(f"the pixel size of {who} is not known, so nothing can be rescaled; drop --resample")
    assert trained_um is not None
    assert here_um is not None
    height, width = (
        max(1, round(side * trained / here)) for side, trained, here in zip(tile_px, trained_um, here_um, strict=True)
    )
    return height, width
