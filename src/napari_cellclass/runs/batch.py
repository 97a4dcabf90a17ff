"""Classify many images: in this process, in several, or on a Dask cluster that exists already."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import napari_cellclass
from napari_cellclass.core.bundle import ModelBundle
from napari_cellclass.core.contracts import (
    CancelCheck,
    CellClassError,
    EngineError,
    ParamsError,
    Progress,
    ProgressCallback,
    never_cancelled,
    no_progress,
)
from napari_cellclass.core.files import write_json
from napari_cellclass.core.grid import TileGrid
from napari_cellclass.core.image import SourceImage
from napari_cellclass.core.params import ClassifyParams, EngineName
from napari_cellclass.core.readers import read_image
from napari_cellclass.runs.field import classify_field
from napari_cellclass.runs.models import load_model, open_engine


@dataclass(frozen=True)
class FileJob:
    """One image to classify: paths and settings only, so that it can be sent anywhere."""

    image: str
    stem: str
    model: str
    out: str
    overlap: float | None = None
    edge: str | None = None
    channels: tuple[int, ...] = ()
    error_rate: float | None = None
    plane: tuple[int, int, int] = (0, 0, 0)
    engine: EngineName = "auto"
    threads: int | None = None


@dataclass(frozen=True)
class FileOutcome:
    """What became of one image; ``error`` is empty when its tables were written."""

    image: str
    stem: str
    tiles: int = 0
    counts: dict[str, int] | None = None
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str = ""
    traceback: str = ""


@dataclass(frozen=True)
class RunReport:
    """What became of all images, in the order they were given."""

    model_id: str
    outcomes: tuple[FileOutcome, ...]
    cancelled: bool = False

    @property
    def failed(self) -> tuple[FileOutcome, ...]:
        """The images without tables."""
        return tuple(outcome for outcome in self.outcomes if outcome.error)

    def to_json(self) -> dict[str, Any]:
        """Give the content of ``report.json``."""
        return {
            "program": f"napari-cellclass {napari_cellclass.__version__}",
            "model_id": self.model_id,
            "images": len(self.outcomes),
            "failed": len(self.failed),
            "cancelled": self.cancelled,
            "results": [asdict(outcome) for outcome in self.outcomes],
        }


def classify_files(
    params: ClassifyParams,
    model: ModelBundle,
    progress: ProgressCallback = no_progress,
    cancelled: CancelCheck = never_cancelled,
) -> RunReport:
    """Classify images and write ``STEM.tiles.csv``, ``.geojson`` and ``.run.json`` of each, and ``report.json``.

    Parameters
    ----------
    params
        Images, settings and the folder to write to.
    model
        The opened model.
    progress
        Told the finished images; with one image, the finished tiles.
    cancelled
        Asked between images, and between batches of tiles when run in this process.

    Raises
    ------
    OutputError
        ``report.json`` cannot be written. What goes wrong with one image is in the report instead.
    """
    jobs = _jobs(params, model)
    outcomes: dict[str, FileOutcome] = {}
    total = len(jobs)
    run = _run_here if params.scheduler is None and params.workers == 1 else _run_elsewhere
    with contextlib.closing(run(jobs, params, progress, cancelled)) as results:
        for outcome in results:
            outcomes[outcome.stem] = outcome
            progress(
                Progress("images", len(outcomes), total, {"failed": sum(bool(o.error) for o in outcomes.values())})
            )
            if cancelled():
                break
    ordered = tuple(outcomes[job.stem] for job in jobs if job.stem in outcomes)
    report = RunReport(model.model_id, ordered, len(outcomes) < total)
    write_json(params.out / "report.json", report.to_json())
    return report


def _run_here(
    jobs: Sequence[FileJob], params: ClassifyParams, progress: ProgressCallback, cancelled: CancelCheck
) -> Generator[FileOutcome]:
    try:
        for job in jobs:
            if cancelled():
                return
            yield classify_file(job, progress if len(jobs) == 1 else no_progress, cancelled)
    finally:
        _engine.cache_clear()


def _run_elsewhere(
    jobs: Sequence[FileJob], params: ClassifyParams, progress: ProgressCallback, cancelled: CancelCheck
) -> Generator[FileOutcome]:
    with _executor(params) as executor:
        futures: dict[Future[FileOutcome], FileJob] = {executor.submit(classify_file, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                job = futures[future]
                try:
                    yield future.result()
                except BrokenProcessPool as error:
                    raise EngineError(
                        "a worker process was killed, perhaps for lack of memory; finished tables are kept, "
                        "run again with fewer --workers"
                    ) from error
                except Exception as error:  # noqa: BLE001 - a cluster's own failures belong to that image
                    yield FileOutcome(job.image, job.stem, error=f"{type(error).__name__}: {error}")
        finally:
            for future in futures:
                future.cancel()


@contextlib.contextmanager
def _executor(params: ClassifyParams) -> Iterator[Executor]:
    if params.scheduler is None:
        # spawn: a forked child would inherit the parent's threads' locks.
        context = multiprocessing.get_context("spawn")
        stop = context.Event()
        with ProcessPoolExecutor(params.workers, context, initializer=_begin_worker, initargs=(stop,)) as pool:
            try:
                yield pool
            except BaseException:
                stop.set()  # images in progress end after the batch that is running
                # Waiting, as a worker that is still starting would find nothing left to start with, and say so.
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ParamsError(
            '--scheduler needs Dask distributed; install it with pip install "napari-cellclass[cluster]"'
        ) from error
    try:
        client = Client(params.scheduler, timeout=10)
    except (OSError, ValueError, TimeoutError) as error:
        raise ParamsError(f"--scheduler {params.scheduler}: no Dask scheduler answers there ({error})") from error
    with client:
        yield client.get_executor()


def _jobs(params: ClassifyParams, model: ModelBundle) -> list[FileJob]:
    images = list({path.resolve(): path for path in reversed(params.images)}.values())[::-1]
    threads = max(1, (os.cpu_count() or 1) // params.workers) if params.workers > 1 else None
    common = FileJob(
        image="", stem="", model=str(model.path.resolve()), out=str(params.out.resolve()),
        overlap=params.overlap, edge=params.edge, channels=parse_channels(params.channels),
        error_rate=params.error_rate,
        plane=(params.t, params.z, params.scene), engine=params.engine, threads=threads,
    )  # fmt: skip
    stems = output_stems(images)
    return [replace(common, image=str(path.resolve()), stem=stem) for path, stem in zip(images, stems, strict=True)]


def output_stems(images: Sequence[Path]) -> list[str]:
    """Name the outputs of images: the stem where it is the only one, else with folder, suffix or a hash.

    The names do not depend on which other image is listed first, and no two are the same.
    """
    names: list[Callable[[Path], str]] = [
        lambda p: p.stem,
        lambda p: f"{p.resolve().parent.name}_{p.stem}",
        lambda p: f"{p.resolve().parent.name}_{p.name}",
        lambda p: f"{p.stem}_{hashlib.blake2b(str(p.resolve()).encode(), digest_size=6).hexdigest()}",
    ]
    chosen = [names[0](path) for path in images]
    for name in names[1:]:
        # Case is ignored, as some file systems do.
        often = Counter(stem.casefold() for stem in chosen)
        chosen = [
            stem if often[stem.casefold()] == 1 else name(path) for stem, path in zip(chosen, images, strict=True)
        ]
    return chosen


def parse_channels(text: str | None) -> tuple[int, ...]:
    """Read ``"0,2"``; empty stands for all channels."""
    try:
        chosen = tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise ParamsError(f"--channels {text!r} is not a list of numbers; write e.g. 0,2") from error
    if any(channel < 0 for channel in chosen):
        raise ParamsError(f"--channels {text!r}: channels count from 0")
    return chosen


_stop: Any = None  # in a worker of the pool: set when the run was interrupted


def _begin_worker(stop: Any) -> None:
    """Let the parent alone answer Ctrl-C, and end with it even when it was killed."""
    global _stop  # noqa: PLW0603 - a pool's initializer has no other place to leave it
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _interrupted() -> bool:
    return _stop is not None and _stop.is_set()


@functools.lru_cache(maxsize=1)
def _engine(model: str, engine: EngineName, threads: int | None) -> tuple[ModelBundle, Any]:
    bundle = load_model(Path(model))
    return bundle, open_engine(bundle, engine, threads)


def classify_file(
    job: FileJob, progress: ProgressCallback = no_progress, cancelled: CancelCheck = _interrupted
) -> FileOutcome:
    """Classify one image and write its tables; nothing raised, the outcome tells."""
    try:
        return _classify_file(job, progress, cancelled)
    except CellClassError as error:
        return FileOutcome(job.image, job.stem, error=str(error), traceback=traceback.format_exc())
    except Exception as error:  # noqa: BLE001 - one image must not take the others down
        return FileOutcome(
            job.image,
            job.stem,
            error=f"{job.image}: unexpected {type(error).__name__}: {error}",
            traceback=traceback.format_exc(),
        )


def _classify_file(job: FileJob, progress: ProgressCallback, cancelled: CancelCheck) -> FileOutcome:
    bundle, engine = _engine(job.model, job.engine, job.threads)
    t, z, scene = job.plane
    source = read_image(Path(job.image), t=t, z=z, scene=scene)
    if job.channels:
        source = source.select(job.channels)
    manifest = bundle.manifest
    grid = TileGrid.regular(
        source.shape,
        manifest.tile_px,
        manifest.overlap if job.overlap is None else job.overlap,
        manifest.edge if job.edge is None else job.edge,  # type: ignore[arg-type]  # checked by ClassifyParams
    )
    result = classify_field(source, bundle, engine, grid, progress, cancelled)
    if not result.complete:
        return FileOutcome(job.image, job.stem, error="cancelled before it was finished; run again")
    table = result.table.unsure_at(job.error_rate, manifest.calibration)
    write_tables(table, Path(job.out), job.stem)
    counts = table.counts()
    return FileOutcome(
        job.image,
        job.stem,
        tiles=len(result.table),
        counts={name: int(n) for name, n in zip(counts["class_name"][:-1], counts["tiles"][:-1], strict=True)},
        warnings=result.warnings + _plane_notes(source),
        seconds=round(result.seconds, 3),
    )


def _plane_notes(source: SourceImage) -> tuple[str, ...]:
    lengths = dict(zip(source.source_axes, source.source_shape, strict=False))
    return tuple(
        f"axis {axis} has {lengths.get(axis, '?')} planes; plane {index} was taken, choose with --{axis.lower()}"
        for axis, index in source.plane.items()
        if lengths.get(axis, 2) > 1 and axis in "TZ"
    )


def write_tables(table: Any, folder: Path, stem: str) -> None:
    """Write ``STEM.tiles.csv``, ``STEM.geojson`` and, last, ``STEM.run.json``."""
    table.to_csv(folder / f"{stem}.tiles.csv")
    table.to_geojson(folder / f"{stem}.geojson")
    write_json(folder / f"{stem}.run.json", table.record)
