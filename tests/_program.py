"""The program as tests run it: in a process of its own, in one that is forked, or called where no process matters."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests._patience import PROCESS_S

from napari_cellclass.cli.main import main

Done = subprocess.CompletedProcess[str]
Call = Callable[..., Done]


def line(*words: object) -> list[str]:
    """The command line of the program."""
    return [sys.executable, "-m", "napari_cellclass", *map(str, words)]


def command(*words: object, **options: Any) -> Done:
    """Run the program in a process of its own, and keep what it prints."""
    how = {"capture_output": True, "text": True, "timeout": PROCESS_S, "encoding": "utf-8"}
    return subprocess.run(line(*words), check=False, **(how | options))


def preloaded(*words: object, env: dict[str, str] | None = None) -> Done:
    """Run the program in a fork of a process that has imported TensorFlow already, and keep what it prints.

    For what trains, where a test is about the training and not about the start of a process: the import alone takes
    longer than a small training. TensorFlow starts no thread before its first operation, so that it may be forked.
    """
    if sys.platform != "linux":
        return command(*words, env=env)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests._preload"])
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        environment = dict(os.environ) if env is None else env
        process = context.Process(target=_run, args=(list(map(str, words)), environment, Path.cwd(), out, err))
        process.start()
        process.join(PROCESS_S)
        if process.exitcode is None:
            process.kill()
            pytest.fail(f"{words} was not done after {PROCESS_S} s")
        texts = [path.read_text(encoding="utf-8") for path in (out, err)]
        return Done(words, process.exitcode, *texts)


def _run(words: list[str], environment: dict[str, str], folder: Path, out: Path, err: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    code = main(words)
    atexit._run_exitfuncs()  # which multiprocessing leaves out
    sys.exit(code)


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
