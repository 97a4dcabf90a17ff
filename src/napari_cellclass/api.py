"""The Python interface for notebooks and scripts: what the verbs of the command line do, with arrays and tables.

``import napari_cellclass as cc`` gives all of it. Every function takes an image as a path, an array or what
:func:`open_image` returned, and a model as a path or what :func:`open_model` returned; settings have the names and
meanings of the flags of the command line. Errors are :class:`~napari_cellclass.core.common.errors.CellClassError`, with
one line that says what was wrong and what to do.
"""

from __future__ import annotations

import difflib
import functools
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import CellClassError, DatasetError, ParamsError
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import NO_TASK, Progress, Task
from napari_cellclass.core.evaluation.results import EvaluatedSet
from napari_cellclass.core.images.arrays import array_image
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.base import Params
from napari_cellclass.core.params.classify import ClassifyParams
from napari_cellclass.core.params.evaluate import EvaluateParams
from napari_cellclass.core.params.features import FeaturesParams
from napari_cellclass.core.params.shared import EngineName, PrecisionName, TileParams
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.stats.novelty import NOVELTY_RATE
from napari_cellclass.core.tiles.grid import EdgeRule, TileGrid
from napari_cellclass.core.tiles.tile_size import propose_tile_size
from napari_cellclass.runs.classify.batch import RunReport, classify_files
from napari_cellclass.runs.classify.whole_field import FieldSettings, classify_whole_field
from napari_cellclass.runs.common.engine_access import KerasDetails, choose_precision, load_model, open_engine
from napari_cellclass.runs.common.engine_cache import EngineCache, EngineKey
from napari_cellclass.runs.evaluate.named_sets import evaluate_model, parse_test_sets
from napari_cellclass.runs.evaluate.test_sets import evaluate_dataset
from napari_cellclass.runs.evaluate.trust import run_trust_checks
from napari_cellclass.runs.features.files import FeatureTable, compute_features
from napari_cellclass.runs.live.from_labels import predict_from_labels
from napari_cellclass.runs.train.annotated_fields import (
    AnnotatedField,
    TrainRequest,
    annotated_dataset,
    data_on_disk,
)
from napari_cellclass.runs.train.child import train_in_child

__all__ = [
    "AnnotatedField",
    "CellClassError",
    "EvaluatedSet",
    "FeatureTable",
    "ModelBundle",
    "Progress",
    "RunReport",
    "SourceImage",
    "Task",
    "TileGrid",
    "TileTable",
    "classify",
    "classify_plate",
    "evaluate",
    "features",
    "label",
    "live",
    "open_image",
    "open_model",
    "tiles",
    "train",
]

Image: TypeAlias = "SourceImage | str | os.PathLike[str] | NDArray[Any] | Any"
"""A path, an opened image, or an array of NumPy, dask or zarr."""
Model: TypeAlias = "ModelBundle | str | os.PathLike[str]"
"""A path, or an opened model."""
Labels: TypeAlias = "Mapping[int, str] | Sequence[str | None]"
"""Class names: of some tiles by their index in the grid, or of all tiles, with None or ``""`` for those without."""
Settings = TypeVar("Settings", bound=Params)
_REGION_TILES = 4  # side of the regions of one field that are held out in turn


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
        alone holds out its regions in turn.

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
    names = _names(source, labels, grid)
    given = np.flatnonzero(names != "")
    columns: dict[str, Any] = {"row": grid.row[given], "col": grid.col[given]}
    columns |= {name: grid.boxes[given, i] for i, name in enumerate(("y0", "x0", "y1", "x1"))}
    frame = pd.DataFrame(columns | {"class_name": names[given]})
    if group is not None:
        frame["group"] = str(group)
    return AnnotatedField(source, source.name, frame, source.path)


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
    names = _names(source, labels, grid)
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


def train(
    data: str | os.PathLike[str] | AnnotatedField | Sequence[AnnotatedField],
    out: str | os.PathLike[str],
    *,
    task: Task = NO_TASK,
    **settings: Any,
) -> ModelBundle:
    """Train a model and write it, in a process of its own, as ``napari-cellclass train`` does.

    Parameters
    ----------
    data
        A folder with a sub-folder per class, a list of tiles ``TILES.csv``, a project, or what :func:`label` returned,
        of one field or of several.
    out
        The model to write, ``NAME.cellclass``.
    task
        Reports progress and may be cancelled.
    **settings
        The other flags of ``napari-cellclass train`` by their names, e.g. ``tile_px=64``, ``group_by="^(...)"``.

    Returns
    -------
    ModelBundle
        ``evaluation()`` says how it does on held-out groups, with 95 % confidence intervals.

    Raises
    ------
    CellClassError
        The data cannot be trained on, a setting is wrong, or the training has failed.

    Examples
    --------
    >>> import napari_cellclass as cc
    >>> model = cc.train("plate", "plate.cellclass", tile_px=128, group_by="^(...)")  # doctest: +SKIP
    >>> model.evaluation()["validation"]["balanced_accuracy"]  # doctest: +SKIP
    """
    fields = _fields(data)
    path = Path() if fields else Path(str(data))
    params = _checked(TrainParams, settings, data=path, out=Path(out))
    if len(fields) == 1 and params.group_by is None:
        fields = (_with_regions(fields[0]),)
    with data_on_disk(TrainRequest(params.absolute(), fields), task) as on_disk:
        return load_model(train_in_child(on_disk, task))


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
    params = _checked(ClassifyParams, settings, images=[Path(one) for one in given], model=bundle.path, out=Path(out))
    return classify_files(params, bundle, task)


def evaluate(
    data: str | os.PathLike[str] | AnnotatedField | Sequence[AnnotatedField],
    model: Model,
    *,
    task: Task = NO_TASK,
    **settings: Any,
) -> EvaluatedSet:
    """Compare a model with labelled tiles that it was not trained on; nothing is written.

    Parameters
    ----------
    data
        As for :func:`train`.
    model
        The model.
    task
        Reports progress and may be cancelled.
    **settings
        Other flags of ``napari-cellclass evaluate`` by their names, e.g. ``group_by``, ``stress=True``.

    Returns
    -------
    EvaluatedSet
        ``report`` has the metrics with their 95 % confidence intervals, ``evaluation.frame()`` is a row per tile,
        ``alarms`` are what to know before the figures are trusted.

    Raises
    ------
    CellClassError
        The tiles cannot be read, or do not fit the model.

    Examples
    --------
    >>> import napari_cellclass as cc
    >>> result = cc.evaluate("held-out", "plate.cellclass")  # doctest: +SKIP
    >>> print(result.report.balanced_accuracy)  # doctest: +SKIP
    """
    bundle, fields = open_model(model), _fields(data)
    words = ["fields"] if fields else [str(data)]
    params = _checked(EvaluateParams, settings, data=words, model=bundle.path, out=Path())
    if not fields:
        found = evaluate_model(params, parse_test_sets(params.data), bundle, task)
        if found.warning:
            warnings.warn(found.warning, stacklevel=2)
        return found.sets[0]
    used, warning = choose_precision(bundle, params.precision, params.engine)
    if warning:
        warnings.warn(warning, stacklevel=2)
    dataset = annotated_dataset(fields, params.group_by, task, bundle.scheme.names)
    with open_engine(bundle, params.engine, precision=used) as engine:
        result = evaluate_dataset(dataset, bundle, engine, task, fields[0].name)
        trust = run_trust_checks(result, bundle, engine, params.shortcuts, params.stress, task)
    return EvaluatedSet(fields[0].name, Path(), result, trust.alarms, trust.shortcuts, trust.stress)


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
    params = _checked(FeaturesParams, settings, images=names, out=Path("features.npz"))
    report = compute_features(params, list(zip(names, sources, strict=True)), task)
    for text in (*report.warnings, *report.failed):
        warnings.warn(text, stacklevel=2)
    return report.table


def _checked(params: type[Settings], settings: Mapping[str, Any], **given: Any) -> Settings:
    """Check the settings of a verb.

    Raises
    ------
    ParamsError
        There is no such setting, or it is set by an argument of the function; or a value is wrong.
    """
    names = [name for name in params.model_fields if name not in given and name not in ("progress", "quiet")]
    for name in settings:
        if name not in names:
            close = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"see napari-cellclass {params.verb} --help"
            raise ParamsError(f"{params.verb} has no setting {name!r}; {hint}")
    checked: Settings = params.checked(**given, **settings)
    return checked


@functools.cache
def _engines() -> EngineCache:
    """Keep the last engine open for the next image."""
    return EngineCache()


def _with_pixel_size(source: SourceImage, size: float | tuple[float, float]) -> SourceImage:
    pair = (float(size), float(size)) if isinstance(size, int | float) else (float(size[0]), float(size[1]))
    if not all(0 < side < np.inf for side in pair):
        raise ParamsError(f"pixel_size_um={size!r} is no size; give µm as one number or as (y, x)")
    return replace(source, pixel_size_um=pair)


def _names(source: SourceImage, labels: Labels, grid: TileGrid) -> NDArray[np.object_]:
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


def _fields(data: Any) -> tuple[AnnotatedField, ...]:
    if isinstance(data, AnnotatedField):
        return (data,)
    if isinstance(data, str | os.PathLike):
        return ()
    fields = tuple(data)
    if not fields or not all(isinstance(one, AnnotatedField) for one in fields):
        raise ParamsError("give a folder or file of labelled tiles, or what napari_cellclass.label returned")
    return fields


def _with_regions(field: AnnotatedField) -> AnnotatedField:
    """Let the regions of the only field be held out in turn, unless a group was named."""
    if "group" in field.tiles or "row" not in field.tiles:
        return field
    blocks = field.tiles[["row", "col"]].to_numpy(int) // _REGION_TILES
    own = field.tiles.assign(group=[f"{field.name} region {row},{col}" for row, col in blocks.tolist()])
    return replace(field, tiles=own)
