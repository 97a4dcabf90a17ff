"""A model brought to a field of another pixel size: tiles that cover as much as those it was trained on."""

from __future__ import annotations

import math

from napari_cellclass.core.common.errors import ParamsError

_ALIKE = 1.1
Size = tuple[float, float]


def pixel_sizes_differ(trained_um: Size | None, here_um: Size | None) -> bool:
    """Return whether pixel sizes (y, x) in µm differ by more than 10 %; False where one is not known."""
    if trained_um is None or here_um is None:
        return False
    return any(
        abs(math.log(here / trained)) > math.log(_ALIKE) for here, trained in zip(here_um, trained_um, strict=True)
    )


def rescaled_tile_px(
    tile_px: tuple[int, int], trained_um: Size | None, here_um: Size | None, name: str
) -> tuple[int, int]:
    """Return the tile (height, width) in px of a field that covers what a model's tile covered.

    The network's own resizing then brings each tile to its input, so that the field is rescaled to the model's pixel
    size tile by tile, and boxes stay in px of the field.

    Parameters
    ----------
    tile_px
        (height, width) of the tiles that the model was trained on.
    trained_um, here_um
        (y, x) size of a pixel in µm, of the training images and of this one.
    name
        The field's.

    Raises
    ------
    ParamsError
        One of the pixel sizes is not known.
    """
    for who, size in (("the model", trained_um), (name, here_um)):
        if size is None:
            raise ParamsError(f"{who} does not tell its pixel size, so nothing can be rescaled; drop --resample")
    assert trained_um is not None
    assert here_um is not None
    height, width = (
        max(1, round(side * trained / here)) for side, trained, here in zip(tile_px, trained_um, here_um, strict=True)
    )
    return height, width
