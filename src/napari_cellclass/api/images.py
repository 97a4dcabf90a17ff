"""Images, models, tiles and labels, as the functions of the interface take them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import DatasetError, ParamsError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.images.arrays import array_image
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.shared import TileParams
from napari_cellclass.core.tiles.grid import EdgeRule, TileGrid
from napari_cellclass.core.tiles.tile_size import propose_tile_size
from napari_cellclass.runs.common.engine_access import KerasDetails, load_model
from napari_cellclass.runs.train.annotated_fields import (
    AnnotatedField,
)

Image: TypeAlias = "SourceImage | str | os.PathLike[str] | NDArray[Any] | Any"
"""A path, an opened image, or an array of NumPy, dask or zarr."""
Model: TypeAlias = "ModelBundle | str | os.PathLike[str]"
"""A path, or an opened model."""
Labels: TypeAlias = "Mapping[int, str] | Sequence[str | None]"
"""Class names: of some tiles by their index in the grid, or of all tiles, with None or ``""`` for those without."""


def open_image(
    image: Image,
    *,
    axes: str | None = None,
    pixel_size_um: float | tuple[float, float] | None = None,
    channel_names: Sequence[str] = (),
    channels: Sequence[int] | None = None,
    name: str | None = None,
    t: int = 0,
    z: int = 0,
    scene: int | None = None,
) -> SourceImage:
    """Open one plane of an image file, or take an array as one; pixels are read when they are needed.

    Parameters
    ----------
    image
        A path of any format that :func:`~napari_cellclass.core.images.reading.read_image` reads, or an array.
    axes
        Of an array: one letter per axis out of ``TCZYXS``, e.g. ``"CYX"``; guessed from its shape when None.
    pixel_size_um
        Of an array: the side of a pixel in µm, or (y, x); of a file it replaces what the file says.
    channel_names
        Of an array: one per channel.
    channels
        Which channels are kept, by index, in this order; all when None.
    name
        Of an array: what the image is called in tables.
    t, z, scene
        Which time point, slice, and image of a file that holds several.

    Returns
    -------
    SourceImage
        Its ``data`` has the shape (Y, X, C).

    Raises
    ------
    CellClassError
        There is no such file, plane or channel, it is damaged, or the axes do not fit the array.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_cellclass as cc
    >>> image = cc.open_image(np.zeros((2, 100, 120), "uint16"), axes="CYX", pixel_size_um=0.5)
    >>> image.shape, image.channels, image.pixel_size_um
    ((100, 120), 2, (0.5, 0.5))
    """
    if isinstance(image, SourceImage):
        opened = image
    elif isinstance(image, str | os.PathLike):
        opened = read_image(Path(image), t=t, z=z, scene=scene)
    else:
        opened = array_image(
            image, axes=axes, name=name or "image", pixel_size_um=pixel_size_um, channel_names=channel_names, t=t, z=z
        )
    if pixel_size_um is not None and opened.pixel_size_um != pixel_size_um:
        opened = _with_pixel_size(opened, pixel_size_um)
    return opened if channels is None else opened.select(list(channels))


def open_model(
    path: Model,
    *,
    classes: Sequence[str] | None = None,
    rescale: float | None = None,
    tile_px: int | None = None,
) -> ModelBundle:
    """Open a model: a ``.cellclass`` file, or a Keras ``.keras`` file, which is converted once.

    Parameters
    ----------
    path
        The file.
    classes, rescale, tile_px
        What a ``.keras`` file does not hold: its class names in the order of its outputs, the grey value that it
        expects as 1, and the side of its tiles where it takes any.

    Returns
    -------
    ModelBundle
        Its ``scheme`` has the classes, its ``manifest`` all that is known of the training.

    Raises
    ------
    CellClassError
        It is missing, damaged or refused, or details of a ``.keras`` file are missing.

    Examples
    --------
    >>> import napari_cellclass as cc
    >>> model = cc.open_model("plate.cellclass")  # doctest: +SKIP
    >>> model.scheme.names  # doctest: +SKIP
    ('diffuse', 'puncta')
    """
    if isinstance(path, ModelBundle):
        return path
    return load_model(Path(path), KerasDetails(None if classes is None else tuple(classes), rescale, tile_px))


def tiles(
    image: Image,
    *,
    tile_px: int | None = None,
    tile_um: float | None = None,
    count: int | None = None,
    overlap: float = 0.0,
    edge: EdgeRule = "drop",
) -> TileGrid:
    """Lay a grid of tiles over an image.

    Parameters
    ----------
    image
        The field.
    tile_px, tile_um, count
        At most one of: the side of a tile in px or in µm, or into how many tiles the field is cut. Without any of them
        a size is proposed from the image's content, as in the window.
    overlap
        Fraction of a tile that its neighbour shares.
    edge
        What becomes of the strip at the edge: ``"drop"``, ``"pad"`` or ``"shift"``.

    Returns
    -------
    TileGrid
        ``boxes`` are y0, x0, y1, x1 in px, ``row`` and ``col`` the place of each tile.

    Raises
    ------
    CellClassError
        A tile does not fit, or the pixel size is not known but needed.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_cellclass as cc
    >>> grid = cc.tiles(np.zeros((100, 120), "uint8"), tile_px=32)
    >>> len(grid), grid.grid_shape
    (9, (3, 3))
    """
    source = open_image(image)
    params: TileParams = TileParams.checked(tile_px=tile_px, tile_um=tile_um, tiles=count, overlap=overlap, edge=edge)
    if (tile_px, tile_um, count) == (None, None, None):
        params = params.model_copy(update={"tile_px": propose_tile_size(source).tile_px})
    return params.grid(source)


def label(image: Image, labels: Labels, grid: TileGrid, *, group: str | None = None) -> AnnotatedField:
    """Join a field with the classes of some of its tiles, to be trained on or evaluated.

    Parameters
    ----------
    image
        The field.
    labels
        Class names: ``{tile index: name}``, or N of them with None or ``""`` where a tile has no label.
    grid
        Its N tiles.
    group
        What is held out together, such as the well or the patient; the field itself when None. A training on one field
        alone is evaluated by leave-one-group-out cross-validation over its regions.

    Returns
    -------
    AnnotatedField
        ``tiles`` has a row per labelled tile.

    Raises
    ------
    CellClassError
        A label belongs to no tile, or the grid to a field of another size.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_cellclass as cc
    >>> image = np.zeros((64, 64), "uint8")
    >>> field = cc.label(image, {0: "a", 3: "b"}, cc.tiles(image, tile_px=32))
    >>> list(field.tiles["class_name"])
    ['a', 'b']
    """
    source = open_image(image)
    names = names_of_tiles(source, labels, grid)
    given = np.flatnonzero(names != "")
    columns: dict[str, Any] = {"row": grid.row[given], "col": grid.col[given]}
    columns |= {name: grid.boxes[given, i] for i, name in enumerate(("y0", "x0", "y1", "x1"))}
    frame = pd.DataFrame(columns | {"class_name": names[given]})
    if group is not None:
        frame["group"] = str(group)
    return AnnotatedField(source, source.name, frame, source.path)


def _with_pixel_size(source: SourceImage, size: float | tuple[float, float]) -> SourceImage:
    pair = (float(size), float(size)) if isinstance(size, int | float) else (float(size[0]), float(size[1]))
    if not all(0 < side < np.inf for side in pair):
        raise ParamsError(f"pixel_size_um={size!r} is no size; give µm as one number or as (y, x)")
    return replace(source, pixel_size_um=pair)


def names_of_tiles(source: SourceImage, labels: Labels, grid: TileGrid) -> NDArray[np.object_]:
    """Return N class names, ``""`` where a tile has no label."""
    if grid.image_shape != source.shape:
        raise DatasetError(
            f"the tiles are of a field of {grid.image_shape[1]} x {grid.image_shape[0]} px, but {source.name} has "
            f"{source.shape[1]} x {source.shape[0]}; lay the grid over this image"
        )
    names = np.full(len(grid), "", object)
    if isinstance(labels, Mapping):
        for index, name in labels.items():
            if not 0 <= int(index) < len(grid):
                raise DatasetError(f"there is no tile {index}; {source.name} has {len(grid)}, counted from 0")
            names[int(index)] = _name(name)
        return names
    if isinstance(labels, str) or len(labels) != len(grid):
        raise DatasetError(
            f"{counted(len(labels), 'label')} for {counted(len(grid), 'tile')} of {source.name}; give one per tile, or "
            "{tile index: class name}"
        )
    names[:] = [_name(name) for name in labels]
    return names


def _name(name: Any) -> str:
    return "" if name is None or name != name else str(name).strip()  # noqa: PLR0124 - NaN stands for none
