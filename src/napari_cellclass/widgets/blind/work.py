"""The jobs of the widget *Blinded reading*, without Qt: draw a session, reveal it, write the results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.blind.container import SUFFIX
from napari_cellclass.core.blind.results import BlindResult, reveal
from napari_cellclass.core.blind.session import BlindSession, user_session_folder
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.datasets.tiles_csv import read_dataset
from napari_cellclass.core.params.blind import BlindParams
from napari_cellclass.core.params.shared import TileParams
from napari_cellclass.runs.common.engine_access import load_model, open_engine
from napari_cellclass.runs.evaluate.test_sets import predict_dataset, read_test_tiles
from napari_cellclass.runs.evaluate.trust import training_images_in


@dataclass(frozen=True)
class BlindRequest:
    """What a session is drawn from.

    Parameters
    ----------
    data
        Class folders or TILES.csv.
    model
        The model to compare with, or None.
    tile_px, group_by
        How fields are cut, and what the groups are.
    params
        Tiles and repeats.
    """

    data: Path
    model: Path | None
    tile_px: int | None
    group_by: str | None
    params: BlindParams


def draw(request: BlindRequest, task: Task) -> tuple[BlindSession, tuple[str, ...]]:
    """Read the test tiles, draw and seal a session; give it with warnings for its reader.

    Raises
    ------
    CellClassError
        In one line, what the user can correct.
    """
    folder = user_session_folder()
    path = folder / f"{datetime.now():%Y%m%d-%H%M%S-%f}{SUFFIX}"
    if request.model is None:
        tiles = TileParams.checked(tile_px=request.tile_px)
        grid = tiles.grid if request.tile_px else None
        data = read_dataset(request.data, grid, request.group_by, task=task).without_rotated_copies()
        session = BlindSession.create(path, data, request.params, task=task)
        return session, tuple(_warnings(data, ()))
    task.progress("opening the model")
    model = load_model(request.model)
    data = read_test_tiles(request.data, model, request.group_by, request.tile_px, task=task)
    with open_engine(model, "auto") as engine:

        def predict(tile_indices: NDArray[np.int64]) -> NDArray[np.float32]:
            return model.calibrated(predict_dataset(data.take(tile_indices), engine, task, model.preprocess))

        seen = training_images_in(data, model)
        session = BlindSession.create(path, data, request.params, predict, request.model.name, task, seen)
    return session, tuple(_warnings(data, seen))


def _warnings(data: TileDataset, seen: Sequence[Path]) -> Iterator[str]:
    if len(np.unique(data.boxes[:, 2:] - data.boxes[:, :2], axis=0)) > 1:
        yield "the tiles differ in size, which may give a class away; cut them all to the same size"
    if seen:
        yield (
            f"{len(seen)} of the {len(data.image_ids)} images were used to make the model, so that comparing with it "
            "is not fair; choose images that it has not seen"
        )


def results(session: BlindSession, task: Task) -> BlindResult:
    """Reveal a session, see :func:`~napari_cellclass.core.blind.results.reveal`."""
    task.progress("comparing")
    return reveal(session)


def export(result: BlindResult, path: Path, task: Task) -> list[Path]:
    """Write the results, see :meth:`BlindResult.write`."""
    task.progress("writing")
    return result.write(path)
