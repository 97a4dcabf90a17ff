"""The job helper, with a running Qt event loop."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QApplication, QWidget
from tests._patience import PROCESS_S, WINDOW_S

from napari_cellclass.core.common.errors import CellClassError
from napari_cellclass.core.common.task import Task
from napari_cellclass.widgets.common.jobs import INTERVAL_MS, Job, Steps, start_job, start_long_job


def record(job: Job) -> list[tuple[str, Any]]:
    events: list[tuple[str, Any]] = []
    job.progressed.connect(lambda value: events.append(("progressed", value)))
    job.returned.connect(lambda value: events.append(("returned", value)))
    job.failed.connect(lambda error: events.append(("failed", str(error))))
    job.cancelled.connect(lambda: events.append(("cancelled", None)))
    job.finished.connect(lambda: events.append(("finished", threading.current_thread().name)))
    return events


def finish(qtbot: Any, function: Callable[..., Any], cancel: bool = False, **kwargs: Any) -> list[tuple[str, Any]]:
    job = start_job(function, **kwargs)
    events = record(job)
    if cancel:
        job.cancel()
    qtbot.waitUntil(lambda: any(kind == "finished" for kind, _ in events))
    assert not job.running
    return events


def test_the_answer_arrives_in_the_windows_thread(qtbot: Any) -> None:
    def work(value: int, task: Task) -> tuple[int, str]:
        task.progress("half", 1, 2)
        return value * 2, threading.current_thread().name

    events = finish(qtbot, work, value=21)
    assert [kind for kind, _ in events] == ["progressed", "returned", "finished"]
    assert events[1][1][0] == 42
    assert events[1][1][1] != threading.current_thread().name
    assert events[2][1] == threading.current_thread().name


@pytest.mark.parametrize("error", [CellClassError("what, value, do"), RuntimeError("boom"), KeyboardInterrupt()])
def test_whatever_is_raised_ends_as_one_failure(qtbot: Any, error: BaseException) -> None:
    def work(task: Task) -> None:
        raise error

    events = finish(qtbot, work)
    assert [kind for kind, _ in events] == ["failed", "finished"]
    if isinstance(error, CellClassError):
        assert events[0][1] == "what, value, do"
    else:
        assert f"unexpected {type(error).__name__}" in events[0][1]
        assert "crash-" in events[0][1]


def test_a_cancelled_job_says_so_and_nothing_else(qtbot: Any) -> None:
    def work(task: Task) -> None:
        while True:
            task.check()
            time.sleep(0.01)

    assert [kind for kind, _ in finish(qtbot, work, cancel=True)] == ["cancelled", "finished"]


def test_a_job_without_listeners_ends_too(qtbot: Any) -> None:
    job = start_job(lambda task: 1)
    assert job.wait(WINDOW_S)
    qtbot.waitUntil(lambda: not job.running)


def test_garbage_of_before_is_left_alone_until_the_last_long_job_has_ended(qtbot: Any) -> None:
    def work(ends: threading.Event, task: Task) -> None:
        ends.wait(WINDOW_S)

    before, owner = gc.get_freeze_count(), QWidget()
    ends = [threading.Event(), threading.Event()]
    jobs = [start_long_job(work, owner=owner, ends=one) for one in ends]
    assert gc.get_freeze_count() > before + 10_000
    ends[0].set()
    qtbot.waitUntil(lambda: not jobs[0].running)
    assert gc.get_freeze_count() > before + 10_000
    ends[1].set()
    qtbot.waitUntil(lambda: not jobs[1].running)
    assert gc.get_freeze_count() == 0


def test_nothing_is_sent_to_a_widget_that_is_gone(qtbot: Any) -> None:
    ends, owner = threading.Event(), QWidget()
    job = start_job(lambda task: ends.wait(WINDOW_S), owner=owner)
    events = record(job)
    owner.deleteLater()
    qtbot.waitUntil(lambda: is_gone(owner))
    ends.set()
    qtbot.waitUntil(lambda: not job.running)
    assert events == []


def is_gone(widget: QWidget) -> bool:
    try:
        widget.isVisible()
    except RuntimeError:
        return True
    return False


def test_python_ends_quietly_while_a_job_still_runs() -> None:
    script = """
import time
from qtpy.QtWidgets import QApplication
from napari_cellclass.widgets.common.jobs import start_job
def work(task):
    while not task.cancelled():
        time.sleep(0.01)
app = QApplication([])
job = start_job(work)
app.processEvents()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PROCESS_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def reports(events: list[tuple[str, Any]]) -> list[tuple[str, int]]:
    return [(update.phase, update.done) for kind, update in events if kind == "progressed"]


def test_of_a_thousand_reports_a_few_reach_the_window_and_the_last_of_each_phase_does(qtbot: Any) -> None:
    def work(task: Task) -> float:
        start = time.monotonic()
        for phase in ("reading", "training"):
            for done in range(500):
                task.progress(phase, done + 1, 500)
        return time.monotonic() - start

    events = finish(qtbot, work)
    seconds = next(value for kind, value in events if kind == "returned")
    found = reports(events)
    assert ("reading", 500) in found
    assert found[-1] == ("training", 500)
    assert len(found) <= 2 * (seconds * 1000 / INTERVAL_MS + 3)
    assert [phase for phase, _ in found] == sorted(phase for phase, _ in found)
    assert [kind for kind, _ in events][-2:] == ["returned", "finished"]


def test_while_a_job_runs_its_latest_report_arrives_without_another(qtbot: Any) -> None:
    ends = threading.Event()

    def work(task: Task) -> None:
        for done in range(100):
            task.progress("reading", done + 1, 0)
        ends.wait(WINDOW_S)

    job = start_job(work)
    events = record(job)
    qtbot.waitUntil(lambda: ("reading", 100) in reports(events))
    assert job.running
    ends.set()
    qtbot.waitUntil(lambda: not job.running)


def test_no_report_of_a_phase_that_is_kept_is_left_out(qtbot: Any) -> None:
    def work(task: Task) -> None:
        for epoch in range(1, 41):
            for batch in range(20):
                task.progress("epoch", batch, 20)
            task.progress("training", epoch, 40)

    found = reports(finish(qtbot, work, every_report_of=frozenset({"training"})))
    assert [done for phase, done in found if phase == "training"] == list(range(1, 41))


def test_what_is_shown_in_steps_leaves_the_window_its_turn_and_ends_the_job_with_the_last(qtbot: Any) -> None:
    job = start_job(lambda task: 3)
    order: list[str] = []

    def show(steps: int) -> Iterator[None]:
        for step in range(steps):
            QTimer.singleShot(0, lambda step=step: order.append(f"window {step}"))
            order.append(f"step {step}")
            yield

    job.returned.connect(lambda steps: job.show_in_steps(show(steps)))
    job.finished.connect(lambda: order.append("finished"))
    qtbot.waitUntil(lambda: "step 0" in order)
    assert job.running
    qtbot.waitUntil(lambda: "finished" in order)
    assert not job.running
    assert order == ["step 0", "window 0", "step 1", "window 1", "step 2", "window 2", "finished"]


def test_work_in_steps_leaves_the_window_its_turn_and_can_be_done_at_once(qtbot: Any) -> None:
    done: list[str] = []

    def work() -> Iterator[None]:
        for number in range(3):
            done.append(str(number))
            QTimer.singleShot(0, lambda: done.append("window"))
            yield
        done.append("end")

    owner = QWidget()
    Steps(owner, work())
    qtbot.waitUntil(lambda: done[-1:] == ["end"])
    assert done.count("window") == 3
    assert done.index("window") < done.index("1")
    done.clear()
    Steps(owner, work()).do_now()
    assert done == ["0", "1", "2", "end"]
    owner.deleteLater()


def test_a_job_whose_listener_is_gone_shows_nothing_more(qtbot: Any) -> None:
    owner, order = QWidget(), []
    job = start_job(lambda task: 1, owner=owner)

    def show() -> Iterator[None]:
        order.append("first")
        owner.deleteLater()
        yield
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        yield
        order.append("last")

    job.returned.connect(lambda _: job.show_in_steps(show()))
    qtbot.waitUntil(lambda: not job.running)
    assert order == ["first"]
