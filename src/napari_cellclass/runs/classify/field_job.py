"""One image of a run, from its path to its tables: paths and settings only, so that any process can do it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from napari_cellclass.core.common.errors import CancelledError, CellClassError, ModelError
from napari_cellclass.core.common.prefetch import single_threaded
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.shared import EngineName, PrecisionName
from napari_cellclass.core.plates.field_summary import FieldSummary
from napari_cellclass.core.plates.wells import Well
from napari_cellclass.core.predictions.novelty_warnings import novelty_warnings
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.stats.novelty import NOVELTY_RATE
from napari_cellclass.runs.classify.field_files import RECORD, finished_summary, signature, write_field
from napari_cellclass.runs.classify.folder_lock import holds_lock
from napari_cellclass.runs.classify.whole_field import FieldSettings, classify_whole_field
from napari_cellclass.runs.common.engine_access import load_model
from napari_cellclass.runs.common.engine_cache import EngineCache, EngineKey

_CHECK_EVERY_S = 1.0


@dataclass(frozen=True)
class FieldJob:
    """One image to classify: paths and settings only, so that it can be sent to another process.

    Parameters
    ----------
    image, stem, out
        Its path; what the names of its tables begin with, and their folder.
    model, model_id
        Path and hash of the model.
    run
        Token of the run, see :func:`~napari_cellclass.runs.classify.folder_lock.locked_folder`.
    model_file
        Where this machine has the model, if elsewhere.
    overlap, edge, channels, error_rate, novelty_rate, resample, plane, engine, precision, threads
        As of ``classify``; ``plane`` is (t, z, scene); ``precision`` is the resolved one.
    well, site
        Of a field of an OME-Zarr plate.
    many_planes
        Axes along which other planes of the field are classified, too: ``""``, ``"T"``, ``"Z"`` or ``"TZ"``.
    """

    image: str
    stem: str
    model: str
    out: str
    model_id: str
    overlap: float
    edge: str
    run: str = ""
    model_file: str = ""
    channels: tuple[int, ...] = ()
    error_rate: float | None = None
    novelty_rate: float = NOVELTY_RATE
    resample: bool = False
    plane: tuple[int, int, int] = (0, 0, 0)
    engine: EngineName = "auto"
    precision: PrecisionName = "f32"
    threads: int | None = None
    well: Well | None = None
    site: int | None = None
    many_planes: str = ""

    def parameters(self) -> dict[str, Any]:
        """Return the settings that decide the tables, JSON-able."""
        t, z, scene = self.plane
        non_default: dict[str, Any] = {"resample": True} if self.resample else {}
        non_default |= {"precision": self.precision} if self.precision != "f32" else {}
        # Half-finished plates of models that do not tell novelty go on: their tables are the same.
        non_default |= {"novelty_rate": self.novelty_rate} if self.novelty_rate != NOVELTY_RATE else {}
        non_default |= {"many_planes": self.many_planes} if self.many_planes else {}
        return {
            "overlap": float(self.overlap),
            "edge": self.edge,
            "channels": list(self.channels),
            "error_rate": self.error_rate,
            "plane": {"t": t, "z": z, "scene": scene},
            "engine": "openvino" if self.engine == "auto" else self.engine,
        } | non_default

    @property
    def plane_of_many(self) -> dict[str, int]:
        """Index of the plane on the axes along which others are classified, too."""
        return {axis: self.plane["TZ".index(axis)] for axis in self.many_planes}

    @property
    def engine_key(self) -> EngineKey:
        """What decides the engine; fields of one key share it."""
        return EngineKey(self.model_id, self.engine, self.precision, self.threads)

    def load_model(self) -> ModelBundle:
        """Open the model, where this machine has it.

        Raises
        ------
        ModelError
            It is damaged, or another one than the run began with.
        """
        model = load_model(Path(self.model_file or self.model))
        if model.model_id != self.model_id:
            raise ModelError(f"{self.model} was replaced by another model while the run went on; run again")
        return model


@dataclass(frozen=True)
class FieldOutcome:
    """The outcome of one image; ``error`` is empty when its tables are there.

    Parameters
    ----------
    image, stem
        As in its job.
    summary
        What was found; all of its numbers are 0 or None where there are no tables.
    seconds
        Time the network took.
    reused
        Whether complete tables of the same image, model and settings were there already.
    cancelled
        Whether it was cut short; its tables were not written.
    error, traceback
        Why there are no tables.
    """

    image: str
    stem: str
    summary: FieldSummary = field(default_factory=FieldSummary)
    seconds: float = 0.0
    reused: bool = False
    cancelled: bool = False
    error: str = ""
    traceback: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the entry of ``report.json``."""
        return {
            "image": self.image,
            "stem": self.stem,
            **asdict(self.summary),
            "seconds": self.seconds,
            "kept": self.reused,
            "cancelled": self.cancelled,
            "error": self.error,
            "traceback": self.traceback,
        }


def run_job(
    job: FieldJob,
    engines: EngineCache,
    task: Task = NO_TASK,
) -> FieldOutcome:
    """Classify one image and write its tables; nothing is raised, errors are in the outcome."""
    try:
        return classify_and_write(job, engines, task)
    except CancelledError:
        return FieldOutcome(job.image, job.stem, cancelled=True)
    except Exception as error:  # noqa: BLE001 - one image must not take the others down
        return failed_outcome(job, error)


def failed_outcome(job: FieldJob, error: BaseException, trace: str = "") -> FieldOutcome:
    """Say in one line, with the image's name, why there are no tables of it."""
    name = Path(job.image).name
    text = str(error) if isinstance(error, CellClassError) else f"unexpected {type(error).__name__}: {error}"
    named = text if name in text else f"{name}: {text}"
    trace = trace or "".join(traceback.format_exception(error))
    return FieldOutcome(job.image, job.stem, error=" ".join(named.split()), traceback=trace)


def classify_and_write(job: FieldJob, engines: EngineCache, task: Task) -> FieldOutcome:
    """Classify one image and write its tables, unless complete ones are there that would be the same.

    Raises
    ------
    CancelledError
        The task was cancelled, or the run that the image belongs to has ended; nothing was written.
    CellClassError
        In one line, what the user can correct.
    """
    with single_threaded(job.threads == 1):
        return _classify_and_write(job, engines, task)


def _classify_and_write(job: FieldJob, engines: EngineCache, task: Task) -> FieldOutcome:
    source = _source(job)
    if (Path(job.out) / f"{job.stem}{RECORD}").exists():  # else the pixels are read once, while they are classified
        source.identify(task.silent())
        known = finished_summary(Path(job.out), job.stem, _signature(source, job))
        if known is not None:
            return FieldOutcome(job.image, job.stem, known, reused=True)
    edge: Any = job.edge  # checked by ClassifyParams
    settings = FieldSettings(job.overlap, edge, job.resample, job.error_rate, job.novelty_rate)
    with engines.use(job.engine_key, job.load_model) as (model, engine):
        result = classify_whole_field(source, model, engine, settings, task)
    table = result.table
    if job.run and not holds_lock(Path(job.out), job.run):
        raise CancelledError("the run has ended")  # another one may be writing there by now
    table = replace(table, record=_record(table, job), plane=job.plane_of_many)
    warnings = (*result.warnings, *novelty_warnings(table))
    summary = FieldSummary.of(table, warnings + _plane_notes(source, job.many_planes) + source.notes)
    write_field(table, Path(job.out), job.stem, _signature(source, job), summary)
    return FieldOutcome(job.image, job.stem, summary, seconds=round(result.seconds, 3))


def run_ended_check(job: FieldJob) -> Callable[[], bool]:
    """Make a check that returns True, within a second, when the run that an image belongs to has ended."""
    state = {"checked": time.monotonic(), "ended": False}

    def ended() -> bool:
        now = time.monotonic()
        if not state["ended"] and now - state["checked"] > _CHECK_EVERY_S:
            state.update(checked=now, ended=not holds_lock(Path(job.out), job.run))
        return bool(state["ended"])

    return ended


def _source(job: FieldJob) -> SourceImage:
    t, z, scene = job.plane
    source = read_image(Path(job.image), t=t, z=z, scene=scene)
    return source.select(job.channels) if job.channels else source


def _signature(source: SourceImage, job: FieldJob) -> dict[str, Any]:
    return signature(source.image_id, job.model_id, job.parameters())


def _record(table: TileTable, job: FieldJob) -> dict[str, Any]:
    """Name the model by the path that was given, whichever machine classified the field."""
    model: Any = table.record["model"]
    return {**table.record, "model": {**model, "path": job.model}}


def _plane_notes(source: SourceImage, chosen: str) -> tuple[str, ...]:
    lengths = dict(zip(source.source_axes, source.source_shape, strict=False))
    return tuple(
        f"axis {axis} has {lengths.get(axis, '?')} planes; plane {index} was read, choose with --{axis.lower()}"
        for axis, index in source.plane.items()
        if lengths.get(axis, 2) > 1 and axis in "TZ" and axis not in chosen
    )
