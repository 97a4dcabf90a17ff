"""Images classified by worker processes on this machine; a worker that is killed costs one image at most."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from napari_cellclass.core.common.errors import EngineError
from napari_cellclass.core.common.task import Task
from napari_cellclass.runs.classify.field_job import FieldJob, FieldOutcome, failed_outcome, run_job
from napari_cellclass.runs.common.engine_cache import EngineCache
from napari_cellclass.runs.common.interrupts import interrupts_blocked

_POLL_S = 0.2
_MAX_LOST = 3  # more are not the fault of the images
_WINDOWS_MAX = 61  # handles that Windows waits for at once
# Libraries of matrix products start a thread per core in each process, unless limited before they are loaded.
_BLAS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def engine_threads(workers: int) -> int:
    """Return the number of threads per process with which so many processes use all cores."""
    return max(1, (os.cpu_count() or 1) // workers)


def classify_in_processes(jobs: Sequence[FieldJob], workers: int, task: Task) -> Generator[FieldOutcome]:
    """Classify images in several processes, and yield each outcome as soon as it is ready.

    When a process is killed, the images that were being classified are classified again, each alone in a new
    process: an image whose process is killed again has failed, the others go on.

    Raises
    ------
    EngineError
        Processes are lost whatever the image.
    """
    if sys.platform == "win32":
        workers = min(workers, _WINDOWS_MAX)
    waiting = deque(jobs)
    consecutive = 0  # processes lost since an image was last finished
    with _limited_threads(engine_threads(workers)):
        while waiting and not task.cancelled():
            to_retry: list[FieldJob] = []
            for outcome in _stream(waiting, min(workers, len(waiting)), to_retry, task):
                consecutive = 0
                yield outcome
            for job in to_retry:
                if task.cancelled():
                    return
                killed: list[FieldJob] = []
                for outcome in _stream(deque([job]), 1, killed, task):
                    consecutive = 0
                    yield outcome
                if killed:
                    consecutive += 1
                    yield failed_outcome(job, _killed())
                if consecutive >= _MAX_LOST:
                    raise EngineError(
                        f"{consecutive} worker processes were lost one after the other; run with --workers 1, and if "
                        "that is a script of your own that started them, put its code under if __name__ == '__main__'"
                    )


def _killed() -> EngineError:
    return EngineError("the process that classified it was killed, perhaps for lack of memory; try fewer --workers")


def _stream(waiting: deque[FieldJob], workers: int, to_retry: list[FieldJob], task: Task) -> Generator[FieldOutcome]:
    """Yield outcomes until all are done, or a process was killed: its images then go to ``to_retry``."""
    running: dict[Future[FieldOutcome], FieldJob] = {}
    broken = False
    with _pool(workers) as pool:
        while running or (waiting and not broken):
            # Enough wait within the pool to keep it busy; the others stay here, as there may be many.
            while waiting and not broken and len(running) < 3 * workers:
                job = waiting.popleft()
                try:
                    with interrupts_blocked():
                        running[pool.submit(_in_worker, job)] = job
                except BrokenProcessPool:
                    to_retry.append(job)
                    broken = True
            done, _ = wait(running, _POLL_S, FIRST_COMPLETED)
            if task.cancelled():
                return
            for future in done:
                job = running.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    to_retry.append(job)
                    broken = True
                else:
                    yield outcome


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    # spawn: a forked child would inherit the parent's threads' locks.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, context, initializer=_begin_worker, initargs=(stop,))
    try:
        yield pool
    finally:
        stop.set()  # images in progress end after the batch that is running
        # Waiting, as a worker that is still starting would find nothing left to start with, and say so.
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _limited_threads(threads: int) -> Iterator[None]:
    """Limit the threads of processes that are started meanwhile; this process has read its own limit already."""
    before = {name: os.environ.get(name) for name in _BLAS}
    os.environ.update({name: str(threads) for name, value in before.items() if value is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


_engines = EngineCache()  # in a worker of the pool: as long as it lives
_stop: Any = None  # in a worker of the pool: set when the run was interrupted


def _begin_worker(stop: Any) -> None:
    """Leave Ctrl-C to the parent, and end with it even when it was killed."""
    global _stop  # noqa: PLW0603 - a pool's initializer has no other place to leave it
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()


def _exit_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _interrupted() -> bool:
    return _stop is not None and _stop.is_set()


def _in_worker(job: FieldJob) -> FieldOutcome:
    return run_job(job, _engines, Task(cancelled=_interrupted))
