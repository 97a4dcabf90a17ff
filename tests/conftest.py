"""Shared by all tests: the real images beside the project, and what CI must never skip."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]
REAL_DATA = ROOT.parent / "shared" / "data"
# Each process of tests has a display of its own where that can be: windows take the focus from each other.
_DISPLAYS = sys.platform == "linux" and shutil.which("Xvfb") is not None
_TOGETHER = ("engine",) if _DISPLAYS else ("engine", "gui")


hypothesis.settings.register_profile("patient", deadline=None)  # a busy machine is no failed law
hypothesis.settings.load_profile("patient")


def pytest_configure() -> None:
    """Keep caches, logs and settings out of the user's home; before napari looks where they are."""
    home = Path(tempfile.mkdtemp(prefix="napari-cellclass-tests-"))
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "LOCALAPPDATA"):
        os.environ[name] = str(home / name.lower())
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the program does for itself
    if _DISPLAYS and "PYTEST_XDIST_WORKER" in os.environ:
        _open_display()


def _open_display() -> None:
    """Let windows of this process open in a virtual display that nothing else opens windows in."""
    number, told = os.pipe()
    words = ["Xvfb", "-displayfd", str(told), "-screen", "0", "1600x1200x24", "-nolisten", "tcp", "-noreset"]
    server = subprocess.Popen(words, pass_fds=[told], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(told)
    atexit.register(server.terminate)
    with os.fdopen(number) as stream:
        display = stream.readline().strip()
    if not display:
        pytest.exit("Xvfb has not started")
    os.environ |= {"DISPLAY": f":{display}", "QT_QPA_PLATFORM": "xcb", "LIBGL_ALWAYS_SOFTWARE": "1"}
    os.environ.pop("WAYLAND_DISPLAY", None)


def _part(path: str) -> str:
    """Tell what stays in one process: a file, and networks that are trained once for all tests of a folder."""
    first = Path(path).relative_to("tests").parts[0]
    return first if first in _TOGETHER else path


@pytest.hookimpl(optionalhook=True)  # where pytest-xdist runs the tests in several processes
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share the tests out by their parts."""
    from xdist.scheduler import LoadScopeScheduling

    class Parts(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _part(nodeid.split("::", maxsplit=1)[0])

    return Parts(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what takes longest first; skip tests on real images where these are missing, but in CI let them fail."""
    items.sort(key=_turn)
    if REAL_DATA.is_dir() or os.environ.get("CI"):
        return
    missing = pytest.mark.skip(reason=f"the real images are not at {REAL_DATA}")
    for item in items:
        if "realdata" in item.keywords:
            item.add_marker(missing)


def _turn(item: pytest.Item) -> int:
    first = item.path.relative_to(ROOT / "tests").parts[0]
    order = ("gui", "engine", item.path.name, "hostile", "runs")
    return order.index(first) if first in order else len(order)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images."""
    return REAL_DATA


def _write_grain(folder: Path, px: int, fields: int) -> Path:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("grain", "spots"):
        (folder / name).mkdir()
        for i in range(fields):
            pixels = rng.normal(60, 10, (px, px))
            if name == "spots":
                pixels[rng.integers(0, px, 40), rng.integers(0, px, 40)] += 120
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{name[0]}{i}.png")
    return folder


@pytest.fixture(scope="session")
def write_grain() -> Callable[[Path, int, int], Path]:
    """Write class folders of small fields, of a side in px: grain, and grain with spots."""
    return _write_grain


@pytest.fixture(scope="session")
def ihc_field_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real field, 512 x 512 px RGB, as a PNG file."""
    from PIL import Image

    from napari_cellclass.core.samples.realfield import ihc_field

    path = tmp_path_factory.mktemp("field") / "ihc.png"
    Image.fromarray(ihc_field().data).save(path)
    return path


@pytest.fixture(scope="session")
def ihc_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of that field's left half, trained by the command line in its own process."""
    from napari_cellclass.core.samples.realfield import IHC_TILE_PX, ihc_field, ihc_halves, write_ihc_dataset
    from napari_cellclass.core.tiles.grid import TileGrid

    folder = tmp_path_factory.mktemp("model")
    grid = TileGrid.regular(ihc_field().shape, IHC_TILE_PX)
    write_ihc_dataset(folder / "train", grid, ihc_halves(grid)[0])
    write_ihc_dataset(folder / "test", grid, ihc_halves(grid)[1])
    model = folder / "ihc.cellclass"
    # Its classes differ in stain colour.
    words = ["train", folder / "train", "--out", model, "--standardise", "none", "--group-by", r"_(c\d+)"]
    words += ["--epochs", "25", "--quiet"]
    subprocess.run([sys.executable, "-m", "napari_cellclass", *map(str, words)], check=True, timeout=240)
    return model


@pytest.fixture(scope="session")
def int8_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with an int8 network, of grain and spots; beside it ``data``, the class folders."""
    folder = tmp_path_factory.mktemp("int8")
    (folder / "data").mkdir()
    words = ["train", _write_grain(folder / "data", 96, 4), "--out", folder / "int8.cellclass", "--tile-px", 24]
    words += ["--epochs", "12", "--precision", "int8", "--progress", "jsonl"]
    line = [sys.executable, "-m", "napari_cellclass", *map(str, words)]
    fast = {"NAPARI_CELLCLASS_FAST_INT8": "1"}  # it is made and used on any processor, if not fast
    done = subprocess.run(
        line, env=os.environ | fast, check=False, capture_output=True, text=True, timeout=240, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    (folder / "printed.jsonl").write_text(done.stdout, encoding="utf-8")
    return folder / "int8.cellclass"


@pytest.fixture(scope="session")
def ihc_model_half_um(ihc_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, which says that it was trained on pixels of 0.5 µm."""
    from napari_cellclass.core.models.bundle import open_bundle, write_bundle

    bundle = open_bundle(ihc_model)
    members = {name: bundle.member(name) for name in bundle.manifest.files}
    manifest = bundle.manifest.model_copy(update={"pixel_size_um": (0.5, 0.5)})
    return write_bundle(tmp_path_factory.mktemp("half") / "half.cellclass", manifest, members).path


def _run_job(script: str, folder: Path) -> dict[str, Any]:
    """Run a script here, in a home where Keras is set up oddly; give what it wrote to ``results.json``."""
    home = folder / "home"
    (home / ".keras").mkdir(parents=True)
    strange = {"backend": "jax", "floatx": "float16", "image_data_format": "channels_first"}
    (home / ".keras" / "keras.json").write_text(json.dumps(strange))
    places = {name: str(home) for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME")}
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "TF_BUILD", "JENKINS_URL"}}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "engine" / script), str(folder)],
        env=environment | places, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    results["printed"] = done.stdout + done.stderr
    results["telemetry"] = [str(path) for path in home.glob("**/*") if "intel" in path.name.lower()]
    return results


@pytest.fixture(scope="session")
def run_job() -> Callable[[str, Path], dict[str, Any]]:
    """Run a script of ``tests/engine`` in a process of its own."""
    return _run_job


@pytest.fixture(scope="session")
def keras_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of plain ``.keras`` files of all kinds."""
    folder = tmp_path_factory.mktemp("keras")
    _run_job("keras_job.py", folder)
    return folder
