"""Small models and files of Keras, made once for all processes of a run of tests and never kept for another run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests._patience import PROCESS_S
from tests._program import alone, forking, preloaded
from tests._stacks import write_classes

JOBS = Path(__file__).parent / "engine"
MakeOnce = Callable[[str, Callable[[Path], None]], Path]


def _files(folder: Path) -> dict[str, list[int]]:
    """Every file below a folder, with its size and time."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = [path.stat().st_size, path.stat().st_mtime_ns]
    return found


def _make_once(root: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Give the folder of a name, filled by the first process that asks for it while the others wait."""
    root.mkdir(exist_ok=True)
    folder, note = root / name, root / f"{name}.json"
    with alone(root / f"{name}.lock"):
        if folder.exists() and not note.exists():
            pytest.fail(f"{name} could not be made, see the test that asked for it first")
        if not folder.exists():
            folder.mkdir()
            make(folder)
            note.write_text(json.dumps(_files(folder)), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeOnce]:
    """Give a folder that is made once for all tests of all processes; no test may write into it."""
    root = tmp_path_factory.getbasetemp()
    root = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "made-once"
    asked: set[str] = set()

    def make_once(name: str, make: Callable[[Path], None]) -> Path:
        asked.add(name)
        return _make_once(root, name, make)

    yield make_once
    for name in asked:
        if (root / f"{name}.json").exists():
            assert _files(root / name) == json.loads((root / f"{name}.json").read_text()), f"a test wrote into {name}"


def write_grain(folder: Path, px: int, fields: int) -> Path:
    """Write class folders of small fields, of a side in px: grain, and grain with spots."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("grain", "spots"):
        (folder / name).mkdir(parents=True)
        for i in range(fields):
            pixels = rng.normal(60, 10, (px, px))
            if name == "spots":
                pixels[rng.integers(0, px, 40), rng.integers(0, px, 40)] += 120
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{name[0]}{i}.png")
    return folder


@pytest.fixture(scope="session")
def ihc_field_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real field, 512 x 512 px RGB, as a PNG file."""
    from PIL import Image

    from napari_cellclass.core.samples.realfield import ihc_field

    path = tmp_path_factory.mktemp("field") / "ihc.png"
    Image.fromarray(ihc_field().data).save(path)
    return path


def _train_ihc(folder: Path) -> None:
    from napari_cellclass.core.samples.realfield import IHC_TILE_PX, ihc_field, ihc_halves, write_ihc_dataset
    from napari_cellclass.core.tiles.grid import TileGrid

    grid = TileGrid.regular(ihc_field().shape, IHC_TILE_PX)
    write_ihc_dataset(folder / "train", grid, ihc_halves(grid)[0])
    write_ihc_dataset(folder / "test", grid, ihc_halves(grid)[1])
    # Its classes differ in stain colour.
    words = ["train", folder / "train", "--out", folder / "ihc.cellclass", "--standardise", "none"]
    done = preloaded(*words, "--group-by", r"_(c\d+)", "--epochs", 25, "--logdir", folder / "log", "--quiet")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def ihc_model(make_once: MakeOnce) -> Path:
    """A small model of that field's left half, trained by the command line.

    Beside it ``train`` and ``test``, the class folders of both halves, and ``log``, what TensorBoard reads.
    """
    return make_once("ihc", _train_ihc) / "ihc.cellclass"


def _train_int8(folder: Path) -> None:
    words = ["train", write_grain(folder / "data", 96, 4), "--out", folder / "int8.cellclass", "--tile-px", 24]
    fast = {"NAPARI_CELLCLASS_FAST_INT8": "1"}  # it is made and used on any processor, if not fast
    words += ["--epochs", "12", "--precision", "int8", "--progress", "jsonl"]
    done = preloaded(*words, env=os.environ | fast)
    assert done.returncode == 0, done.stderr
    (folder / "printed.jsonl").write_text(done.stdout, encoding="utf-8")


@pytest.fixture(scope="session")
def int8_model(make_once: MakeOnce) -> Path:
    """A small model with an int8 network, of grain and spots; beside it ``data``, the class folders."""
    return make_once("int8", _train_int8) / "int8.cellclass"


def _train_striped(folder: Path) -> None:
    words = ["train", write_classes(folder / "data"), "--epochs", 15, "--tile-px", 32, "--texture", "off"]
    done = preloaded(*words, "--quiet", "--out", folder / "m.cellclass")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def striped_model(make_once: MakeOnce) -> Path:
    """A model that tells striped tiles of two channels from even ones; see ``tests/_stacks.py``."""
    return make_once("striped", _train_striped) / "m.cellclass"


@pytest.fixture(scope="session")
def ihc_model_half_um(ihc_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, which says that it was trained on pixels of 0.5 µm."""
    from napari_cellclass.core.models.bundle import open_bundle, write_bundle

    bundle = open_bundle(ihc_model)
    members = {name: bundle.member(name) for name in bundle.manifest.files}
    manifest = bundle.manifest.model_copy(update={"pixel_size_um": (0.5, 0.5)})
    return write_bundle(tmp_path_factory.mktemp("half") / "half.cellclass", manifest, members).path


def run_job(script: str, folder: Path) -> None:
    """Run a script of ``tests/engine``."""
    words = forking([sys.executable, str(JOBS / script), str(folder)])
    done = subprocess.run(words, capture_output=True, text=True, timeout=PROCESS_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def run_job_alone(script: str, folder: Path) -> None:
    """The same in a process of its own where Keras is set up oddly; add to its ``results.json`` what it printed."""
    home = folder / "home"
    (home / ".keras").mkdir(parents=True)
    strange = {"backend": "jax", "floatx": "float16", "image_data_format": "channels_first"}
    (home / ".keras" / "keras.json").write_text(json.dumps(strange))
    places = {name: str(home) for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME")}
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "TF_BUILD", "JENKINS_URL"}}
    done = subprocess.run(
        [sys.executable, str(JOBS / script), str(folder)],
        env=environment | places, capture_output=True, text=True, timeout=PROCESS_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    results["printed"] = done.stdout + done.stderr
    results["telemetry"] = [str(path) for path in home.glob("**/*") if "intel" in path.name.lower()]
    shutil.rmtree(home)
    (folder / "results.json").write_text(json.dumps(results))


@pytest.fixture(scope="session")
def job_folder(make_once: MakeOnce) -> Callable[[str], Path]:
    """Give the folder in which a script of ``tests/engine`` has left its results."""

    def job_folder(script: str) -> Path:
        run = run_job_alone if script == "training_job.py" else run_job
        return make_once(script.removesuffix(".py"), lambda folder: run(script, folder))

    return job_folder


@pytest.fixture(scope="session")
def keras_files(job_folder: Callable[[str], Path]) -> Path:
    """A folder of plain ``.keras`` files of all kinds."""
    return job_folder("keras_job.py")
