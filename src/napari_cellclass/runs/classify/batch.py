"""Classify many images: in this process, in several, or on a Dask cluster that exists already."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

import napari_cellclass
from napari_cellclass.core.common.errors import CellClassError, OutputError, ParamsError
from napari_cellclass.core.common.files import write_json
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.classify import ClassifyParams
from napari_cellclass.core.params.settings_file import SETTINGS_FILE, save_settings
from napari_cellclass.core.params.shared import PrecisionName, parse_channels, planes_of
from napari_cellclass.core.plates.condition_results import ConditionResults
from napari_cellclass.core.plates.inputs import WELL_TABLE, InputField, find_fields, find_images
from napari_cellclass.core.plates.tables import FieldRow, WellList, field_table, well_table, write_plate_tables
from napari_cellclass.core.predictions.novelty_warnings import why_no_novelty
from napari_cellclass.core.workspace.project_file import is_project
from napari_cellclass.runs.classify.field_files import REPORT, check_folder, remove_temporary_files
from napari_cellclass.runs.classify.field_job import FieldJob, FieldOutcome, run_job
from napari_cellclass.runs.classify.folder_lock import locked_folder
from napari_cellclass.runs.classify.plate_conditions import PlateConditions
from napari_cellclass.runs.classify.pool import classify_in_processes, engine_threads
from napari_cellclass.runs.common.engine_access import choose_precision
from napari_cellclass.runs.common.engine_cache import EngineCache
from napari_cellclass.runs.common.project_data import project_images

__all__ = ["FieldOutcome", "RunReport", "classify_files", "output_stems"]


@dataclass(frozen=True, eq=False)
class RunReport:
    """The outcomes of all images and the tables made of them.

    Parameters
    ----------
    model_id, classes
        Of the model.
    out
        The folder of the tables.
    outcomes
        Of the images that were processed, in the order they were given.
    fields, wells
        See :mod:`napari_cellclass.core.plates.tables`; ``fields`` has a row for every image, processed or not.
    cancelled
        Whether some images were not processed.
    precision
        That of the network, in all images.
    warnings
        Sentences about the run as a whole that a user should read.
    conditions
        How the conditions compare; None where none are given, or no field of any is classified.
    """

    model_id: str
    classes: tuple[str, ...]
    out: Path
    outcomes: tuple[FieldOutcome, ...]
    fields: pd.DataFrame
    wells: pd.DataFrame
    cancelled: bool = False
    precision: PrecisionName = "f32"
    warnings: tuple[str, ...] = ()
    conditions: ConditionResults | None = None

    @property
    def failed(self) -> tuple[FieldOutcome, ...]:
        """The images without tables."""
        return tuple(outcome for outcome in self.outcomes if outcome.error)

    @property
    def reused(self) -> int:
        """How many had complete tables of the same model and settings already."""
        return sum(outcome.reused for outcome in self.outcomes)

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``report.json``."""
        return {
            "program": f"napari-cellclass {napari_cellclass.__version__}",
            "model_id": self.model_id,
            "given": len(self.fields),
            "images": len(self.outcomes),
            "kept": self.reused,
            "failed": len(self.failed),
            "cancelled": self.cancelled,
            "precision": self.precision,
            "warnings": list(self.warnings),
            "conditions": [] if self.conditions is None else self.conditions.sentences(),
            "results": [outcome.to_json() for outcome in self.outcomes],
        }


def classify_files(
    params: ClassifyParams,
    model: ModelBundle,
    task: Task = NO_TASK,
) -> RunReport:
    """Classify images, and write the tables of each and those of all.

    Of an image there are ``STEM.tiles.csv``, ``STEM.geojson`` and ``STEM.run.json``, of all ``fields.csv``,
    ``wells.csv``, ``report.json`` and ``settings.json``. Images whose tables are complete, unchanged, and of the same
    pixels, model, settings and version are not classified again.

    Parameters
    ----------
    params
        Images, settings and the folder to write to.
    model
        The opened model.
    task
        Reports the finished images or, with one image, the finished tiles. Checked between images, and between
        batches of tiles when run in this process.

    Raises
    ------
    ParamsError
        No image is found, or no scheduler; int8 on TensorFlow.
    ModelError
        The model has no network in the precision that was asked for.
    OutputError
        The folder cannot be written, or another run writes to it. What goes wrong with one image is in the
        report instead.
    """
    if params.wells is not None and params.wells.resolve() == (params.out / WELL_TABLE).resolve():
        raise ParamsError(f"--wells {params.wells} would be written over by the run's own table; rename it")
    wells = WellList.read(params.wells)
    # Here and once, so that all fields of a plate are classified in one precision, whatever the machines support.
    precision, warning = choose_precision(model, params.precision, params.engine)
    params = params.model_copy(update={"precision": precision})
    jobs, notes = _jobs(params, model)
    if why := why_no_novelty(model.carries_training_tiles, params.engine, precision):
        notes = (*notes, why)
    wells.check([job.image for job in jobs])
    conditions = PlateConditions.of(params, lambda: _report(jobs, {}, model, wells, params.out).fields)
    check_folder(params.out, {job.image for job in jobs}, [job.stem for job in jobs])
    outcomes: dict[str, FieldOutcome] = {}

    def report() -> RunReport:
        found = _report(jobs, outcomes, model, wells, params.out)
        found = replace(found, precision=precision, warnings=(*([warning] if warning else []), *notes))
        return found if conditions is None else _with_conditions(found, conditions)

    with locked_folder(params.out) as run:
        remove_temporary_files(params.out)
        save_settings(params, params.out / SETTINGS_FILE)
        jobs = [replace(job, run=run) for job in jobs]
        try:
            _collect(jobs, params, model, outcomes, task)
        except BaseException:  # Ctrl-C above all
            with contextlib.suppress(OutputError):
                _write(report())
            raise
        done = report()
        _write(done)
    return done


def _collect(
    jobs: Sequence[FieldJob],
    params: ClassifyParams,
    model: ModelBundle,
    outcomes: dict[str, FieldOutcome],
    task: Task,
) -> None:
    failed = reused = 0
    with contextlib.closing(_runner(jobs, params, model, task)) as results:
        for outcome in results:
            if not outcome.cancelled:
                outcomes[outcome.stem] = outcome
                failed, reused = failed + bool(outcome.error), reused + outcome.reused
                task.progress("images", len(outcomes), len(jobs), failed=failed, kept=reused)
            if task.cancelled():
                break


def _runner(
    jobs: Sequence[FieldJob],
    params: ClassifyParams,
    model: ModelBundle,
    task: Task,
) -> Generator[FieldOutcome]:
    if params.scheduler is not None:
        try:
            from napari_cellclass.runs.classify.cluster import classify_on_cluster
        except ImportError as error:
            raise ParamsError(
                '--scheduler needs Dask distributed; install it with pip install "napari-cellclass[cluster]"'
            ) from error
        return classify_on_cluster(jobs, model, params.scheduler, task)
    if params.workers > 1:
        return classify_in_processes(jobs, params.workers, task)
    return _classify_here(jobs, task)


def _classify_here(jobs: Sequence[FieldJob], task: Task) -> Generator[FieldOutcome]:
    with contextlib.closing(EngineCache()) as engines:
        for job in jobs:
            if task.cancelled():
                return
            yield run_job(job, engines, task if len(jobs) == 1 else task.silent())


def _report(
    jobs: Sequence[FieldJob], outcomes: dict[str, FieldOutcome], model: ModelBundle, wells: WellList, out: Path
) -> RunReport:
    classes = tuple(model.scheme.names)
    ordered = tuple(outcomes[job.stem] for job in jobs if job.stem in outcomes)
    files = Counter(image for image, _ in {(job.image, job.plane[2]) for job in jobs})
    rows = [_row(job, outcomes.get(job.stem), job.plane[2] if files[job.image] > 1 else None) for job in jobs]
    fields = field_table(rows, classes, wells)
    return RunReport(
        model.model_id, classes, out, ordered, fields, well_table(fields, classes), len(ordered) < len(jobs)
    )


def _with_conditions(report: RunReport, conditions: PlateConditions) -> RunReport:
    fields, wells = conditions.tables(report.fields, report.wells)
    notes = conditions.given.notes(report.fields)
    compared = conditions.compare(fields, report.classes)
    return replace(report, fields=fields, wells=wells, conditions=compared, warnings=(*report.warnings, *notes))


def _row(job: FieldJob, outcome: FieldOutcome | None, scene: int | None) -> FieldRow:
    found = FieldRow(job.image, job.stem, "open", None, job.well, job.site, scene, job.plane_of_many)
    if outcome is None:
        return found
    if outcome.error:
        return replace(found, state="failed")
    return replace(found, state="done", summary=outcome.summary)


def _write(report: RunReport) -> None:
    write_plate_tables(report.fields, report.wells, report.out)
    write_json(report.out / REPORT, report.to_json())


def _jobs(params: ClassifyParams, model: ModelBundle) -> tuple[list[FieldJob], tuple[str, ...]]:
    """List the fields to classify, and what is left out."""
    manifest = model.manifest
    common = FieldJob(
        image="", stem="", model=str(model.path.resolve()), model_id=model.model_id, out=str(params.out.resolve()),
        overlap=manifest.overlap if params.overlap is None else params.overlap,
        edge=manifest.edge if params.edge is None else params.edge,
        channels=parse_channels(params.channels), error_rate=params.error_rate, resample=params.resample,
        novelty_rate=params.novelty_rate,
        plane=(*params.first_plane, params.scene or 0), engine=params.engine, precision=params.precision,
        threads=_threads(params),
    )  # fmt: skip
    if is_project(params.images[0]):
        return [
            replace(common, image=str(one.path), stem=one.stem, channels=one.channels, plane=one.plane)
            for one in project_images(params.images[0])
        ], ()
    fields, notes = find_fields(find_images(params.images), params.scene)
    stems = output_stems([field.path for field in fields], [field.name for field in fields])
    common = replace(common, many_planes=params.many_planes)
    jobs = []
    for field, stem in zip(fields, stems, strict=True):
        one = replace(common, image=str(field.path.resolve()), stem=stem, well=field.well, site=field.site)
        jobs += [replace(one, stem=name, plane=(t, z, field.scene)) for name, t, z in _planes(stem, field, params)]
    return jobs, notes


def _planes(stem: str, field: InputField, params: ClassifyParams) -> list[tuple[str, int, int]]:
    """List the planes of a field to classify: what the names of their tables begin with, t and z.

    A file that cannot be read counts as one plane, and is reported when that is classified.
    """
    many = params.many_planes
    if not many:
        return [(stem, *params.first_plane)]
    try:
        source = read_image(field.path, scene=field.scene)
        lengths = dict(zip(source.source_axes, source.source_shape, strict=False))
    except CellClassError:
        lengths = {}
    times, depths = (planes_of(text, lengths.get(axis, 1)) for axis, text in (("T", params.t), ("Z", params.z)))
    wide = {axis: len(str(max(0, lengths.get(axis, 1) - 1))) for axis in "TZ"}

    def name(t: int, z: int) -> str:
        numbers = {"T": t, "Z": z}
        return stem + "".join(f"_{axis.lower()}{numbers[axis]:0{wide[axis]}d}" for axis in many)

    return [(name(t, z), t, z) for t in times for z in depths]


def _threads(params: ClassifyParams) -> int | None:
    """Return the threads of a process; None leaves it to the engine, or to what a worker of a cluster may use."""
    return params.threads or (engine_threads(params.workers) if params.workers > 1 else None)


def output_stems(images: Sequence[Path], own_names: Sequence[str] = ()) -> list[str]:
    """Name the outputs of images: the stem where it is the only one, else with folder, suffix or a hash.

    The names do not depend on which other image is listed first, and no two are the same. ``own_names`` are those of
    fields that are not a whole file, such as the images of a set; empty for the others.
    """
    names: list[Callable[[Path, str], str]] = [
        lambda p, own: own or p.stem,
        lambda p, own: f"{p.resolve().parent.name}_{own or p.stem}",
        lambda p, own: f"{p.resolve().parent.name}_{own or p.name}",
        lambda p, own: f"{own or p.stem}_{hashlib.blake2b(str(p.resolve()).encode(), digest_size=6).hexdigest()}",
    ]
    pairs = list(zip(images, own_names or [""] * len(images), strict=True))
    chosen = [names[0](*pair) for pair in pairs]
    for name in names[1:]:
        # Case is ignored, as some file systems do.
        count = Counter(stem.casefold() for stem in chosen)
        chosen = [
            stem if count[stem.casefold()] == 1 else name(*pair) for stem, pair in zip(chosen, pairs, strict=True)
        ]
    return chosen
