"""The main job on real plates and smears: the commands of the tutorials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests._program import preloaded

from napari_cellclass.core.models.bundle import open_bundle

pytestmark = [pytest.mark.realdata, pytest.mark.training]


def run(*words: Any) -> None:
    done = preloaded(*words)
    assert done.returncode == 0, done.stderr


def check_tables(out: Path, stem: str, classes: list[str], shape: tuple[int, int], tile: int) -> pd.DataFrame:
    frame = pd.read_csv(out / f"{stem}.tiles.csv")
    names = ["tile_id", "row", "col", "y0", "x0", "y1", "x1", "class_name", "confidence", *(f"p_{c}" for c in classes)]
    assert list(frame) == [*names, "novelty", "novelty_p"]
    assert len(frame) == (shape[0] // tile) * (shape[1] // tile)
    assert frame["tile_id"].is_unique
    assert set(frame["class_name"]) <= set(classes)
    p = frame[[f"p_{c}" for c in classes]].to_numpy()
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(p.max(axis=1), frame["confidence"], atol=1e-6)
    features = json.loads((out / f"{stem}.geojson").read_text(encoding="utf-8"))["features"]
    assert [f["properties"]["classification"]["name"] for f in features] == frame["class_name"].tolist()
    assert json.loads((out / f"{stem}.run.json").read_text(encoding="utf-8"))["grid"]["tiles"] == len(frame)
    return frame


def test_a_plate_is_learned_on_some_wells_and_mapped_whole(tmp_path: Path, real_data: Path) -> None:
    plate = real_data / "transfluor"
    model = tmp_path / "t.cellclass"
    how = ["--as-published", "--input-px", 64, "--epochs", 20]
    run("train", plate, "--tile-px", 128, "--group-by", "^(...)", *how, "--out", model)
    bundle = open_bundle(model)
    assert bundle.scheme.names == ("diffuse", "puncta")
    assert bundle.manifest.network == "deep-50"
    assert bundle.manifest.parameters == 179_608 - 2 * 9 * 16  # one channel instead of three
    assert bundle.manifest.export["max_abs_difference"] < 1e-4
    split = bundle.table("split.csv")
    assert len(split) == 18 * 16
    assert (split.groupby("group")["split"].nunique() == 1).all(), "a well is on one side only"
    assert set(split[split["class_name"] == "puncta"]["split"]) == {"train", "validation"}

    fields = sorted(plate.glob("*/*.TIF"))
    run("classify", *fields, "--model", model, "--out", tmp_path / "maps")
    for path in fields:
        check_tables(tmp_path / "maps", path.stem, ["diffuse", "puncta"], (512, 512), 128)
    report = json.loads((tmp_path / "maps" / "report.json").read_text())
    assert (report["images"], report["failed"]) == (18, 0)

    run("evaluate", plate, "--model", model, "--out", tmp_path / "e", "--group-by", "^(...)")
    content = json.loads((tmp_path / "e" / "evaluation.json").read_text())
    assert content["n"] == 288
    assert content["groups"] == 6
    assert np.array(content["confusion"]).sum() == 288
    assert {"value", "lo", "hi"} == set(content["accuracy"]) == set(content["balanced_accuracy"])
    assert content["accuracy"]["value"] > 0.7


def test_a_mosaic_of_smears_is_mapped_with_five_classes(tmp_path: Path, real_data: Path) -> None:
    model = tmp_path / "c.cellclass"
    run("train", real_data / "chula_disease", "--tile-px", 192, "--input-px", 48, "--out", model, "--epochs", 1)
    classes = ["elliptocytosis", "iron_deficiency", "megaloblastic", "spherocytosis", "thalassemia"]
    mosaic = real_data / "large" / "chula_mosaic_5120x3840.jpg"
    run("classify", mosaic, "--model", model, "--out", tmp_path / "maps")
    check_tables(tmp_path / "maps", mosaic.stem, classes, (3840, 5120), 192)


def test_channels_of_a_stack_stay_channels(tmp_path: Path, real_data: Path) -> None:
    model = tmp_path / "b.cellclass"
    run("train", real_data / "bbbc013_cells", "--tile-px", 64, "--input-px", 32, "--out", model, "--epochs", 1)
    assert open_bundle(model).preprocess.channels == 2
    field = next((real_data / "bbbc013_cells").glob("*/*.tif*"))
    run("classify", field, "--model", model, "--out", tmp_path / "maps")
