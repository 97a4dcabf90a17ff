from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from napari_cellclass.cli.main import main
from napari_cellclass.core.common.errors import CancelledError
from napari_cellclass.core.common.task import Task
from napari_cellclass.core.datasets.dataset import read_folders
from napari_cellclass.core.datasets.split import split_by_group
from napari_cellclass.core.params.prepare import SliceParams
from napari_cellclass.core.stats.metrics import evaluate
from napari_cellclass.core.tiles.grid import TileGrid
from napari_cellclass.core.tiles.perturbations import PERTURBATIONS, GreyRange
from napari_cellclass.runs.evaluate.test_sets import Evaluation, predict_dataset
from napari_cellclass.runs.evaluate.trust import (
    measure_robustness,
    run_trust_checks,
    split_as_trained,
    training_images_in,
)
from napari_cellclass.runs.prepare.slicing import slice_images


class Threshold:
    """Stands for a network that has learned the exposure."""

    name = "threshold"

    def predict(self, tiles: np.ndarray, *_: object) -> np.ndarray:
        bright = tiles.mean(axis=(1, 2, 3)) > 80
        return np.stack([~bright, bright], axis=1).astype(np.float32)


@pytest.fixture
def data(tmp_path: Path) -> Any:
    """Dark and bright tiles, eight files of each."""
    rng = np.random.default_rng(0)
    for name, level in (("alpha", 50), ("beta", 110)):
        (tmp_path / name).mkdir()
        for i in range(8):
            pixels = rng.normal(level, 6, (16, 16)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{name}{i}.png")
    return read_folders(tmp_path)


def bundle(data: Any, split: Any = None) -> Any:
    """Stands for a model, trained on ``split`` if given."""
    images = [{"path": str(p), "id": i} for p, i in zip(data.paths, data.image_ids, strict=True)] if split else []
    return SimpleNamespace(
        manifest=SimpleNamespace(data={"images": images}, training={}),
        table=lambda name: split.frame() if split else pd.DataFrame(),
        preprocess=SimpleNamespace(low=0.0, high=255.0),
    )


def evaluation(data: Any) -> Evaluation:
    prob = predict_dataset(data, Threshold())
    return Evaluation(data, prob, evaluate(prob, data.labels, list(data.groups), data.scheme.names))


def test_a_network_that_learned_the_exposure_falls_with_it_and_stands_the_rest(data: Any) -> None:
    table = measure_robustness(data, Threshold(), GreyRange(0, 255)).set_index(["perturbation", "level"])[
        "balanced_accuracy"
    ]
    assert table["none", 0] == table["gain", 1] == 1
    assert table["gain", 0.5] == table["gain", 2.0] == 0.5
    for steady in (("blur", 2.0), ("noise", 0.2), ("jpeg", 40), ("rotation", 45)):
        assert table[steady] == 1
    assert len(table) == 1 + sum(len(one.levels) for one in PERTURBATIONS)


def test_its_shortcut_is_an_alarm_and_stands_in_the_table(data: Any) -> None:
    trust = run_trust_checks(evaluation(data), bundle(data), Threshold(), shortcuts=True)
    assert "shortcut-brightness" in {alarm.code for alarm in trust.alarms}
    assert trust.shortcuts is not None
    table = trust.shortcuts.set_index("name")["balanced_accuracy"]
    assert table["network"] == table["brightness"] == 1
    assert trust.stress is None


def test_on_its_own_data_a_network_is_compared_on_the_tiles_it_has_not_seen(data: Any) -> None:
    split = split_by_group(data)
    again = split_as_trained(data, bundle(data, split))
    assert again.split.tolist() == split.split.tolist()
    told = evaluation(data)
    wrong = np.where(split.split == "validation", 1 - data.labels, data.labels)  # remembers, and is wrong elsewhere
    remembered = Evaluation(data, np.eye(2, dtype=np.float32)[wrong], told.report)
    found = {alarm.code for alarm in run_trust_checks(remembered, bundle(data, split), Threshold()).alarms}
    assert found >= {"trained-on", "memorised", "nothing-learned"}


def test_other_data_is_not_split(data: Any, tmp_path: Path) -> None:
    other = bundle(data, split_by_group(data))
    other.manifest.data["images"] = [{**one, "id": "x" + one["id"]} for one in other.manifest.data["images"]]
    assert not (split_as_trained(data, other).split != "").any()
    assert run_trust_checks(evaluation(data), other, Threshold()).alarms == ()


def test_a_stress_test_can_be_cancelled(data: Any) -> None:
    seen: list[int] = []
    with pytest.raises(CancelledError):
        measure_robustness(
            data, Threshold(), GreyRange(0, 255), Task(lambda p: seen.append(p.done), lambda: len(seen) == 3)
        )
    assert seen == [1, 2, 3]


def test_evaluate_writes_shortcuts_stress_and_alarms(tmp_path: Path, ihc_model: Path) -> None:
    out = tmp_path / "e"
    words = ["evaluate", ihc_model.parent / "test", "--model", ihc_model, "--out", out, "--group-by", r"_(c\d+)"]
    assert main([*map(str, words), "--shortcuts", "--stress", "--quiet"]) == 0
    shortcuts, stress = (pd.read_csv(out / f"{name}.csv") for name in ("shortcuts", "stress"))
    assert shortcuts["name"].tolist() == [
        "network", "brightness", "contrast", "position", "file", "file_size", "texture",
    ]  # fmt: skip
    assert set(stress["perturbation"]) == {"none", *(one.name for one in PERTURBATIONS)}
    content = json.loads((out / "evaluation.json").read_text())
    value = content["balanced_accuracy"]["value"]
    assert shortcuts["balanced_accuracy"][0] == stress["balanced_accuracy"][0] == pytest.approx(value)
    # the stained tiles are brown, and any mean colour tells so
    assert "shortcut-brightness" in {alarm["code"] for alarm in content["alarms"]}
    for name in ("shortcuts.png", "stress.png"):
        assert (out / name).stat().st_size > 10_000


def test_tiles_cut_from_fields_that_a_model_has_seen_are_known(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    for name in ("alpha", "beta"):
        (tmp_path / "fields" / name).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.roll(pixels, 7 * i + len(name))).save(tmp_path / "fields" / name / f"{i}.png")
    fields = read_folders(tmp_path / "fields", grid=lambda source: TileGrid.regular(source.shape, 32))
    for i in range(2):
        params = SliceParams(images=[tmp_path / "fields"], out=tmp_path / f"tiles{i}", tile_px=32 - 16 * i)
        slice_images(params)
    cut = [read_folders(tmp_path / f"tiles{i}") for i in range(2)]
    other = SimpleNamespace(manifest=SimpleNamespace(data={"images": [{"path": str(tmp_path / "x.png"), "id": "x"}]}))
    for test, trained in ((cut[0], fields), (fields, cut[0]), (cut[0], cut[1])):
        assert training_images_in(test, bundle(trained, split_by_group(trained))) == tuple(test.paths)
        assert training_images_in(test, other) == ()
