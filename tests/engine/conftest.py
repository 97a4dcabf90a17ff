"""Networks trained once for all tests; TensorFlow never enters the tests' own process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests._program import forking

from napari_cellclass.core.models.bundle import ModelBundle, open_bundle
from napari_cellclass.engine.inference import tensorflow_client
from napari_cellclass.engine.inference.engines import Engine, open_engine

JobFolder = Callable[[str], Path]


def _results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


@pytest.fixture(scope="session")
def trained_folder(job_folder: JobFolder) -> Path:
    return job_folder("training_job.py")


@pytest.fixture(scope="session")
def trained(trained_folder: Path) -> dict[str, Any]:
    return _results(trained_folder)


@pytest.fixture(scope="session")
def built(job_folder: JobFolder) -> dict[str, Any]:
    return _results(job_folder("networks_job.py"))


@pytest.fixture(scope="session")
def textured_folder(job_folder: JobFolder) -> Path:
    return job_folder("texture_job.py")


@pytest.fixture(scope="session")
def textured(textured_folder: Path) -> dict[str, Any]:
    return _results(textured_folder)


@pytest.fixture(scope="session")
def with_texture(textured_folder: Path) -> Callable[[str], ModelBundle]:
    return lambda name: open_bundle(textured_folder / name / "model.cellclass")


@pytest.fixture(scope="session")
def model_of(trained_folder: Path) -> Callable[[str], ModelBundle]:
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
    command = tensorflow_client.child_command
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensorflow_client, "child_command", lambda verb: forking(command(verb)))
        engine = open_engine(good, "tensorflow")
    with engine:
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
