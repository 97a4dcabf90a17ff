"""Cut images into files of tiles with their rotated copies, and list them in ``tiles.csv``."""

from __future__ import annotations

import contextlib
import functools
import os
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import CancelledError, CellClassError
from napari_cellclass.core.common.files import check_writable
from napari_cellclass.core.common.findings import counted
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.tile_provenance import COLUMNS, TILE_LIST, write_tile_list
from napari_cellclass.core.images.source import SourceImage
from napari_cellclass.core.params.prepare import SliceParams
from napari_cellclass.core.params.settings_file import SETTINGS_FILE, save_settings
from napari_cellclass.core.tiles.background import background_scores, foreground_tiles
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.rotation import rotate_tile
from napari_cellclass.core.tiles.streaming import iterate_tile_rows
from napari_cellclass.core.tiles.writing import tile_suffix, to_storable_dtype, write_tile
from napari_cellclass.runs.prepare.slice_plan import SliceJob, is_cut, open_source, plan_slices

# Two rows of tiles are written while a third is read.
_WAITING_ROWS = 2


@dataclass(frozen=True)
class SliceOutcome:
    """What was written of one image.

    Parameters
    ----------
    image, class_name
        The image and its class, or empty.
    tiles, copies
        Tiles and rotated copies that were written.
    dropped
        Tiles that were left out as background.
    error
        Why nothing was written, or empty.
    """

    image: Path
    class_name: str
    tiles: int = 0
    copies: int = 0
    dropped: int = 0
    error: str = ""
    traceback: str = ""


@dataclass(frozen=True)
class SliceReport:
    """What was written of all images, in the order in which they were cut; ``notes`` say how files were read."""

    out: Path
    outcomes: tuple[SliceOutcome, ...]
    cancelled: bool = False
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[SliceOutcome, ...]:
        """The images without tiles because of an error."""
        return tuple(outcome for outcome in self.outcomes if outcome.error)

    def summary(self) -> str:
        """Say in a sentence what was written."""
        tiles, copies, dropped = (sum(getattr(o, n) for o in self.outcomes) for n in ("tiles", "copies", "dropped"))
        done = len(self.outcomes) - len(self.failed)
        made = [counted(tiles, "tile")] if tiles or not copies else []
        made += [f"{copies:,} rotated copies"] if copies else []
        text = f"{done} of {counted(len(self.outcomes), 'image')} made into {' and '.join(made)}"
        text += f", {counted(dropped, 'tile')} of background dropped" if dropped else ""
        return text + (f"; they are in {self.out}, listed in {TILE_LIST}" if tiles or copies else "; none was written")


def slice_images(params: SliceParams, task: Task = NO_TASK) -> SliceReport:
    """Cut images into tiles, write them with their rotated copies and, last, the list ``tiles.csv``.

    Tiles of an image that turns out to be damaged are removed again; when cancelled or interrupted, those that
    were finished are kept and listed.

    Parameters
    ----------
    params
        Images, settings and the folder to write to; tiles that are in it already stay listed.
    task
        Reports the finished images or, with one image, the finished tiles; checked between tiles.

    Raises
    ------
    DatasetError, ImageError, ParamsError
        There is no image, or tiles would lie among the images.
    OutputError
        A file exists and ``force`` is not given, or ``tiles.csv`` cannot be written.
    CancelledError
        The task was cancelled before anything was written.
    """
    plan = plan_slices(params, task)
    out = Path(params.out or ".")
    check_writable(out / TILE_LIST)
    written = _Written(out, plan.listed)
    outcomes: list[SliceOutcome] = []
    total = len(plan.jobs)
    stopped = False
    try:
        with _pool() as pool:
            for job in plan.jobs:
                if stopped := task.cancelled():
                    break
                outcome, stopped = _slice_image(job, params, written, pool, task if total == 1 else task.silent())
                outcomes.append(outcome)
                task.progress("slicing", len(outcomes), total, failed=sum(bool(o.error) for o in outcomes))
                if stopped:
                    break
    finally:
        written.save()
        if written.rows:  # settings of earlier runs are kept, as their tiles are
            save_settings(params, out / SETTINGS_FILE, replace=False)
    notes = [f"{job.path.name}: {note}" for job in plan.jobs for note in job.notes]
    return SliceReport(out, tuple(outcomes), stopped, (*dict.fromkeys(notes), *plan.notes))


@contextlib.contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Yield threads that rotate, compress and write, which all release the GIL; none is left after the block."""
    pool = ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1)), thread_name_prefix="slice")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass
class _Written:
    """The list of tiles, old and new, while images are cut."""

    out: Path
    listed: pd.DataFrame
    rows: list[dict[str, Any]] = field(default_factory=list)
    removed: set[str] = field(default_factory=set)

    @functools.cached_property
    def listed_files(self) -> set[str]:
        """The files that were listed before."""
        return set(self.listed["file"])

    def discard(self, first: int, image: Path) -> None:
        """Remove the files, from the ``first`` on, of an image that could not be finished."""
        rows, self.rows = self.rows[first:], self.rows[:first]
        self.remove((row["file"] for row in rows), image)

    def remove(self, files: Iterable[str], image: Path) -> None:
        """Remove files and their lines of the list, but never the image that they were cut from."""
        for file in files:
            if (self.out / file).resolve() != image.resolve():
                (self.out / file).unlink(missing_ok=True)
                self.removed.add(file)

    def save(self) -> None:
        """Write the list: earlier tiles, then the new ones by name."""
        rows = {row["file"]: row for row in self.rows}
        kept = self.listed[~self.listed["file"].isin(self.removed | set(rows))]
        new = pd.DataFrame([rows[file] for file in sorted(rows)], columns=list(COLUMNS))
        if len(kept) + len(new) or len(self.listed):
            write_tile_list(self.out, pd.concat([kept, new], ignore_index=True) if len(kept) else new)


def _slice_image(
    job: SliceJob,
    params: SliceParams,
    written: _Written,
    pool: ThreadPoolExecutor,
    task: Task,
) -> tuple[SliceOutcome, bool]:
    """Cut one image; return its outcome, and whether it was cancelled."""
    outcome = SliceOutcome(job.path, job.class_name, error=job.error)
    if job.error:
        return outcome, False
    first = len(written.rows)
    try:
        dropped = _cut(job, params, written, pool, task)
    except CancelledError:
        return _counted(outcome, job, written.rows[first:]), True
    except CellClassError as error:
        written.discard(first, job.path)
        return replace(outcome, error=str(error), traceback=traceback.format_exc()), False
    except Exception as error:  # noqa: BLE001 - one image must not take the others down
        written.discard(first, job.path)
        text = f"{job.path}: unexpected {type(error).__name__}: {error}"
        return replace(outcome, error=text, traceback=traceback.format_exc()), False
    rows = written.rows[first:]
    written.remove(set(job.replaced) - {row["file"] for row in rows}, job.path)
    return replace(_counted(outcome, job, rows), dropped=dropped), False


def _counted(outcome: SliceOutcome, job: SliceJob, rows: list[dict[str, Any]]) -> SliceOutcome:
    copies = sum(row["angle"] != 0 for row in rows)
    return replace(outcome, tiles=0 if job.in_place else len(rows) - copies, copies=copies)


def _cut(
    job: SliceJob,
    params: SliceParams,
    written: _Written,
    pool: ThreadPoolExecutor,
    task: Task,
) -> int:
    """Write the tiles of one image; return how many were dropped as background."""
    source = open_source(job.path, params, job.scene)
    all_tiles = params.grid(source)
    scores = background_scores(source, all_tiles, params.background, task)
    kept = foreground_tiles(scores, params.background, params.background_limit)
    grid = all_tiles.take(kept)
    write = _TileWriter(job, params, source, grid, tile_suffix(source, params.format), written)
    waiting: deque[list[Future[None]]] = deque()
    done, total = 0, len(grid) * (1 + len(params.angles))
    try:
        for tile_indices, tiles in iterate_tile_rows(source, grid):
            waiting.append(
                [
                    pool.submit(write, tile_index, tile, angle)
                    for tile_index, tile in zip(tile_indices.tolist(), tiles, strict=True)
                    for angle in (0, *params.angles)
                ]
            )
            while len(waiting) > _WAITING_ROWS:
                done += _finish(waiting.popleft(), task)
                task.progress("slicing", done, total)
        while waiting:
            done += _finish(waiting.popleft(), task)
            task.progress("slicing", done, total)
    finally:
        remaining = [future for row in waiting for future in row]
        for future in remaining:
            future.cancel()
        for future in remaining:
            if not future.cancelled():
                future.exception()  # waits: nothing is written any more after this
    return int((~kept).sum())


def _finish(futures: list[Future[None]], task: Task) -> int:
    """Wait for a row of tiles; when cancelled, only for those that are being written."""
    try:
        for future in as_completed(futures):
            future.result()
            task.check("cancelled while slicing")
    finally:
        for future in futures:
            if not future.cancel():
                future.exception()
    return len(futures)


@dataclass(frozen=True)
class _TileWriter:
    """Writes a tile, or one of its rotated copies; called in threads."""

    job: SliceJob
    params: SliceParams
    source: SourceImage
    grid: TileGrid
    suffix: str
    written: _Written

    def __call__(self, tile_index: int, tile: NDArray[Any], angle: int) -> None:
        if self.job.in_place and not angle:
            self._list_original(tile_index, tile)
            return
        pixels = to_storable_dtype(rotate_tile(tile, angle) if angle else tile)
        row, col = int(self.grid.row[tile_index]), int(self.grid.col[tile_index])
        file = self.job.file(self.params, row, col, self.grid, angle, self.suffix)
        content_hash = SourceImage(pixels).image_id
        write_tile(self.written.out / file, pixels, self.source, content_hash)
        self.written.rows.append(self._row(tile_index, file, angle, content_hash))

    def _list_original(self, tile_index: int, tile: NDArray[Any]) -> None:
        file = f"{self.job.class_name}/{self.job.path.name}" if self.job.class_name else self.job.path.name
        if file not in self.written.listed_files:
            self.written.rows.append(self._row(tile_index, file, 0, SourceImage(np.asarray(tile)).image_id))

    def _row(self, tile_index: int, file: str, angle: int, content_hash: str) -> dict[str, Any]:
        origin, box = self.job.origin, self.grid.boxes[tile_index].tolist()
        row, col = int(self.grid.row[tile_index]), int(self.grid.col[tile_index])
        if origin is not None:
            box = [a + b for a, b in zip(box, origin.box[:2] * 2, strict=True)]
            if not is_cut(self.params):
                row, col = origin.row, origin.col
        values = (file, self.job.class_name, self.job.source, row, col, *box, angle, self.job.group, content_hash)
        return dict(zip(COLUMNS, values, strict=True))
