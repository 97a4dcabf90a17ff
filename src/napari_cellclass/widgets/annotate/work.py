"""The jobs of the page Label, without Qt: a model of the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.locks import scratch_folder
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.models.feature_scale import SUFFIX as SCALE_SUFFIX
from napari_cellclass.core.models.feature_scale import FeatureScale
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.runs.train.annotated_fields import AnnotatedField, TrainRequest, data_on_disk
from napari_cellclass.runs.train.child import train_in_child


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
    spec = request.scale.spec
    with scratch_folder() as folder:
        scale = request.scale.save(folder / f"scale{SCALE_SUFFIX}")
        params = TrainParams.checked(
            data=Path(), out=request.out, network="pretrained", feature_scale=scale,
            standardise="none", colour="rgb" if spec.colour else "channels",
        )  # fmt: skip
        with data_on_disk(TrainRequest(params, request.fields), task) as on_disk:
            model = train_in_child(on_disk, task)
    request.scale.save(model.with_suffix(SCALE_SUFFIX))
    return model
