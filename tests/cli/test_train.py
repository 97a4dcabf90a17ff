"""The command ``train`` as a user meets it: the same model again, other grey values, ensembles, verifying."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from tests._models import write_grain
from tests._program import Done, preloaded

from napari_cellclass.cli.main import main
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.models.paths import partial_path

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three fields of 48 x 48 px of each of two classes: grain, and grain with spots."""
    return write_grain(tmp_path_factory.mktemp("classes"), 48, 3)


def train(data: Path, out: Path, *words: Any) -> Done:
    return preloaded("train", data, "--out", out, "--tile-px", 24, "--epochs", 2, "--progress", "none", *words)


def weights(path: Path) -> bytes:
    return open_bundle(path).member("model.bin")


def test_the_same_seed_gives_the_same_weights_bit_for_bit(folders: Path, tmp_path: Path) -> None:
    made = []
    left = partial_path(tmp_path / "a.cellclass")
    left.write_bytes(b"what a training has left that was killed")
    for name in ("a", "b"):
        done = train(folders, tmp_path / f"{name}.cellclass", "--rotate", "-5:5")
        assert done.returncode == 0, done.stderr
        made.append(open_bundle(tmp_path / f"{name}.cellclass"))
    a, b = made
    assert not left.exists()
    assert weights(a.path) == weights(b.path)
    assert a.manifest.data["hash"] == b.manifest.data["hash"]
    told = a.manifest.training
    assert (told["augment"], told["rotate"], told["standardise"], told["seed"]) == ("full", "-5:5", "tile", 0)
    assert {"python", "keras", "tensorflow", "numpy", "machine"} <= set(a.manifest.versions)


def test_as_published_is_one_switch_and_a_contradiction_is_a_line(folders: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "m.cellclass"
    done = train(folders, out, "--as-published", "--network", "deep", "--input-px", 32)
    assert done.returncode == 0, done.stderr
    manifest = open_bundle(out).manifest
    assert (manifest.network, manifest.training["optimizer"], manifest.training["batch_size"]) == ("deep", "Adam", 20)
    assert "standardise_tile" not in [layer["name"] for layer in manifest.layers]
    assert (manifest.preprocess.low, manifest.preprocess.high) == (0, 255)
    assert main(["train", str(folders), "--out", str(out), "--as-published", "--augment", "full"]) == 2
    assert capsys.readouterr().err.strip().endswith("--augment full contradicts --as-published; drop one of them")


def test_percentiles_reach_classify_and_evaluate_and_another_exposure_changes_nothing(
    folders: Path, tmp_path: Path
) -> None:
    out = tmp_path / "m.cellclass"
    test = tmp_path / "brighter"
    for path in folders.glob("*/*.png"):
        (test / path.parent.name).mkdir(parents=True, exist_ok=True)
        brighter = 2.0 * np.asarray(Image.open(path)) + 30
        tifffile.imwrite(test / path.parent.name / f"bright_{path.stem}.tif", brighter.astype(np.uint16))
    done = train(
        folders, out, "--normalisation", "percentiles", "--range", "1:99", "--test", folders, "--test", test,
        "--standardise", "none",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert open_bundle(out).preprocess.percentiles == (1, 99)
    same, brighter = json.loads((tmp_path / "m_tests.json").read_text()).values()
    assert same["confusion"] == brighter["confusion"]
    assert f"in the test set {folders.name}, look the same" in same["warnings"][0]
    pair = [folders / "spots" / "s0.png", test / "spots" / "bright_s0.tif"]
    assert main(["classify", *map(str, pair), "--model", str(out), "--out", str(tmp_path / "o"), "--quiet"]) == 0
    tables = [pd.read_csv(tmp_path / "o" / f"{name}.tiles.csv") for name in ("s0", "bright_s0")]
    np.testing.assert_allclose(tables[0]["p_spots"], tables[1]["p_spots"], atol=1e-4)
    runs = [json.loads((tmp_path / "o" / f"{name}.run.json").read_text()) for name in ("s0", "bright_s0")]
    low, high = np.array([run["levels"][0] for run in runs]).T
    np.testing.assert_allclose([low[1], high[1]], [2 * low[0] + 30, 2 * high[0] + 30], atol=1)


def test_runs_become_one_model_that_can_be_verified(folders: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "m.cellclass"
    done = train(folders, out, "--runs", 2, "--ensemble", "--epochs", 1, "--test", folders)
    assert done.returncode == 0, done.stderr
    names = ["m.cellclass", "m_run01.cellclass", "m_run02.cellclass"]
    assert sorted(path.name for path in tmp_path.glob("*.cellclass")) == names
    spread = pd.read_csv(tmp_path / "m_spread.csv").set_index("test")["ensemble_balanced_accuracy"]
    (tested,) = json.loads((tmp_path / "m_tests.json").read_text()).values()
    assert spread[folders.name] == pytest.approx(tested["balanced_accuracy"]["value"])
    members = [open_bundle(tmp_path / f"m_run0{i}.cellclass") for i in (1, 2)]
    assert weights(members[0].path) != weights(members[1].path)
    ensemble = open_bundle(out)
    assert [one["seed"] for one in ensemble.manifest.training["members"]] == [0, 1]
    assert ensemble.manifest.parameters == 2 * members[0].manifest.parameters
    np.testing.assert_allclose(ensemble.golden[1], np.mean([m.golden[1] for m in members], axis=0), atol=1e-5)
    assert main(["info", str(out), "--verify"]) == 0
    said = capsys.readouterr().out
    assert "8 golden tiles replayed: probabilities as at training" in said
    calibration = ensemble.manifest.calibration
    assert calibration is not None
    assert len(calibration.reliability_lines()) > 1
    assert all(line in said for line in calibration.reliability_lines())
    words = ["train", folders, "--out", tmp_path / "next.cellclass", "--tile-px", 24, "--initial", out, "--quiet"]
    assert main([str(word) for word in words]) == 2
    assert "m.cellclass is an ensemble; start from one of its members" in capsys.readouterr().err
    changed = tmp_path / "changed.cellclass"
    with zipfile.ZipFile(out) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name) + (b" " if name == "history.csv" else b""))
    assert main(["info", str(changed), "--verify"]) == 2
    assert "its member history.csv has changed since it was written" in capsys.readouterr().err


def test_runs_of_linear_models_have_the_figures_of_groups_that_they_were_not_fitted_to(
    folders: Path, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "m.cellclass"
    words = ["--tile-px", 24, "--progress", "none", "--network", "pretrained", "--runs", 2, "--ensemble"]
    done = preloaded("train", folders, "--out", out, *words, "--test", folders)
    assert done.returncode == 0, done.stderr
    assert "all 2 runs are equal" in done.stdout
    assert "leave-one-group-out cross-validation, " in done.stdout
    runs = pd.read_csv(tmp_path / "m_runs.csv").groupby("test")["balanced_accuracy"].agg(["min", "max"])
    stored = open_bundle(out).evaluation()["validation"]
    assert stored["n"] == 24
    left_out = stored["balanced_accuracy"]["value"]
    assert runs.loc["validation"].tolist() == pytest.approx([left_out, left_out])
    assert left_out < runs["min"].drop("validation").item() == 1, "its own tiles are described without an error"
    assert main(["evaluate", str(folders), "--model", str(out), "--out", str(tmp_path / "e")]) == 0
    told = capsys.readouterr().out
    assert "so the accuracy over all of them says nothing about new fields; in leave-one-group-out" in told
