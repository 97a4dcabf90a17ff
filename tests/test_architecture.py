"""The packages: who may import whom, how large they may be, and what a fresh process imports."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.models.bundle import Manifest, write_bundle
from napari_cellclass.core.tiles.preprocess import PreprocessSpec

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "napari_cellclass"
LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
MOST_MODULES, MOST_LINES = 20, 400
HEAVY = ["tensorflow", "keras", "openvino", "nncf", "matplotlib", "dask", "distributed", "napari", "qtpy"]
# One line of code that breaks it, for each contract of pyproject.toml.
OURS = "from napari_cellclass."
BREAKS = {
    "layers": ("core/images/broken.py", OURS + "engine.inference import engines"),
    "packages of core": ("core/tiles/broken.py", OURS + "core.labels import classes"),
    "packages of engine": ("engine/common/broken.py", OURS + "engine.training import train"),
    "packages of runs": ("runs/classify/broken.py", OURS + "runs.prepare import slicing"),
    "packages of viewer": ("viewer/common/broken.py", OURS + "viewer.features import live"),
    "widgets never import one another": ("widgets/train/broken.py", OURS + "widgets.classify.widget import X"),
    "no circle of imports between packages or files": (
        "core/stats/broken.py",
        "import typing\nif typing.TYPE_CHECKING:\n    from napari_cellclass.core.stats.broken_too import X",
    ),
    "only engine names the libraries of networks": ("runs/train/broken.py", "def f():\n    import tensorflow as tf"),
    "only report names matplotlib": ("cli/broken.py", "from matplotlib.figure import Figure"),
    "only widgets name Qt": ("viewer/io/broken.py", "from qtpy.QtCore import Qt"),
    "only what opens or fills a window names napari": ("report/broken.py", "import napari"),
    "only runs names Dask's scheduler": ("engine/training/broken.py", "import distributed"),
    "nothing names a binding of Qt, nor pickle": ("widgets/common/broken.py", "import pickle"),
}


def contracts() -> list[str]:
    """Names of the contracts in pyproject.toml."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [contract["name"] for contract in options["tool"]["importlinter"]["contracts"]]


def linted(folder: Path, sources: Path) -> tuple[int, dict[str, str]]:
    """Check the contracts of the pyproject.toml in a folder: the exit status, and KEPT or BROKEN by contract."""
    environment = {**os.environ, "PYTHONPATH": str(sources), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", LINT], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    verdicts = dict(re.findall(r"^(.+?) (KEPT|BROKEN)\b", done.stdout, re.MULTILINE))
    assert sorted(verdicts) == sorted(contracts()), done.stdout + done.stderr
    return done.returncode, verdicts


def skeleton(folder: Path) -> Path:
    """Copy the tree of packages, its modules empty, with the contracts beside it."""
    for path in PACKAGE.rglob("*.py"):
        empty = folder / path.relative_to(PACKAGE.parent)
        empty.parent.mkdir(parents=True, exist_ok=True)
        empty.touch()
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder / PACKAGE.name


def test_the_contracts_of_imports_hold() -> None:
    status, verdicts = linted(ROOT, PACKAGE.parent)
    assert set(verdicts.values()) == {"KEPT"}
    assert status == 0


def test_every_contract_that_is_broken_is_noticed(tmp_path: Path) -> None:
    assert sorted(BREAKS) == sorted(contracts())
    package = skeleton(tmp_path)
    assert linted(tmp_path, tmp_path)[0] == 0
    for path, line in BREAKS.values():
        (package / path).write_text(line + "\n")
    (package / "core/stats/broken_too.py").write_text(OURS + "core.stats.broken import Y\n")
    status, verdicts = linted(tmp_path, tmp_path)
    assert set(verdicts.values()) == {"BROKEN"}
    assert status != 0


def test_a_new_package_has_to_find_its_place_in_the_layers(tmp_path: Path) -> None:
    package = skeleton(tmp_path)
    for name in ("extra", "core/extra", "engine/extra", "runs/extra", "viewer/extra", "widgets/extra"):
        (package / name).mkdir()
        (package / name / "__init__.py").touch()
    _, verdicts = linted(tmp_path, tmp_path)
    layered = {name for name in BREAKS if name.startswith(("layers", "packages", "widgets"))}
    assert {name for name, verdict in verdicts.items() if verdict == "BROKEN"} == layered


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_imports_are_absolute() -> None:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.ImportFrom) or node.level == 0, f"{path}:{node.lineno}"


def test_no_folder_holds_too_many_modules() -> None:
    counts = Counter(path.parent for path in modules() if path.name != "__init__.py")
    assert not {str(folder): n for folder, n in counts.items() if n > MOST_MODULES}


def test_no_module_is_too_long() -> None:
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in modules()}
    assert not {str(path): n for path, n in lines.items() if n > MOST_LINES}


def test_threads_are_started_by_the_job_helper_only() -> None:
    for path in modules():
        if path.relative_to(PACKAGE).as_posix() != "widgets/common/jobs.py":
            text = path.read_text(encoding="utf-8")
            assert "thread_worker" not in text
            assert "create_worker" not in text
            assert "QThread" not in text


@pytest.mark.parametrize(
    "statement",
    [
        "import napari_cellclass",
        "import napari_cellclass; napari_cellclass.classify",
        "from napari_cellclass.cli.main import main; main(['info', '/no/such.cellclass'])",
        "from napari_cellclass.cli.main import build_parser; build_parser().format_help()",
        "import napari_cellclass.core.images.reading, napari_cellclass.runs.classify.batch",
    ],
)
def test_start_up_imports_nothing_heavy(statement: str) -> None:
    assert imported(statement, HEAVY) == []


def imported(statement: str, libraries: list[str]) -> list[str]:
    code = f"{statement}\nimport sys, json; print(json.dumps([m for m in {libraries} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_telling_of_a_model_imports_nothing_heavy(tmp_path: Path) -> None:
    manifest = Manifest(
        program="test", created="2026-01-01T00:00:00", classes=ClassScheme(("a", "b")).to_json(),
        preprocess=PreprocessSpec(channels=1, input_px=(8, 8)), tile_px=(8, 8), network="compact", parameters=1,
    )  # fmt: skip
    members = dict.fromkeys(("model.keras", "model.xml", "model.bin", "golden.npz"), b"x")
    path = write_bundle(tmp_path / "m.cellclass", manifest, members).path
    statement = f"from napari_cellclass.cli.main import main; assert main(['info', {str(path)!r}]) == 0"
    assert imported(statement, HEAVY) == []


def test_all_widgets_import_neither_networks_nor_figures_nor_dask() -> None:
    statement = (
        "import importlib, pkgutil, napari_cellclass.widgets as w\n"
        "for m in pkgutil.walk_packages(w.__path__, w.__name__ + '.'): importlib.import_module(m.name)"
    )
    unwanted = [name for name in HEAVY if name not in ("napari", "qtpy")]
    assert imported(statement, unwanted) == []
    assert imported(statement, ["napari_cellclass.widgets.classify.widget", "qtpy"]) != []
