"""UMAP in a process of its own, with a stand-in for the package: it takes half a minute to compile."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from napari_cellclass.core.common.errors import CancelledError, EngineError, ParamsError
from napari_cellclass.core.common.task import Task
from napari_cellclass.runs.features import umap
from napari_cellclass.runs.features.umap import umap_coordinates

STAND_IN = """
import os, time
import numpy as np

class UMAP:
    def __init__(self, n_components, n_neighbors, random_state):
        assert (n_components, random_state) == (2, 0)
        self.n_neighbors = n_neighbors

    def fit_transform(self, x):
        {0}
        return x[:, :2] * self.n_neighbors
"""


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    package = folder / "packages" / "umap"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(STAND_IN.format(line), encoding="utf-8")
    path = os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setattr(umap, "is_installed", lambda: True)


def test_coordinates_come_back_from_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, "pass")
    x = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    np.testing.assert_allclose(umap_coordinates(x), 11 * x[:, :2], rtol=1e-6)


def test_what_fails_there_is_one_line_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, "raise MemoryError('no room')")
    with pytest.raises(EngineError, match=r"^UMAP has failed: MemoryError: no room; use PCA$"):
        umap_coordinates(np.ones((12, 3), np.float32))


def test_coordinates_that_are_not_finite_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, "x = x * np.nan")
    with pytest.raises(EngineError, match="use PCA"):
        umap_coordinates(np.ones((12, 3), np.float32))


def test_cancelling_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = tmp_path / "started"
    stand_in(tmp_path, monkeypatch, f"open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    stop = threading.Event()

    def cancelled() -> bool:
        if started.exists() and started.read_text():
            stop.set()
        return stop.is_set()

    with pytest.raises(CancelledError):
        umap_coordinates(np.ones((12, 3), np.float32), task=Task(cancelled=cancelled))
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_without_the_package_or_with_too_few_tiles_a_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(umap, "is_installed", lambda: True)
    with pytest.raises(ParamsError, match="UMAP needs 10 tiles or more, but 9 have features; use PCA"):
        umap_coordinates(np.ones((9, 3), np.float32))
    monkeypatch.setattr(umap, "is_installed", lambda: False)
    with pytest.raises(ParamsError, match="pip install umap-learn"):
        umap_coordinates(np.ones((12, 3), np.float32))
