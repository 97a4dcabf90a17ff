"""A network that was trained on photographs, from the command line: only with weights that are on the disk."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
from tests._patience import PROCESS_S
from tests._program import Done, forking, preloaded

from napari_cellclass.core.common.errors import ModelError, ParamsError
from napari_cellclass.core.models.bundle import open_bundle
from napari_cellclass.core.params.train import TrainParams
from napari_cellclass.engine.networks.transfer import find_weights_file
from napari_cellclass.engine.networks.weights_check import check_h5

pytestmark = pytest.mark.training

NAME = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{}_no_top.h5"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of Keras's with weights in it."""
    folder = tmp_path_factory.mktemp("keras")
    (folder / "models").mkdir()
    script = Path(__file__).with_name("mobilenet_job.py")
    words = [sys.executable, str(script), str(folder / "models" / NAME.format(96))]
    subprocess.run(forking(words), check=True, timeout=PROCESS_S)
    return folder


def write_data(folder: Path, channels: int) -> Path:
    """Fields of grain, with or without stripes."""
    for group in range(6):
        for name in ("plain", "stripes"):
            rng = np.random.default_rng(10 * group + (name == "stripes"))
            pixels = rng.normal(90, 15, (channels, 96, 96))
            if name == "stripes":
                pixels += 60 * np.sin(np.arange(96) / 2)
            path = folder / name / f"g{group}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            axes = {"axes": "CYX"} if channels > 1 else {}
            stored = np.squeeze(pixels.clip(0, 255).astype(np.uint8))
            tifffile.imwrite(path, stored, photometric="minisblack", metadata=axes)
    return folder


def train(data: Path, out: Path, home: Path) -> Done:
    words = ["train", data, "--out", out, "--tile-px", 48, "--epochs", 20, "--network", "mobilenet"]
    words += ["--group-by", r"^(g\d)", "--progress", "none"]
    return preloaded(*words, env=os.environ | {"KERAS_HOME": str(home)})


@pytest.mark.parametrize("channels", [1, 2])
def test_only_the_last_layer_of_mobilenet_is_trained_and_it_classifies(
    home: Path, tmp_path: Path, channels: int, capsys: Any
) -> None:
    from napari_cellclass.cli.main import main

    data, out = write_data(tmp_path / "data", channels), tmp_path / "m.cellclass"
    done = train(data, out, home)
    assert done.returncode == 0, done.stderr
    bundle = open_bundle(out)
    assert bundle.manifest.training["pretrained"]["file"] == NAME.format(96)
    assert len(bundle.manifest.training["pretrained"]["sha256"]) == 64
    assert bundle.manifest.scores["balanced_accuracy"]["value"] > 0.8
    kernels = stored_kernels(bundle.member("model.keras"))
    with h5py.File(home / "models" / NAME.format(96), "r") as file:
        first = np.asarray(file["Conv1/Conv1/kernel"])
    assert any(kernel.shape == first.shape and np.array_equal(kernel, first) for kernel in kernels)
    capsys.readouterr()
    words = ["classify", data / "stripes" / "g0.tif", "--model", out, "--out", tmp_path / "out", "--quiet"]
    assert main([str(word) for word in words]) == 0
    table = pd.read_csv(tmp_path / "out" / "g0.tiles.csv")
    assert (table["class_name"] == "stripes").mean() > 0.5
    assert main(["info", str(out), "--verify"]) == 0
    assert "mobilenet" in capsys.readouterr().out


def stored_kernels(content: bytes) -> list[np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        weights = io.BytesIO(archive.read("model.weights.h5"))
    found: list[np.ndarray] = []
    with h5py.File(weights, "r") as file:
        file.visititems(lambda _, item: found.append(np.asarray(item)) if isinstance(item, h5py.Dataset) else None)
    return found


def test_missing_weights_are_said_in_one_line_and_nothing_is_fetched_or_written(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    done = train(write_data(tmp_path / "data", 1), tmp_path / "m.cellclass", tmp_path)
    assert done.returncode == 2
    assert str(tmp_path / "models") in done.stderr
    assert "keras.applications.MobileNetV2( include_top=False )" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert max(map(len, done.stderr.replace(str(tmp_path), "").split())) < 40  # a longer word widens a widget
    assert list((tmp_path / "models").iterdir()) == []
    assert not (tmp_path / "m.cellclass").exists()


def write_other_weights(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        file.create_group("dense").attrs["weight_names"] = [b"dense/kernel:0"]
        file["dense"]["dense/kernel:0"] = np.zeros((3, 3), np.float32)


def test_weights_that_lead_elsewhere_or_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(ModelError, match="weights cannot be read"):
        check_h5(path)
    write_other_weights(path)
    check_h5(path)
    with h5py.File(path, "a") as file:
        file["dense"]["elsewhere"] = h5py.ExternalLink("/etc/hostname", "/")
    with pytest.raises(ModelError, match="hold the link 'elsewhere' to another file"):
        check_h5(path)


def test_weights_of_something_else_are_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "models" / NAME.format(224)
    path.parent.mkdir()
    write_other_weights(path)
    done = train(write_data(tmp_path / "data", 1), tmp_path / "m.cellclass", tmp_path)
    assert done.returncode == 2
    assert str(path) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_weights_trained_at_the_nearest_size_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    for side in (96, 160, 224):
        (tmp_path / "models" / NAME.format(side)).touch()
    (tmp_path / "models" / NAME.format(128).replace("1.0", "0.35")).touch()
    taken = {side: find_weights_file(side).name for side in (32, 127, 128, 180, 224)}
    wanted = {32: 96, 127: 96, 128: 160, 180: 160, 224: 224}
    assert taken == {side: NAME.format(trained) for side, trained in wanted.items()}


def test_mobilenet_contradicts_the_articles_recipe(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="--network mobilenet contradicts --as-published"):
        TrainParams.checked(data=tmp_path, out=tmp_path / "m.cellclass", network="mobilenet", as_published=True)
