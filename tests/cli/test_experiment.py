"""The commands ``train --runs`` and ``experiment`` as a user meets them: tables, figures, a verdict, taken up again."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image
from tests._models import write_grain
from tests._patience import PROCESS_S, wait_until
from tests._program import line, preloaded

from napari_cellclass.cli.main import main
from napari_cellclass.core.datasets.split import split_by_group
from napari_cellclass.core.datasets.tiles_csv import read_dataset
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.runs.common.dataset_opening import grid_maker
from napari_cellclass.runs.train.repeats import finished_model

pytestmark = pytest.mark.training
HOW = ["--tile-px", 16, "--epochs", 2, "--progress", "none"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four fields of 32 x 32 px of each of two classes: grain, and grain with spots."""
    return write_grain(tmp_path_factory.mktemp("classes"), 32, 4)


def command(*words: Any) -> str:
    done = preloaded(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """An experiment with all of its parts, and what it said."""
    out = tmp_path_factory.mktemp("experiment") / "out"
    words = ["experiment", folders, "--out", out, "--runs", 2, "--repeats", 1, "--sizes", "0.34,0.67", *HOW]
    return out, command(*words)


@pytest.fixture(scope="module")
def runs(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one training, tested on its own tiles."""
    out = tmp_path_factory.mktemp("runs") / "m.cellclass"
    said = command("train", folders, "--out", out, "--runs", 2, "--test", folders, *HOW)
    assert "0 of 2 runs were reused" in said
    assert "2 runs, mean balanced accuracy" in said
    return out


def test_every_run_is_tested_on_every_set(runs: Path, folders: Path) -> None:
    table = pd.read_csv(runs.with_name("m_runs.csv"))
    assert table[["run", "seed", "model", "test"]].to_numpy().tolist() == [
        [1, 0, "m.cellclass", "validation"], [1, 0, "m.cellclass", folders.name],
        [2, 1, "m_run02.cellclass", "validation"], [2, 1, "m_run02.cellclass", folders.name],
    ]  # fmt: skip
    validation = open_bundle(runs).evaluation()["validation"]
    assert table.loc[0, "balanced_accuracy"] == pytest.approx(validation["balanced_accuracy"]["value"])
    assert table.loc[0, "lo"] == pytest.approx(validation["balanced_accuracy"]["lo"])
    assert len(pd.read_csv(runs.with_name("m_histories.csv"))) == 2 * 2
    tiles = pd.read_csv(runs.with_name("m_tiles.csv"))
    first = tiles[tiles["test"] == folders.name]
    assert len(first) == 8 * 4
    right = (first["run_01"] == first["true_class"]).mean()
    assert table.loc[1, "accuracy"] == pytest.approx(right)
    assert {path.suffix for path in runs.parent.glob("m_runs.*")} == {".csv", ".png", ".svg"}


def test_runs_are_taken_up_where_they_were_left(runs: Path, folders: Path, tmp_path: Path) -> None:
    kept = tmp_path / "m.cellclass"
    for path in runs.parent.iterdir():
        shutil.copy2(path, tmp_path / path.name)
    second = tmp_path / "m_run02.cellclass"
    weights = open_bundle(second).member("model.bin")
    second.write_bytes(second.read_bytes()[:-100])  # as a crash leaves it
    before = kept.stat().st_mtime_ns
    said = command("train", folders, "--out", kept, "--runs", 2, "--test", folders, *HOW)
    assert "1 of 2 runs were reused" in said
    assert kept.stat().st_mtime_ns == before
    assert open_bundle(second).member("model.bin") == weights
    for name in ("m_runs.csv", "m_tiles.csv", "m_spread.csv"):
        assert (tmp_path / name).read_bytes() == runs.with_name(name).read_bytes()


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"epochs": 3}, {"learning_rate": 0.1}, {"augment": "none"}, {"val_fraction": 0.5}]
)
def test_a_model_trained_otherwise_is_not_taken(runs: Path, folders: Path, change: dict[str, Any]) -> None:
    same = {"data": folders, "out": runs, "tile_px": 16, "epochs": 2, "standardise": "tile"}
    same |= {"network": "compact"}

    def found(**values: Any) -> Any:
        params = TrainParams.checked(**same | values)
        data = read_dataset(folders, grid_maker(params))
        return finished_model(split_by_group(data, params.val_fraction), params)

    assert found() is not None
    assert found(**change) is None


def test_a_model_of_other_pixels_is_not_taken(runs: Path, folders: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folders, tmp_path / "other"))
    params = TrainParams.checked(data=other, out=runs, tile_px=16, epochs=2, standardise="tile", network="compact")
    assert finished_model(split_by_group(read_dataset(other, grid_maker(params))), params) is not None
    pixels = np.array(Image.open(other / "grain" / "g0.png"))
    pixels[0, 0] += 1
    Image.fromarray(pixels).save(other / "grain" / "g0.png")
    assert finished_model(split_by_group(read_dataset(other, grid_maker(params))), params) is None


def test_an_experiment_writes_its_verdict_with_every_piece_of_evidence(made: tuple[Path, str]) -> None:
    out, said = made
    verdict = json.loads((out / "verdict.json").read_text())
    assert f"Verdict: {verdict['verdict']}." in said
    text = (out / "verdict.md").read_text()
    assert text.startswith(f"# Verdict: {verdict['verdict']}\n")
    assert all(sentence in text for sentence in verdict["sentences"])
    assert verdict["trainings"] == 2 + 1 + 2 + 1
    for name in ("held_out", "shuffled_held_out", "by_tile"):
        assert 0 <= verdict["numbers"][name]["value"] <= 1
    points = pd.read_csv(out / "learning_points.csv")
    assert sorted(points["tiles"]) == [8, 16, 24, 24]
    runs = pd.read_csv(out / "runs.csv")
    assert verdict["numbers"]["held_out"]["value"] == pytest.approx(runs["balanced_accuracy"].mean())
    assert verdict["numbers"]["training"]["value"] == pytest.approx(runs["train_balanced_accuracy"].mean())
    assert len(pd.read_csv(out / "verdicts.csv")) == 2
    assert {path.name for path in out.glob("experiment.*")} == {"experiment.png", "experiment.svg"}


def test_an_experiment_goes_on_where_it_was_left_and_says_the_same(
    made: tuple[Path, str], folders: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(made[0], tmp_path / "out"))
    (out / "models" / "shuffled01.cellclass").unlink()
    words = ["experiment", folders, "--out", out, "--runs", 2, "--repeats", 1, "--sizes", "0.34,0.67", *HOW]
    assert "5 of 6 trainings were reused" in command(*words)
    before, after = (json.loads((folder / "verdict.json").read_text()) for folder in (made[0], out))
    assert before["sentences"] == after["sentences"]
    assert before["numbers"] == after["numbers"]


def test_workers_train_at_once_take_what_is_there_and_come_to_the_same(
    made: tuple[Path, str], folders: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(made[0], tmp_path / "out"))
    for name in ("run02", "shuffled01"):
        (out / "models" / f"{name}.cellclass").unlink()
    words = ["experiment", folders, "--out", out, "--runs", 2, "--repeats", 1, "--sizes", "0.34,0.67", *HOW]
    assert "4 of 6 trainings were reused" in command(*words, "--workers", 2)
    one_by_one = {path.name for path in (made[0] / "models").iterdir()}
    assert {path.name for path in (out / "models").iterdir()} == one_by_one
    for name in one_by_one:
        expected, found = (open_bundle(folder / "models" / name) for folder in (made[0], out))
        np.testing.assert_allclose(found.golden[1], expected.golden[1], atol=1e-3)
        assert found.manifest.training["seed"] == expected.manifest.training["seed"]


def test_runs_of_workers_that_were_killed_are_gone_on_with(runs: Path, folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.cellclass"
    words = ["train", folders, "--out", out, "--runs", 4, "--workers", 2, "--test", folders, *HOW]
    with subprocess.Popen(line(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
        wait_until(lambda: finished(tmp_path) or killed.poll() is not None)
        assert killed.poll() is None
        workers = psutil.Process(killed.pid).children(recursive=True)
        killed.kill()
    _, alive = psutil.wait_procs(workers, PROCESS_S)
    assert alive == []  # nobody goes on unseen
    there = finished(tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in there}
    assert f"{len(there)} of 4 runs were reused" in command(*words)
    assert before.items() <= {path.name: path.stat().st_mtime_ns for path in finished(tmp_path)}.items()
    for name in ("m.cellclass", "m_run02.cellclass"):  # those that were trained one after the other, undisturbed
        expected, found = (open_bundle(folder / name) for folder in (runs.parent, tmp_path))
        np.testing.assert_allclose(found.golden[1], expected.golden[1], atol=1e-3)
    assert set(pd.read_csv(tmp_path / "m_runs.csv")["run"]) == {1, 2, 3, 4}
    assert list(tmp_path.glob("*.partial*")) == []


def finished(folder: Path) -> list[Path]:
    return [path for path in folder.glob("m*.cellclass") if "partial" not in path.name]


def test_contradictions_are_a_line(folders: Path, tmp_path: Path, capsys: Any) -> None:
    words = ["experiment", str(folders), "--out", str(tmp_path)]
    assert main([*words, "--folds", "2", "--test", str(folders)]) == 2
    assert "--folds and --test were both given" in capsys.readouterr().err
    assert main([*words, "--sizes", "0.5,2"]) == 2
    assert "--sizes '0.5,2': give fractions between 0 and 1" in capsys.readouterr().err
    assert main([*words, "--runs", "1"]) == 2
    assert main([*words, "--tile-px", "16", "--folds", "9"]) == 2
    assert "class 'grain' has 4 groups, too few for 9 folds; use --folds 4" in capsys.readouterr().err
