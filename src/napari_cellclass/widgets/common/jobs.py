"""The one way a widget runs something long: a plain function in a thread, signals back to the window."""

from __future__ import annotations

import atexit
import gc
import logging
import threading
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from qtpy.QtCore import QCoreApplication, QObject, Qt, QThreadPool, QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_cellclass.core.common.errors import CancelledError, CellClassError
from napari_cellclass.core.common.files import write_crash_log
from napari_cellclass.core.common.task import Progress, Task
from napari_cellclass.widgets.common.task_status import TaskStatus

_log = logging.getLogger(__name__)
_running: set[Job] = set()  # a job outlives the dock that started it, until its thread has ended
_long: set[Job] = set()  # those of them during which garbage collection ignores older objects
_EXIT_WAIT_MS = 5000
_BETWEEN_STEPS_MS = 5  # for the window to draw
INTERVAL_MS = 50
"""At most one update of the window in this time."""
_MOST_PHASES = 8  # in one update


class _Reports(QObject):
    """Passes reports on, each phase's latest; the last one always arrives.

    Parameters
    ----------
    pass_on
        Called with a report in the window's thread.
    kept
        Phases of which every report is passed on, such as the epochs of a training.
    """

    _waiting_some = Signal()

    def __init__(self, pass_on: Callable[[Progress], None], kept: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self._pass_on, self._kept = pass_on, kept
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, Progress] = {}
        self._number = 0
        self._woken = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(INTERVAL_MS)
        self._timer.timeout.connect(self._deliver)
        # Queued, so that a report made before anybody has connected is not lost.
        self._waiting_some.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def add(self, update: Progress) -> None:
        """Take a report, in any thread."""
        with self._lock:
            self._number += 1
            key: Hashable = (update.phase, self._number) if update.phase in self._kept else update.phase
            self._waiting.pop(key, None)  # the latest report of a phase is the last in the order too
            self._waiting[key] = update
            others = [key for key in self._waiting if isinstance(key, str)]
            for old in others[:-_MOST_PHASES]:
                del self._waiting[old]
            wake, self._woken = not self._woken, True
        if wake:
            self._waiting_some.emit()

    def _deliver(self) -> None:
        if self.flush():
            self._timer.start()  # what is made meanwhile waits for it

    def flush(self) -> bool:
        """Pass on what is waiting, in the window's thread; whether there was anything."""
        with self._lock:
            updates = list(self._waiting.values())
            self._waiting.clear()
            self._woken = bool(updates)
        for update in updates:
            self._pass_on(update)
        return bool(updates)


class Job(QObject):
    """A function that is running, or was; its signals arrive in the window's thread.

    Exactly one of ``returned``, ``failed`` and ``cancelled`` is sent, then ``finished``. Of many progress reports a few
    a second are sent, the latest of each phase, and in the end the last.
    """

    progressed = Signal(object)
    returned = Signal(object)
    failed = Signal(object)  # a CellClassError
    cancelled = Signal()
    finished = Signal()

    def __init__(self, every_report_of: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self._reports = _Reports(self.progressed.emit, every_report_of)
        self._stop = threading.Event()
        self._done = threading.Event()
        self._worker: Any = None
        self._status: TaskStatus | None = None
        self._steps: Iterator[None] | None = None
        self._next_step = QTimer(self)
        self._next_step.setSingleShot(True)
        self._next_step.setInterval(_BETWEEN_STEPS_MS)
        self._next_step.timeout.connect(self._go_on)
        self.running = True

    def cancel(self) -> None:
        """Ask the function to end; it does so when it next checks."""
        self._stop.set()
        self._leave_list("cancelled")  # so that closing the window does not ask about it

    def wait(self, seconds: float) -> bool:
        """Wait for the function to end, as a window does that is being closed."""
        return self._done.wait(seconds)

    def mute(self) -> None:
        """Send no more signals, and show nothing more; the function runs to its end."""
        self.blockSignals(True)
        self._steps = None

    def show_in_steps(self, steps: Iterator[None]) -> None:
        """Let what ``returned`` is connected to go on in steps; the window draws and takes keys between them.

        Until the last step is done the job counts as running, and ``finished`` is not sent. An error in a step is one
        of the program, and goes where Qt's slots let it go.

        Parameters
        ----------
        steps
            A generator that does a part of the work each time it is asked for the next value.
        """
        self._steps, self.running = steps, True

    def _go_on(self) -> None:
        try:
            if self._steps is not None:
                next(self._steps)
                self._next_step.start()
                return
        except StopIteration:
            pass
        except BaseException:
            self._end()
            raise
        self._end()

    def _end(self) -> None:
        self.running, self._steps = False, None
        _running.discard(self)
        self.finished.emit()
        _unfreeze_garbage(self)  # not before: napari collects garbage with each layer that is removed

    def list_for(self, owner: QWidget) -> None:
        """Show the job among napari's running tasks, as one of the dock that a widget is in."""
        self._status = TaskStatus(owner, self.cancel)
        self.progressed.connect(self._status.show_progress)

    def _leave_list(self, outcome: str) -> None:
        if self._status is not None:
            self._status.end(outcome)

    def _cancelled(self) -> bool:
        # napari asks its workers to quit, and then waits for them, when its window is closed.
        return self._stop.is_set() or bool(self._worker.abort_requested)

    def _start(self, function: Callable[..., Any], kwargs: dict[str, Any]) -> None:
        from napari.qt.threading import FunctionWorker

        outcome: list[tuple[str, Any]] = []
        task = Task(self._reports.add, self._cancelled)

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
            self._reports.flush()
            kind, value = outcome.pop()
            self._steps = None
            self._leave_list(kind)
            kwargs.clear()  # Qt keeps the worker, and what it refers to
            if kind == "cancelled":
                self.cancelled.emit()
            elif kind == "failed":
                self.failed.emit(value)
            else:
                self.returned.emit(value)
            self._go_on()

        self._worker = FunctionWorker(run)  # create_worker would list it under a name for programmers
        self._worker.finished.connect(finish)
        _running.add(self)
        app = QCoreApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self.cancel)
        self._worker.start()


class Steps(QTimer):
    """Does work that has no job in steps; the window draws and takes keys between them.

    Parameters
    ----------
    owner
        The widget that it belongs to; it ends with it.
    steps
        A generator that does a part of the work each time it is asked for the next value.
    """

    def __init__(self, owner: QObject, steps: Iterator[None]) -> None:
        super().__init__(owner)
        self._steps = steps
        self.setInterval(_BETWEEN_STEPS_MS)
        self.timeout.connect(self._next)
        self.start()

    def _next(self) -> None:
        try:
            next(self._steps)
        except BaseException as end:
            self.stop()
            self.deleteLater()
            if not isinstance(end, StopIteration):
                raise

    def do_now(self) -> None:
        """Do at once what is not done yet."""
        self.stop()
        for _ in self._steps:
            pass
        self.deleteLater()


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


def is_any_job_running() -> bool:
    """Whether a job of any window is running."""
    return bool(_running)


def start_job(
    function: Callable[..., Any],
    *,
    owner: QObject | None = None,
    every_report_of: frozenset[str] = frozenset(),
    **kwargs: Any,
) -> Job:
    """Run ``function(**kwargs, task=…)`` in a thread.

    Parameters
    ----------
    function
        A plain function (no generator) that touches no widget and no layer.
    owner
        The widget that listens: once it is deleted, nothing is sent any more.
    every_report_of
        Phases of which no progress report is left out, such as those that are epochs of a training.
    kwargs
        Its further arguments.

    Returns
    -------
    Job
        Connect to its signals at once: they are only sent from the window's event loop.
    """
    job = Job(every_report_of)
    if owner is not None:
        owner.destroyed.connect(job.mute)
    job._start(function, kwargs)
    return job


def start_long_job(function: Callable[..., Any], *, owner: QWidget, **kwargs: Any) -> Job:
    """Start a job that takes seconds to hours, and keep the window responsive until it ends; see :func:`start_job`.

    It is among napari's running tasks, of which a user is told before the window closes.

    Python's garbage collection visits all objects now and then, which with napari's 300 000 stops every thread for a
    fifth of a second. Until the job has ended it only visits objects that were made since its start.
    """
    job = start_job(function, owner=owner, **kwargs)
    job.list_for(owner)
    spare_older_objects(job)
    return job


def spare_older_objects(job: Job) -> None:
    """Let garbage collection visit no object that is there by now, until a job has ended."""
    if not _long:
        gc.freeze()
    _long.add(job)
