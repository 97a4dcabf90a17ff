"""The program as tests run it: in a process of its own, in one that is forked, or called where no process matters."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests._patience import PROCESS_S, wait_until

from napari_cellclass.cli.main import main
from napari_cellclass.core.common.locks import try_lock
from napari_cellclass.engine.inference import tensorflow_client
from napari_cellclass.runs.train import child as train_child

FORK_SERVER = Path(__file__).with_name("_fork_server.py")

Done = subprocess.CompletedProcess[str]
Call = Callable[..., Done]


def line(*words: object) -> list[str]:
    """The command line of the program."""
    return [sys.executable, "-m", "napari_cellclass", *map(str, words)]


def command(*words: object, **options: Any) -> Done:
    """Run the program in a process of its own, and keep what it prints."""
    how = {"capture_output": True, "text": True, "timeout": PROCESS_S, "encoding": "utf-8"}
    return subprocess.run(line(*words), check=False, **(how | options))


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let no other process of these tests into the block."""

    def locked() -> bool:
        try:
            try_lock(file.fileno())
        except OSError:
            return False
        return True

    with path.open("a") as file:
        wait_until(locked, 4 * PROCESS_S)  # what is done inside has its own limits
        yield


@functools.cache
def _fork_server() -> str:
    """Where the process listens that forks, one for all processes of these tests; start it where it is not there."""
    shared = "PYTEST_XDIST_WORKER" in os.environ
    run, owner = (os.environ["PYTEST_XDIST_TESTRUNUID"], os.getppid()) if shared else (str(os.getpid()), os.getpid())
    path = Path(tempfile.gettempdir(), f"napari-cellclass-tests-{run[:16]}.socket")
    with alone(path.with_suffix(".lock")):
        if not path.exists():
            words = [sys.executable, "-P", FORK_SERVER, path, "--serve", owner]
            nothing = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            subprocess.run(list(map(str, words)), check=True, timeout=PROCESS_S, **nothing)
    return str(path)


def forking(words: list[str]) -> list[str]:
    """The command line that runs ``python WORDS...``, a module or a script, in a fork that has imported TensorFlow.

    For what trains or asks TensorFlow, where a test is about that and not about a process: the import alone takes
    longer than a small training. TensorFlow starts no thread before its first operation, so that it may be forked.
    """
    if sys.platform != "linux":
        return words
    start = words.index("-m") if "-m" in words else 1
    return [sys.executable, "-I", "-S", str(FORK_SERVER), _fork_server(), *words[start:]]


def preloaded(*words: object, **options: Any) -> Done:
    """Run the program in such a fork, and keep what it prints."""
    how = {"capture_output": True, "text": True, "timeout": PROCESS_S, "encoding": "utf-8"}
    return subprocess.run(forking(line(*words)), check=False, **(how | options))


@pytest.fixture
def forked_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what the plugin trains, converts or asks TensorFlow happen in such forks."""
    train, engine = train_child.child_command, tensorflow_client.child_command
    monkeypatch.setattr(train_child, "child_command", lambda *given: forking(train(*given)))
    monkeypatch.setattr(tensorflow_client, "child_command", lambda verb: forking(engine(verb)))


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the program in this process, and keep what it prints. Training is not for it: it imports TensorFlow."""

    def call(*words: object) -> Done:
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert "tensorflow" not in sys.modules
        return Done(words, code, out, err)

    return call
