"""Texture features that join a network, from the command line: asked for, told, used, and left out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests._program import preloaded

from napari_cellclass.cli.main import main

pytestmark = pytest.mark.training


def trained(int8_model: Path, out: Path, texture: str) -> str:
    """Train a network that learns nothing by itself on grain and spots; give what is said."""
    words = ["train", int8_model.parent / "data", "--out", out, "--tile-px", 24, "--epochs", 1, "--progress", "none"]
    words += ["--learning-rate", 1e-9, "--texture", texture]
    done = preloaded(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def right(int8_model: Path, model: Path, out: Path) -> float:
    """Classify a field of spots; give the part of its tiles that are called so."""
    field = int8_model.parent / "data" / "spots" / "s0.png"
    assert main([str(word) for word in ("classify", field, "--model", model, "--out", out, "--quiet")]) == 0
    return float((pd.read_csv(out / "s0.tiles.csv")["class_name"] == "spots").mean())


def test_texture_tells_classes_apart_that_the_network_has_not_learned(
    int8_model: Path, tmp_path: Path, capsys: Any
) -> None:
    helped, alone = tmp_path / "helped.cellclass", tmp_path / "alone.cellclass"
    said = trained(int8_model, helped, "auto")
    assert re.search(r"Texture features joined the network: balanced accuracy 0\.\d+ without them, \d\.\d+ with", said)
    assert "Texture features" not in trained(int8_model, alone, "off")
    told = {}
    for model in (helped, alone):
        capsys.readouterr()
        assert main(["info", str(model), "--verify"]) == 0
        told[model] = capsys.readouterr().out
    assert re.search(r"texture_head: joined \(weight of the network: 0\.25\): .* balanced accuracy", told[helped])
    assert "texture_head" not in told[alone]
    assert "pooled_with_texture" in told[helped]
    assert "pooled_with_texture" not in told[alone]
    assert right(int8_model, helped, tmp_path / "a") > 0.9
    assert right(int8_model, alone, tmp_path / "b") < 0.9
    assert "learned nothing" in told[alone]
    assert "learned nothing" not in told[helped]
