"""One model evaluated on several test sets, each with a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from napari_cellclass.core.common.errors import ParamsError
from napari_cellclass.core.common.task import NO_TASK, Progress, Task
from napari_cellclass.core.datasets.class_images import ReadImage
from napari_cellclass.core.datasets.tiles_csv import is_tiles_csv
from napari_cellclass.core.evaluation.results import EvaluatedSet
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.evaluate import EvaluateParams, name_and_path
from napari_cellclass.runs.classify.field import Predictor
from napari_cellclass.runs.common.dataset_opening import image_reader
from napari_cellclass.runs.common.engine_access import choose_precision, open_engine
from napari_cellclass.runs.evaluate.test_sets import evaluate_folder
from napari_cellclass.runs.evaluate.trust import run_trust_checks

_NOT_IN_NAMES = set('/\\:*?"<>|')


@dataclass(frozen=True)
class NamedTestSet:
    """A test set that is still to be read: class folders or a TILES.csv."""

    name: str
    path: Path


def parse_test_sets(words: Sequence[str]) -> tuple[NamedTestSet, ...]:
    """Read ``NAME=PATH`` or ``PATH``; without a name it is the folder's, with those above it where names are equal.

    A word that exists as a path is a path, even with ``=`` in it.

    Raises
    ------
    ParamsError
        A name is no name for a folder, or is given twice.
    """
    return name_test_sets([NamedTestSet(*name_and_path(word)) for word in words])


def name_test_sets(found: Sequence[NamedTestSet]) -> tuple[NamedTestSet, ...]:
    """Name the test sets that have no name yet, and check the others; see :func:`parse_test_sets`."""
    given = [one.name for one in found if one.name]
    for name in given:
        if not name.strip(" .") or set(name) & _NOT_IN_NAMES:
            raise ParamsError(f"{name!r} is no name for a test set, as a folder cannot be called so; choose another")
    names = [*given, *_own_names([one.path for one in found if not one.name])]
    twice = next((name for name, count in Counter(name.lower() for name in names).items() if count > 1), None)
    if twice is not None:
        raise ParamsError(f"two test sets are called {twice!r}; give each a name of its own: NAME=FOLDER")
    own = iter(names[len(given) :])
    return tuple(one if one.name else replace(one, name=next(own)) for one in found)


def _own_names(paths: Sequence[Path]) -> Iterator[str]:
    """Name test sets by their folders, or by as many of those above as make them different."""
    parts = [[part for part in _folder(path).absolute().parts if part.strip("/\\:")] for path in paths]
    for own in parts:
        same_name = [other for other in parts if other[-1:] == own[-1:]]
        depth = next((d for d in range(1, len(own)) if sum(o[-d:] == own[-d:] for o in same_name) == 1), len(own))
        yield "_".join(own[-depth:]).replace(":", "") or "test"


def _folder(path: Path) -> Path:
    if not is_tiles_csv(path):
        return path
    return path.parent if path.stem == "tiles" else path.with_suffix("")


@dataclass(frozen=True, eq=False)
class EvaluatedModel:
    """How a model did on test sets.

    Parameters
    ----------
    model, sets
        The model, and the result on each test set.
    params
        What it was evaluated with: as asked for, but for a precision that this machine does not use.
    warning
        Why it is not the precision that was asked for, or empty.
    """

    model: ModelBundle
    sets: tuple[EvaluatedSet, ...]
    params: EvaluateParams
    warning: str = ""


def evaluate_model(
    params: EvaluateParams, sets: Sequence[NamedTestSet], model: ModelBundle, task: Task = NO_TASK
) -> EvaluatedModel:
    """Open the engine of a model and evaluate it on test sets, as the parameters of ``evaluate`` say.

    Raises
    ------
    CellClassError
        See :func:`evaluate_test_sets` and :func:`~napari_cellclass.engine.inference.engines.open_engine`.
    """
    precision, warning = choose_precision(model, params.precision, params.engine)
    with open_engine(model, params.engine, precision=precision) as engine:
        found = evaluate_test_sets(
            sets, model, engine, params.group_by, image_reader(params),
            shortcuts=params.shortcuts, stress=params.stress, task=task,
        )  # fmt: skip
    return EvaluatedModel(model, found, params.model_copy(update={"precision": precision}), warning)


def evaluate_test_sets(
    sets: Sequence[NamedTestSet],
    bundle: ModelBundle,
    engine: Predictor,
    group_by: str | None = None,
    read: ReadImage = read_image,
    *,
    shortcuts: bool = False,
    stress: bool = False,
    task: Task = NO_TASK,
) -> tuple[EvaluatedSet, ...]:
    """Evaluate a model on every test set, and check whether the result can be trusted.

    Parameters
    ----------
    sets, bundle, engine
        The test sets, the model, and what runs it.
    group_by, read
        See :func:`~napari_cellclass.core.datasets.class_images.group_name`; opens an image.
    shortcuts, stress
        Whether to test these, see :func:`~napari_cellclass.runs.evaluate.trust.run_trust_checks`.
    task
        Reports and is checked per image and batch of tiles.

    Raises
    ------
    DatasetError, ModelError, ImageError
        See :func:`~napari_cellclass.runs.evaluate.test_sets.evaluate_folder`.
    CancelledError
        The task was cancelled.
    """
    found = []
    for one in sets:
        named = task if len(sets) == 1 else task.mapped(partial(_with_name, one.name))
        evaluation = evaluate_folder(one.path, bundle, engine, group_by, read, named)
        trust = run_trust_checks(evaluation, bundle, engine, shortcuts, stress, named)
        found.append(EvaluatedSet(one.name, one.path, evaluation, trust.alarms, trust.shortcuts, trust.stress))
    return tuple(found)


def _with_name(name: str, update: Progress) -> Progress:
    """Put the name of a test set before what is being done with it."""
    return replace(update, phase=f"{name}: {update.phase}")
