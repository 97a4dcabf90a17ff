"""Training in a process of its own: ``python -m napari_cellclass train|experiment --settings FILE``.

TensorFlow stays out of the process that starts it, which survives a crash of the child.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from napari_cellclass.core.common.errors import CancelledError, EngineError
from napari_cellclass.core.common.files import output_error
from napari_cellclass.core.common.locks import scratch_folder
from napari_cellclass.core.common.task import NO_TASK, Progress, Task
from napari_cellclass.core.models.paths import partial_path, partial_paths, recovered_path
from napari_cellclass.core.params.experiment import ExperimentParams
from napari_cellclass.core.params.settings_file import SETTINGS_FILE, write_settings
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.engine.common.parent_process import LISTEN_VARIABLE, STOP_LINE

_POLL_S = 0.05
_EXIT_TIMEOUT_S = 0.6
_INTERRUPTED = 130


def train_in_child(
    params: TrainParams,
    task: Task = NO_TASK,
    stopped: Callable[[], bool] | None = None,
) -> Path:
    """Train in a child process, and wait for it.

    Parameters
    ----------
    params
        As for the command ``train``; how it reports is chosen here.
    task
        Reports what the child reports, see :func:`napari_cellclass.engine.training.train.train`. When it is
        cancelled, the child is gone within a second and leaves nothing behind.
    stopped
        Asks the child to end after the epoch that is running and to keep the best one.

    Returns
    -------
    Path
        The model. What was there before is only replaced by a finished one.

    Raises
    ------
    CancelledError
        The task was cancelled.
    EngineError
        The error that the child reported, or that it was killed; then the best model so far is kept
        beside ``params.out``, and the message says where.
    """
    child = _Child(params)
    try:
        _follow(child, task, stopped)
    except BaseException as error:
        child.end()
        if not isinstance(error, EngineError):
            partial_path(params.out).unlink(missing_ok=True)
        raise
    child.end()
    return params.out


def experiment_in_child(params: ExperimentParams, task: Task = NO_TASK) -> Path:
    """Run an experiment in a child process, and wait for it; called again, it is resumed.

    Parameters
    ----------
    params
        As for the command ``experiment``; how it reports is chosen here.
    task
        Reports what the child reports; metrics ``run`` and ``runs`` count the trainings. When it is cancelled, the
        child is gone within a second; finished trainings are kept.

    Returns
    -------
    Path
        The folder of the verdict.

    Raises
    ------
    CancelledError
        The task was cancelled.
    EngineError
        The error that the child reported, or that it was killed; finished trainings are kept.
    """
    child = _Child(params)
    try:
        _follow(child, task)
    finally:
        child.end()
        for unfinished in partial_paths(params.out / "models"):
            unfinished.unlink(missing_ok=True)
    return params.out


def _follow(child: _Child, task: Task, stopped: Callable[[], bool] | None = None) -> None:
    """Pass on what a child reports, until it has ended or the task was cancelled."""
    asked_to_stop = False
    while (event := child.next_event()) is not None:
        task.check("cancelled; what was not finished is lost")
        if stopped is not None and not asked_to_stop and stopped():
            asked_to_stop = True
            child.ask_to_stop()
        if event.get("event") == "progress":
            child.last_progress = Progress(event["phase"], event["done"], event["total"], event["metrics"])
            task.report(child.last_progress)
    child.check_end()


class _Child:
    """The process, the events it reports, and how it exits."""

    def __init__(self, params: TrainParams) -> None:
        self._out = params.out
        self._one_model = not isinstance(params, ExperimentParams)
        self._error = ""
        self._done = False
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._stderr: deque[str] = deque(maxlen=50)
        self.last_progress: Progress | None = None
        # A model that an older process left must not be mistaken for this one's.
        self._partial_before = _modified(partial_path(params.out))
        pipe = subprocess.PIPE
        # Windows: no console flashes up, and napari's window has priority.
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
        environment = os.environ | {LISTEN_VARIABLE: "1", "PYTHONUTF8": "1"}
        with contextlib.ExitStack() as files:
            settings = files.enter_context(scratch_folder()) / SETTINGS_FILE
            write_settings(params, settings)
            try:
                # A session of its own: whatever it starts ends with it, and Ctrl-C reaches this process only.
                self._process = subprocess.Popen(
                    child_command(params, settings), stdin=pipe, stdout=pipe, stderr=pipe, env=environment,
                    creationflags=flags, start_new_session=os.name == "posix",
                )  # fmt: skip
            except OSError as error:
                raise EngineError(f"cannot start {sys.executable} to train: {error.strerror or error}") from error
            self._files = files.pop_all()
        self._readers = [
            threading.Thread(target=self._read_lines, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_stderr, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def next_event(self) -> Mapping[str, Any] | None:
        """Return the next event, an empty one after 50 ms without any, None at the end."""
        try:
            line = self._lines.get(timeout=_POLL_S)
        except queue.Empty:
            return {}
        if line is None:
            return None
        try:
            event = json.loads(line)
        except ValueError:  # printed by a library
            return {}
        if not isinstance(event, dict):
            return {}
        if event.get("event") == "error":
            self._error = str(event["message"])
        self._done |= event.get("event") == "done"
        return event

    def ask_to_stop(self) -> None:
        """Ask it to keep the best epoch and end."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.write(STOP_LINE + b"\n")
            self._process.stdin.flush()

    def check_end(self) -> None:
        """Wait for its end and raise what has gone wrong."""
        code = self._process.wait()
        if code in (_INTERRUPTED, -signal.SIGINT, -signal.SIGTERM):
            raise CancelledError("the training process was interrupted; nothing was written")
        if self._error:
            raise EngineError(self._error)
        if code == 0 and self._done:
            return
        raise EngineError(self._describe_exit(code) + self._recover_checkpoint())

    def _describe_exit(self, code: int) -> str:
        """Say how the process ended, and in which epoch."""
        where = ""
        if self.last_progress is not None and self.last_progress.phase in ("training", "epoch"):
            epoch = self.last_progress.metrics.get("epoch", self.last_progress.done)
            where = f" in epoch {int(epoch)}"
        if code == -getattr(signal, "SIGKILL", 9):
            return f"the training process was killed{where}, perhaps because the memory ran out"
        for reader in self._readers:
            reader.join(timeout=1)
        lines = [line for line in self._stderr if line.strip()]
        last = f": {lines[-1].strip()}" if lines else ""
        return f"the training process has ended unexpectedly{where} (exit code {code}){last}"

    def _recover_checkpoint(self) -> str:
        """Keep the best model so far under a name that the next training does not use, and say so."""
        if not self._one_model:
            return "; finished trainings are kept; start again to resume"
        partial = partial_path(self._out)
        if _modified(partial) == self._partial_before:
            return "; there was no model yet; train again"
        recovered = recovered_path(self._out)
        try:
            partial.replace(recovered)
        except OSError as error:
            raise output_error(recovered, error) from error
        return f"; the best model so far is kept as {recovered.name}; train again, or use that"

    def end(self) -> None:
        """End it, whatever it is doing, if it has not ended."""
        process = self._process
        with contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()  # it then exits on its own, between two files
        try:
            process.wait(_EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            _kill(process)
            process.wait()
        for reader in self._readers:
            reader.join(timeout=1)
        for stream in (process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        self._files.close()

    def _read_lines(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in stream:
                self._lines.put(line)
        self._lines.put(None)

    def _read_stderr(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in stream:
                self._stderr.append(line.decode(errors="replace"))


def child_command(params: TrainParams, settings: Path) -> list[str]:
    """Return the command that trains with the parameters in a file; ``-P``: never import from the current folder."""
    return [
        sys.executable, "-P", "-m", "napari_cellclass", params.verb, f"--settings={settings}", "--progress=jsonl",
        "--no-quiet",
    ]  # fmt: skip


def _modified(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
