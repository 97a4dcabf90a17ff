"""Nothing leaves the machine: every verb runs where each call to the outside is counted and refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests._models import write_grain
from tests._patience import PROCESS_S

from napari_cellclass.cli.main import VERBS

HERE = Path(__file__).parent
PROGRAM = (sys.executable, "-m", "napari_cellclass")
OUTSIDE = "192.0.2.1"  # of TEST-NET-1 (RFC 5737): nobody's address


def cut_off() -> list[str]:
    """What gives a command a network namespace without any way out, where the system allows that."""
    for words in (["unshare", "-n"], ["unshare", "-rn"]):
        if (
            shutil.which("unshare")
            and not subprocess.run([*words, "true"], check=False, capture_output=True).returncode
        ):
            return words
    return []


def run_cut_off(folder: Path, lines: list[list[str]]) -> dict[str, Any]:
    """Run command lines, with an own home; tell their ends, Python's calls, and what the kernel was asked to send."""
    (folder / "lines.json").write_text(json.dumps([list(map(str, line)) for line in lines]))
    calls, home = folder / "calls", folder / "home"
    home.mkdir()
    kept = {
        name: value for name, value in os.environ.items() if name not in {"CI", "TF_BUILD", "JENKINS_URL", "DISPLAY"}
    }
    places = dict.fromkeys(("HOME", "USERPROFILE", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"), str(home))
    found = os.pathsep.join(filter(None, [str(HERE / "listening"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [*cut_off(), sys.executable, str(HERE / "job_verbs.py"), str(folder / "lines.json")],
        env=kept | places
        | {"PYTHONPATH": found, "NAPARI_CELLCLASS_CALLS": str(calls), "NAPARI_CELLCLASS_FAST_INT8": "1"},
        capture_output=True, text=True, timeout=PROCESS_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    report: dict[str, Any] = json.loads(done.stdout)
    report["calls"] = calls.read_text().splitlines() if calls.exists() else []
    report["telemetry"] = sorted(str(p.relative_to(home)) for p in home.glob("**/*") if "intel" in p.name.lower())
    return report


@pytest.mark.training
def test_no_verb_sends_anything(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_grain(data, 32, 4)
    field, out, model = data / "grain" / "g0.png", tmp_path / "out", tmp_path / "m.cellclass"
    how = ["--tile-px", "16", "--epochs", "1", "--progress", "none"]
    lines: dict[str, list[Any]] = {
        "slice": [field, "--out", out / "slices", "--tile-px", "16"],
        "check": [data, "--tile-px", "16"],
        "train": [data, "--out", model, *how, "--precision", "int8"],
        "experiment": [
            data,
            "--out",
            out / "experiment",
            "--runs",
            "2",
            "--repeats",
            "1",
            "--no-curve",
            "--no-pair",
            *how,
        ],
        "evaluate": [data, "--model", model, "--out", out / "evaluated", "--tile-px", "16"],
        "classify": [field, "--model", model, "--out", out / "one", "--engine", "tensorflow"],
        "explain": [field, "--model", model, "--out", out / "explained", "--count", "2"],
        "slides": [out / "one"],
        "features": [field, "--out", out / "features.npz", "--tile-px", "16"],
        "export": [model, "--out", out / "m.onnx"],
        "info": [model, "--verify"],
        "demo": ["--out", out / "demo", "--no-window"],
    }
    assert lines.keys() == VERBS.keys()
    commands = [[*PROGRAM, verb, *words] for verb, words in lines.items()]
    commands += [[*PROGRAM, "classify", field, "--model", model, "--out", out / "two", "--engine", "openvino"]]
    report = run_cut_off(tmp_path, commands)
    assert [code for code, _ in report["ends"]] == [0] * len(commands), report["ends"]
    assert report["calls"] == []
    assert report["telemetry"] == []
    if cut_off():
        assert report["sent"] == dict.fromkeys(report["sent"], 0), "not from Python, but from a library"


def test_a_call_would_be_noticed(tmp_path: Path) -> None:
    """The law above holds for any program where the counting does not work."""
    calls = "import socket; s = socket.socket(); s.settimeout(1); s.connect(('{0}', 80))"
    lookup = "import urllib.request; urllib.request.urlopen('http://cellclass.invalid')"
    native = "import _socket; s = _socket.socket(2, 1); s.settimeout(1); s.connect(('{0}', 80))"
    lines = [[sys.executable, "-c", code.format(OUTSIDE)] for code in (calls, lookup, *([native] if cut_off() else []))]
    report = run_cut_off(tmp_path, lines)
    assert [code for code, _ in report["ends"]] == [1] * len(lines)
    assert [call.split()[0] for call in report["calls"]] == ["connect", "getaddrinfo"]
    if cut_off():
        assert report["sent"]["Ip:OutNoRoutes"] > 0


def test_a_call_within_the_machine_is_none(tmp_path: Path) -> None:
    code = "import socket; a = socket.create_server(('127.0.0.1', 0)); print(a.getsockname())"
    assert run_cut_off(tmp_path, [[sys.executable, "-c", code]])["calls"] == []
