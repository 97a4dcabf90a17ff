"""The rooms and who may import whom, read from the sources and proven in a fresh process."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from napari_cellclass.core.labels.classes import ClassScheme
from napari_cellclass.core.models.bundle import Manifest, write_bundle
from napari_cellclass.core.tiles.preprocess import PreprocessSpec

PACKAGE = Path(__file__).parents[1] / "src" / "napari_cellclass"
ROOMS = {"core", "engine", "runs", "report", "viewer", "widgets"}
# Modules beside the rooms belong to the command line.
MAY_IMPORT = {
    "core": set(),
    "engine": {"core"},
    "runs": {"core", "engine"},
    "report": {"core"},
    "viewer": {"core"},
    "widgets": {"core", "runs", "report", "viewer"},
    "cli": {"core", "engine", "runs", "report"},
}
# Libraries that only some rooms may name.
OWNERS = {
    "tensorflow": {"engine"},
    "keras": {"engine"},
    "openvino": {"engine"},
    "nncf": {"engine"},
    "h5py": {"engine"},
    "matplotlib": {"report"},
    "qtpy": {"widgets"},
    "superqt": {"widgets"},
    "magicgui": {"widgets"},
    "napari": {"viewer", "widgets", "cli"},
    "distributed": {"runs"},
    "PyQt6": set(),
    "PySide6": set(),
    "pickle": set(),
}
HEAVY = ["tensorflow", "keras", "openvino", "nncf", "matplotlib", "dask", "distributed", "napari", "qtpy"]


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        yield (parts[0] if parts[0] in ROOMS else "cli"), path


def imports(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            names = [f"{node.module}.{a.name}" for a in node.names] if node.module == "napari_cellclass" else []
            yield from ((name, node.lineno) for name in (names or [node.module or ""]))


def test_rooms_import_one_way_only() -> None:
    wrong = []
    for room, path in modules():
        for name, line in imports(path):
            parts = name.split(".")
            if parts[0] == "napari_cellclass" and len(parts) > 1 and parts[1] in ROOMS:
                other = parts[1]
                if other != room and other not in MAY_IMPORT[room]:
                    wrong.append(f"{path.name}:{line} {room} imports {other}")
            elif parts[0] == "napari_cellclass" and len(parts) > 1 and room != "cli" and parts[1] != "__version__":
                wrong.append(f"{path.name}:{line} {room} imports the command line's {name}")
    assert not wrong


def test_a_library_is_named_only_in_the_rooms_that_own_it() -> None:
    wrong = [
        f"{path.name}:{line} {room} names {name}"
        for room, path in modules()
        for name, line in imports(path)
        if room not in OWNERS.get(name.split(".")[0], {room})
    ]
    assert not wrong


def test_the_check_would_notice_a_wrong_import(tmp_path: Path) -> None:
    source = tmp_path / "bad.py"
    source.write_text("from napari_cellclass.widgets.classify.widget import ClassifyWidget\nimport tensorflow as tf\n")
    assert [name for name, _ in imports(source)] == ["napari_cellclass.widgets.classify.widget", "tensorflow"]


def test_threads_are_started_by_the_job_helper_only() -> None:
    for _, path in modules():
        if path.name != "_jobs.py":
            text = path.read_text(encoding="utf-8")
            assert "thread_worker" not in text
            assert "create_worker" not in text
            assert "QThread" not in text


@pytest.mark.parametrize(
    "statement",
    [
        "import napari_cellclass",
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
        "for m in pkgutil.iter_modules(w.__path__): importlib.import_module('napari_cellclass.widgets.' + m.name)"
    )
    unwanted = [name for name in HEAVY if name not in ("napari", "qtpy")]
    assert imported(statement, unwanted) == []
    assert imported(statement, ["napari_cellclass.widgets.classify.widget", "qtpy"]) != []
