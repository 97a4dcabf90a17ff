"""What the Evaluate widget does away from the window: run the model, read tiles, open a field, write the kit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_cellclass.core.common.errors import CancelCheck, Progress, ProgressCallback
from napari_cellclass.core.evaluation.example_tiles import PanelTile, field_of_tile, read_panel
from napari_cellclass.core.evaluation.results import EvaluatedSet, Evaluation
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.verbs import EvaluateParams
from napari_cellclass.report.kit import save_kit
from napari_cellclass.runs.common.engine_access import KerasAnswers, load_model, open_engine, usable_precision
from napari_cellclass.runs.evaluate.named_sets import NamedPath, evaluate_sets
from napari_cellclass.widgets.prepare.work import Picture


@dataclass(frozen=True)
class EvaluateRequest:
    """What is asked for: parameters as of the command line, the test sets, and what a ``.keras`` file does not tell."""

    params: EvaluateParams
    sets: tuple[NamedPath, ...]
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

    picture: Picture
    box: tuple[int, int, int, int]
    tile: PanelTile


def run(request: EvaluateRequest, progress: ProgressCallback, cancelled: CancelCheck) -> Evaluated:
    """Evaluate as the command does.

    Raises
    ------
    CellClassError
        In one line, what the user can mend.
    """
    params = request.params
    progress(Progress("starting the network", 0, 0))
    model = load_model(params.model, request.answers or KerasAnswers.of(params))
    precision, why = usable_precision(model, params.precision, params.engine)
    with open_engine(model, params.engine, precision=precision) as engine:
        sets = evaluate_sets(
            request.sets, model, engine, params.group_by,
            shortcuts=params.shortcuts, stress=params.stress, progress=progress, cancelled=cancelled,
        )  # fmt: skip
    return Evaluated(model, sets, precision, why)


def tiles(
    evaluation: Evaluation, places: NDArray[Any], progress: ProgressCallback, cancelled: CancelCheck
) -> tuple[PanelTile, ...]:
    """Read tiles to be shown."""
    return read_panel(evaluation, places, cancelled)


def open_tile(
    evaluation: Evaluation, tile: PanelTile, progress: ProgressCallback, cancelled: CancelCheck
) -> TileInField:
    """Read the field of a tile."""
    path, box = field_of_tile(evaluation.data, tile.place)
    return TileInField(Picture.of(evaluation.data.read(path)), box, tile)


def write_kit(
    model: ModelBundle, sets: Sequence[EvaluatedSet], out: Path, progress: ProgressCallback, cancelled: CancelCheck
) -> Path:
    """Write the kit for a paper to a folder."""
    progress(Progress("writing the kit", 0, 0))
    save_kit(model, sets, out, cancelled=cancelled)
    return out
