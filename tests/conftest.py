"""Shared by all tests: a home of their own, how they are shared out, and what CI must never skip."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]
REAL_DATA = ROOT.parent / "shared" / "data"
# Each process of tests has a display of its own where that can be: windows take the focus from each other.
_DISPLAYS = sys.platform == "linux" and shutil.which("Xvfb") is not None
pytest_plugins = ["tests._program", "tests._models", "tests._windows"]
# What is shared is made first; then comes what takes long and needs none of it, longest first, so that no process is
# left with it at the end; then what uses it.
SLOWEST = (
    "test_shared_models.py", "widgets/train/", "cli/test_experiment.py", "hostile/test_privacy.py",
    "cli/test_transfer.py", "runs/train/", "cli/test_realdata.py", "test_site.py", "hostile/test_fuzz.py",
    "widgets/experiment/",
    "widgets/test_label_train_map.py", "widgets/annotate/", "cli/test_train.py", "widgets/prepare/",
    "cli/test_settings.py", "widgets/classify/test_window.py", "cli/test_main.py", "engine/",
    "runs/classify/test_cluster.py", "runs/classify/test_chaos.py", "cli/test_plate.py", "widgets/", "cli/",
    "hostile/", "runs/", "viewer/",
)  # fmt: skip


hypothesis.settings.register_profile("patient", deadline=None)  # a busy machine is no failed law
hypothesis.settings.load_profile("patient")


def pytest_configure() -> None:
    """Keep caches, logs and settings out of the user's home; before napari looks where they are."""
    home = Path(tempfile.mkdtemp(prefix="napari-cellclass-tests-"))
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "LOCALAPPDATA"):
        os.environ[name] = str(home / name.lower())
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ["NAPARI_CELLCLASS_TOUR"] = "off"  # a test that is about it asks for it
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


def _windowed(path: str) -> bool:
    return path.endswith(("test_window.py", "classify/test_map.py", "test_label_train_map.py"))


def _unit(nodeid: str) -> str:
    """Tell what stays in one process: a file, as its tests share a window, or all windows of one display."""
    path = nodeid.split("::", maxsplit=1)[0]
    return "windows" if _windowed(path) and not _DISPLAYS else path


@pytest.hookimpl(optionalhook=True)  # where pytest-xdist runs the tests in several processes
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process the next unit when it has done its last."""
    from xdist.scheduler import LoadScopeScheduling

    class Units(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _unit(nodeid)

    return Units(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what takes longest first; skip tests on real images where these are missing, but in CI let them fail."""
    items.sort(key=_rank)
    if REAL_DATA.is_dir() or os.environ.get("CI"):
        return
    missing = pytest.mark.skip(reason=f"the real images are not at {REAL_DATA}")
    for item in items:
        if "realdata" in item.keywords:
            item.add_marker(missing)


def _rank(item: pytest.Item) -> int:
    path = item.path.relative_to(ROOT / "tests").as_posix()
    return next((i for i, first in enumerate(SLOWEST) if path.startswith(first)), len(SLOWEST))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images."""
    return REAL_DATA
