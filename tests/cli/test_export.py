"""The verb ``export``: what it writes, and what it refuses in one line."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_cellclass.cli.main import main
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.engine.onnx_export import model as onnx_model

pytestmark = pytest.mark.training


def run(*words: Any) -> int:
    return main(["export", *map(str, words)])


def refused(capsys: Any, *words: Any) -> str:
    """Expect exit code 2 and exactly one line of error; give the line."""
    assert run(*words) == 2
    err = str(capsys.readouterr().err).strip()
    assert "\n" not in err
    assert "unexpected" not in err
    return err


def test_a_model_is_written_with_its_script_and_text(striped_model: Path, tmp_path: Path, capsys: Any) -> None:
    assert run(striped_model, "--out", tmp_path / "new" / "m.onnx") == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["m.groovy", "m.onnx", "m.qupath.txt"]
    assert "golden tiles replayed" in capsys.readouterr().out
    script = (tmp_path / "new" / "m.groovy").read_text(encoding="utf-8")
    assert f"def modelId = '{open_bundle(striped_model).model_id}'" in script
    assert "def modelFile = 'm.onnx'" in script


def test_a_package_of_bioimageio_holds_the_same_model(striped_model: Path, tmp_path: Path) -> None:
    assert run(striped_model, "--format", "bioimageio", "--out", tmp_path / "m.bioimageio.zip") == 0
    assert run(striped_model, "--out", tmp_path / "m.onnx", "--quiet") == 0
    with zipfile.ZipFile(tmp_path / "m.bioimageio.zip") as archive:
        assert archive.read("model.onnx") == (tmp_path / "m.onnx").read_bytes()
        described = json.loads(archive.read("rdf.yaml"))
    assert described["name"].startswith("m (")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "m.bioimageio.zip", "m.groovy", "m.onnx", "m.qupath.txt",
    ]  # fmt: skip


def test_an_existing_file_is_only_written_over_by_force(striped_model: Path, tmp_path: Path, capsys: Any) -> None:
    for name in ("m.groovy", "m.onnx"):
        (tmp_path / name).write_text("mine")
        assert "write over it with --force" in refused(capsys, striped_model, "--out", tmp_path / "m.onnx")
        assert (tmp_path / name).read_text() == "mine"
        assert sorted(path.name for path in tmp_path.iterdir()) == [name]
        (tmp_path / name).unlink()
    (tmp_path / "m.onnx").write_text("old")
    assert run(striped_model, "--out", tmp_path / "m.onnx", "--force", "--quiet") == 0
    assert (tmp_path / "m.onnx").stat().st_size > 1000
    assert capsys.readouterr().out == ""


def test_of_a_model_with_int8_the_other_network_is_written_and_that_is_said(
    int8_model: Path, tmp_path: Path, capsys: Any
) -> None:
    assert run(int8_model, "--out", tmp_path / "m.onnx") == 0
    assert "the float32 network was exported, not the int8 one" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--format", "pickle"], "--format 'pickle'"),
        (["--out", "m.txt"], "end it in .onnx"),
        (["--format", "bioimageio", "--out", "m.onnx"], "end it in .bioimageio.zip"),
    ],
)
def test_a_format_or_name_that_is_not_known_is_refused(
    words: list[str], reason: str, striped_model: Path, capsys: Any
) -> None:
    assert reason in refused(capsys, striped_model, *words)


def test_what_is_no_model_is_refused(tmp_path: Path, capsys: Any) -> None:
    assert "there is no model" in refused(capsys, tmp_path / "none.cellclass")
    (tmp_path / "k.keras").write_bytes(b"x")
    assert "is no .cellclass model" in refused(capsys, tmp_path / "k.keras")
    (tmp_path / "d.cellclass").write_bytes(b"x")
    assert "is not a .cellclass model" in refused(capsys, tmp_path / "d.cellclass")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.cellclass", "k.keras"]


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "cv2"])
def test_a_missing_package_is_named_with_what_to_install(
    package: str, striped_model: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    said = refused(capsys, striped_model, "--out", tmp_path / "m.onnx")
    assert 'pip install "napari-cellclass[onnx]"' in said
    assert ("opencv-python-headless" if package == "cv2" else package) in said
    assert list(tmp_path.iterdir()) == []


def test_a_model_whose_input_opencv_refuses_is_not_written(
    striped_model: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = onnx_model.finished

    def with_unknown_operation(writer: Any, name: str, *others: Any) -> bytes:
        """Add what ONNX Runtime computes, but OpenCV does not know."""
        normal = writer.add("MeanVarianceNormalization", [name], axes=[1])
        nothing = writer.add("Mul", [normal, writer.weight(np.float32(0))])
        return finished(writer, writer.add("Add", [name, nothing]), *others)

    monkeypatch.setattr(onnx_model, "finished", with_unknown_operation)
    said = refused(capsys, striped_model, "--out", tmp_path / "m.onnx")
    assert "OpenCV" in said
    assert list(tmp_path.iterdir()) == []
