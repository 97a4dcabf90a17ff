"""One image of a run, from its path to its tables: a plain function of paths and settings, sent anywhere."""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_cellclass.core.common.errors import CancelledError, CellClassError, ModelError
from napari_cellclass.core.common.prefetch import taking_turns
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.labels.classes import UNSURE
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.verbs import EngineName, PrecisionName
from napari_cellclass.core.predictions.table import TileTable
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.resampling import rescaled_tile
from napari_cellclass.runs.classify.field import classify_field
from napari_cellclass.runs.classify.field_files import RECORD, finished_summary, signature, write_field
from napari_cellclass.runs.classify.folder_lock import still_ours
from napari_cellclass.runs.common.engine_access import Engine, load_model, open_engine

_ASK_EVERY_S = 1.0


@dataclass(frozen=True)
class FileJob:
    """One image to classify: paths and settings only, so that it can be sent anywhere.

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
    overlap, edge, channels, error_rate, resample, plane, engine, precision, threads
        As of ``classify``; ``plane`` is (t, z, scene), ``precision`` is settled.
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
    resample: bool = False
    plane: tuple[int, int, int] = (0, 0, 0)
    engine: EngineName = "auto"
    precision: PrecisionName = "f32"
    threads: int | None = None

    def parameters(self) -> dict[str, Any]:
        """Give the settings that decide the tables, JSON-able."""
        t, z, scene = self.plane
        unusual: dict[str, Any] = {"resample": True} if self.resample else {}
        unusual |= {"precision": self.precision} if self.precision != "f32" else {}
        return {
            "overlap": float(self.overlap),
            "edge": self.edge,
            "channels": list(self.channels),
            "error_rate": self.error_rate,
            "plane": {"t": t, "z": z, "scene": scene},
            "engine": "openvino" if self.engine == "auto" else self.engine,
        } | unusual


@dataclass(frozen=True)
class FileOutcome:
    """What became of one image; ``error`` is empty when its tables are there.

    Parameters
    ----------
    image, stem
        As in its job.
    tiles, counts, no_class, mean_confidence, unsure
        See :class:`~napari_cellclass.core.plates.tables.FieldRow`.
    warnings
        Sentences that a user should read.
    seconds
        Time the network took.
    kept
        Whether complete tables of the same image, model and settings were there already.
    cancelled
        Whether it was cut short; its tables were not written.
    error, traceback
        Why there are no tables.
    """

    image: str
    stem: str
    tiles: int = 0
    counts: dict[str, int] | None = None
    no_class: int = 0
    mean_confidence: float | None = None
    unsure: int | None = None
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    kept: bool = False
    cancelled: bool = False
    error: str = ""
    traceback: str = ""


@dataclass(eq=False)
class _OpenModel:
    """A model and its engine, closed when nobody uses it and another one has taken its place."""

    bundle: ModelBundle
    engine: Engine
    users: int = 0
    retired: bool = False

    def close_if_unused(self) -> None:
        if self.retired and self.users == 0:
            self.engine.close()


class _Network:
    """The network of the last model, opened once per process whatever the number of images and threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[str, str, str, int | None] | None = None
        self._open: _OpenModel | None = None

    @contextlib.contextmanager
    def of(self, job: FileJob) -> Iterator[tuple[ModelBundle, Engine]]:
        """Give the model of a job and what runs it, open for as long as the block lasts."""
        with self._lock:
            key = (job.model_id, job.engine, job.precision, job.threads)
            if self._open is None or self._key != key:
                self._retire()
                self._open, self._key = self._load(job), key
            held = self._open
            held.users += 1
        try:
            yield held.bundle, held.engine
        finally:
            with self._lock:
                held.users -= 1
                held.close_if_unused()

    def close(self) -> None:
        """Let go of the model."""
        with self._lock:
            self._retire()

    def _load(self, job: FileJob) -> _OpenModel:
        bundle = load_model(Path(job.model_file or job.model))
        if bundle.model_id != job.model_id:
            raise ModelError(f"{job.model} was replaced by another model while the run went on; run again")
        return _OpenModel(bundle, open_engine(bundle, job.engine, job.threads, job.precision))

    def _retire(self) -> None:
        held, self._open, self._key = self._open, None, None
        if held is not None:
            held.retired = True
            held.close_if_unused()


_network = _Network()


def close_network() -> None:
    """Free the network that images of this process were classified with."""
    _network.close()


def classify_file(job: FileJob, task: Task = NO_TASK) -> FileOutcome:
    """Classify one image and write its tables; nothing raised, the outcome tells."""
    try:
        return attempt(job, task)
    except CancelledError:
        return FileOutcome(job.image, job.stem, cancelled=True)
    except Exception as error:  # noqa: BLE001 - one image must not take the others down
        return failure(job, error)


def failure(job: FileJob, error: BaseException, trace: str = "") -> FileOutcome:
    """Say in one line, with the image's name, why there are no tables of it."""
    name = Path(job.image).name
    text = str(error) if isinstance(error, CellClassError) else f"unexpected {type(error).__name__}: {error}"
    told = text if name in text else f"{name}: {text}"
    trace = trace or "".join(traceback.format_exception(error))
    return FileOutcome(job.image, job.stem, error=" ".join(told.split()), traceback=trace)


def attempt(job: FileJob, task: Task) -> FileOutcome:
    """Classify one image and write its tables, unless complete ones are there that would be the same.

    Raises
    ------
    CancelledError
        The task was cancelled, or the run that the image belongs to has ended; nothing was written.
    CellClassError
        In one line, what the user can mend.
    """
    with taking_turns(job.threads == 1):
        return _attempt(job, task)


def _attempt(job: FileJob, task: Task) -> FileOutcome:
    source = _source(job)
    if (Path(job.out) / f"{job.stem}{RECORD}").exists():  # else the pixels are read once, while they are classified
        source.identify(task.silent())
        known = finished_summary(Path(job.out), job.stem, _signature(source, job))
        if known is not None:
            return _outcome(job, known, kept=True)
    edge: Any = job.edge  # checked by ClassifyParams
    with _network.of(job) as (bundle, engine):
        grid = TileGrid.regular(source.shape, _tile_px(source, bundle, job), job.overlap, edge)
        result = classify_field(source, bundle, engine, grid, task)
    if not result.complete or task.cancelled():
        raise CancelledError("cancelled before the field was finished")
    table = result.table.unsure_at(job.error_rate, bundle.manifest.calibration)
    if len(table) != len(grid):
        raise RuntimeError(f"{len(grid)} tiles went in, but {len(table)} came out")
    if job.run and not still_ours(Path(job.out), job.run):
        raise CancelledError("the run has ended")  # another one may be writing there by now
    table = replace(table, record=_record(table, job))
    summary = _summary(table, result.warnings + _plane_notes(source))
    write_field(table, Path(job.out), job.stem, _signature(source, job), summary)
    return _outcome(job, summary, seconds=round(result.seconds, 3))


def while_run_lasts(job: FileJob) -> Callable[[], bool]:
    """Make a check that says so, within a second, when the run that an image belongs to has ended."""
    state = {"asked": time.monotonic(), "ended": False}

    def ended() -> bool:
        now = time.monotonic()
        if not state["ended"] and now - state["asked"] > _ASK_EVERY_S:
            state.update(asked=now, ended=not still_ours(Path(job.out), job.run))
        return bool(state["ended"])

    return ended


def _tile_px(source: SourceImage, bundle: ModelBundle, job: FileJob) -> tuple[int, int]:
    known = bundle.manifest
    if not job.resample:
        return known.tile_px
    return rescaled_tile(known.tile_px, known.pixel_size_um, source.pixel_size_um, source.name)


def _source(job: FileJob) -> SourceImage:
    t, z, scene = job.plane
    source = read_image(Path(job.image), t=t, z=z, scene=scene)
    return source.select(job.channels) if job.channels else source


def _signature(source: SourceImage, job: FileJob) -> dict[str, Any]:
    return signature(source.image_id, job.model_id, job.parameters())


def _record(table: TileTable, job: FileJob) -> dict[str, Any]:
    """Say what was done, whichever machine did it."""
    model: Any = table.record["model"]
    return {**table.record, "model": {**model, "path": job.model}}


def _summary(table: TileTable, warnings: tuple[str, ...]) -> dict[str, Any]:
    counts = table.counts()
    sure = np.isfinite(table.confidence)
    per_class = {
        name: int(n) for name, n in zip(counts["class_name"][:-1], counts["tiles"][:-1], strict=True)
    }  # the last row are those without a class
    return {
        "tiles": len(table),
        "counts": per_class,
        "no_class": int((~sure).sum()),
        "mean_confidence": float(table.confidence[sure].mean(dtype=np.float64)) if sure.any() else None,
        "unsure": per_class.get(UNSURE),
        "warnings": list(warnings),
    }


def _outcome(job: FileJob, summary: dict[str, Any], kept: bool = False, seconds: float = 0.0) -> FileOutcome:
    told = {**summary, "warnings": tuple(summary["warnings"])}
    return FileOutcome(job.image, job.stem, kept=kept, seconds=seconds, **told)


def _plane_notes(source: SourceImage) -> tuple[str, ...]:
    lengths = dict(zip(source.source_axes, source.source_shape, strict=False))
    return tuple(
        f"axis {axis} has {lengths.get(axis, '?')} planes; plane {index} was taken, choose with --{axis.lower()}"
        for axis, index in source.plane.items()
        if lengths.get(axis, 2) > 1 and axis in "TZ"
    )
