"""The jobs of the Evaluate widget, without Qt: run the model, read tiles, open a field, write the kit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_cellclass.core.common.task import Task
from napari_cellclass.core.evaluation.example_tiles import PanelTile, field_of_tile, read_panel
from napari_cellclass.core.evaluation.results import Evaluation
from napari_cellclass.core.images.display import DisplayImage, read_display_image
from napari_cellclass.core.params.evaluate import EvaluateParams
from napari_cellclass.core.params.settings_file import SETTINGS_FILE, save_settings
from napari_cellclass.report.kit import save_kit
from napari_cellclass.runs.common.engine_access import KerasDetails, load_model
from napari_cellclass.runs.evaluate.named_sets import EvaluatedModel, NamedTestSet, evaluate_model


@dataclass(frozen=True)
class EvaluateRequest:
    """A request: parameters of the command, test sets, and what a ``.keras`` file does not contain."""

    params: EvaluateParams
    sets: tuple[NamedTestSet, ...]
    keras_details: KerasDetails | None = None


@dataclass(frozen=True, eq=False)
class TileInField:
    """A tile's field as it is displayed, and the tile's box in it in px."""

    picture: DisplayImage
    box: tuple[int, int, int, int]
    tile: PanelTile


def run(request: EvaluateRequest, task: Task) -> EvaluatedModel:
    """Evaluate as the command does.

    Raises
    ------
    CellClassError
        In one line, what the user can correct.
    """
    params = request.params
    task.progress("starting the network")
    details = request.keras_details or KerasDetails.of(params)
    model = load_model(params.model, details)
    changes = {
        "data": [str(one.path) if "=" in one.name else f"{one.name}={one.path}" for one in request.sets],
        "classes": None if details.classes is None else ",".join(details.classes),
        "rescale": details.rescale,
        "tile_px": details.tile_px,
    }
    return evaluate_model(params.model_copy(update=changes), request.sets, model, task)


def tiles(evaluation: Evaluation, tile_indices: NDArray[Any], task: Task) -> tuple[PanelTile, ...]:
    """Read tiles for display."""
    return read_panel(evaluation, tile_indices, task)


def open_tile(evaluation: Evaluation, tile: PanelTile, task: Task) -> TileInField:
    """Read the field of a tile."""
    path, box = field_of_tile(evaluation.data, tile.tile_index)
    return TileInField(read_display_image(evaluation.data.read(path)), box, tile)


def write_kit(evaluated: EvaluatedModel, out: Path, task: Task) -> Path:
    """Write the kit for a paper to a folder, with the settings by which the command writes it, too."""
    task.progress("writing the kit")
    save_kit(evaluated.model, evaluated.sets, out, task=task)
    params = evaluated.params.model_copy(update={"out": out.parent, "kit": True})
    save_settings(params, out / SETTINGS_FILE)
    return out
