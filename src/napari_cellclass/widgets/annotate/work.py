"""The jobs of the page Label, without Qt: predictions, a model of the labels, and one refined by a trained network."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.blas import single_threaded_blas
from napari_cellclass.core.common.files import atomic_write
from napari_cellclass.core.common.locks import scratch_folder
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.bundle import SUFFIX, open_bundle
from napari_cellclass.core.models.feature_scale import SUFFIX as SCALE_SUFFIX
from napari_cellclass.core.models.feature_scale import FeatureScale
from napari_cellclass.core.models.known_models import KnownModels
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.core.selection.typical_tiles import typical_tiles
from napari_cellclass.core.workspace.records import GridSettings
from napari_cellclass.runs.live.features import LiveExtractor
from napari_cellclass.runs.live.refine import HeldOut, Refinement, compare_with_live
from napari_cellclass.runs.live.session import LivePrediction, LiveSession
from napari_cellclass.runs.live.stream import FieldToRead, fill_store, stream_features
from napari_cellclass.runs.train.annotated_fields import AnnotatedField, TrainRequest, data_on_disk
from napari_cellclass.runs.train.child import train_in_child


def predict_labels(session: LiveSession, request: dict[str, Any], task: Task) -> LivePrediction | None:
    """Predict from the labels; ``request`` has the parameters of :meth:`LiveSession.predict`."""
    return session.predict(**request)


def choose_typical(session: LiveSession, key: str, task: Task) -> NDArray[np.int64]:
    """Choose the typical tiles of a field, as far as features are known."""
    z = session.standardised(key)
    if z is None:
        return np.zeros(0, np.int64)
    with single_threaded_blas():
        return typical_tiles(z, np.flatnonzero(np.isfinite(z[:, 0])))


@dataclass(frozen=True, eq=False)
class KeepRequest:
    """What a model of the labels is made of.

    Parameters
    ----------
    fields
        The labelled tiles; a column ``group`` says what is held out together.
    scale
        How features were computed and standardised while labelling.
    out
        The model to write.
    """

    fields: tuple[AnnotatedField, ...]
    scale: FeatureScale
    out: Path


def with_groups(field: AnnotatedField, group: str, regions: Mapping[tuple[int, int], int] | None) -> AnnotatedField:
    """Say what the tiles of a field are held out with: its group, or the region of each by its upper-left corner."""
    tiles = field.tiles.copy()
    if regions is None:
        tiles["group"] = group
    else:
        corners = zip(tiles["y0"], tiles["x0"], strict=True)
        tiles["group"] = [f"{group} region {regions[int(y), int(x)]}" for y, x in corners]
    return replace(field, tiles=tiles)


def regions_by_corner(boxes: NDArray[np.int32], regions: NDArray[np.int64]) -> dict[tuple[int, int], int]:
    """Give the region of each tile by its upper-left corner (y, x) in px."""
    return {(y, x): region for (y, x), region in zip(boxes[:, :2].tolist(), regions.tolist(), strict=True)}


def keep_model(request: KeepRequest, task: Task) -> Path:
    """Train the linear models of a labelling session in a child process, and write them as a model.

    Beside the model lies its scale of features, with which ``train --feature-scale`` makes it again.

    Raises
    ------
    CellClassError
        In one line, what the user can correct.
    CancelledError
        The task was cancelled; the child process has ended.
    """
    with scratch_folder() as folder:
        params = _params(request, request.out, folder)
        with data_on_disk(TrainRequest(params, request.fields), task) as on_disk:
            model = train_in_child(on_disk, task)
    request.scale.save(model.with_suffix(SCALE_SUFFIX))
    return model


def _params(request: KeepRequest, out: Path, folder: Path, **more: Any) -> TrainParams:
    return TrainParams.checked(
        data=Path(), out=out, network="pretrained", feature_scale=request.scale.save(folder / f"scale{SCALE_SUFFIX}"),
        standardise="none", colour="rgb" if request.scale.spec.colour else "channels", **more,
    )  # fmt: skip


# -- refine --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Refined:
    """A model that was trained to be better than the live map.

    Parameters
    ----------
    found
        Whether it is.
    path
        The model, in a folder that is there until ``files`` are closed; None where it is not better.
    scale
        How its features are standardised.
    files
        Keeps the folder.
    """

    found: Refinement
    path: Path | None
    scale: FeatureScale
    files: contextlib.ExitStack


def with_held_out(
    field: AnnotatedField,
    boxes: NDArray[np.int32],
    of_field: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]],
    names: tuple[str, ...],
) -> AnnotatedField:
    """Say what the live map predicts for the tiles of a field without their group, and which were drawn at random.

    Parameters
    ----------
    field
        Its labelled tiles get the columns ``live``, a class name or '', and ``drawn``.
    boxes
        Of all its tiles.
    of_field
        See :meth:`~napari_cellclass.runs.live.refine.HeldOut.of_field`.
    names
        Of the classes.
    """
    tile, predicted, drawn = of_field
    corners = [(y, x) for y, x in boxes[tile, :2].tolist()]
    live = dict(zip(corners, (names[k] for k in predicted.tolist()), strict=True))
    chosen = {corner for corner, one in zip(corners, drawn.tolist(), strict=True) if one}
    tiles = field.tiles.copy()
    own = [(int(y), int(x)) for y, x in zip(tiles["y0"], tiles["x0"], strict=True)]
    tiles["live"], tiles["drawn"] = [live.get(corner, "") for corner in own], [corner in chosen for corner in own]
    return replace(field, tiles=tiles)


def refine_model(request: KeepRequest, held_out: HeldOut, task: Task) -> Refined:
    """Train what ``train --with-compact`` trains in a child process, and compare it with the live map.

    Raises
    ------
    CellClassError
        In one line, what the user can correct.
    CancelledError
        The task was cancelled; the child process has ended.
    """
    with contextlib.ExitStack() as files:
        folder = files.enter_context(scratch_folder())
        params = _params(
            request, folder / f"refined{SUFFIX}", folder, with_compact=True, val_fraction=held_out.val_fraction
        )
        with data_on_disk(TrainRequest(params, request.fields), task) as on_disk:
            paths = pd.read_csv(on_disk.data, usecols=["path"])["path"].to_numpy(str)
            model = open_bundle(train_in_child(on_disk, task))
        rows = pd.concat([field.tiles for field in request.fields if len(field.tiles)], ignore_index=True)
        found = compare_with_live(model, rows.assign(path=paths), held_out.by)
        task.check("cancelled; the model was not kept")
        if not found.wins:
            return Refined(found, None, request.scale, contextlib.ExitStack())
        return Refined(found, model.path, request.scale, files.pop_all())


def use_refined(refined: Refined, out: Path, task: Task) -> Path:
    """Write a refined model, and its scale of features, where it stays.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    assert refined.path is not None
    with atomic_write(out) as temporary:
        shutil.copyfile(refined.path, temporary)
    refined.scale.save(out.with_suffix(SCALE_SUFFIX))
    refined.files.close()
    KnownModels().remember(open_bundle(out))
    return out


def stream(extractor: LiveExtractor, fields: list[FieldToRead], task: Task) -> None:
    """Compute the features of the tiles of fields, until all are known or the task is cancelled."""
    for _ in stream_features(fields, extractor, task):
        pass


def fill_features(
    extractor: LiveExtractor, sources: list[Callable[[], SourceImage]], grid: GridSettings, task: Task
) -> None:
    """Compute the features that other fields of a project will need, onto the disk."""
    fill_store(sources, grid, extractor, task.silent())
