"""Networks trained once for all tests of this folder; TensorFlow never enters the tests' own process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_cellclass.core.models.bundle import ModelBundle, open_bundle
from napari_cellclass.engine.inference.engines import Engine, open_engine

RunJob = Callable[[str, Path], dict[str, Any]]


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="session")
def trained(trained_folder: Path, run_job: RunJob) -> dict[str, Any]:
    return run_job("training_job.py", trained_folder)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, run_job: RunJob) -> dict[str, Any]:
    return run_job("networks_job.py", tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="session")
def textured_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("textured")


@pytest.fixture(scope="session")
def textured(textured_folder: Path, run_job: RunJob) -> dict[str, Any]:
    return run_job("texture_job.py", textured_folder)


@pytest.fixture(scope="session")
def with_texture(textured: dict[str, Any], textured_folder: Path) -> Callable[[str], ModelBundle]:
    return lambda name: open_bundle(textured_folder / name / "model.cellclass")


@pytest.fixture(scope="session")
def model_of(trained: dict[str, Any], trained_folder: Path) -> Callable[[str], ModelBundle]:
    return lambda name: open_bundle(trained_folder / name / "model.cellclass")


@pytest.fixture(scope="session")
def good(model_of: Callable[[str], ModelBundle]) -> ModelBundle:
    return model_of("good")


@pytest.fixture(scope="session")
def openvino(good: ModelBundle) -> Iterator[Engine]:
    with open_engine(good) as engine:
        yield engine


@pytest.fixture(scope="session")
def tensorflow(good: ModelBundle) -> Iterator[Engine]:
    with open_engine(good, "tensorflow") as engine:
        yield engine


@pytest.fixture(scope="session")
def tiles() -> NDArray[np.uint16]:
    """300 raw tiles: noise of many levels and strengths, half of them with spots from faint to bright."""
    rng = np.random.default_rng(7)
    level = np.concatenate([rng.uniform(0, 4000, 150), rng.uniform(550, 650, 150)])
    strength = np.concatenate([rng.uniform(0, 900, 150), rng.uniform(60, 300, 150)])
    tiles = level[:, None, None, None] + strength[:, None, None, None] * rng.standard_normal((300, 32, 32, 1))
    for tile, brightness in zip(tiles[150:], rng.uniform(0, 1500, 150), strict=True):
        for y, x in rng.integers(1, 31, (17, 2)):
            tile[y - 1 : y + 2, x - 1 : x + 2] += brightness
    return rng.permutation(tiles.clip(0, 4095).astype(np.uint16))
