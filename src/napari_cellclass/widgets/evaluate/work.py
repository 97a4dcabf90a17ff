"""What the Evaluate widget does away from the window: run the model, read tiles, open a field, write the kit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_cellclass.core.common.task import Task
from napari_cellclass.core.evaluation.example_tiles import PanelTile, field_of_tile, read_panel
from napari_cellclass.core.evaluation.results import EvaluatedSet, Evaluation
from napari_cellclass.core.images.display import DisplayImage, read_display_image
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.evaluate import EvaluateParams
from napari_cellclass.report.kit import save_kit
from napari_cellclass.runs.common.engine_access import KerasAnswers, load_model, open_engine, usable_precision
from napari_cellclass.runs.evaluate.named_sets import NamedTestSet, evaluate_test_sets


@dataclass(frozen=True)
class EvaluateRequest:
    """What is asked for: parameters as of the command line, the test sets, and what a ``.keras`` file does not tell."""

    params: EvaluateParams
    sets: tuple[NamedTestSet, ...]
    answers: KerasAnswers | None = None


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What came out: the model, how it did on each test set, and why it was not in the precision that was asked for."""

    model: ModelBundle
    sets: tuple[EvaluatedSet, ...]
    precision: str = "f32"
    why: str = ""


@dataclass(frozen=True, eq=False)
class TileInField:
    """A tile's field, to be shown, and its box there in px."""

    picture: DisplayImage
    box: tuple[int, int, int, int]
    tile: PanelTile


def run(request: EvaluateRequest, task: Task) -> Evaluated:
    """Evaluate as the command does.

    Raises
    ------
    CellClassError
        In one line, what the user can mend.
    """
    params = request.params
    task.progress("starting the network")
    model = load_model(params.model, request.answers or KerasAnswers.of(params))
    precision, why = usable_precision(model, params.precision, params.engine)
    with open_engine(model, params.engine, precision=precision) as engine:
        sets = evaluate_test_sets(
            request.sets, model, engine, params.group_by,
            shortcuts=params.shortcuts, stress=params.stress, task=task,
        )  # fmt: skip
    return Evaluated(model, sets, precision, why)


def tiles(evaluation: Evaluation, places: NDArray[Any], task: Task) -> tuple[PanelTile, ...]:
    """Read tiles to be shown."""
    return read_panel(evaluation, places, task)


def open_tile(evaluation: Evaluation, tile: PanelTile, task: Task) -> TileInField:
    """Read the field of a tile."""
    path, box = field_of_tile(evaluation.data, tile.place)
    return TileInField(read_display_image(evaluation.data.read(path)), box, tile)


def write_kit(model: ModelBundle, sets: Sequence[EvaluatedSet], out: Path, task: Task) -> Path:
    """Write the kit for a paper to a folder."""
    task.progress("writing the kit")
    save_kit(model, sets, out, task=task)
    return out
