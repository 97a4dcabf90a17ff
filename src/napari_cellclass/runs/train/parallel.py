"""Several trainings at once, each in a worker process; their models are then reused one by one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from napari_cellclass.core.common.errors import EngineError
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.core.datasets.dataset import TileDataset
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.engine.common.parent_process import LISTEN_VARIABLE
from napari_cellclass.runs.common.interrupts import interrupts_blocked
from napari_cellclass.runs.train.repeats import finished_model

_POLL_S = 0.1
Job = tuple[TileDataset, TrainParams]


def train_in_parallel(
    jobs: Sequence[Job],
    workers: int,
    task: Task = NO_TASK,
) -> frozenset[Path]:
    """Train what has not been trained yet, ``workers`` at once; the models are reused as those of an earlier run.

    Each worker process uses its share of the processors. TensorFlow sums in another order with another number of
    threads, so that weights can differ in their last bits from those of trainings one after the other.

    Parameters
    ----------
    jobs
        Split data, and how to train on it and where to.
    workers
        Processes; with 1 nothing is done here.
    task
        Reports ``"trainings"`` after each, and is checked ten times a second; when it was cancelled, the workers end
        after the batch that is running.

    Returns
    -------
    frozenset of Path
        The models that were trained.

    Raises
    ------
    CellClassError
        The error of a worker; trainings that were finished are kept.
    CancelledError
        The task was cancelled; trainings that were finished are kept.
    """
    todo = [job for job in jobs if finished_model(*job) is None] if workers > 1 else []
    if not todo:
        return frozenset()
    count = min(workers, len(todo))
    context = multiprocessing.get_context("spawn")  # a forked child would inherit the parent's threads' locks
    stop = context.Event()
    threads = max(1, _processors() // count)
    with ProcessPoolExecutor(count, context, initializer=_begin_worker, initargs=(stop, threads)) as pool:
        with interrupts_blocked():
            waiting: set[Future[None]] = {pool.submit(_train, data, params) for data, params in todo}
        try:
            _collect(waiting, len(todo), task)
        except BaseException as error:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise EngineError(
                    "a training process was killed, perhaps for lack of memory; finished trainings are kept, run again "
                    "with fewer --workers"
                ) from error
            raise
    return frozenset(params.out for _, params in todo)


def _collect(waiting: set[Future[None]], total: int, task: Task) -> None:
    task.progress("trainings", 0, total)
    while waiting:
        done, waiting = wait(waiting, _POLL_S, FIRST_COMPLETED)
        for future in done:
            future.result()
        if done:
            task.progress("trainings", total - len(waiting), total)
        task.check("cancelled; finished trainings are kept")


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_stop: Any = None  # in a worker: set when the trainings are no longer wanted


def _begin_worker(stop: Any, threads: int) -> None:
    """Leave Ctrl-C to the parent, end with it even when it was killed, and share the processors."""
    global _stop  # noqa: PLW0603 - a pool's initializer has no other place to leave it
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.pop(LISTEN_VARIABLE, None)  # standard input is the parent's
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()
    from napari_cellclass.engine.common.environment import set_tensorflow_threads

    set_tensorflow_threads(threads)


def _exit_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _train(data: TileDataset, params: TrainParams) -> None:
    from napari_cellclass.engine.training.train import train

    train(data, params, params.out, task=Task(cancelled=_stop.is_set))
