"""int8 quantisation, from the command line: made, shown, used, and refused in one line."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests._patience import PROCESS_S

from napari_cellclass.cli.main import main
from napari_cellclass.core.images.reading import read_image
from napari_cellclass.core.models.bundle import INT8_MEMBERS, ModelBundle, open_bundle, write_bundle
from napari_cellclass.engine.inference import precision
from napari_cellclass.runs.common.engine_access import open_engine

pytestmark = pytest.mark.training


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that is made for it; the answers are the same on one that is not."""
    monkeypatch.setattr(precision, "has_fast_int8", lambda: True)


@pytest.fixture
def bundle(int8_model: Path) -> ModelBundle:
    return open_bundle(int8_model)


def rewritten(bundle: ModelBundle, path: Path, update: dict[str, Any], **changes: bytes | None) -> Path:
    members = {name: bundle.member(name) for name in bundle.manifest.files} | changes
    kept = {name: content for name, content in members.items() if content is not None}
    return write_bundle(path, bundle.manifest.model_copy(update=update), kept).path


def run(*words: Any) -> int:
    return main([str(word) for word in words])


def field(int8_model: Path) -> Path:
    return int8_model.parent / "data" / "spots" / "s0.png"


def test_training_keeps_an_int8_network_beside_the_other_and_shows_what_it_costs(
    bundle: ModelBundle, capsys: Any
) -> None:
    about = bundle.manifest.quantised
    assert about is not None
    assert about.kept, about.why
    assert bundle.has_int8
    assert about.compared == bundle.manifest.data["n_validation"]
    assert about.tiles == min(300, bundle.manifest.data["n_train"])
    assert 0 < about.largest_difference < 0.2
    assert not [figure.name for figure in about.figures if figure.is_worse]
    # weights of one byte instead of four, but for the last layer
    assert len(bundle.member("model.int8.bin")) < 0.4 * len(bundle.member("model.bin"))
    assert run("info", bundle.path) == 0
    said = capsys.readouterr().out
    assert f"int8      inside, by NNCF {about.nncf} from {about.tiles} training tiles" in said
    for figure in about.figures:
        assert f"int8      {figure}" in said


def test_what_is_printed_stays_lines_that_a_program_can_read(int8_model: Path) -> None:
    lines = (int8_model.parent / "printed.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    assert events[-1]["event"] == "done"
    phases = list(dict.fromkeys(event["phase"] for event in events if event["event"] == "progress"))
    assert phases[-2:] == ["making the int8 network", "comparing training tiles"]


def test_classify_uses_the_precision_that_was_asked_for_and_records_it(
    bundle: ModelBundle, tmp_path: Path, int8_model: Path
) -> None:
    out, image = tmp_path / "out", field(int8_model)
    words = ["classify", image, "--model", int8_model, "--out", out, "--quiet"]
    tables: dict[str, pd.DataFrame] = {}
    for name in ("f32", "int8"):
        assert run(*words, "--precision", name) == 0
        record = json.loads((out / "s0.run.json").read_text())
        assert record["precision"] == name
        report = json.loads((out / "report.json").read_text())
        assert (report["kept"], report["precision"]) == (0, name), "a field of the other precision is not finished"
        tables[name] = pd.read_csv(out / "s0.tiles.csv")
    assert run(*words, "--precision", "int8") == 0
    assert json.loads((out / "report.json").read_text())["kept"] == 1
    difference = np.abs(tables["f32"]["p_spots"] - tables["int8"]["p_spots"])
    assert 0 < difference.max() < 0.3

    # the temperature of the network in f32 is applied to both
    pixels = read_image(image).read(0, 0, 96, 96)
    tiles = np.stack([pixels[y : y + 24, x : x + 24] for y in range(0, 96, 24) for x in range(0, 96, 24)])
    with open_engine(bundle, precision="int8") as engine:
        confidence = bundle.calibrated(engine.predict(tiles))
    np.testing.assert_allclose(tables["int8"]["p_spots"], confidence[:, 1], atol=2e-4)


def test_evaluate_records_the_precision_of_its_figures(int8_model: Path, tmp_path: Path) -> None:
    data = int8_model.parent / "data"
    for name in ("f32", "int8"):
        words = ["evaluate", data, "--model", int8_model, "--out", tmp_path / name, "--precision", name, "--kit"]
        assert run(*words, "--quiet") == 0
        assert json.loads((tmp_path / name / "evaluation.json").read_text())["precision"] == name
        methods = (tmp_path / name / "kit" / "methods.md").read_text(encoding="utf-8")
        assert ("run with int8 quantisation" in methods) == (name == "int8")


def test_without_fast_instructions_one_line_says_so_and_f32_is_used(
    int8_model: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_fast_int8", lambda: False)
    words = ["--model", int8_model, "--out", tmp_path / "out", "--precision", "int8", "--progress", "none"]
    assert run("classify", field(int8_model), field(int8_model).with_name("s1.png"), *words) == 0
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "no fast int8 instructions" in line]
    assert warning.endswith("so the network is run in f32")
    assert json.loads((tmp_path / "out" / "s0.run.json").read_text())["precision"] == "f32"
    assert json.loads((tmp_path / "out" / "report.json").read_text())["warnings"] == [warning.split("warning: ")[1]]
    assert run("evaluate", int8_model.parent / "data", *words) == 0
    assert "no fast int8 instructions" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["precision"] == "f32"
    assert run("info", int8_model, "--verify") == 0
    assert "int8      not replayed: this processor" in capsys.readouterr().out


def test_a_model_without_an_int8_network_still_opens_and_int8_is_refused_in_a_line(
    bundle: ModelBundle, int8_model: Path, tmp_path: Path, capsys: Any
) -> None:
    old = rewritten(bundle, tmp_path / "old.cellclass", {"quantised": None}, **dict.fromkeys(INT8_MEMBERS))
    words = ["classify", field(int8_model), "--out", tmp_path / "out", "--quiet"]
    assert run(*words, "--model", old) == 0
    assert run(*words, "--model", old, "--precision", "int8") == 2
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    assert "old.cellclass has no int8 network; train it with --precision int8" in line
    assert run(*words, "--model", int8_model, "--precision", "int8", "--engine", "tensorflow") == 2
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    assert "--precision int8 is for OpenVINO, but --engine tensorflow was given; drop one of them" in line
    assert run(*words, "--model", int8_model, "--precision", "int4") == 2


def test_the_probabilities_of_the_day_it_was_made_are_replayed(
    bundle: ModelBundle, int8_model: Path, tmp_path: Path, capsys: Any
) -> None:
    assert run("info", int8_model, "--verify") == 0
    assert "int8      replayed too: probabilities as when it was made" in capsys.readouterr().out
    golden = io.BytesIO()
    tiles, prob = bundle.golden
    np.savez(golden, tiles=tiles, prob=prob, prob_int8=bundle.golden_int8 + np.float32([0.03, -0.03]))
    changed = rewritten(bundle, tmp_path / "changed.cellclass", {}, **{"golden.npz": golden.getvalue()})
    words = ["classify", field(int8_model), "--model", changed, "--out", tmp_path / "out", "--quiet"]
    assert run(*words) == 0, "the other network is whole"
    assert run(*words, "--precision", "int8") != 0
    said = capsys.readouterr().err
    assert "does not predict what it predicted when it was trained" in said
    assert "--precision f32" in said


def test_a_processor_without_the_instructions_gives_the_same_answers(int8_model: Path) -> None:
    """What an older processor would run; on others than x86 the word means nothing, and the law holds anyway."""
    older = {"ONEDNN_MAX_CPU_ISA": "AVX2", "NAPARI_CELLCLASS_FAST_INT8": "1"}
    line = [sys.executable, "-m", "napari_cellclass", "info", str(int8_model), "--verify"]
    done = subprocess.run(line, env=os.environ | older, check=True, capture_output=True, text=True, timeout=PROCESS_S)
    told = re.search(r"int8 +replayed too: .*largest difference ([\d.e-]+)\)", done.stdout)
    assert told
    assert float(told[1]) < 1e-4


def test_without_nncf_training_is_refused_before_it_begins(
    int8_model: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_cellclass.engine.training.quantise.find_spec", lambda name: None)
    words = ["train", int8_model.parent / "data", "--out", tmp_path / "m.cellclass", "--precision", "int8"]
    assert run(*words) == 2
    line = capsys.readouterr().err.strip()
    assert line.endswith('--precision int8 needs NNCF; install it with pip install "napari-cellclass[int8]"')
    assert not list(tmp_path.iterdir())
