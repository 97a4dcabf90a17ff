"""Predictions and features of the tiles of images."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_cellclass.api.images import Image, Labels, Model, names_of_tiles, open_image, open_model
from napari_cellclass.api.settings import checked
from napari_cellclass.core.common.errors import DatasetError, ParamsError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.params.classify import ClassifyParams
from napari_cellclass.core.params.features import FeaturesParams
from napari_cellclass.core.params.shared import EngineName, PrecisionName
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.stats.novelty import NOVELTY_RATE
from napari_cellclass.core.tiles.grid import EdgeRule, TileGrid
from napari_cellclass.runs.classify.batch import RunReport
from napari_cellclass.runs.classify.whole_field import FieldSettings, classify_whole_field
from napari_cellclass.runs.common.engine_access import choose_precision
from napari_cellclass.runs.common.engine_cache import EngineCache, EngineKey
from napari_cellclass.runs.exchange.plate import classify_and_export
from napari_cellclass.runs.features.files import FeatureTable, compute_features
from napari_cellclass.runs.live.from_labels import predict_from_labels


def classify(
    image: Image,
    model: Model,
    *,
    overlap: float | None = None,
    edge: EdgeRule | None = None,
    resample: bool = False,
    error_rate: float | None = None,
    novelty_rate: float = NOVELTY_RATE,
    engine: EngineName = "auto",
    precision: PrecisionName = "f32",
    threads: int | None = None,
    task: Task = NO_TASK,
) -> TileTable:
    """Classify every tile of one image.

    Parameters
    ----------
    image, model
        The field, with the channels of the model, and the model.
    overlap, edge
        Of the tiles; the model's when None.
    resample
        Whether tiles cover the same area as the model's, where the field has another pixel size.
    error_rate
        Calls tiles ``"(unsure)"`` whose prediction set at this error rate is not one class, e.g. 0.05.
    novelty_rate
        Calls tiles unlike training that are farther from all training tiles than this fraction of known tiles.
    engine, precision, threads
        What runs the network: ``"openvino"`` in this process or ``"tensorflow"`` in another; ``"f32"`` or ``"int8"``;
        the number of CPU threads. The engine stays open for the next image of the same model.
    task
        Reports progress and may be cancelled.

    Returns
    -------
    TileTable
        ``to_pandas()`` is a row per tile, ``as_labels()`` an image of classes, ``counts()`` tiles and area per class;
        ``to_csv(path)`` and ``to_geojson(path)`` write files. ``record["warnings"]`` says what to know of the field.

    Raises
    ------
    CellClassError
        The image does not fit the model, or one of them cannot be read.

    Examples
    --------
    >>> import napari_cellclass as cc
    >>> table = cc.classify("field.tif", "plate.cellclass")  # doctest: +SKIP
    >>> table.to_pandas()[["row", "col", "class_name", "confidence"]]  # doctest: +SKIP
    >>> table.to_geojson("field.geojson")  # doctest: +SKIP
    """
    bundle, source = open_model(model), open_image(image)
    used, warning = choose_precision(bundle, precision, engine)
    if warning:
        warnings.warn(warning, stacklevel=2)
    settings = FieldSettings(overlap, edge, resample, error_rate, novelty_rate)
    with _engines().use(EngineKey(bundle.model_id, engine, used, threads), lambda: bundle) as (opened, running):
        return classify_whole_field(source, opened, running, settings, task).table


def classify_plate(
    images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    model: Model,
    out: str | os.PathLike[str],
    *,
    task: Task = NO_TASK,
    **settings: Any,
) -> RunReport:
    """Classify many image files and write the tables of each and those of all, as ``napari-cellclass classify`` does.

    Parameters
    ----------
    images
        Images, folders, patterns such as ``"plate/*.tif"``, OME-Zarr plates, or lists of paths.
    model
        The model.
    out
        Folder for the tables. Run again, it keeps what is finished.
    task
        Reports the finished images and may be cancelled.
    **settings
        The other flags of ``napari-cellclass classify`` by their names, e.g. ``conditions="plate.csv"``, ``workers=4``.

    Returns
    -------
    RunReport
        ``fields`` and ``wells`` are DataFrames, ``failed`` the images without tables, ``conditions`` how conditions
        compare.

    Raises
    ------
    CellClassError
        There is no image, a setting is wrong, or the folder cannot be written. What goes wrong with one image is in the
        report.

    Examples
    --------
    >>> import napari_cellclass as cc
    >>> report = cc.classify_plate("plate", "plate.cellclass", "results")  # doctest: +SKIP
    >>> report.wells  # doctest: +SKIP
    """
    given = [images] if isinstance(images, str | os.PathLike) else list(images)
    bundle = open_model(model)
    params = checked(ClassifyParams, settings, images=[Path(one) for one in given], model=bundle.path, out=Path(out))
    return classify_and_export(params, bundle, task)


def live(
    image: Image,
    labels: Labels,
    grid: TileGrid,
    *,
    classes: Sequence[str] | None = None,
    threads: int | None = None,
    task: Task = NO_TASK,
) -> TileTable:
    """Predict all tiles of a field from the labels of some, as the window does after every label.

    Features of the tiles are computed once and kept in the cache folder, so that a second call with other labels takes
    a moment.

    Parameters
    ----------
    image, labels, grid
        As for :func:`label`; at least two classes have to be labelled.
    classes
        All classes in their order; those that occur, sorted, when None.
    threads
        Number of CPU threads.
    task
        Reports progress and may be cancelled.

    Returns
    -------
    TileTable
        ``has_percentages`` says whether there are labels enough for its probabilities to be taken as such.

    Raises
    ------
    CellClassError
        One class alone is labelled, the pixels cannot be read, or the weights of the backbone are not installed.

    Examples
    --------
    >>> import napari_cellclass as cc
    >>> image = cc.open_image("field.tif")  # doctest: +SKIP
    >>> grid = cc.tiles(image, tile_px=64)  # doctest: +SKIP
    >>> cc.live(image, {0: "stroma", 7: "gland"}, grid).to_pandas()  # doctest: +SKIP
    """
    source = open_image(image)
    names = names_of_tiles(source, labels, grid)
    found = sorted(set(names) - {""})
    order = tuple(found if classes is None else classes)
    if other := [name for name in found if name not in order]:
        raise DatasetError(
            f"label {other[0]!r} is none of the classes {', '.join(order)}; add it, or correct the label"
        )
    if len(order) < 2:
        raise DatasetError(f"{source.name} has labels of {counted(len(order), 'class')}; label tiles of at least two")
    scheme = ClassScheme(order)
    index = np.array([scheme.index(name) if name else -1 for name in names], np.int16)
    return predict_from_labels(source, grid, index, scheme, threads, task)


def features(
    images: Image | Sequence[Image],
    *,
    task: Task = NO_TASK,
    **settings: Any,
) -> FeatureTable:
    """Compute features of the tiles of images, of the pretrained backbone and of texture; nothing is written.

    Parameters
    ----------
    images
        One image, or a list of images with the same channels and dtype.
    task
        Reports progress and may be cancelled.
    **settings
        The other flags of ``napari-cellclass features`` by their names, e.g. ``tile_px=64``, ``texture_only=True``.

    Returns
    -------
    FeatureTable
        ``features`` is float32 of shape (N, F), ``to_pandas()`` has box and features per tile.

    Raises
    ------
    CellClassError
        An image cannot be read or does not go with the others, or the weights of the backbone are not installed.

    Examples
    --------
    >>> import napari_cellclass as cc
    >>> cc.features("field.tif", tile_px=64).features.shape  # doctest: +SKIP
    """
    given = list(images) if isinstance(images, list | tuple) else [images]
    sources = [open_image(one) for one in given]
    if not sources:
        raise ParamsError("there is no image; give one or several")
    names = [Path(source.path or source.name) for source in sources]
    params = checked(FeaturesParams, settings, images=names, out=Path("features.npz"))
    report = compute_features(params, list(zip(names, sources, strict=True)), task)
    for text in (*report.warnings, *report.failed):
        warnings.warn(text, stacklevel=2)
    return report.table


@functools.cache
def _engines() -> EngineCache:
    """Keep the last engine open for the next image."""
    return EngineCache()
