"""A process that has imported TensorFlow once and forks for whoever asks: the import is half of a small training.

    python tests/_fork_server.py SOCKET --serve PID     until the process PID has ended
    python tests/_fork_server.py SOCKET --serve-keras PID     the same, with nothing else imported
    python tests/_fork_server.py SOCKET -m MODULE ...   as ``python -m MODULE ...``, in a fork
    python tests/_fork_server.py SOCKET SCRIPT ...      as ``python SCRIPT ...``, in a fork

The others are processes like any other to who starts it: streams and exit code are the fork's, which ends with them.
Only for tests that are not about the start or the end of a process.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys

_LARGEST = 1 << 20
# What a training uses; NNCF is left to whom it concerns.
_MODULES = (
    "napari_cellclass.cli.main", "napari_cellclass.cli.experiment", "napari_cellclass.cli.train",
    "napari_cellclass.engine.child.convert",
    "napari_cellclass.engine.training.ensemble", "napari_cellclass.engine.training.train",
    "napari_cellclass.report.runs_figures", "napari_cellclass.runs.train.experiment",
    "napari_cellclass.runs.train.train",
)  # fmt: skip


def ask(path: str, words: list[str], environment: dict[str, str], folder: str, streams: list[int]) -> socket.socket:
    """Let a fork run a module; its exit code arrives as one byte."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(path)
    job = json.dumps({"words": words, "environment": environment, "folder": folder})
    socket.send_fds(connection, [job.encode("utf-8", "surrogateescape")], streams)
    return connection


def serve(path: str, pid: int, modules: tuple[str, ...]) -> None:
    """Fork for each who asks, until a process has ended; in the background."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen(64)
    if os.fork():
        os._exit(0)
    os.setsid()
    _import_all(modules)
    os.nice = lambda _: 0  # a training would give way to all tests that run beside it, while a test waits for it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a fork
    while _alive(pid):
        if select.select([listener], [], [], 1.0)[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _run(connection)
            connection.close()
    os.unlink(path)  # noqa: PTH108


def _import_all(modules: tuple[str, ...]) -> None:
    """Import Keras and modules that start no thread."""
    import gc
    import importlib

    from napari_cellclass.engine.common.environment import import_keras, import_openvino

    import_keras()
    if modules:
        import_openvino()
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a fork would copy the pages of what its garbage collection looks at


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _run(connection: socket.socket) -> None:
    """Be the process that was asked for; never returns."""
    import threading

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, streams, *_ = socket.recv_fds(connection, _LARGEST, 3)
    job = json.loads(message.decode("utf-8", "surrogateescape"))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(job["folder"])

    def end_with_the_asker() -> None:
        connection.recv(1)
        os._exit(1)

    threading.Thread(target=end_with_the_asker, daemon=True).start()
    code = 1
    try:
        code = _run_module(job["words"])
    finally:
        connection.send(bytes([code & 255]))
        os._exit(code)


def _run_module(words: list[str]) -> int:
    import atexit
    import runpy
    import traceback

    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", 1, errors="backslashreplace")  # noqa: SIM115
    code: object = 0
    module = words[0] == "-m"
    sys.argv = words[1:] if module else words
    try:
        if module:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, os.path.dirname(sys.argv[0]))  # noqa: PTH120
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as Python does at the end of a program
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # nobody reads any more
            code = code or 1
    return code if isinstance(code, int) else int(code is not None)


if __name__ == "__main__":
    if sys.argv[2] in ("--serve", "--serve-keras"):
        serve(sys.argv[1], int(sys.argv[3]), _MODULES if sys.argv[2] == "--serve" else ())
    else:
        answer = ask(sys.argv[1], sys.argv[2:], dict(os.environ), os.getcwd(), [0, 1, 2]).recv(1)  # noqa: PTH109
        if not answer:  # it was killed, so this one is
            os.kill(os.getpid(), signal.SIGKILL)
        sys.exit(answer[0])
