"""Child processes: TensorFlow for prediction, and the conversion of Keras files."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import CellClassError, EngineError, ModelError, OutputError
from napari_cellclass.core.models.bundle import ModelBundle
from napari_cellclass.core.params.shared import PrecisionName

CHILD_MODULE = "napari_cellclass.engine.child.main"
_HEADER_BYTES = 8
# 64 MB of raw tiles a message: neither side then holds much more than it works on.
_MESSAGE_BYTES = 64 << 20
_LARGEST_MESSAGE = 8 << 30
# TensorFlow's own log lines, as "I0000 00:00:1795396756.368416   26959 port.cc:153] …".
_LOG_LINE = re.compile(r"^([IWEF]\d{4} |WARNING: All log messages|\d{4}-\d\d-\d\d .*\] )")
_ERRORS: dict[str, type[CellClassError]] = {kind.__name__: kind for kind in (EngineError, ModelError, OutputError)}


def child_command(verb: str) -> list[str]:
    """Give the command that starts a child; ``-P`` keeps the current folder off its import path."""
    return [sys.executable, "-P", "-m", CHILD_MODULE, verb]


def write_message(stream: IO[bytes], content: bytes) -> None:
    """Write a message: its length in 8 bytes, big-endian, then its content."""
    stream.write(len(content).to_bytes(_HEADER_BYTES, "big"))
    stream.write(content)
    stream.flush()


def read_message(stream: IO[bytes]) -> bytes | None:
    """Read what :func:`write_message` wrote, None where the stream has ended.

    Raises
    ------
    EngineError
        What came is no message.
    """
    header = stream.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        return None
    length = int.from_bytes(header, "big")
    if length > _LARGEST_MESSAGE:
        raise EngineError(f"the child process and this one do not understand each other ({length:,} bytes announced)")
    content = stream.read(length)
    return content if len(content) == length else None


def pack_array(array: NDArray[Any]) -> bytes:
    """Give an array as the bytes of an ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def unpack_array(content: bytes) -> NDArray[Any]:
    """Read what :func:`pack_array` gave; ``ValueError`` where it is not that."""
    return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))


def pack_error(error: CellClassError) -> bytes:
    """Give an error as one JSON line."""
    return (json.dumps({"error": str(error), "kind": type(error).__name__}) + "\n").encode()


def raise_error_in(content: bytes) -> None:
    """Raise the error that ``content`` holds, if it holds one."""
    with contextlib.suppress(ValueError):
        answer = json.loads(content)
        if isinstance(answer, dict) and "error" in answer:
            raise _ERRORS.get(str(answer.get("kind")), EngineError)(str(answer["error"]))


class ChildProcess:
    """A child process that reads messages on standard input and answers on standard output.

    It ends by itself when this process dies, as its standard input then ends.

    Parameters
    ----------
    verb
        Which of the children.

    Raises
    ------
    EngineError
        It cannot be started.
    """

    def __init__(self, verb: str) -> None:
        self._lines: deque[str] = deque(maxlen=50)
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # on Windows no console may flash up
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                child_command(verb), stdin=pipe, stdout=pipe, stderr=pipe, creationflags=flags
            )
        except OSError as error:
            raise EngineError(f"cannot start {sys.executable} for TensorFlow: {error.strerror or error}") from error
        self._drain = threading.Thread(target=self._read_errors, name=f"{verb}-stderr", daemon=True)
        self._drain.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def ask(self, content: bytes) -> bytes:
        """Send a message and wait for the answer.

        Raises
        ------
        EngineError
            The child has died; its last words are in the text.
        CellClassError
            The child has answered with an error.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            write_message(stdin, content)
            answer = read_message(stdout)
        except (OSError, ValueError):  # a broken pipe, or closed by another thread
            answer = None
        if answer is None:
            raise EngineError(self._last_words())
        raise_error_in(answer)
        return answer

    def close(self) -> None:
        """End the child, whatever it is doing."""
        process = self._process
        process.kill()
        process.wait()
        self._drain.join(timeout=5)
        for stream in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError, ValueError):
                if stream is not None:
                    stream.close()

    def _read_errors(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        with contextlib.suppress(OSError, ValueError):
            for line in stderr:
                self._lines.append(line.decode(errors="replace").rstrip())

    def _last_words(self) -> str:
        try:
            code = str(self._process.wait(timeout=5))
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = "no answer"
        self._drain.join(timeout=5)
        spoken = [line for line in self._lines if line.strip() and not _LOG_LINE.match(line)]
        said = f": {spoken[-1].strip()}" if spoken else ", without a word; the memory may have run out"
        return f"the TensorFlow process has ended (exit code {code}){said}; try again, or --engine openvino"


class TensorFlowEngine:
    """A model in a child process that runs Keras on TensorFlow, on a GPU where there is one."""

    name = "tensorflow"
    precision: PrecisionName = "f32"

    def __init__(self, bundle: ModelBundle, threads: int | None = None) -> None:
        self._path, self._classes, self._spec = bundle.path, len(bundle.scheme), bundle.preprocess
        self._lock = threading.Lock()
        self._child: ChildProcess | None = ChildProcess("predict")
        job = {"model": str(Path(bundle.path).absolute()), "model_id": bundle.model_id, "threads": threads}
        try:
            self._child.ask(json.dumps(job).encode())
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        """Process id of the child, None when closed."""
        return self._child.pid if self._child else None

    def predict(self, tiles: NDArray[Any], levels: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        """Classify raw tiles, see :meth:`napari_cellclass.engine.inference.engines.Engine.predict`."""
        tiles = np.asarray(tiles)
        if tiles.ndim != 4 or tiles.dtype.kind not in "buif":
            raise ModelError(f"expected tiles (n, h, w, C) of numbers, but got {tiles.dtype} of shape {tiles.shape}")
        step = max(1, _MESSAGE_BYTES // max(1, tiles[:1].nbytes))
        answers = [np.zeros((0, self._classes), np.float32)]
        with self._lock:
            if self._child is None:
                raise EngineError(f"the engine of {self._path} is closed; open the model again")
            for start in range(0, len(tiles), step):
                part = self._spec.apply_levels(tiles[start : start + step], levels)
                answer = self._child.ask(pack_array(part))
                answers.append(unpack_array(answer))
        return np.concatenate(answers)

    def close(self) -> None:
        """End the child process."""
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run_child(verb: str, job: dict[str, Any]) -> dict[str, Any]:
    """Start a child for one job and wait for its answer.

    Raises
    ------
    EngineError
        The child has died.
    CellClassError
        The child has answered with an error.
    """
    child = ChildProcess(verb)
    try:
        answer: dict[str, Any] = json.loads(child.ask(json.dumps(job).encode()))
    finally:
        child.close()
    return answer
