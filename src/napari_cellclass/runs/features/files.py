"""Features of the tiles of many images, written as one file."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.csv_safe import escape_formulas
from napari_cellclass.core.common.errors import CancelledError, CellClassError, ParamsError
from napari_cellclass.core.common.files import atomic_write, check_writable
from napari_cellclass.core.common.task import NO_TASK, Progress, Task
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.feature_spec import FeatureSpec
from napari_cellclass.core.params.features import FeaturesParams
from napari_cellclass.core.params.settings_file import save_settings, settings_beside
from napari_cellclass.core.params.shared import parse_channels
from napari_cellclass.core.plates.inputs import find_images
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.engine.features.extractor import FeatureExtractor, feature_names
from napari_cellclass.engine.features.user_backbone import UserBackbone, open_backbone
from napari_cellclass.engine.inference.openvino_graph import TileFormat
from napari_cellclass.runs.features.choosing import choose_features
from napari_cellclass.runs.features.extraction import image_features, open_extractor, open_store

_MEASURED = 100  # images that grey-value ranges are measured in
_BLOCK = 4096  # rows of a CSV file that are made at once


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features of the N tiles of some images.

    Parameters
    ----------
    images
        The images, and which tiles are theirs: ``image`` is int32 of shape (N,), an index.
    image, boxes
        Image and box of each tile, int32 of shape (N, 4): y0, x0, y1, x1 in px.
    features
        float32, shape (N, F).
    names
        Of the F columns: first those of the backbone, then those of texture.
    spec
        What was computed.
    """

    images: tuple[Path, ...]
    image: NDArray[np.int32]
    boxes: NDArray[np.int32]
    features: NDArray[np.float32]
    names: tuple[str, ...]
    spec: FeatureSpec

    def to_pandas(self, rows: slice = slice(None)) -> pd.DataFrame:
        """Give tiles as a DataFrame: columns image, y0, x0, y1, x1 (px), then one per feature."""
        names = np.array([str(image) for image in self.images], object)
        places = pd.DataFrame(self.boxes[rows], columns=["y0", "x0", "y1", "x1"])
        places.insert(0, "image", names[self.image[rows]])
        return pd.concat([places, pd.DataFrame(self.features[rows], columns=list(self.names))], axis=1)


@dataclass(frozen=True, eq=False)
class FeatureReport:
    """What was written, and what was not.

    Parameters
    ----------
    table
        The features.
    failed
        Why images were left out, a line for each.
    warnings
        Sentences that a user should read.
    """

    table: FeatureTable
    failed: tuple[str, ...]
    warnings: tuple[str, ...]


def write_features(params: FeaturesParams, task: Task = NO_TASK) -> FeatureReport:
    """Compute the features of the tiles of images and write them to a file.

    Images that cannot be read are left out.

    Raises
    ------
    ParamsError, DatasetError
        There is no image, or the format needs a package that is not installed.
    ImageError
        No image can be read, or they do not belong together.
    ModelError
        The backbone is not installed, damaged or refused.
    OutputError
        The file cannot be written.
    CancelledError
        The task was cancelled; what was computed is kept on disk.
    """
    if params.out.suffix.lower() == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ParamsError(f"{params.out} needs pyarrow: pip install pyarrow, or write .npz or .csv")
    check_writable(params.out)
    opened, errors = _opened(params, task)
    if not opened:
        raise errors[0]
    report = compute_features(params, opened, task)
    _write(report.table, params.out)
    save_settings(params, settings_beside(params.out))
    return replace(report, failed=(*map(str, errors), *report.failed))


def compute_features(
    params: FeaturesParams,
    opened: Sequence[tuple[Path, SourceImage]],
    task: Task = NO_TASK,
    grids: Sequence[TileGrid] | None = None,
) -> FeatureReport:
    """Compute the features of the tiles of images that are open already; nothing is written.

    Parameters
    ----------
    params
        Settings; ``images`` and ``out`` are not used.
    opened
        At least one image, with its path or name.
    task
        As for :func:`write_features`, which says what is raised.
    grids
        The tiles of each image, in place of those that ``params`` would lay.
    """
    own = None
    if params.backbone is not None:
        own = open_backbone(params.backbone, params.backbone_values, params.backbone_px)
    measured = [opened[i][1] for i in np.unique(np.linspace(0, len(opened) - 1, _MEASURED).astype(int))]
    spec = choose_features(measured, params.colour, not params.texture_only, own, task)
    table, failed, warnings = _extracted(params, spec, own, opened, task, grids)
    return FeatureReport(table, tuple(map(str, failed)), tuple(warnings))


def _opened(params: FeaturesParams, task: Task) -> tuple[list[tuple[Path, SourceImage]], list[CellClassError]]:
    channels, found, errors = parse_channels(params.channels), [], []
    for path in task.track(find_images(params.images), "opening images"):
        try:
            source = read_image(path, t=params.t, z=params.z, scene=params.scene)
            found.append((path, source.select(channels) if channels else source))
        except CellClassError as error:
            errors.append(error)
    return found, errors


def _extracted(
    params: FeaturesParams,
    spec: FeatureSpec,
    own: UserBackbone | None,
    opened: Sequence[tuple[Path, SourceImage]],
    task: Task,
    grids: Sequence[TileGrid] | None,
) -> tuple[FeatureTable, list[CellClassError], list[str]]:
    """Compute the features of all images; an image that fails is left out."""
    extractors: dict[TileFormat, FeatureExtractor] = {}
    done: list[tuple[Path, TileGrid, NDArray[np.float32]]] = []
    errors: list[CellClassError] = []
    warnings: dict[str, None] = {}
    for number, (path, source) in enumerate(opened):
        one = task.mapped(lambda update, number=number: _of_all(update, number, len(opened)))  # type: ignore[misc]
        try:
            grid = params.grid(source) if grids is None else grids[number]
            tile_format = TileFormat.of(np.empty((1, *grid.tile_px, source.channels), source.dtype))
            if tile_format not in extractors:
                extractors[tile_format] = open_extractor(source, grid, spec, params.threads, own)
            store = open_store(source, spec, task.silent()) if params.keep else None
            done.append((path, grid, image_features(source, grid, extractors[tile_format], store, one)))
            if store is not None and store.problem is not None:
                warnings[store.problem] = None
        except CancelledError:
            raise
        except CellClassError as error:
            errors.append(error)
    if not done:
        raise errors[0]
    table = FeatureTable(
        images=tuple(path for path, _, _ in done),
        image=np.repeat(np.arange(len(done), dtype=np.int32), [len(grid) for _, grid, _ in done]),
        boxes=np.concatenate([grid.boxes for _, grid, _ in done]),
        features=np.concatenate([features for _, _, features in done]),
        names=feature_names(spec, own),
        spec=spec,
    )
    return table, errors, list(warnings)


def _of_all(update: Progress, number: int, images: int) -> Progress:
    """Say of which image the progress is."""
    return Progress(f"{update.phase} (image {number + 1} of {images})", update.done, update.total, update.metrics)


def _write(table: FeatureTable, path: Path) -> None:
    suffix = path.suffix.lower()
    with atomic_write(path) as temporary:
        if suffix == ".npz":
            with temporary.open("wb") as stream:
                np.savez(
                    stream, features=table.features, boxes=table.boxes, image=table.image,
                    images=np.array([str(image) for image in table.images]), names=np.array(table.names),
                    spec=np.array(json.dumps(table.spec.model_dump(mode="json"))),
                )  # fmt: skip
        elif suffix == ".parquet":
            table.to_pandas().to_parquet(temporary, index=False)
        else:
            for start in range(0, max(1, len(table.features)), _BLOCK):
                block = escape_formulas(table.to_pandas(slice(start, start + _BLOCK)))
                block.to_csv(
                    temporary, mode="a", header=start == 0, index=False, lineterminator="\n", float_format="%.7g"
                )
