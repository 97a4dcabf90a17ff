"""How labelled images are opened and cut, as the parameters of a verb say: the same for every verb."""

from __future__ import annotations

import functools
from typing import get_args

from napari_cellclass.core.common.errors import ModelError, ParamsError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.class_images import ReadImage
from napari_cellclass.core.datasets.dataset import GridOf, TileDataset
from napari_cellclass.core.datasets.tiles_csv import is_tiles_csv
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.params.prepare import CheckParams
from napari_cellclass.core.params.shared import PlaneParams
from napari_cellclass.core.params.train import NetworkName, TrainParams
from napari_cellclass.core.quality.brightness import check_brightness_alone, check_classes_by_brightness
from napari_cellclass.core.workspace.project_file import is_project


def image_reader(params: PlaneParams) -> ReadImage:
    """Return a function that opens the chosen plane of an image."""
    # A partial can be sent to another process, a local function cannot.
    return functools.partial(read_image, t=params.t, z=params.z, scene=params.scene)


def grid_maker(params: CheckParams | TrainParams) -> GridOf | None:
    """Return a function that cuts a field into tiles, or None where every image is a tile.

    Raises
    ------
    ParamsError
        A size is given for a list of tiles, which has its own boxes.
    """
    if params.tile_px is None and params.tile_um is None and params.tiles is None:
        return None
    if is_tiles_csv(params.data) or is_project(params.data):
        raise ParamsError(f"{params.data} says where each tile lies; drop --tile-px, --tile-um and --tiles")
    return params.grid


def resolve_auto_settings(
    params: TrainParams,
    data: TileDataset,
    task: Task = NO_TASK,
) -> tuple[TrainParams, tuple[str, ...]]:
    """Resolve automatic settings: the network, and whether tiles are standardised, with a sentence if they are not.

    A training that starts from another model, or learns from one, takes the setting of that one. Linear models on
    pretrained features see brightness, so that a sentence says where it separates the classes by itself.

    Raises
    ------
    ModelError
        The model to start from cannot be opened.
    ImageError
        A file has become unreadable.
    CancelledError
        The task was cancelled.
    """
    params, _ = resolve_network(params)
    if params.network == "pretrained":
        params = params if params.standardise != "auto" else params.model_copy(update={"standardise": "none"})
        finding = None if params.standardise == "tile" else check_brightness_alone(data, task)
        return params, () if finding is None else (finding.text,)
    if params.standardise != "auto":
        return params, ()
    earlier = params.initial or params.teacher
    if earlier is not None:  # older models do not name it, and had none
        chosen = open_bundle(earlier).manifest.training.get("standardise", "none")
        return params.model_copy(update={"standardise": chosen}), ()
    finding = check_classes_by_brightness(data, task)
    chosen = "tile" if finding is None else "none"
    return params.model_copy(update={"standardise": chosen}), () if finding is None else (finding.text,)


def resolve_network(params: TrainParams) -> tuple[TrainParams, str]:
    """Resolve the network ``"auto"``: that of the initial model; else pretrained, or compact with a clause why.

    It is compact where the weights are missing, or a setting is given that pretrained features do not have. What learns
    from a teacher is the compact network.

    Raises
    ------
    ModelError
        The model to start from cannot be opened.
    """
    if params.network != "auto":
        return params, ""
    if params.teacher is not None:
        return params.with_network("compact", "it learns from a teacher"), ""
    if params.initial is not None:
        network = open_bundle(params.initial).manifest.network
        known = network if network in get_args(NetworkName) else "compact"
        return params.with_network(known, f"training started from {params.initial.name}"), ""
    if reason := params.reason_for_compact:
        return params.with_network("compact", reason), f"the compact network is trained, as {reason}"
    from napari_cellclass.engine.features.weights import find_weights

    try:
        _ = find_weights() if params.backbone is None else None
    except ModelError as error:
        found = params.with_network("compact", str(error), with_compact=False)
        return found, f"the compact network is trained, as {error}"
    installed = (
        "its weights are installed" if params.backbone is None else f"--backbone {params.backbone.name} is given"
    )
    return params.with_network("pretrained", installed), ""
