"""Projects on the command line: what they say of parameters, and what is written back to them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cellclass.cli.exit_codes import OK
from napari_cellclass.cli.reporter import Reporter
from napari_cellclass.core.common.errors import ParamsError, escape_controls
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.params.base import Params
from napari_cellclass.core.params.evaluate import name_and_path
from napari_cellclass.core.params.info import InfoParams

if TYPE_CHECKING:
    from napari_cellclass.core.workspace.project import Project

_SUFFIX = ".cellproject"
_OF_FIELDS = ("channels", "t", "z", "scene")


def is_project_name(word: str) -> bool:
    """Return whether a word of the command line names a project file, by its suffix."""
    return word.lower().endswith(_SUFFIX)


def complete_values(model: type[Params], values: dict[str, Any], given: set[str]) -> dict[str, Any]:
    """Complete the parameters of ``train``, ``classify`` or ``evaluate`` by what a project says.

    Parameters
    ----------
    model
        The verb's parameters.
    values
        Those that are known, by name; of the command line or a settings file.
    given
        Names of those of the command line.

    Raises
    ------
    ParamsError
        A project stands beside other data, or has no model yet; a plane is given, but its fields have their own.
    DatasetError
        The project cannot be read.
    """
    if model.verb not in ("train", "classify", "evaluate"):
        return values
    data = values.get("images" if model.verb == "classify" else "data")
    words = [str(word) for word in (data if isinstance(data, list) else [data])]
    if not any(map(is_project_name, words)):
        return values
    if len(words) > 1:
        raise ParamsError(f"{words[0]!r} and {words[1]!r} were both given; a project stands alone")
    for name in _OF_FIELDS:
        if name in given:
            raise ParamsError(f"--{name} {values[name]}: the fields of a project have their own; drop it")
    from napari_cellclass.runs.common.project_data import project_defaults, results_folder

    path = name_and_path(words[0])[1]
    if "out" not in given:  # in the settings of an earlier version it is that one's
        values = {name: value for name, value in values.items() if name != "out"}
    completed = project_defaults(path, model.verb) | values
    if model.verb != "train":
        if "model" not in completed:
            raise ParamsError(f"{path} has no model yet; train one with napari-cellclass train {path}, or give --model")
        completed.setdefault("out", str(results_folder(path, model.verb, Path(str(completed["model"])))))
    return completed


@contextlib.contextmanager
def opened_project(data: Path, reporter: Reporter) -> Iterator[Project | None]:
    """Open a project for as long as a verb works for it, and look for moved images first; None for other data.

    Raises
    ------
    ProjectBusyError
        It is open in another program.
    DatasetError, OutputError
        It cannot be read or written to.
    """
    if not is_project_name(str(data)):
        yield None
        return
    from napari_cellclass.core.workspace.project import Project
    from napari_cellclass.core.workspace.project_lock import ProjectBusyError
    from napari_cellclass.core.workspace.recent import Recent
    from napari_cellclass.engine.common.parent_process import LISTEN_VARIABLE

    try:
        opened = Project.open(data)
    except ProjectBusyError:
        if not os.environ.get(LISTEN_VARIABLE):
            raise
        yield None  # the program that has started this one has the project open, and takes up what is made for it
        return
    with opened as project:
        Recent().add_project(data)
        for note in project.notes:
            reporter.warn(note)
        for field in project.find_moved(reporter.task):
            reporter.say(f"{field.name} was found at {field.path}")
        for field in project.missing():
            reporter.warn(f"{field.path} is missing; open {data.name} in napari to say where it is")
        yield project


def add_model(project: Project, path: Path, reporter: Reporter) -> None:
    """Take up a model that was trained for a project as its next version."""
    added = project.add_model(path)
    score = "" if added.score is None else f", balanced accuracy {added.score}"
    reporter.say(f"version {added.version} of {project.name}{score}")


@contextlib.contextmanager
def recorded_maps(project: Project | None, reporter: Reporter) -> Iterator[None]:
    """Record in a project the maps that were finished in the block, also where it was interrupted."""
    try:
        yield
    finally:
        if project is not None and (maps := project.take_up_maps()):
            reporter.say(f"{len(maps)} maps were added to {project.name}")


def show_project(params: InfoParams) -> int:
    """Print an overview of a project, or its file."""
    from napari_cellclass.core.workspace.project import Project

    if params.verify:
        raise ParamsError("--verify is for models; give a .cellclass file")
    project = Project.open(params.model, read_only=True)
    if params.json_lines:
        sys.stdout.write(project.path.read_text(encoding="utf-8"))
    else:
        print("\n".join(map(escape_controls, _lines(project))))
    return OK


def _lines(project: Project) -> Iterator[str]:
    counts = ", ".join(
        counted(len(some), one)
        for some, one in ((project.fields, "field"), (project.models, "model"), (project.maps, "map"))
    )
    yield f"{project.path.name}: {counts}"
    tile = project.grid.tile_px
    size = "not chosen yet" if tile is None else f"{tile[1]} x {tile[0]} px"
    yield f"tiles     {size}, overlap {project.grid.overlap:g}, edge {project.grid.edge}"
    for name, tiles, fields in project.labels.counts().itertuples(index=False):
        yield f"class     {name}: {counted(tiles, 'labelled tile')} in {counted(fields, 'field')}"
    groups = "each image" if project.rules.group_by is None else project.rules.group_by
    yield f"groups    {groups}"
    if project.rules.condition_by is not None:
        yield f"condition {project.rules.condition_by}"
    labelled = project.labels.fields_labelled()
    for field in project.fields:
        missing = ", missing" if field.is_missing else ""
        condition = project.condition_of(field)
        where = f", condition {condition}" if condition else ""
        tiles = sum(labelled.get(field.key, {}).values())
        group = project.group_of(field)
        yield f"field     {field.name}: {counted(tiles, 'labelled tile')}, group {group}{where}{missing}"
    for model in project.models:
        score = "no score" if model.score is None else f"balanced accuracy {model.score}"
        yield f"model     {model.version}: {model.path.name}, {counted(model.tiles, 'training tile')}, {score}"
    for note in project.notes:
        yield f"note      {note}"
