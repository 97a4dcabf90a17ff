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
# 64 MB of raw tiles per message, which limits the memory of both processes.
_MESSAGE_BYTES = 64 << 20
_LARGEST_MESSAGE = 8 << 30
# TensorFlow's own log lines, as "I0000 00:00:1795396756.368416   26959 port.cc:153] …".
_LOG_LINE = re.compile(r"^([IWEF]\d{4} |WARNING: All log messages|\d{4}-\d\d-\d\d .*\] )")
_ERRORS: dict[str, type[CellClassError]] = {kind.__name__: kind for kind in (EngineError, ModelError, OutputError)}


def child_command(verb: str) -> list[str]:
    """Return the command that starts a child process; ``-P`` keeps the current folder off its import path."""
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
        The stream holds no valid message.
    """
    header = stream.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        return None
    length = int.from_bytes(header, "big")
    if length > _LARGEST_MESSAGE:
        raise EngineError(f"the child process sent an invalid message ({length:,} bytes announced)")
    content = stream.read(length)
    return content if len(content) == length else None


def pack_array(array: NDArray[Any]) -> bytes:
    """Return an array as the bytes of an ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def unpack_array(content: bytes) -> NDArray[Any]:
    """Return the array of :func:`pack_array`; raise ``ValueError`` for other content."""
    return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))


def pack_error(error: CellClassError) -> bytes:
    """Return an error as one JSON line."""
    return (json.dumps({"error": str(error), "kind": type(error).__name__}) + "\n").encode()


def raise_error_in(content: bytes) -> None:
    """Raise the error that a message holds, if it holds one."""
    with contextlib.suppress(ValueError):
        message = json.loads(content)
        if isinstance(message, dict) and "error" in message:
            raise _ERRORS.get(str(message.get("kind")), EngineError)(str(message["error"]))


class ChildProcess:
    """A child process that reads requests on standard input and writes responses to standard output.

    It ends by itself when this process ends, as its standard input is then closed.

    Parameters
    ----------
    verb
        ``"predict"`` or ``"convert"``.

    Raises
    ------
    EngineError
        It cannot be started.
    """

    def __init__(self, verb: str) -> None:
        self._stderr_lines: deque[str] = deque(maxlen=50)
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # no console window on Windows
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                child_command(verb), stdin=pipe, stdout=pipe, stderr=pipe, creationflags=flags
            )
        except OSError as error:
            raise EngineError(f"cannot start {sys.executable} for TensorFlow: {error.strerror or error}") from error
        self._drain = threading.Thread(target=self._read_stderr, name=f"{verb}-stderr", daemon=True)
        self._drain.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def request(self, content: bytes) -> bytes:
        """Send a request and wait for the response.

        Raises
        ------
        EngineError
            The child process has ended; the text quotes its last line on standard error.
        CellClassError
            The child process has responded with an error.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            write_message(stdin, content)
            response = read_message(stdout)
        except (OSError, ValueError):  # a broken pipe, or closed by another thread
            response = None
        if response is None:
            raise EngineError(self._describe_exit())
        raise_error_in(response)
        return response

    def close(self) -> None:
        """Kill the child process."""
        process = self._process
        process.kill()
        process.wait()
        self._drain.join(timeout=5)
        for stream in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError, ValueError):
                if stream is not None:
                    stream.close()

    def _read_stderr(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        with contextlib.suppress(OSError, ValueError):
            for line in stderr:
                self._stderr_lines.append(line.decode(errors="replace").rstrip())

    def _describe_exit(self) -> str:
        try:
            code = str(self._process.wait(timeout=5))
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = "no response"
        self._drain.join(timeout=5)
        lines = [line for line in self._stderr_lines if line.strip() and not _LOG_LINE.match(line)]
        reason = f": {lines[-1].strip()}" if lines else ", without a message; the memory may have run out"
        return f"the TensorFlow process has ended (exit code {code}){reason}; try again, or --engine openvino"


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
            self._child.request(json.dumps(job).encode())
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        """Process id of the child process, None when closed."""
        return self._child.pid if self._child else None

    def predict(self, tiles: NDArray[Any], levels: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        """Classify raw tiles, see :meth:`napari_cellclass.engine.inference.engines.Engine.predict`."""
        tiles = np.asarray(tiles)
        if tiles.ndim != 4 or tiles.dtype.kind not in "buif":
            raise ModelError(f"expected tiles (n, h, w, C) of numbers, but got {tiles.dtype} of shape {tiles.shape}")
        step = max(1, _MESSAGE_BYTES // max(1, tiles[:1].nbytes))
        parts = [np.zeros((0, self._classes), np.float32)]
        with self._lock:
            if self._child is None:
                raise EngineError(f"the engine of {self._path} is closed; open the model again")
            for start in range(0, len(tiles), step):
                levelled = self._spec.apply_levels(tiles[start : start + step], levels)
                parts.append(unpack_array(self._child.request(pack_array(levelled))))
        return np.concatenate(parts)

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
    """Start a child process for one job and wait for its response.

    Raises
    ------
    EngineError
        The child process has ended without one.
    CellClassError
        The child process has responded with an error.
    """
    child = ChildProcess(verb)
    try:
        response: dict[str, Any] = json.loads(child.request(json.dumps(job).encode()))
    finally:
        child.close()
    return response
