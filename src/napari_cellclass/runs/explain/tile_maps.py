"""Maps of tiles that show where the evidence for a class lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import ModelError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.explain import ExplainMethod
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.occlusion import Occlusion, default_patches_px, log_odds
from napari_cellclass.core.tiles.preprocess import channel_mismatch, field_levels
from napari_cellclass.core.tiles.streaming import iterate_tile_batches
from napari_cellclass.engine.inference.activation_maps import ActivationMaps
from napari_cellclass.runs.classify.field import Predictor

_NOISE_QUANTILE, _LEAST = 0.95, 0.1
Predict = Callable[[NDArray[Any]], NDArray[np.float32]]
"""From raw tiles (n, h, w, C) to probabilities (n, K)."""


@dataclass(frozen=True, eq=False)
class TileMap:
    """Where in a tile the evidence for a class lies.

    Parameters
    ----------
    tile_index
        In the grid.
    box
        y0, x0, y1, x1 in px of the field.
    class_index
        The class.
    prob
        float32, shape (K,): the probabilities of the tile.
    values
        float32, shape (h, w): natural log-odds of the class that the surroundings of a pixel add; of Grad-CAM without
        unit. At least 0; all 0 where nothing stands out from noise.
    """

    tile_index: int
    box: tuple[int, int, int, int]
    class_index: int
    prob: NDArray[np.float32]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class MapRequest:
    """What is to be mapped, and how.

    Parameters
    ----------
    method
        ``"occlusion"`` for any model, ``"grad-cam"`` for a network with global pooling.
    class_index
        The class whose evidence is mapped; None for the predicted class of each tile.
    patch_px
        Of the occlusion, see :func:`occlusion_map`.
    """

    method: ExplainMethod = "occlusion"
    class_index: int | None = None
    patch_px: int | None = None


def occlusion_map(
    predict: Predict, tile: NDArray[Any], class_index: int, patch_px: int | None = None, task: Task = NO_TASK
) -> NDArray[np.float32]:
    """Map how much each part of a tile adds to the log-odds of a class: what is lost where it is hidden.

    Parameters
    ----------
    predict
        The model.
    tile
        Shape (h, w, C), raw.
    class_index
        The class.
    patch_px
        Side of what is hidden at once, see :class:`~napari_cellclass.core.tiles.occlusion.Occlusion`. None for an
        eighth of the tile or, where hiding that much changes nothing, as where evidence is spread, a quarter, or half.
    task
        Checked between batches of patches.

    Returns
    -------
    ndarray of float32, shape (h, w)
        Log-odds of the class with the tile as it is less those with the patches over a pixel hidden. Of that, what
        hiding changes by chance is taken off: what the rises of the log-odds stay below in 95 % of the patches, and at
        least 0.1, a change of the odds by a tenth. At least 0.

    Raises
    ------
    CancelledError
        The task was cancelled.
    """
    shape = (tile.shape[0], tile.shape[1])
    whole = float(log_odds(predict(tile[None]), class_index)[0])
    found = np.zeros(shape, np.float32)
    for size in default_patches_px(shape) if patch_px is None else (patch_px,):
        found = _map_at(predict, tile, class_index, whole, Occlusion(shape, size), task)
        if found.any():
            break
    return found


def _map_at(
    predict: Predict, tile: NDArray[Any], class_index: int, whole: float, occlusion: Occlusion, task: Task
) -> NDArray[np.float32]:
    """Map a tile by patches of one size; ``whole`` are its log-odds as it is."""
    drops = []
    for copies in occlusion.occluded(tile):
        task.check("cancelled while a tile was mapped")
        drops.append(whole - log_odds(predict(copies), class_index))
    found = np.concatenate(drops)
    # Where the model sees nothing of a class, hiding a part raises its log-odds as often as it lowers them.
    chance = max(_LEAST, float(np.quantile(np.maximum(-found, 0), _NOISE_QUANTILE)))
    return np.maximum(occlusion.map_of(found) - np.float32(chance), 0)


def map_tiles(
    source: SourceImage,
    bundle: ModelBundle,
    engine: Predictor,
    grid: TileGrid,
    tile_indices: Sequence[int] | NDArray[np.int64],
    request: MapRequest,
    task: Task = NO_TASK,
) -> Iterator[TileMap]:
    """Map tiles of a field one by one, in the order given; tiles with NaN or infinite pixels are left out.

    Parameters
    ----------
    source, bundle, engine, grid
        The field, the model, what runs it, and the tiles.
    tile_indices
        Which tiles, as indices in the grid.
    request
        What is mapped, and how.
    task
        Reports the finished tiles.

    Raises
    ------
    ModelError
        The field has another number of channels than the model, or Grad-CAM does not apply to it.
    ImageError
        The pixels cannot be read.
    CancelledError
        The task was cancelled.
    """
    if source.channels != bundle.preprocess.channels:
        raise ModelError(f"{source.name}: {channel_mismatch(bundle.preprocess.channels, source.channels)}")
    levels = field_levels(bundle.preprocess, source, task)
    maps = ActivationMaps.of(bundle) if request.method == "grad-cam" else None

    def predict(tiles: NDArray[Any]) -> NDArray[np.float32]:
        return bundle.calibrated(engine.predict(tiles, levels))

    def explain(tile: NDArray[Any], chosen: int) -> NDArray[np.float32]:
        if maps is not None:
            return maps(tile, chosen, levels)
        return occlusion_map(predict, tile, chosen, request.patch_px, task)

    yield from _mapped(source, grid, tile_indices, request.class_index, predict, explain, task)


def map_tiles_by(
    predict: Predict,
    source: SourceImage,
    grid: TileGrid,
    tile_indices: Sequence[int] | NDArray[np.int64],
    request: MapRequest,
    task: Task = NO_TASK,
) -> Iterator[TileMap]:
    """Map tiles as :func:`map_tiles` does, by occlusion, for anything that predicts raw tiles.

    Raises
    ------
    ModelError
        Grad-CAM is asked for, which needs a network.
    ImageError, CancelledError
        See :func:`map_tiles`.
    """
    if request.method != "occlusion":
        raise ModelError("Grad-CAM is for networks, and the live map comes from a linear model; choose occlusion")

    def explain(tile: NDArray[Any], chosen: int) -> NDArray[np.float32]:
        return occlusion_map(predict, tile, chosen, request.patch_px, task)

    yield from _mapped(source, grid, tile_indices, request.class_index, predict, explain, task)


def _mapped(
    source: SourceImage,
    grid: TileGrid,
    tile_indices: Sequence[int] | NDArray[np.int64],
    class_index: int | None,
    predict: Predict,
    explain: Callable[[NDArray[Any], int], NDArray[np.float32]],
    task: Task,
) -> Iterator[TileMap]:
    """Map tiles one by one, of the class given or of the one that is predicted."""
    for index in task.track([int(i) for i in tile_indices], "mapping tiles"):
        one = grid.take([index])
        tile = next(iterate_tile_batches(source, one, 1))[1][0]
        prob = predict(tile[None])
        if not np.isfinite(prob).all():
            continue
        chosen = int(prob[0].argmax()) if class_index is None else class_index
        y0, x0, y1, x1 = (int(v) for v in one.boxes[0])
        yield TileMap(index, (y0, x0, y1, x1), chosen, prob[0], explain(tile, chosen))
