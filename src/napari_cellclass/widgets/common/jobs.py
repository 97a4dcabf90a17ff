"""The one way a widget runs something long: a plain function in a thread, signals back to the window."""

from __future__ import annotations

import atexit
import gc
import logging
import threading
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QCoreApplication, QObject, Qt, QThreadPool, Signal

from napari_cellclass.core.common.errors import CancelledError, CellClassError
from napari_cellclass.core.common.files import write_crash_log
from napari_cellclass.core.common.task import Progress, Task

_log = logging.getLogger(__name__)
_running: set[Job] = set()  # a job outlives the dock that started it, until its thread has ended
_long: set[Job] = set()  # those of them during which garbage collection ignores older objects
_EXIT_WAIT_MS = 5000


class Job(QObject):
    """A function that is running, or was; its signals arrive in the window's thread.

    Exactly one of ``returned``, ``failed`` and ``cancelled`` is sent, then ``finished``.
    """

    progressed = Signal(object)
    returned = Signal(object)
    failed = Signal(object)  # a CellClassError
    cancelled = Signal()
    finished = Signal()
    _reported = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        # Queued, so that a report made before anybody has connected is not lost.
        self._reported.connect(self.progressed.emit, Qt.ConnectionType.QueuedConnection)
        self._stop = threading.Event()
        self._done = threading.Event()
        self._worker: Any = None
        self.running = True

    def cancel(self) -> None:
        """Ask the function to end; it does so when it next checks."""
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the function to end, as a window does that is being closed."""
        return self._done.wait(seconds)

    def mute(self) -> None:
        """Send no more signals; the function runs to its end."""
        self.blockSignals(True)

    def _cancelled(self) -> bool:
        # napari asks its workers to quit, and then waits for them, when its window is closed.
        return self._stop.is_set() or bool(self._worker.abort_requested)

    def _start(self, function: Callable[..., Any], kwargs: dict[str, Any]) -> None:
        from napari.qt.threading import create_worker

        outcome: list[tuple[str, Any]] = []
        task = Task(self._report, self._cancelled)

        def run() -> None:
            # Nothing may leave this function as an exception: what a thread raises is lost, or shown as a traceback.
            try:
                value = function(**kwargs, task=task)
                outcome.append(("returned", value))
            except CancelledError:
                outcome.append(("cancelled", None))
            except CellClassError as error:
                outcome.append(("failed", error))
            except BaseException as error:  # noqa: BLE001 - reported in one line, with the traceback in a file
                _log.debug("job failed", exc_info=error)
                text = f"unexpected {type(error).__name__}: {error}; a report is in {write_crash_log(error)}"
                outcome.append(("failed", CellClassError(text)))
            finally:
                self._done.set()

        def finish() -> None:
            self.running = False
            _running.discard(self)
            _unfreeze_garbage(self)
            kind, value = outcome.pop()
            kwargs.clear()  # Qt keeps the worker, and what it refers to
            if kind == "cancelled":
                self.cancelled.emit()
            elif kind == "failed":
                self.failed.emit(value)
            else:
                self.returned.emit(value)
            self.finished.emit()

        self._worker = create_worker(run, _start_thread=False)
        self._worker.finished.connect(finish)
        _running.add(self)
        app = QCoreApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self.cancel)
        self._worker.start()

    def _report(self, update: Progress) -> None:
        self._reported.emit(update)


@atexit.register
def _cancel_at_exit() -> None:
    """End what still runs when Python ends without napari's event loop: a thread must not outlive Qt."""
    for job in list(_running):
        job.cancel()
    if _running:
        QThreadPool.globalInstance().waitForDone(_EXIT_WAIT_MS)


def _unfreeze_garbage(job: Job) -> None:
    if job in _long:
        _long.discard(job)
        if not _long:
            gc.unfreeze()


def start_job(function: Callable[..., Any], *, owner: QObject | None = None, **kwargs: Any) -> Job:
    """Run ``function(**kwargs, task=…)`` in a thread.

    Parameters
    ----------
    function
        A plain function (no generator) that touches no widget and no layer.
    owner
        The widget that listens: once it is deleted, nothing is sent any more.
    kwargs
        Its further arguments.

    Returns
    -------
    Job
        Connect to its signals at once: they are only sent from the window's event loop.
    """
    job = Job()
    if owner is not None:
        owner.destroyed.connect(job.mute)
    job._start(function, kwargs)
    return job


def start_long_job(function: Callable[..., Any], *, owner: QObject | None = None, **kwargs: Any) -> Job:
    """Start a job that takes seconds to hours, and keep the window responsive until it ends.

    Python's garbage collection visits all objects now and then, which with napari's 300 000 stops every thread for a
    fifth of a second. Until the job has ended it only visits objects that were made since its start.
    """
    job = start_job(function, owner=owner, **kwargs)
    if not _long:
        gc.freeze()
    _long.add(job)
    return job
