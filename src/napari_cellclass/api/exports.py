"""Classified tiles for other programs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_cellclass.api.images import Image, open_image
from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.zarr_images import image_folder
from napari_cellclass.core.interchange.anndata_tables import FieldTiles, check_anndata_installed, tiles_as_anndata
from napari_cellclass.core.interchange.ome_zarr_labels import write_label_image
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.runs.exchange.plate import anndata_of_images
from napari_cellclass.runs.train.annotated_fields import (
    unique_file_names,
)


def to_anndata(
    tables: TileTable | Sequence[TileTable],
    images: Image | Sequence[Image],
    *,
    with_features: bool = True,
    task: Task = NO_TASK,
) -> Any:
    """Give classified tiles as AnnData, for scanpy and squidpy.

    Parameters
    ----------
    tables
        What :func:`classify` or :func:`live` returned, of one field or of several.
    images
        The fields, in the same order.
    with_features
        Whether ``X`` holds the features of :func:`features`; else there is none.
    task
        Reports progress and may be cancelled.

    Returns
    -------
    anndata.AnnData
        ``obs`` is the table, with the name of the image; ``obsm["spatial"]`` are the centres of the tiles as (x, y) in
        px, ``obsm["spatial_um"]`` in µm where the pixel size is known.

    Raises
    ------
    CellClassError
        AnnData is not installed, or the images are not those of the tables.

    Examples
    --------
    >>> import napari_cellclass as cc
    >>> table = cc.classify("field.tif", "plate.cellclass")  # doctest: +SKIP
    >>> cc.to_anndata(table, "field.tif").write_h5ad("field.h5ad")  # doctest: +SKIP
    """
    given = [tables] if isinstance(tables, TileTable) else list(tables)
    listed = list(images) if isinstance(images, list | tuple) else [images]
    sources = [open_image(one) for one in listed]
    if len(given) != len(sources) or not given:
        raise ParamsError(f"{counted(len(given), 'table')}, but {counted(len(sources), 'image')}; give one image each")
    for table, source in zip(given, sources, strict=True):
        if table.grid.image_shape != source.shape:
            raise ParamsError(f"the table of a field of {table.grid.image_shape} px is not of {source.name}")
    check_anndata_installed("to_anndata")
    names = unique_file_names([source.name for source in sources])
    if not with_features:
        return tiles_as_anndata([FieldTiles(*one) for one in zip(names, given, strict=True)])
    return anndata_of_images(list(zip(names, sources, strict=True)), given, task)


def write_labels(table: TileTable, image: str | os.PathLike[str], name: str, *, scene: int = 0) -> None:
    """Write a map into its OME-Zarr image as a label image, with names and colours of the classes.

    Parameters
    ----------
    table
        What :func:`classify` or :func:`live` returned.
    image
        The folder of the image, OME-Zarr 0.4 or 0.5. What is there is not changed.
    name
        Of the label image.
    scene
        Which image, of a folder that holds several.

    Raises
    ------
    CellClassError
        It is no such image, has labels of that name already, or cannot be written.

    Examples
    --------
    >>> import napari_cellclass as cc
    >>> table = cc.classify("field.zarr", "plate.cellclass")  # doctest: +SKIP
    >>> cc.write_labels(table, "field.zarr", "classes")  # doctest: +SKIP
    """
    source = read_image(Path(image), scene=scene)
    if table.grid.image_shape != source.shape:
        raise ParamsError(f"the table of a field of {table.grid.image_shape} px is not of {source.name}")
    given: Any = table.record.get("image")
    plane = dict(given.get("plane") or {}) if isinstance(given, Mapping) else {}
    write_label_image(image_folder(Path(image), scene), name, [(table, {**plane, **table.plane})])
