"""Networks trained once for all tests of this folder; TensorFlow never enters the tests' own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_cellclass.core.bundle import ModelBundle, open_bundle
from napari_cellclass.engine.inference import Engine, open_engine

HERE = Path(__file__).parent


def run_job(script: str, folder: Path) -> dict[str, Any]:
    """Run a script here, in a home where Keras is set up oddly; give what it wrote to ``results.json``."""
    home = folder / "home"
    (home / ".keras").mkdir(parents=True)
    strange = {"backend": "jax", "floatx": "float16", "image_data_format": "channels_first"}
    (home / ".keras" / "keras.json").write_text(json.dumps(strange))
    places = {name: str(home) for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME")}
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "TF_BUILD", "JENKINS_URL"}}
    done = subprocess.run(
        [sys.executable, str(HERE / script), str(folder)],
        env=environment | places, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    results["printed"] = done.stdout + done.stderr
    results["telemetry"] = [str(path) for path in home.glob("**/*") if "intel" in path.name.lower()]
    return results


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="session")
def trained(trained_folder: Path) -> dict[str, Any]:
    return run_job("training_job.py", trained_folder)


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
    """300 raw tiles: noise of many levels and strengths, half of them near that of one class."""
    rng = np.random.default_rng(7)
    level = np.concatenate([rng.uniform(0, 4000, 150), rng.uniform(550, 650, 150)])
    strength = np.concatenate([rng.uniform(0, 900, 150), rng.uniform(60, 300, 150)])
    tiles = level[:, None, None, None] + strength[:, None, None, None] * rng.standard_normal((300, 32, 32, 1))
    return rng.permutation(tiles.clip(0, 4095).astype(np.uint16))


@pytest.fixture(scope="session")
def keras_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    run_job("keras_job.py", folder)
    return folder
