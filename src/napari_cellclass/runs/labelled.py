"""How the parameters of a verb say that labelled images are opened and cut: the same for every verb."""

from __future__ import annotations

import functools

from napari_cellclass.core.class_images import ReadImage
from napari_cellclass.core.contracts import ParamsError
from napari_cellclass.core.dataset import GridOf
from napari_cellclass.core.params import PlaneParams, TrainParams
from napari_cellclass.core.params_prepare import CheckParams
from napari_cellclass.core.readers import read_image
from napari_cellclass.core.tiles_csv import is_tiles_csv


def reader(params: PlaneParams) -> ReadImage:
    """Give what opens the plane of an image that is asked for."""
    # No function of its own, so that another process can be given it.
    return functools.partial(read_image, t=params.t, z=params.z, scene=params.scene)


def cutter(params: CheckParams | TrainParams) -> GridOf | None:
    """Give what cuts a field into tiles, or None where every image is a tile.

    Raises
    ------
    ParamsError
        A size is given for a list of tiles, which says itself where each lies.
    """
    if params.tile_px is None and params.tile_um is None and params.tiles is None:
        return None
    if is_tiles_csv(params.data):
        raise ParamsError(f"{params.data} says where each tile lies; drop --tile-px, --tile-um and --tiles")
    return params.grid
