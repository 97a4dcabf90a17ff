"""UMAP of the features of tiles, where the package ``umap-learn`` is installed, in a process of its own.

Its compiled functions hold Python's lock for seconds, in which a window would not draw, and cannot be interrupted; the
process can be ended.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_cellclass.core.common.errors import EngineError, ParamsError
from napari_cellclass.core.common.locks import scratch_folder
from napari_cellclass.core.common.task import NO_TASK, Task
from napari_cellclass.engine.common.parent_process import LISTEN_VARIABLE

MISSING = "UMAP needs the package umap-learn: pip install umap-learn"
FEWEST = 10
"""Tiles that UMAP needs at least."""
_POLL_S = 0.1


def is_installed() -> bool:
    """Whether UMAP can be computed; nothing is imported."""
    return importlib.util.find_spec("umap") is not None


def umap_coordinates(features: NDArray[np.float32], seed: int = 0, task: Task = NO_TASK) -> NDArray[np.float32]:
    """Compute two coordinates of tiles by UMAP (McInnes, Healy & Melville 2018, arXiv:1802.03426).

    Parameters
    ----------
    features
        float32, shape (n, F), finite; a few dozen principal components are enough.
    seed
        The same features and seed give the same coordinates on the same machine.
    task
        Once it is cancelled the process is gone within a moment.

    Returns
    -------
    float32 array, shape (n, 2)

    Raises
    ------
    ParamsError
        ``umap-learn`` is not installed, or there are fewer than 10 tiles.
    EngineError
        The process has failed.
    CancelledError
        The task was cancelled.
    """
    if not is_installed():
        raise ParamsError(MISSING)
    if len(features) < FEWEST:
        raise ParamsError(f"UMAP needs {FEWEST} tiles or more, but {len(features)} have features; use PCA")
    task.progress("computing UMAP")
    with scratch_folder() as folder:
        given, found = folder / "features.npy", folder / "coordinates.npy"
        np.save(given, np.ascontiguousarray(features, np.float32))
        program = [sys.executable, "-P", "-m", "napari_cellclass.runs.features.umap_process"]
        _run([*program, str(given), str(found), str(seed)], folder / "log.txt", task)
        return _read(found, len(features))


def _run(command: list[str], log: Path, task: Task) -> None:
    """Run the process to its end, or end it."""
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
    environment = os.environ | {LISTEN_VARIABLE: "1", "PYTHONUTF8": "1"}
    with log.open("wb") as stderr:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=stderr, env=environment,
                creationflags=flags,
            )  # fmt: skip
        except OSError as error:
            raise EngineError(f"cannot start {sys.executable} for UMAP: {error.strerror or error}") from error
        try:
            while process.poll() is None:
                task.check("UMAP was cancelled")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_S)
        finally:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
    if process.returncode:
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        why = lines[-1].strip()[:300] if lines else f"exit code {process.returncode}"
        raise EngineError(f"UMAP has failed: {why}; use PCA")


def _read(path: Path, n: int) -> NDArray[np.float32]:
    try:
        found: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise EngineError(f"UMAP has left no coordinates ({error}); use PCA") from error
    if found.shape != (n, 2) or not np.isfinite(found).all():
        raise EngineError(f"UMAP has left coordinates of shape {found.shape} or not finite; use PCA")
    return found.astype(np.float32)
